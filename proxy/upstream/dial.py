"""Which addresses may be dialled for an origin that no operator named.

The check belongs to the socket, not to the name: a resolver is never asked about an IP literal, and
a name may resolve to something else a moment later. So the guard makes the sockets of a connector
and looks at the very address that the socket is for. Connections to origins the operator named
(the uplink, its further origins, its proxy) do not pass it: they may well be private.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]

REFUSAL = "not a public address"
# Translators carry an IPv4 address in the last 32 bits (RFC 6052); the second prefix is for local
# use (RFC 8215), so nothing behind it is public.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


class AddressNotAllowed(OSError):
    """The address is private, local, or no host's at all."""


def guarded_socket(info: AddressInfo) -> socket.socket:
    """The socket for an address that is about to be dialled. Raises AddressNotAllowed."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise AddressNotAllowed(f"{address[0]} is {REFUSAL}")
    return socket.socket(family=family, type=kind, proto=protocol)


def is_public(text: str) -> bool:
    """Whether an IP address, and every address hidden in it, is one host of the public internet."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global_host(meaning) for meaning in _meanings(ip))


def _is_global_host(ip: Ip) -> bool:
    if isinstance(ip, ipaddress.IPv6Address) and (ip.is_site_local or ip in _LOCAL_NAT64):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _meanings(ip: Ip) -> Iterator[Ip]:
    """The addresses a packet to this one may end at."""
    if isinstance(ip, ipaddress.IPv4Address):
        yield ip
    elif ip.ipv4_mapped is not None:
        yield ip.ipv4_mapped
    elif ip in _NAT64:
        yield ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    elif ip.sixtofour is not None:
        yield ip.sixtofour
    else:
        yield ip
        yield from ip.teredo or ()
