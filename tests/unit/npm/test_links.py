"""Links: our address in `dist.tarball`, and nowhere else."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import links, names
from proxy.npm.names import PackageName
from tests.strategies import exact, manifests, package_names, replaced, versions

BASE = "http://127.0.0.1:4873"
URL = "https://registry.example/x/-/x-1.0.0.tgz"
OURS = f"{BASE}/x/-/x-1.0.0.tgz"
X = PackageName("x")


def rewritten(manifest: str) -> str:
    """The manifest of x@1.0.0, rewritten."""
    return links.rewrite(manifest.encode(), base_url=BASE, name=X, version="1.0.0").decode()


@given(st.data(), package_names(), versions())
def test_only_the_tarball_changes(data, name, version):
    """Every other field survives with its order and numbers, also where the same address stands."""
    manifest = data.draw(manifests(name, version)).encode()
    ours = links.tarball_url(BASE, name, version)

    result = links.rewrite(manifest, base_url=BASE, name=name, version=version)

    assert exact(result) == replaced(exact(manifest), ("dist", "tarball"), ours)


@pytest.mark.parametrize(
    "manifest",
    [
        '{ "dist" : { "tarball" : "@" , "size": 1.10 } }\n',
        '{"dist":{"tarball":"@"},"keywords":["tarball"],"dependencies":{"tarball":"1"}}',
        '{"readme":"\\"tarball\\": no","dist":{"tarball":"@"}}',
        '{"dist":1,"dist":{"tarball":2,"tarball":"@"}}',
        '{"dependencies":{"tarball":"^1"},"dist":{"tarb\\u0061ll":"@"}}',
    ],
)
def test_an_address_that_stands_once_is_replaced_in_place(manifest):
    """Where the address occurs once, not a byte around it changes."""
    assert rewritten(manifest.replace("@", URL)) == manifest.replace("@", OURS)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (
            '{"_resolved":"URL","dist":{"tarball":"URL"}}',
            '{"_resolved":"URL","dist":{"tarball":"OURS"}}',
        ),
        (
            '{"dist":{"tarball":"URL"},"a":{"dist":{"tarball":"URL"}}}',
            '{"dist":{"tarball":"OURS"},"a":{"dist":{"tarball":"URL"}}}',
        ),
        (
            '{"a":{"tarball":"URL"},"dist":{"x": 1.0,"tarb\\u0061ll":"URL"}}',
            '{"a":{"tarball":"URL"},"dist":{"x":1.0,"tarball":"OURS"}}',
        ),
        (
            '{"dist":{"mirrors":["URL"],"tarball":"URL"}}',
            '{"dist":{"mirrors":["URL"],"tarball":"OURS"}}',
        ),
    ],
)
def test_an_address_that_stands_elsewhere_too_stays_there(manifest, expected):
    """The same address in another field is not ours to change."""
    result = rewritten(manifest.replace("URL", URL))
    assert result == expected.replace("URL", URL).replace("OURS", OURS)


@pytest.mark.parametrize(
    "manifest", ["{}", "null", "[1]", '{"dist":null}', '{"dist":{"tarball":7}}', '{"dist":{}}']
)
def test_without_a_tarball_nothing_changes(manifest):
    """A manifest without an address is passed on as it is."""
    assert rewritten(manifest) == manifest


def test_an_empty_address_is_filled():
    """An empty string is an address like any other: ours stands in its place."""
    assert rewritten('{"dist":{"tarball":""},"x":""}') == (
        f'{{"dist":{{"tarball":"{OURS}"}},"x":""}}'
    )


@pytest.mark.parametrize(
    ("base", "name", "version", "url"),
    [
        ("http://h", "x", "1.0.0", "http://h/x/-/x-1.0.0.tgz"),
        ("http://h/", "x", "1.0.0", "http://h/x/-/x-1.0.0.tgz"),
        ("https://h/npm", "@s/x", "1.0.0-rc.1", "https://h/npm/@s/x/-/x-1.0.0-rc.1.tgz"),
        ("http://[::1]:4873", "x", "1.0.0+b", "http://[::1]:4873/x/-/x-1.0.0+b.tgz"),
        ("http://h", "x", "1 0?a#b%2f/é", "http://h/x/-/x-1%200%3Fa%23b%252f%2F%C3%A9.tgz"),
        ("http://h", "it's(*)~!", "1.0.0", "http://h/it's(*)~!/-/it's(*)~!-1.0.0.tgz"),
    ],
)
def test_the_canonical_address(base, name, version, url):
    """The scope's slash and a plus are literal; what an address cannot carry is encoded."""
    assert links.tarball_url(base, PackageName(name), version) == url


@given(package_names(), versions() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_one_decoding_of_our_address_gives_name_and_version(name, version):
    """However odd the version, a client that splits at slashes and decodes once reaches it."""
    path = urlsplit(links.tarball_url(BASE, name, version)).path
    *pieces, dash, file = path.lstrip("/").split("/")
    assert ("/".join(map(unquote, pieces)), dash) == (name.full, "-")
    assert names.version_of(name, unquote(file)) == version


@given(versions())
def test_a_client_that_escapes_the_plus_reaches_the_same_file(version):
    """A plus sent as it is, or escaped, decodes to the same file."""
    path = urlsplit(links.tarball_url(BASE, X, version)).path
    assert unquote(path.replace("+", "%2B")) == unquote(path)
