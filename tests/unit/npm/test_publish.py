"""Publishing: what the body of a PUT asks for, and what is refused before anything is stored."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import PackageNotFound
from proxy.npm import names, newcomers, publish
from proxy.npm.publish import Attachment, BadPublish, NewVersion
from proxy.npm.updates import Person, Stored
from tests.strategies import exact, json_values

NAME = names.parse("@acme/ui")
DATA = b"the tarball"
TARBALL = Attachment(len(DATA), hashlib.sha512(DATA).digest(), hashlib.sha1(DATA).digest())
KEY = "@acme/ui-1.1.0.tgz"
BUNDLE = Attachment(3, b"", b"", text="é ")
STORED = Stored(versions={"1.0.0": None}, tags={"latest": "1.0.0"}, maintainers=(Person("ann"),))


def manifest(version: str = "1.1.0", **fields: Any) -> dict[str, Any]:
    """A manifest as npm sends it."""
    dist = {"integrity": TARBALL.integrity, "shasum": TARBALL.sha1.hex(), "tarball": "http://x/y"}
    return {"name": NAME.full, "version": version, "dist": dist} | fields


def document(**fields: Any) -> dict[str, Any]:
    """The metadata of a publish as npm sends it, some fields replaced."""
    return {
        "_id": NAME.full,
        "name": NAME.full,
        "description": "widgets",
        "dist-tags": {"latest": "1.1.0"},
        "versions": {"1.1.0": manifest()},
        "access": None,
        "_attachments": {KEY: {"content_type": "a/b", "data": "", "length": len(DATA)}},
    } | fields


def ask(
    body: dict[str, Any],
    attachments: dict[str, Attachment] | None = None,
    stored: Stored | None = STORED,
) -> Any:
    """What a document with its attachments asks for."""
    attached = {KEY: TARBALL} if attachments is None else attachments
    return publish.asked(NAME, json.dumps(body).encode(), attached, revision=None, stored=stored)


def test_a_new_version_is_published():
    """A document with one version, one tag and one tarball asks for that version."""
    found = ask(document())
    assert found == NewVersion(
        name=NAME,
        version="1.1.0",
        manifest=json.dumps(manifest()).encode(),
        tag="latest",
        access=None,
        description="widgets",
        readme=None,
        readme_filename=None,
        tarball=TARBALL,
        provenance=None,
    )
    assert found.identity == "1.1.0"


@given(json_values())
def test_the_manifest_is_the_clients_own(value):
    """Unknown fields, spellings of numbers and white space of a manifest come through."""
    text = f'{{"x": {value}, "name": "@acme/ui", "version":"1.1.0", "x2":{value} }}'
    body = json.dumps(document(versions={"1.1.0": "@"})).replace('"@"', text).encode()
    found = publish.asked(NAME, body, {KEY: TARBALL}, revision=None, stored=STORED)
    assert found.manifest == text.encode()
    assert exact(found.manifest) == exact(text.encode())


def test_the_first_publish_needs_no_stored_package():
    """A package that does not exist is published like any other."""
    assert ask(document(), stored=None).version == "1.1.0"


def test_a_version_is_handed_on_though_it_exists():
    """Whether the version exists is for the caller to judge, who knows of repeated requests."""
    stored = Stored(versions={"1.1.0": None}, tags={})
    assert ask(document(), stored=stored).version == "1.1.0"


@pytest.mark.parametrize("access", [None, "public", "restricted"])
def test_access_is_handed_on(access):
    """What npm says of access is public, restricted or nothing."""
    assert ask(document(access=access)).access == access


def test_build_metadata_is_no_identity():
    """Two versions that differ in build metadata alone have one identity."""
    versions = {"1.1.0+b": manifest("1.1.0+b")}
    found = ask(document(versions=versions, **{"dist-tags": {"latest": "1.1.0+b"}}))
    assert (found.version, found.identity) == ("1.1.0+b", "1.1.0")


@pytest.mark.parametrize(
    ("top", "inside", "expected"),
    [
        ({"readme": "# top", "readmeFilename": "R.md"}, {}, ("# top", "R.md")),
        ({}, {"readme": "# in", "readmeFilename": "R"}, ("# in", "R")),
        ({"readme": ""}, {"readme": "# in"}, ("# in", None)),
        ({"readme": publish.NO_README}, {"readmeFilename": "R"}, (None, "R")),
        ({"readme": 7}, {"readme": None}, (None, None)),
        ({"readme": "é" * 40_000}, {}, ("é" * 32_768, None)),
        ({"readme": "x" + "é" * 40_000}, {}, ("x" + "é" * 32_767, None)),
    ],
)
def test_the_readme_is_found_and_cut(top, inside, expected):
    """The readme is at the top or in the manifest; 64 KiB of it are kept, in whole characters."""
    found = ask(document(versions={"1.1.0": manifest(**inside)}, **top))
    assert (found.readme, found.readme_filename) == expected


@pytest.mark.parametrize(
    ("top", "inside", "expected"),
    [("a", "b", "a"), (None, "b", "b"), (None, None, None), ("x" * 300, "b", "x" * 255)],
)
def test_the_description_is_found_and_cut(top, inside, expected):
    """The description is at the top or, as bun has it, in the manifest; 255 characters are kept."""
    body = document(versions={"1.1.0": manifest(description=inside)}, description=top)
    assert ask(body).description == expected


@pytest.mark.parametrize("length", [3, 2])
def test_a_provenance_bundle_is_handed_on(length):
    """The second attachment is the bundle's text; its length counts characters, or bytes."""
    body = document()
    body["_attachments"]["x.sigstore"] = {"data": "", "length": length}
    found = ask(body, {KEY: TARBALL, "x.sigstore": BUNDLE})
    assert (found.provenance, found.tarball) == ("é ", TARBALL)


@pytest.mark.parametrize("dist", [None, {}, {"shasum": TARBALL.sha1.hex()}, {"tarball": 7}])
def test_a_manifest_need_not_promise(dist):
    """A manifest without integrity or shasum is taken: we compute both."""
    assert ask(document(versions={"1.1.0": manifest(dist=dist)})).version == "1.1.0"


def test_a_length_need_not_be_told():
    """An attachment without a length is as long as it is."""
    assert ask(document(_attachments={KEY: {"data": ""}})).tarball == TARBALL


def merged(**fields: Any) -> dict[str, Any]:
    """What npm 6 sends after a conflict: the document it read, and its version in it."""
    versions = {"1.0.0": {"name": NAME.full, "version": "1.0.0"}, "1.1.0": manifest()}
    tags = {"latest": "1.1.0", "old": "1.0.0"}
    return document(versions=versions, **{"dist-tags": tags}) | fields


def test_a_whole_document_with_a_tarball_adds_one_version():
    """In a conflict npm 6 merges its version into the document; the one we do not hold counts."""
    found = ask(merged())
    assert (found.version, found.tag) == ("1.1.0", "latest")


def test_a_repeated_whole_document_names_the_same_version():
    """When all versions are held already, the one whose dist is the tarball's is meant."""
    stored = Stored(versions={"1.0.0": None, "1.1.0": None}, tags={"latest": "1.1.0"})
    assert ask(merged(), stored=stored).version == "1.1.0"


def test_of_several_tags_the_new_one_counts():
    """In a whole document another tag may stand at the version already."""
    stored = Stored(versions={"1.0.0": None, "1.1.0": None}, tags={"next": "1.1.0"})
    body = merged(**{"dist-tags": {"next": "1.1.0", "latest": "1.1.0"}})
    assert ask(body, stored=stored).tag == "latest"


VERSIONS = {"1.1.0": manifest()}
REFUSED = {
    "another name": (document(name="other"), "name"),
    "a name of another type": (document(name=7), "name"),
    "another id": (document(_id="other"), "_id"),
    "no versions": (document(versions=None), "versions"),
    "versions in a list": (document(versions=[]), "versions"),
    "two new versions": (
        document(versions={"1.1.0": manifest(), "1.2.0": manifest("1.2.0")}),
        "versions",
    ),
    "a manifest that is none": (document(versions={"1.1.0": 7}), "versions"),
    "a manifest of another package": (
        document(versions={"1.1.0": manifest(name="x")}),
        "versions.name",
    ),
    "a manifest of another version": (
        document(versions={"1.1.0": manifest("1.1.1")}),
        "versions.version",
    ),
    "a version that is none": (document(versions={"1.1": manifest("1.1")}), "versions"),
    "a version with a v": (document(versions={"v1.1.0": manifest("v1.1.0")}), "versions"),
    "a version with leading zeros": (document(versions={"1.01.0": manifest("1.01.0")}), "versions"),
    "no tags": (document(**{"dist-tags": {}}), "dist-tags"),
    "null for tags": (document(**{"dist-tags": None}), "dist-tags"),
    "two tags": (document(**{"dist-tags": {"a": "1.1.0", "b": "1.1.0"}}), "dist-tags"),
    "a tag of another version": (document(**{"dist-tags": {"a": "1.0.0"}}), "dist-tags"),
    "a tag and another's": (document(**{"dist-tags": {"a": "1.1.0", "b": "1.0.0"}}), "dist-tags"),
    "a tag that is no string": (document(**{"dist-tags": {"a": 1}}), "dist-tags"),
    "a tag of many lines": (document(**{"dist-tags": {"a\nb": "1.1.0"}}), "dist-tags"),
    "a tag without end": (document(**{"dist-tags": {"a" * 257: "1.1.0"}}), "dist-tags"),
    "a tag that is a range": (document(**{"dist-tags": {"1.x": "1.1.0"}}), "dist-tags"),
    "a tag that is a version": (document(**{"dist-tags": {"v1.2.3": "1.1.0"}}), "dist-tags"),
    "an empty tag": (document(**{"dist-tags": {"": "1.1.0"}}), "dist-tags"),
    "a tag with a space": (document(**{"dist-tags": {"a ": "1.1.0"}}), "dist-tags"),
    "access of another sort": (document(access="secret"), "access"),
    "access of another type": (document(access=True), "access"),
    "a wrong length": (document(_attachments={KEY: {"data": "", "length": 1}}), "_attachments"),
    "a length as text": (
        document(_attachments={KEY: {"data": "", "length": "11"}}),
        "_attachments",
    ),
    "an attachment that is none": (document(_attachments={KEY: 7}), "_attachments"),
    "attachments in a list": (document(_attachments=[]), "_attachments"),
    "a dist that is none": (document(versions={"1.1.0": manifest(dist=[])}), "dist"),
    "other bytes": (
        document(versions={"1.1.0": manifest(dist={"integrity": "sha512-" + "A" * 86 + "=="})}),
        "dist.integrity",
    ),
    "another shasum": (
        document(versions={"1.1.0": manifest(dist={"shasum": "0" * 40})}),
        "dist.shasum",
    ),
    "a shasum that is none": (
        document(versions={"1.1.0": manifest(dist={"shasum": "x"})}),
        "dist.shasum",
    ),
    "an integrity that is none": (
        document(versions={"1.1.0": manifest(dist={"integrity": "x"})}),
        "dist.integrity",
    ),
    "an integrity we do not compute": (
        document(versions={"1.1.0": manifest(dist={"integrity": "sha256-" + "A" * 43 + "="})}),
        "dist.integrity",
    ),
    "a right integrity and a wrong shasum": (
        document(
            versions={"1.1.0": manifest(dist={"integrity": TARBALL.integrity, "shasum": "0" * 40})}
        ),
        "dist.shasum",
    ),
}


@pytest.mark.parametrize(("body", "field"), REFUSED.values(), ids=REFUSED)
def test_what_is_wrong_is_named(body, field):
    """A body with a fault is refused, and the error says in which field it is."""
    with pytest.raises(BadPublish) as caught:
        ask(body)
    assert caught.value.field == field
    assert str(caught.value) == f"{field}: {caught.value.reason}"


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"\xff": 1}', b'{"a": "\xff"}'])
def test_metadata_must_be_an_object(text):
    """Metadata that is no JSON object in UTF-8 is refused as a whole."""
    with pytest.raises(BadPublish) as caught:
        publish.asked(NAME, text, {KEY: TARBALL}, revision=None, stored=None)
    assert caught.value.field == "" and str(caught.value) == caught.value.reason


@pytest.mark.parametrize(
    "attachments",
    [{}, {"x.sigstore": BUNDLE}, {"a": TARBALL, "b": TARBALL}],
)
def test_one_tarball_must_have_come(attachments):
    """Data that was no string, a bundle alone, or two tarballs are refused."""
    entries = {key: {"data": None} for key in attachments or [KEY]}
    with pytest.raises(BadPublish, match="one tarball"):
        ask(document(_attachments=entries), attachments)


@pytest.mark.parametrize("versions", [["1.0.0", "1.1.0", "1.2.0"], ["1.0.0", "1.1.0"]])
def test_a_whole_document_must_leave_no_doubt(versions):
    """If neither what we hold nor the tarball tells one version apart, nothing is published."""
    body = merged(versions={version: manifest(version) for version in versions})
    held = {"1.0.0": None} if len(versions) > 2 else {"1.0.0": None, "1.1.0": None}
    with pytest.raises(BadPublish, match="one new version"):
        ask(body, stored=Stored(versions=held, tags={}))


@pytest.mark.parametrize("dist", [{}, {"integrity": "x"}])
def test_a_version_without_a_promise_is_not_the_tarballs(dist):
    """In a repeated whole document a manifest without a dist of use is passed over."""
    versions = {"1.0.0": manifest("1.0.0", dist=dist), "1.1.0": manifest()}
    stored = Stored(versions={"1.0.0": None, "1.1.0": None}, tags={})
    assert ask(merged(versions=versions), stored=stored).version == "1.1.0"


GOOD_NAMES = [
    "a",
    "x.y",
    "lodash.get",
    "a-b_c",
    "@acme/ui",
    "@1/2",
    "@acme/fs",
    "constructor",
    "a" * 214,
]
BAD_NAMES = [
    "A",
    "@Acme/ui",
    "a" * 215,
    "_a",
    "-a",
    "@_s/a",
    "@s/_a",
    "@-s/a",
    "a~b",
    "it's",
    "a!",
    "(a)",
    "a*",
    "fs",
    "http",
    "worker_threads",
]


@pytest.mark.parametrize("text", GOOD_NAMES)
def test_new_names(text):
    """A new package may have a name of lower case letters, digits and three signs."""
    newcomers.validate(names.parse(text))


@pytest.mark.parametrize("text", BAD_NAMES)
def test_names_only_old_packages_have(text):
    """A name that is read for old packages' sake is refused for a new one."""
    with pytest.raises(BadPublish, match="cannot be called") as caught:
        newcomers.validate(names.parse(text))
    assert caught.value.field == "name"


def test_an_old_name_may_go_on():
    """A package that exists publishes on under a name that no new one gets."""
    name = names.parse("JSONStream")
    body = document(_id=name.full, name=name.full, versions={"1.1.0": manifest(name=name.full)})
    data = json.dumps(body).encode()
    asked = publish.asked(name, data, {KEY: TARBALL}, revision=None, stored=STORED)
    assert isinstance(asked, NewVersion)
    with pytest.raises(BadPublish, match="upper case"):
        publish.asked(name, data, {KEY: TARBALL}, revision=None, stored=None)


@given(
    st.dictionaries(st.sampled_from(sorted(document())), json_values(), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_wild_values_are_a_bad_publish(fields, is_attached, is_held):
    """Values of any type are read or refused; changes of what is not there are PackageNotFound."""
    texts = {key: json.dumps(value) for key, value in document().items()} | fields
    body = "{" + ",".join(f'"{key}":{value}' for key, value in texts.items()) + "}"
    attachments = {KEY: TARBALL} if is_attached else {}
    stored = STORED if is_held else None
    refusals = (BadPublish,) if is_held or is_attached else (BadPublish, PackageNotFound)
    with contextlib.suppress(*refusals):
        found = publish.asked(NAME, body.encode(), attachments, revision="1", stored=stored)
        assert isinstance(found, NewVersion) == is_attached
