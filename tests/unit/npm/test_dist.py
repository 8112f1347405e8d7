"""dist: read as clients read it, however odd the manifest."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import dist, wire
from proxy.npm.dist import Dist
from tests import strategies
from tests.strategies import exact, replaced, selected

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


SHASUM = "0123456789abcdef0123456789abcdef01234567"


def unhashed(versions):
    text = json.dumps({version: {"dist": fields} for version, fields in versions.items()}).encode()
    count, found = dist.unhashed(text)
    assert count == len(versions)
    return [each.version for each in found]


@pytest.mark.parametrize("odd", [{}, {"2.0.0": 7}, {"2.0.0": {"tarball": 7}}])
def test_unhashed_dists_have_a_tarball_and_no_hash(odd):
    """A version is unhashed if it has a tarball and neither hash, whatever the others are like."""
    versions = {
        "1.0.0": {"tarball": "u", "shasum": SHASUM},
        "1.0.1": {"tarball": "u", "integrity": "sha512-x"},
        "1.0.2": {"tarball": "u"},
        "1.0.3": {"tarball": "u", "shasum": None, "integrity": ""},
        "1.0.4": {"tarball": "u", "bin": {"shasum": SHASUM}},
        "1.0.5": {"unpackedSize": 7},
        **odd,
    }

    assert unhashed(versions) == ["1.0.2", "1.0.3", "1.0.4"]


@pytest.mark.parametrize("field", ["integrity", "shasum"])
@pytest.mark.parametrize("value", [False, 7, ["x"], {}])
def test_a_hash_of_the_wrong_type_is_none(field, value):
    """What cannot be a hash does not keep a version from being unhashed."""
    assert unhashed({"1.0.0": {"tarball": "u", field: value}}) == ["1.0.0"]


@given(st.data())
def test_only_the_shasum_is_set(data):
    """Of a manifest with its shasum nothing differs but that, and not one byte before or after."""
    name, version = data.draw(strategies.package_names()), data.draw(strategies.versions())
    manifest = data.draw(strategies.manifests(name, version)).encode()

    stated = dist.with_shasum(manifest, SHASUM)

    assert dist.read(stated, version).shasum == SHASUM
    assert stated.replace(b',"shasum":"%b"' % SHASUM.encode(), b"", 1) == manifest
    before, after = exact(manifest), exact(stated)
    assert replaced(after, ("dist",), selected(before, "dist")) == before


@pytest.mark.parametrize("none", [b"null", b'""', b"false", b'{"a":[1]}'])
def test_what_is_no_shasum_is_replaced(none):
    """A shasum that is none gives way in its place; white space around it stays."""
    manifest = b'{ "x": 1e999, "dist" : {"shasum" : %b ,"tarball":"u"}, "y":null}'

    stated = dist.with_shasum(manifest % none, SHASUM)

    assert stated == manifest % wire.dumps(SHASUM)


def test_a_shasum_for_nothing_is_refused():
    """A manifest without a dist has no place for a shasum."""
    with pytest.raises(wire.Undecodable):
        dist.with_shasum(b'{"dist":null}', SHASUM)
