"""Base URLs: what a client says of its address is believed only where it can do no harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from proxy.web.addresses import Address, Addresses, sound_host, sound_prefix

OWN = "127.0.0.1:4873"
DIRECT = Addresses(public_url=None, trusted_proxies=())
BEHIND = Addresses(public_url=None, trusted_proxies=("10.0.0.0/8", "::1"))
FIXED = Addresses(public_url="https://npm.corp.example/npm/", trusted_proxies=("10.0.0.0/8",))
FORGED = {
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
    "X-Forwarded-For": "6.6.6.6",
    "Forwarded": "for=6.6.6.6;host=evil.example;proto=https",
}


def of(addresses: Addresses, peer: str, **headers: str) -> Address:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return addresses.of(CIMultiDict(named), peer, OWN)


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("localhost:4873", "http://localhost:4873"),
        ("Registry.Corp.EXAMPLE", "http://registry.corp.example"),
        ("npm_proxy:80", "http://npm_proxy"),
        ("192.0.2.1:8080", "http://192.0.2.1:8080"),
        ("[::1]:4873", "http://[::1]:4873"),
        ("[2001:DB8::1]", "http://[2001:db8::1]"),
        ("a:65535", "http://a:65535"),
    ],
)
def test_a_sound_host_is_the_base_url(host: str, base_url: str) -> None:
    """Links lead to the host and port the client has used."""
    assert of(DIRECT, "192.0.2.9", Host=host).base_url == base_url


UNSOUND = [
    "",
    " ",
    "a:0",
    "a:65536",
    "a:99999",
    "a:-1",
    "a:80x",
    "a:",
    "a:٣",
    '"><script>',
    "a/b",
    "a b",
    "a@b",
    "user:pw@a",
    "a?b",
    "a#b",
    "a\\b",
    "a,b",
    "[::1",
    "::1",
    "[:::1]",
    "[::ffff:999.1.1.1]",
    "[fe80::1%25eth0]",
    ".a",
    "a..b",
    "-a.b",
    "a" * 254,
    "é.example",
    "a\x00",
]


@pytest.mark.parametrize("host", UNSOUND)
def test_an_unsound_host_is_replaced_by_our_own(host: str) -> None:
    """A Host that cannot be one never reaches a document."""
    assert of(DIRECT, "192.0.2.9", Host=host).base_url == f"http://{OWN}"


def test_a_request_without_a_host_gets_our_own() -> None:
    """HTTP/1.0 without Host is answered with the address of the socket."""
    assert of(DIRECT, "192.0.2.9").base_url == f"http://{OWN}"


def test_a_stranger_forges_nothing() -> None:
    """Forwarding headers of a peer that is no listed proxy change neither URL nor client."""
    seen = DIRECT.of(CIMultiDict({"Host": "npm.example", **FORGED}), "192.0.2.9", OWN)

    assert seen == Address("http://npm.example", "", "192.0.2.9")


def test_a_stranger_forges_nothing_beside_a_proxy() -> None:
    """Listing some proxies does not make others believed."""
    seen = BEHIND.of(CIMultiDict({"Host": "npm.example", **FORGED}), "192.0.2.9", OWN)

    assert seen == Address("http://npm.example", "", "192.0.2.9")


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({}, Address("http://in:4873", "", "10.0.0.1")),
        (
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "npm.example"},
            Address("https://npm.example", "", "10.0.0.1"),
        ),
        (
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "npm.example:443"},
            Address("https://npm.example", "", "10.0.0.1"),
        ),
        (
            {"X_Forwarded_Proto": "https, http", "X_Forwarded_Host": "a.example, b.example"},
            Address("https://a.example", "", "10.0.0.1"),
        ),
        (
            {"X_Forwarded_Prefix": "/npm/", "X_Forwarded_Proto": "https"},
            Address("https://in:4873/npm", "/npm", "10.0.0.1"),
        ),
        (
            {"X_Forwarded_Prefix": "/../etc"},
            Address("http://in:4873", "", "10.0.0.1"),
        ),
        (
            {"X_Forwarded_Host": '"><script>'},
            Address(f"http://{OWN}", "", "10.0.0.1"),
        ),
        (
            {"X_Forwarded_Proto": "javascript"},
            Address("http://in:4873", "", "10.0.0.1"),
        ),
        (
            {"Forwarded": 'for="[2001:db8::7]:4711";proto=https;host="npm.example:8443"'},
            Address("https://npm.example:8443", "", "2001:db8::7"),
        ),
        (
            {"X_Forwarded_For": "6.6.6.6, 192.0.2.7, 10.0.0.3"},
            Address("http://in:4873", "", "192.0.2.7"),
        ),
        (
            {"X_Forwarded_For": "192.0.2.7:1234"},
            Address("http://in:4873", "", "192.0.2.7"),
        ),
        (
            {"X_Forwarded_For": "garbage"},
            Address("http://in:4873", "", "10.0.0.1"),
        ),
    ],
)
def test_a_listed_proxy_is_believed(headers: dict[str, str], address: Address) -> None:
    """A listed proxy gives scheme, host, prefix and client, each only if it is sound."""
    assert of(BEHIND, "10.0.0.1", Host="in:4873", **headers) == address


def test_a_mapped_address_of_a_proxy_is_that_proxy() -> None:
    """A proxy that is seen as an IPv4 address within IPv6 is still listed."""
    assert BEHIND.is_trusted("::ffff:10.1.2.3")


def test_the_public_url_overrides_everything() -> None:
    """A configured address is used for every link, and its path is the prefix."""
    strange = FIXED.of(CIMultiDict({"Host": "other.example", **FORGED}), "192.0.2.9", OWN)
    proxied = FIXED.of(CIMultiDict({"Host": "other.example", **FORGED}), "10.0.0.1", OWN)

    assert strange == Address("https://npm.corp.example/npm", "/npm", "192.0.2.9")
    assert proxied == Address("https://npm.corp.example/npm", "/npm", "6.6.6.6")


@given(st.text(max_size=80))
def test_a_sound_host_is_harmless_in_a_link(text: str) -> None:
    """Whatever is taken for a host holds nothing that ends a URL, a string or a tag."""
    host = sound_host(text)

    assert host is None or not set(host) & set("/\\?#@\"'<> \t\r\n%")


@given(st.text(max_size=80))
def test_a_sound_prefix_is_harmless_in_a_link(text: str) -> None:
    """Whatever is taken for a prefix is empty or a plain path."""
    prefix = sound_prefix(text)

    assert prefix == "" or (prefix[0] == "/" and not set(prefix) & set("\\?#@\"'<> \t\r\n%"))


@given(st.dictionaries(st.sampled_from(["Host", *FORGED]), st.text(max_size=60)))
def test_no_header_makes_reading_raise(headers: dict[str, str]) -> None:
    """Any header values give some base URL of http or https."""
    seen = BEHIND.of(CIMultiDict(headers), "10.0.0.1", OWN)

    assert seen.base_url.startswith(("http://", "https://"))
