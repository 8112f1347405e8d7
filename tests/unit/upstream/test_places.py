"""Addresses are read strictly, and each origin gets what it is trusted with."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import names
from proxy.upstream.addresses import Address, BadAddress, Kind, Places, Trust, parse

HOME = "https://registry.example/npm"
CDN = "https://cdn.example"


def places(url: str = HOME, *, is_proxied: bool = False) -> Places:
    """An uplink with one further origin."""
    return Places(url=url, origins=(CDN, "http://mirror.example:8080"), is_proxied=is_proxied)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("http://h", Address("http", "h", 80, "/")),
        ("HTTPS://H.Example:443/a", Address("https", "h.example", 443, "/a")),
        ("https://h:8443?x=1", Address("https", "h", 8443, "/?x=1")),
        ("http://[::1]:4873/a%2fb", Address("http", "[::1]", 4873, "/a%2fb")),
        ("http://h/a b#frag", Address("http", "h", 80, "/a%20b")),
        ("http://h/é?q=\\", Address("http", "h", 80, "/%C3%A9?q=%5C")),
        ("http://h/@a/b/-/b-1.0.0+x.tgz", Address("http", "h", 80, "/@a/b/-/b-1.0.0+x.tgz")),
    ],
)
def test_plain_addresses_are_read(text: str, read: Address) -> None:
    """Scheme and host in lower case, an explicit port, no fragment, escapes as they are."""
    assert parse(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "//h/x",
        "file:///etc/passwd",
        "ftp://h/x",
        "gopher://h",
        "data:text/plain,x",
        "http://",
        "http:///x",
        "http://user@h/",
        "http://user:pass@h/",
        "http://good\\@evil/",
        "http://good\\.evil/",
        "http://a b/",
        "http://a..b/",
        "http://./",
        f"http://{'a' * 64}.example/",
        "http://h:0/",
        "http://h:65536/",
        "http://h:x/",
        "http://①②⑦.0.0.1/",
        "http://\uff45vil.example/",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://h/\r\nx: y",
        "http://h\t/",
        "http://h/\x00",
        "http://h/\udcff",
    ],
)
def test_others_are_refused(text: str) -> None:
    """Whatever two parsers might read in two ways is no address."""
    with pytest.raises(BadAddress):
        parse(text)


@given(st.text(st.characters(exclude_categories=())))
def test_wild_text_is_an_address_or_a_refusal(text: str) -> None:
    """Nothing but BadAddress is raised, and what is read is printable ASCII of one line."""
    try:
        address = parse(text, base=parse("https://h/a/b"))
    except BadAddress:
        return
    assert address.text.isascii()
    assert address.text.isprintable()
    assert " " not in address.text


@pytest.mark.parametrize("target", ["/a", "/a?b=c", "/@a%2fb", "/a%20b"])
def test_an_address_is_read_as_it_was_written(target: str) -> None:
    """Parsing undoes text, with a default port and without."""
    for port in (443, 8443):
        address = Address("https", "h", port, target)
        assert parse(address.text) == address


@pytest.mark.parametrize(
    ("url", "trust"),
    [
        ("https://registry.example/other", Trust.HOME),
        ("https://REGISTRY.example:443/", Trust.HOME),
        ("http://registry.example/", Trust.STRANGER),
        ("https://registry.example:8443/", Trust.STRANGER),
        ("https://registry.example./", Trust.STRANGER),
        ("https://cdn.example/x", Trust.LISTED),
        ("http://cdn.example/x", Trust.STRANGER),
        ("http://mirror.example:8080/", Trust.LISTED),
        ("http://mirror.example/", Trust.STRANGER),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, trust: Trust) -> None:
    """Another scheme or port is another origin."""
    assert places().trust(parse(url)) is trust


@pytest.mark.parametrize(
    ("kind", "source", "location", "goal"),
    [
        (Kind.METADATA, "https://registry.example/a", "/b", "https://registry.example/b"),
        (Kind.METADATA, "https://registry.example/a/b", "c", "https://registry.example/a/c"),
        (Kind.METADATA, "https://registry.example/a", "//cdn.example/b", "https://cdn.example/b"),
        (Kind.METADATA, "https://cdn.example/a", "https://registry.example/", HOME[:-3]),
        (Kind.TARBALL, "https://registry.example/a", "https://else.example/b", None),
        (Kind.METADATA, "http://mirror.example:8080/", "https://registry.example/", HOME[:-3]),
    ],
)
def test_redirects_that_are_followed(
    kind: Kind, source: str, location: str, goal: str | None
) -> None:
    """Within the origin, to listed ones, back home; a tarball's to any https origin."""
    assert places().redirect(parse(source), location, kind).text == (goal or location)


@pytest.mark.parametrize(
    ("kind", "source", "location"),
    [
        (Kind.METADATA, "https://registry.example/a", None),
        (Kind.METADATA, "https://registry.example/a", ""),
        (Kind.METADATA, "https://registry.example/a", "https://else.example/a"),
        (Kind.METADATA, "https://registry.example/a", "//else.example/a"),
        (Kind.SERVICE, "https://registry.example/a", "https://else.example/a"),
        (Kind.TARBALL, "https://registry.example/a", "http://registry.example/a"),
        (Kind.TARBALL, "https://registry.example/a", "http://mirror.example:8080/a"),
        (Kind.TARBALL, "http://mirror.example:8080/a", "http://else.example/a"),
        (Kind.TARBALL, "https://registry.example/a", "file:///etc/passwd"),
        (Kind.TARBALL, "https://registry.example/a", "https://user:pw@registry.example/a"),
        (Kind.TARBALL, "https://registry.example/a", "https://registry.example/\r\nx: y"),
    ],
)
def test_redirects_that_are_not_followed(kind: Kind, source: str, location: str | None) -> None:
    """Never down to http, never to a stranger for metadata, never to what is no address."""
    with pytest.raises(BadAddress):
        places().redirect(parse(source), location, kind)


def test_behind_a_proxy_strangers_are_refused() -> None:
    """A proxy resolves names where our guard cannot see; listed origins still do."""
    behind = places(is_proxied=True)

    behind.admit(parse(f"{CDN}/x"), Kind.TARBALL)

    with pytest.raises(BadAddress, match="proxy"):
        behind.admit(parse("https://else.example/x"), Kind.TARBALL)


def test_paths_are_below_the_base() -> None:
    """The base's own path stays; a leading slash makes no difference."""
    assert places().at("/@a%2fb").text == f"{HOME}/@a%2fb"
    assert places(HOME + "/").at("-/ping").text == f"{HOME}/-/ping"


@pytest.mark.parametrize(
    ("dist_tarball", "asked"),
    [
        (f"{HOME}/a/-/a-1.0.0.tgz", f"{HOME}/a/-/a-1.0.0.tgz"),
        (f"{HOME}/a/download/odd.tgz?x=1", f"{HOME}/a/download/odd.tgz?x=1"),
        ("http://registry.example/npm/a/-/a-1.0.0.tgz", f"{HOME}/a/-/a-1.0.0.tgz"),
        ("http://registry.example:443/npm/a.tgz", f"{HOME}/a.tgz"),
        ("http://registry.example:8080/a.tgz", "http://registry.example:8080/a.tgz"),
        ("https://cdn.example/a.tgz", "https://cdn.example/a.tgz"),
        ("https://else.example/a.tgz", "https://else.example/a.tgz"),
        ("a/-/a-1.0.0.tgz", f"{HOME}/a/-/a-1.0.0.tgz"),
        (None, f"{HOME}/a/-/a-1.0.0.tgz"),
        ("", f"{HOME}/a/-/a-1.0.0.tgz"),
        ("file:///etc/passwd", f"{HOME}/a/-/a-1.0.0.tgz"),
        ("https://user:pw@registry.example/a.tgz", f"{HOME}/a/-/a-1.0.0.tgz"),
    ],
)
def test_where_a_tarball_is_asked_for(dist_tarball: str | None, asked: str) -> None:
    """As given; a leftover of http is upgraded at home; what is no address is replaced."""
    assert places().tarball_url(dist_tarball, names.parse("a"), "1.0.0") == asked


def test_an_uplink_on_http_keeps_http() -> None:
    """Nothing is upgraded to a scheme that the uplink does not speak."""
    url = "http://registry.example/a.tgz"

    assert places("http://registry.example").tarball_url(url, names.parse("a"), "1.0.0") == url
