"""Hosted packuments: complete, in the registry's form, and made of the stored bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given

from proxy.npm import abbreviate, hosted, names, packument, render, wire
from proxy.npm.forms import Form
from proxy.npm.hosted import HostedPackage, HostedVersion
from proxy.npm.updates import Person
from tests.strategies import exact, json_values, selected

NAME = names.parse("@acme/ui")
T0 = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
BASE = "https://registry.example"


def manifest(version: str, **fields: object) -> bytes:
    """A stored manifest."""
    dist = {"integrity": "sha512-x", "tarball": f"/@acme/ui/-/ui-{version}.tgz"}
    return wire.dumps({"name": NAME.full, "version": version, "dist": dist, **fields})


ONE = HostedVersion("1.0.0", manifest("1.0.0", license="ISC"), T0)
TWO = HostedVersion("1.1.0", manifest("1.1.0", license="MIT", keywords=["a"]), T0, "broken")


def package(**fields: object) -> HostedPackage:
    """A package of two versions, some facts replaced."""
    facts = {
        "name": NAME,
        "revision": "7-abc",
        "access": None,
        "tags": {"latest": "1.1.0", "old": "1.0.0"},
        "versions": [ONE, TWO],
        "created_at": T0,
        "modified_at": T0 + timedelta(days=1),
        "maintainers": [Person("ann", "ann@acme.example")],
        "users": ["bob"],
        "description": "widgets",
        "readme": "# ui",
        "readme_filename": "README.md",
    }
    return HostedPackage(**(facts | fields))


def shown(found: HostedPackage, form: Form = Form.FULL) -> dict:
    """The rendered document, decoded."""
    return json.loads(render.render(hosted.packument(found), form, BASE))


def test_the_document_is_complete():
    """Everything npm shows of a package stands in the document, an instant for each version too."""
    document = shown(package())
    versions = document.pop("versions")
    assert document == {
        "_id": "@acme/ui",
        "_rev": "7-abc",
        "name": "@acme/ui",
        "dist-tags": {"latest": "1.1.0", "old": "1.0.0"},
        "time": {
            "created": "2026-01-02T03:04:05.678Z",
            "modified": "2026-01-03T03:04:05.678Z",
            "1.0.0": "2026-01-02T03:04:05.678Z",
            "1.1.0": "2026-01-02T03:04:05.678Z",
        },
        "maintainers": [{"name": "ann", "email": "ann@acme.example"}],
        "users": {"bob": True},
        "description": "widgets",
        "readme": "# ui",
        "readmeFilename": "README.md",
        "keywords": ["a"],
        "license": "MIT",
    }
    assert versions["1.1.0"] == {
        "name": "@acme/ui",
        "version": "1.1.0",
        "dist": {"integrity": "sha512-x", "tarball": f"{BASE}/@acme/ui/-/ui-1.1.0.tgz"},
        "license": "MIT",
        "keywords": ["a"],
        "deprecated": "broken",
    }
    assert "deprecated" not in versions["1.0.0"]


def test_the_abbreviated_form_has_the_time_too():
    """A hosted document abbreviates like any other, with the complete time that pnpm wants."""
    document = shown(package(), Form.ABBREVIATED)
    assert document["modified"] == "2026-01-03T03:04:05.678Z"
    assert set(document["time"]) == {"created", "modified", "1.0.0", "1.1.0"}
    assert document["versions"]["1.1.0"]["deprecated"] == "broken"
    assert set(document["versions"]["1.0.0"]) <= abbreviate.KEYS


def test_reading_the_document_gives_the_same_value():
    """What is put together from facts is what reading its bytes would give."""
    found = hosted.packument(package())
    read = packument.read(wire.join(found.envelope.items()), name=NAME, fetched_at=T0)
    assert (read.name, read.dist_tags, read.form) == (found.name, found.dist_tags, found.form)
    assert read.modified_at == found.modified_at
    assert {key: bytes(raw) for key, raw in read.envelope.items()} == {
        key: bytes(raw) for key, raw in found.envelope.items()
    }
    assert {key: bytes(raw) for key, raw in read.versions.items()} == {
        key: bytes(raw) for key, raw in found.versions.items()
    }


@given(json_values())
def test_manifests_are_the_stored_bytes(value):
    """A manifest that is not deprecated is not touched, and what it says at the top is its own."""
    held = f'{{ "homepage":{value}, "version":"1.0.0" }}'.encode()
    found = hosted.packument(package(versions=[HostedVersion("1.0.0", held, T0)], tags={}))
    assert bytes(found.versions["1.0.0"]) == held
    whole = exact(wire.join(found.envelope.items()))
    assert selected(whole, "homepage") == selected(exact(held), "homepage")


@pytest.mark.parametrize(
    ("tags", "versions", "expected"),
    [
        ({"latest": "1.0.0"}, ["1.0.0", "2.0.0"], "1.0.0"),
        ({"latest": "9.0.0"}, ["1.0.0", "2.0.0", "1.5.0"], "2.0.0"),
        ({}, ["1.0.0-a", "1.0.0"], "1.0.0"),
        ({}, [], None),
    ],
)
def test_the_latest_version_is_the_tagged_one(tags, versions, expected):
    """The tag decides; without one the highest version does."""
    listed = [HostedVersion(each, manifest(each), T0) for each in versions]
    assert hosted.latest(package(tags=tags, versions=listed)) == expected


def test_what_is_not_known_is_left_out():
    """Without stars, texts or versions the fields are absent, except the readme, which is empty."""
    bare = package(users=(), description=None, readme=None, readme_filename=None, versions=[])
    found = hosted.packument(bare)
    assert not {"users", "description", "readmeFilename", "license"} & found.envelope.keys()
    assert bytes(found.envelope["readme"]) == b'""'
    assert found.versions == {}


def test_a_description_of_the_latest_version_is_shown():
    """A package without a description of its own shows its latest version's."""
    listed = [HostedVersion("1.0.0", manifest("1.0.0", description="from it"), T0)]
    document = shown(package(versions=listed, tags={"latest": "1.0.0"}, description=None))
    assert document["description"] == "from it"


def test_instants_are_told_in_utc():
    """An instant of another zone is written as npm writes instants."""
    at = datetime(2026, 1, 2, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    found = hosted.packument(package(modified_at=at))
    assert found.modified_at.utcoffset() == timedelta(0)
    assert json.loads(bytes(found.envelope["time"]))["modified"] == "2026-01-01T23:00:00.000Z"


def test_a_damaged_manifest_is_not_passed_off():
    """A stored manifest that is no object is an error, not part of an answer."""
    listed = [HostedVersion("1.0.0", b"[]", T0, "x")]
    with pytest.raises(wire.Undecodable):
        hosted.packument(package(versions=listed))
