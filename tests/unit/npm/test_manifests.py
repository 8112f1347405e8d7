"""Stored manifests: the client's fields, and ours in their places."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import links, manifests, names, wire
from proxy.npm.archive import Contents
from proxy.npm.manifests import Facts
from proxy.npm.publish import Attachment, NewVersion
from proxy.npm.updates import Person
from tests.strategies import exact, json_values, objects

NAME = names.parse("@acme/ui")
DATA = b"the tarball"
TARBALL = Attachment(len(DATA), hashlib.sha512(DATA).digest(), hashlib.sha1(DATA).digest())
CONTENTS = Contents(b"{}", None, 3, 4567, has_shrinkwrap=False, has_binding_gyp=False)
ANN = Person("ann", "ann@acme.example")


def new(manifest: bytes) -> NewVersion:
    """A version to publish with this manifest."""
    return NewVersion(NAME, "1.1.0", manifest, "latest", None, None, None, None, TARBALL, None)


def facts(**fields: object) -> Facts:
    """What we know of the version, some of it replaced."""
    known = {"contents": CONTENTS, "package_json": {}, "user": ANN, "maintainers": [ANN]}
    return Facts(**(known | fields))


def test_our_facts_follow_the_clients_fields():
    """Every field we know better replaces the client's; the rest stays in its order."""
    theirs = {
        "name": "@acme/ui",
        "_id": "evil@0",
        "_nodeVersion": "22.0.0",
        "readme": "# x",
        "readmeFilename": "README.md",
        "_npmVersion": "11.0.0",
        "_resolved": "/home/ann",
        "dist": {"tarball": "http://evil.example/x.tgz", "shasum": "0"},
        "_npmUser": {"name": "root"},
        "maintainers": [{"name": "root"}],
        "_hasShrinkwrap": True,
        "hasInstallScript": False,
        "deprecated": "no",
        "access": "public",
        "gitHead": "abc",
        "version": "1.1.0",
    }
    found = json.loads(manifests.stored(new(json.dumps(theirs).encode()), facts()))
    person = {"name": "ann", "email": "ann@acme.example"}
    assert list(found.items()) == [
        ("name", "@acme/ui"),
        ("_nodeVersion", "22.0.0"),
        ("_npmVersion", "11.0.0"),
        ("gitHead", "abc"),
        ("version", "1.1.0"),
        ("_id", "@acme/ui@1.1.0"),
        ("_npmUser", person),
        ("maintainers", [person]),
        ("_hasShrinkwrap", False),
        (
            "dist",
            {
                "integrity": TARBALL.integrity,
                "shasum": TARBALL.sha1.hex(),
                "tarball": "/@acme/ui/-/ui-1.1.0.tgz",
                "fileCount": 3,
                "unpackedSize": 4567,
            },
        ),
    ]


def test_signature_and_attestations_stand_in_the_dist():
    """What proves a version's origin is where clients look for it."""
    signature, attestations = {"keyid": "SHA256:x", "sig": "y"}, {"url": "https://r.example/a"}
    known = facts(signature=signature, attestations=attestations)
    dist = json.loads(manifests.stored(new(b"{}"), known))["dist"]
    assert (dist["signatures"], dist["attestations"]) == ([signature], attestations)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (facts(), None),
        (facts(package_json={"scripts": {"postinstall": "x"}}), True),
        (facts(contents=Contents(b"", None, 1, 1, False, True)), True),
    ],
)
def test_install_scripts_are_told_by_the_tarball(known, expected):
    """`hasInstallScript` is true or absent, whatever the client says."""
    found = json.loads(manifests.stored(new(b'{"hasInstallScript": true}'), known))
    assert found.get("hasInstallScript") is expected


def test_a_shrinkwrap_is_told_by_the_tarball():
    """`_hasShrinkwrap` says what is in the tarball."""
    known = facts(contents=Contents(b"", None, 1, 1, True, False))
    assert json.loads(manifests.stored(new(b"{}"), known))["_hasShrinkwrap"] is True


def test_the_tarballs_address_is_put_in_when_rendered():
    """The stored path becomes the canonical address under any base."""
    held = manifests.stored(new(b'{"name":"@acme/ui"}'), facts())
    base = "https://registry.example/npm"
    shown = links.rewrite(held, base_url=base, name=NAME, version="1.1.0")
    expected = f"{base}/@acme/ui/-/ui-1.1.0.tgz"
    assert json.loads(shown)["dist"]["tarball"] == expected


@given(st.dictionaries(st.text("abc_é ", max_size=5), json_values(), max_size=5).flatmap(objects))
def test_unknown_fields_come_through(text):
    """Whatever the client wrote without an underscore is there, in its order and spelling."""
    held = exact(manifests.stored(new(text.encode()), facts()))
    theirs = [pair for pair in dict(exact(text.encode())).items() if not pair[0].startswith("_")]
    assert list(held)[: len(theirs)] == theirs


def test_a_deprecation_is_added_at_the_end():
    """A manifest that is not deprecated gets the field, and no other byte changes."""
    assert manifests.deprecate(b'{"a": 1.0 }\n', 'say "no"') == (
        b'{"a": 1.0 ,"deprecated":"say \\"no\\""}\n'
    )
    assert manifests.deprecate(b"{ }", "x") == b'{ "deprecated":"x"}'


def test_a_deprecation_is_replaced_where_it_stands():
    """A manifest that is deprecated keeps the field's place."""
    held = b'{"a":1,"deprecated":"x","b":2}'
    assert manifests.deprecate(held, "y") == b'{"a":1,"deprecated":"y","b":2}'


@pytest.mark.parametrize("text", ["", None])
def test_a_deprecation_is_taken_away(text):
    """Without a text the field goes; a manifest without it stays the same bytes."""
    assert manifests.deprecate(b'{"a":1.50,"deprecated":"x"}', text) == b'{"a":1.50}'
    assert manifests.deprecate(b'{ "a" : 1}', text) == b'{ "a" : 1}'


@given(
    st.dictionaries(st.sampled_from("abcde"), json_values(), max_size=4).flatmap(objects), st.text()
)
def test_deprecating_and_undoing_it_disturbs_nothing(text, reason):
    """Every other value is exactly as it was, deprecated and after."""
    held = text.encode()
    try:
        deprecated = manifests.deprecate(held, reason)
    except wire.Undecodable:
        assert not reason.isascii()  # half a character
        return
    assert dict(exact(deprecated)).get("deprecated", "") == reason
    assert exact(manifests.deprecate(deprecated, None)) == exact(held)


def test_only_an_object_can_be_deprecated():
    """What is no manifest is refused."""
    with pytest.raises(wire.Undecodable):
        manifests.deprecate(b"[]", "x")
