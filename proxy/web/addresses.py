"""Addresses: by which URL a client reached us, and who it is.

The links in a document lead to the address its reader used (npm 12 refuses tarballs of any other
origin), so the base URL belongs to a request. What a client may write is believed only as far as it
can do no harm: forwarding headers from listed proxies alone, and a Host only if it is one.
`request.url` is never asked: aiohttp builds it from unchecked input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(
    rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[(?P<v6>[0-9A-Fa-f:.]{{2,45}})\])(?::(?P<port>[0-9]{{1,5}}))?"
)
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_FORWARDED = re.compile(r'([A-Za-z]+)=(?:"([^"\\]*)"|([^;,\s"]+))')
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST_HOST = 253

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Address:
    """Where a request came in: `base_url` has no trailing slash; `prefix` is its path."""

    base_url: str
    prefix: str
    client_ip: str


class Addresses:
    """How this registry is addressed; `public_url` overrides what a request says.

    `trusted_proxies` are IP addresses or networks.
    """

    def __init__(self, *, public_url: str | None, trusted_proxies: Sequence[str]) -> None:
        self._public_url = public_url.rstrip("/") if public_url else None
        self._public_prefix = urlsplit(self._public_url).path if self._public_url else ""
        self._trusted = tuple(ip_network(entry, strict=False) for entry in trusted_proxies)

    def is_trusted(self, ip: str) -> bool:
        """Whether what this peer says of its own clients is believed."""
        return bool(self._trusted) and _is_within(ip, self._trusted)

    def of(self, headers: Mapping[str, str], peer: str, own: str) -> Address:
        """The address of a request; `peer` is the socket's other end, `own` (host:port) ours."""
        if self.is_trusted(peer):
            return self._forwarded(headers, peer, own)
        base_url = self._public_url or base("http", headers.get("Host", ""), own)
        return Address(base_url, self._public_prefix, peer)

    def _forwarded(self, headers: Mapping[str, str], peer: str, own: str) -> Address:
        said = _forwarded(headers)
        client = self._client(headers, said, peer)
        if self._public_url:
            return Address(self._public_url, self._public_prefix, client)
        scheme = said.get("proto", "").lower()
        prefix = sound_prefix(said.get("prefix", ""))
        host = said.get("host") or headers.get("Host", "")
        root = base(scheme if scheme in _DEFAULT_PORTS else "http", host, own)
        return Address(root + prefix, prefix, client)

    def _client(self, headers: Mapping[str, str], said: Mapping[str, str], peer: str) -> str:
        # From the right: each proxy appends who spoke to it, so the last one that is not ours is
        # the client.
        chain = headers.get("X-Forwarded-For") or said.get("for", "")
        for hop in reversed(chain.split(",")):
            ip = _bare_ip(hop.strip())
            if ip is None:
                break
            peer = ip
            if not self.is_trusted(ip):
                break
        return peer


@lru_cache(maxsize=1024)
def base(scheme: str, host: str, own: str) -> str:
    """`scheme://host[:port]`, with `own` in the place of a host that cannot be one."""
    sound = sound_host(host, scheme)
    return f"{scheme}://{own if sound is None else sound}"


def sound_host(text: str, scheme: str = "http") -> str | None:
    """A Host header in lower case without the scheme's default port; None if it is not sound.

    Sound are names and IPv4 addresses of at most 253 characters, IPv6 addresses in brackets, ports
    1 to 65535.
    """
    match = _HOST.fullmatch(text)
    if match is None or len(match["host"]) > _LONGEST_HOST:
        return None
    if match["v6"] is not None and _ip(match["v6"]) is None:
        return None
    host = match["host"].lower()
    if match["port"] is None:
        return host
    port = int(match["port"])
    if not 0 < port < 65536:
        return None
    return host if port == _DEFAULT_PORTS.get(scheme) else f"{host}:{port}"


def sound_prefix(text: str) -> str:
    """A path prefix without its trailing slash; "" if there is none or it cannot be one."""
    text = text.rstrip("/")
    if len(text) > 200 or not _PREFIX.fullmatch(text) or {".", ".."} & set(text.split("/")):
        return ""
    return text


def _forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    said = {
        match[1].lower(): match[2] or match[3] or ""
        for match in reversed(list(_FORWARDED.finditer(headers.get("Forwarded", "").split(",")[0])))
    }
    for name in ("proto", "host", "prefix"):
        value = headers.get(f"X-Forwarded-{name}", "").split(",")[0].strip()
        if value:
            said[name] = value
    return said


def _bare_ip(hop: str) -> str | None:
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    return hop if _ip(hop) is not None else None


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def _is_within(ip: str, networks: tuple[Network, ...]) -> bool:
    address = _ip(ip)
    if address is None:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
