"""dist: read as clients read it, however odd the manifest."""

from __future__ import annotations

import pytest

from proxy.npm import dist
from proxy.npm.dist import Dist

URL = "https://registry.example/x/-/x-1.0.0.tgz"


def test_a_dist_is_read():
    """Address, integrity and shasum are read; what else there is does not matter."""
    manifest = (
        b'{"name":"x","dist":{"shasum":"abc","integrity":"sha512-x","tarball":"%b",'
        b'"unpackedSize":1e999}}' % URL.encode()
    )
    assert dist.read(manifest, "1.0.0") == Dist("1.0.0", URL, "sha512-x", "abc")


def test_fields_of_the_wrong_type_are_absent():
    """An integrity that is no string is none."""
    manifest = b'{"dist":{"tarball":"u","integrity":false,"shasum":["x"]}}'
    assert dist.read(manifest, "1") == Dist("1", "u", None, None)


@pytest.mark.parametrize(
    "manifest",
    [
        b"{}",
        b"null",
        b'"text"',
        b"{",
        b'{"dist":null}',
        b'{"dist":"u"}',
        b'{"dist":{}}',
        b'{"dist":{"tarball":null}}',
        b'{"dist":{"tarball":{"tarball":"u"}}}',
        b'{"dist":{"tarball":"u"},"dist":{}}',
    ],
)
def test_a_manifest_without_a_tarball_has_no_dist(manifest):
    """No object, no dist, no string as its tarball: no dist."""
    assert dist.read(manifest, "1.0.0") is None
    assert dist.tarball_token(manifest) is None


def test_the_last_of_two_dists_counts():
    """Of fields that occur twice the last is read, whatever the type of the first."""
    manifest = b'{"dist":1,"dist":{"tarball":2,"tarball":"u"}}'
    assert dist.read(manifest, "1") == Dist("1", "u", None, None)


def test_escaped_keys_are_the_same_keys():
    """A key may be written with escapes."""
    manifest = b'{"d\\u0069st":{"tarb\\u0061ll":"u"}}'
    assert dist.tarball_token(manifest) == b'"u"'


def test_the_token_is_as_it_is_written():
    """The token keeps its escapes; the address does not."""
    manifest = b'{"dist":{"tarball": "http:\\/\\/r\\/x.tgz" }}'
    found = dist.read(manifest, "1")
    assert dist.tarball_token(manifest) == b'"http:\\/\\/r\\/x.tgz"'
    assert found is not None and found.tarball == "http://r/x.tgz"
