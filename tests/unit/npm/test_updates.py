"""Documents that come back: what of them is a change, and what is an echo."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.errors import PackageNotFound
from proxy.npm import names, publish
from proxy.npm.publish import BadPublish, Update
from proxy.npm.updates import (
    Deprecations,
    Owners,
    Person,
    Readme,
    Removal,
    Stars,
    Stored,
    Tags,
    WholeRemoval,
)

NAME = names.parse("@acme/ui")
ANN, BOB = Person("ann", "ann@acme.example"), Person("bob", "")
STORED = Stored(
    versions={"1.0.0": None, "1.1.0": "too old"},
    tags={"latest": "1.1.0", "beta": "1.0.0"},
    maintainers=(ANN,),
    users={"ann": True},
    readme="# ui",
)


def echo(**fields: Any) -> dict[str, Any]:
    """The stored document as a client sends it back, some fields changed."""
    versions = {
        "1.0.0": {"name": NAME.full, "version": "1.0.0", "dist": {"tarball": "http://x/y"}},
        "1.1.0": {"name": NAME.full, "version": "1.1.0", "deprecated": "too old"},
    }
    return {
        "_id": NAME.full,
        "_rev": "3-abc",
        "name": NAME.full,
        "dist-tags": {"latest": "1.1.0", "beta": "1.0.0"},
        "versions": versions,
        "maintainers": [{"name": "ann", "email": "ann@acme.example"}],
        "users": {"ann": True},
        "readme": "# ui",
        "time": {"created": "2020-01-01T00:00:00.000Z"},
        "_attachments": {},
    } | fields


def ask(body: dict[str, Any], revision: str | None = None, stored: Stored | None = STORED) -> Any:
    """What a document without a tarball asks for."""
    return publish.asked(NAME, json.dumps(body).encode(), {}, revision=revision, stored=stored)


def versions(**deprecations: Any) -> dict[str, Any]:
    """The manifests of an echo with `v1_0_0`, `v1_1_0` deprecated so."""
    held = echo()["versions"]
    for key, value in deprecations.items():
        held[key[1:].replace("_", ".")]["deprecated"] = value
    return held


@pytest.mark.parametrize("revision", [None, "3-abc"])
def test_an_echo_changes_nothing(revision):
    """A document sent back as it was, other addresses of tarballs included, asks for nothing."""
    body = echo(time={}, description="other", license="MIT")
    body["versions"]["1.0.0"]["dist"] = {"tarball": "http://elsewhere/z"}
    assert ask(body, revision) == Update((), "3-abc")


@pytest.mark.parametrize(
    ("said", "texts"),
    [
        ({"v1_0_0": "broken"}, {"1.0.0": "broken"}),
        ({"v1_1_0": ""}, {"1.1.0": ""}),
        ({"v1_1_0": False}, {"1.1.0": ""}),
        ({"v1_1_0": None}, {"1.1.0": ""}),
        ({"v1_0_0": "x", "v1_1_0": "x"}, {"1.0.0": "x", "1.1.0": "x"}),
    ],
)
def test_deprecations_are_seen(said, texts):
    """A text deprecates, an empty one and none undo it; versions left alone are not mentioned."""
    assert ask(echo(versions=versions(**said))).changes == (Deprecations(texts),)


@pytest.mark.parametrize(
    "said", [{"v1_0_0": ""}, {"v1_0_0": True}, {"v1_1_0": 7}, {"v1_1_0": "too old"}]
)
def test_what_deprecates_nothing_is_no_change(said):
    """An empty text where there was none, and values that are no text, change nothing."""
    assert ask(echo(versions=versions(**said))).changes == ()


def test_a_removed_field_undoes_a_deprecation():
    """A client that takes the field out means the same as one that empties it."""
    body = echo()
    del body["versions"]["1.1.0"]["deprecated"]
    assert ask(body).changes == (Deprecations({"1.1.0": ""}),)


def test_a_version_is_removed_on_the_revisions_address():
    """Unpublishing sends the document without the version, its tags moved."""
    body = echo(versions={"1.0.0": versions()["1.0.0"]}, **{"dist-tags": {"latest": "1.0.0"}})
    expected = (Removal(("1.1.0",)), Tags({"latest": "1.0.0", "beta": None}))
    assert ask(body, "3-abc") == Update(expected, "3-abc")


def test_a_version_is_not_removed_elsewhere():
    """A document without a version, sent to the package's own address, removes nothing."""
    body = echo(versions={"1.0.0": versions()["1.0.0"]})
    assert ask(body).changes == ()


def test_all_versions_gone_is_the_packages_end():
    """A document without versions on the revision's address removes the package, and no more."""
    body = echo(versions={}, users={}, **{"dist-tags": {}})
    assert ask(body, "3-abc").changes == (WholeRemoval(),)
    assert ask(body).changes == (Stars({"ann": False}),)


def test_versions_nobody_sent_a_tarball_for_are_ignored():
    """A version we do not hold is not made by a document."""
    body = echo(versions=versions() | {"9.0.0": {"name": NAME.full, "version": "9.0.0"}})
    assert ask(body, "3-abc").changes == ()


def test_tags_are_seen():
    """A tag may move, come and go, but `latest` stays."""
    body = echo(**{"dist-tags": {"next": "1.1.0"}})
    assert ask(body).changes == (Tags({"next": "1.1.0", "beta": None}),)


@pytest.mark.parametrize("tags", [{}, None])
def test_a_document_without_tags_says_nothing_of_them(tags):
    """Without dist-tags the stored ones stay."""
    assert ask(echo(**{"dist-tags": tags})).changes == ()


@pytest.mark.parametrize(
    ("revision", "fields", "field"),
    [
        (None, {"dist-tags": {"latest": "9.0.0"}}, "dist-tags"),
        (None, {"dist-tags": {"1.x": "1.0.0"}}, "dist-tags"),
        ("3-abc", {"versions": {"1.0.0": {}}, "dist-tags": {"new": "1.1.0"}}, "dist-tags"),
        (None, {"versions": {"1.0.0": 7}}, "versions"),
        (None, {"versions": 7}, "versions"),
        (None, {"maintainers": []}, "maintainers"),
        (None, {"maintainers": None}, "maintainers"),
        (None, {"maintainers": {"name": "x"}}, "maintainers"),
        (None, {"maintainers": ["ann"]}, "maintainers"),
        (None, {"maintainers": [{"email": "x"}]}, "maintainers"),
        (None, {"maintainers": [{"name": ""}]}, "maintainers"),
        (None, {"maintainers": [{"name": "x", "email": 7}]}, "maintainers"),
        (None, {"users": []}, "users"),
        (None, {"_id": "other"}, "_id"),
    ],
)
def test_what_is_wrong_is_named(revision, fields, field):
    """A change that cannot be is refused with the field it stands in."""
    with pytest.raises(BadPublish) as caught:
        ask(echo(**fields), revision)
    assert caught.value.field == field


def test_maintainers_alone_are_a_partial_document():
    """The owner commands send maintainers and no versions, and wipe nothing."""
    people = [{"name": "ann", "email": "ann@acme.example"}, {"name": "bob", "email": None}]
    body = {"_id": NAME.full, "_rev": "3-abc", "maintainers": people}
    assert ask(body, "3-abc") == Update((Owners((ANN, BOB)),), "3-abc")


@pytest.mark.parametrize(
    ("users", "changed"),
    [
        ({"ann": True, "bob": True}, {"bob": True}),
        ({}, {"ann": False}),
        ({"ann": False, "bob": True}, {"bob": True, "ann": False}),
    ],
)
def test_stars_alone_are_a_partial_document(users, changed):
    """A star is sent as users without versions; who came and who went is told."""
    body = {"_id": NAME.full, "_rev": "3-abc", "users": users}
    assert ask(body) == Update((Stars(changed),), "3-abc")


def test_a_partial_document_may_change_nothing():
    """Sending what is stored already is no error."""
    assert ask({"_id": NAME.full, "users": {"ann": True}}) == Update((), None)
    assert ask({"_id": NAME.full, "users": None}) == Update((), None)


def test_a_readme_is_seen():
    """A whole document may bring a new readme; an empty one is none."""
    assert ask(echo(readme="# new")).changes == (Readme("# new"),)
    assert ask(echo(readme="")).changes == ()


def test_the_addresss_revision_counts():
    """The revision in the address goes before the document's, a missing one of yarn's included."""
    assert ask(echo(), "undefined").revision == "undefined"


def test_a_document_must_say_something():
    """A document with neither versions nor maintainers nor users is refused."""
    with pytest.raises(BadPublish, match="neither"):
        ask({"_id": NAME.full})


def test_without_a_package_there_is_nothing_to_change():
    """A document without a tarball for a package that does not exist changes nothing."""
    with pytest.raises(PackageNotFound):
        ask(echo(), stored=None)


def test_what_cannot_be_decoded_is_refused():
    """A number that no reader can hold is refused where it stands."""
    text = b'{"maintainers": [1e999]}'
    with pytest.raises(BadPublish) as caught:
        publish.asked(NAME, text, {}, revision=None, stored=STORED)
    assert caught.value.field == "maintainers"


def test_maintainers_are_a_bounded_list():
    """Each maintainer is looked up, so that there are not as many as fit a body."""
    people = [{"name": f"user{number}"} for number in range(1001)]

    with pytest.raises(BadPublish) as caught:
        ask(echo(maintainers=people))

    assert caught.value.field == "maintainers"


# --- documents that are merged with an uplink's ---------------------------------------------------

MERGED = replace(STORED, is_merged=True)


def merged(**fields: Any) -> dict[str, Any]:
    """The document of a fork: the uplink's version, some of its tags and its readme are in it.

    The uplink has a 1.0.0 as well, and a tag on it.
    """
    body = echo(readme="# upstream")
    body["versions"]["9.0.0"] = {"name": NAME.full, "version": "9.0.0", "deprecated": "upstream's"}
    body["dist-tags"] |= {"latest": "9.0.0", "canary": "9.0.0", "shared": "1.0.0"}
    return body | fields


def test_an_echo_of_a_merged_document_changes_nothing():
    """What is an uplink's in a document is no change of ours."""
    assert ask(merged(), stored=MERGED).changes == ()
    assert ask(merged(), revision="3-abc", stored=MERGED).changes == ()


def test_changes_of_a_merged_document_are_of_ours():
    """Of a merged document a text, a removal and a tag that is gone count where they are ours."""
    body = merged()
    del body["versions"]["1.0.0"], body["dist-tags"]["beta"]
    body["versions"]["9.0.0"]["deprecated"] = "not ours to say"
    body["versions"]["1.1.0"]["deprecated"] = ""
    body["dist-tags"] |= {"fork": "1.1.0", "gone": "1.0.0"}  # as the uplink's might be

    assert ask(body, revision="3-abc", stored=MERGED).changes == (
        Removal(("1.0.0",)),
        Deprecations({"1.1.0": ""}),
        Tags({"beta": None}),
    )


def test_people_of_a_merged_document_are_ours():
    """Maintainers and stars in a merged document are about ours."""
    body = merged(maintainers=[{"name": "bob", "email": ""}], users={"ann": True, "bob": True})
    assert ask(body, stored=MERGED).changes == (Owners((BOB,)), Stars({"bob": True}))
