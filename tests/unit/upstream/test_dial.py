"""Which addresses the guard lets a stranger's origin be dialled at."""

from __future__ import annotations

import socket

import pytest

from proxy.upstream import dial

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "151.101.1.6",
    "2606:4700:4700::1111",
    "::ffff:1.1.1.1",
    "64:ff9b::101:101",
]
NOT_PUBLIC = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "233.252.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::1%lo",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:7f00:1::",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "not an address",
    "",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_dialled(address: str) -> None:
    """One host of the public internet, however it is written."""
    assert dial.is_public(address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_others_may_not(address: str) -> None:
    """Private, local, reserved, multicast and translated private addresses are refused."""
    assert not dial.is_public(address)


def test_the_guard_makes_sockets_for_public_addresses() -> None:
    """The socket is of the family and kind that were asked for, and not connected."""
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("1.1.1.1", 443))

    with dial.guarded_socket(info) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)


def test_the_guard_makes_none_for_others() -> None:
    """The refusal names the address; it is an OSError, as a failed dial is."""
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 443))

    with pytest.raises(dial.AddressNotAllowed, match=r"127\.0\.0\.1 is not a public address"):
        dial.guarded_socket(info)
