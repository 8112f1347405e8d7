"""A packument narrowed to what is held: which versions are shown, and where the tags go."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import offline, packument, render, semver
from proxy.npm.forms import Form
from proxy.npm.packument import Packument
from tests.strategies import Sample, exact, packuments, selected
from tests.unit.npm.test_merge import EPOCH, VERSIONS, document, read

TAGS = st.sampled_from(["latest", "next", "v1-lts", "beta"])


def narrowed(value: object, *held: str) -> dict[str, Any]:
    """The narrowed document, as a client would read it."""
    found = offline.narrowed(read(value), held).packument
    return dict(json.loads(render.render(found, Form.FULL, "")))


def tags_of(tags: dict[str, str], versions: list[str], *held: str) -> dict[str, str]:
    """Where the tags of a document with these versions go when some are held."""
    value = document(*versions)
    value["dist-tags"] = tags
    return dict(narrowed(value, *held)["dist-tags"])


@st.composite
def holdings(draw: st.DrawFn) -> tuple[Packument, frozenset[str]]:
    """A document with any versions and tags, `latest` among them, and what is held of it."""
    versions = draw(st.lists(VERSIONS, min_size=1, max_size=8, unique=True))
    value = document(*versions)
    value["dist-tags"] = draw(st.dictionaries(TAGS, st.sampled_from(versions)))
    value["dist-tags"]["latest"] = draw(st.sampled_from(versions))
    for version in draw(st.sets(st.sampled_from(versions))):
        value["versions"][version]["deprecated"] = "use another one"
    held = draw(st.frozensets(st.sampled_from(versions) | VERSIONS))
    return read(value), held


@given(holdings())
def test_only_held_versions_are_shown(given_: tuple[Packument, frozenset[str]]) -> None:
    """Exactly the versions that are held and listed are shown; the others are told as hidden."""
    of, held = given_

    found = offline.narrowed(of, held)

    assert set(found.packument.versions) == set(of.versions) & held
    assert set(found.hidden) == set(of.versions) - held


@given(holdings())
def test_tags_point_to_what_is_shown(given_: tuple[Packument, frozenset[str]]) -> None:
    """No tag is new, each names a version that is shown, and `latest` is there if any is."""
    of, held = given_

    found = offline.narrowed(of, held).packument

    assert set(found.dist_tags) <= set(of.dist_tags)
    assert set(found.dist_tags.values()) <= set(found.versions)
    assert ("latest" in found.dist_tags) == bool(found.versions)
    shown = json.loads(bytes(found.envelope["dist-tags"]))
    assert shown == found.dist_tags


@given(holdings())
def test_a_release_never_becomes_a_prerelease(given_: tuple[Packument, frozenset[str]]) -> None:
    """A tag of a release names a release, but for `latest` where there is none; none goes up."""
    of, held = given_

    found = offline.narrowed(of, held).packument

    releases = [version for version in found.versions if "-" not in version]
    for tag, version in found.dist_tags.items():
        if tag != "latest":
            assert semver.order(version) <= semver.order(of.dist_tags[tag])
        if "-" not in of.dist_tags[tag] and (tag != "latest" or releases):
            assert "-" not in version


@given(holdings())
def test_narrowing_again_changes_nothing(given_: tuple[Packument, frozenset[str]]) -> None:
    """What was narrowed once is the same when it is narrowed to the same again."""
    of, held = given_
    once = offline.narrowed(of, held).packument

    again = offline.narrowed(once, held)

    assert (again.packument, again.hidden) == (once, ())


@given(packuments())
def test_nothing_else_changes(sample: Sample) -> None:
    """Fields we do not know, manifests and the order of all keys are as they came, to the byte."""
    of = packument.read(sample.body, name=sample.name, fetched_at=EPOCH)

    found = offline.narrowed(of, sample.versions[:1]).packument

    before, after = exact(sample.body), exact(render.render(found, Form.FULL, ""))
    assert [key for key, _ in after] == [key for key, _ in before]
    assert selected(after, "unknown") == selected(before, "unknown")
    assert bytes(found.versions[sample.versions[0]]) == bytes(of.versions[sample.versions[0]])
    assert dict(selected(after, "dist-tags"))["odd"] == dict(selected(before, "dist-tags"))["odd"]


def test_a_document_that_is_held_is_the_same_one() -> None:
    """Where everything is held nothing is put together anew."""
    of = read(document("1.0.0", "1.1.0"))

    assert offline.narrowed(of, ["1.1.0", "1.0.0"]).packument is of


def test_time_matches() -> None:
    """`time` has the versions that are shown, `created`, `modified`, and nothing unpublished."""
    value = document("1.0.0", "1.1.0")
    value["time"] |= {"0.9.0": "2019-02-01T00:00:00.000Z", "custom": {"by": "x"}}

    assert list(narrowed(value, "1.0.0")["time"]) == ["created", "modified", "1.0.0", "custom"]


def test_no_version_left() -> None:
    """Without any version that is held there are no tags, and the document is still one."""
    shown = narrowed(document("1.0.0"), "2.0.0")

    assert (shown["versions"], shown["dist-tags"], shown["name"]) == ({}, {}, "lodash")


PLATFORMS: list[dict[str, Any]] = [{"os": ["darwin"]}, {"cpu": "arm64"}, {"libc": ["musl"]}]
NO_PLATFORMS: list[Any] = [
    {},
    {"os": ["!win32"]},
    {"os": []},
    {"os": ["any"]},
    {"os": None, "cpu": ""},
    {"cpu": [7]},
    7,
]


@pytest.mark.parametrize("fields", PLATFORMS)
def test_of_other_platforms_nothing_is_hidden(fields: dict[str, Any]) -> None:
    """A package of which nothing is held shows the versions that are for certain platforms."""
    value = document("1.0.0", "1.1.0", "1.2.0")
    for version in ("1.0.0", "1.1.0"):
        value["versions"][version] |= fields

    shown = narrowed(value)

    assert (list(shown["versions"]), shown["dist-tags"]) == (
        ["1.0.0", "1.1.0"],
        {"latest": "1.1.0"},
    )
    assert list(narrowed(value, "1.0.0")["versions"]) == ["1.0.0"]


@pytest.mark.parametrize("manifest", NO_PLATFORMS)
def test_what_is_for_no_certain_platform_is_hidden(manifest: Any) -> None:
    """A version that names no platform, or one it is not for, is hidden unless it is held."""
    value = document("1.0.0")
    value["versions"]["1.0.0"] = manifest

    assert narrowed(value)["versions"] == {}


@pytest.mark.parametrize("field", ["time", "dist-tags"])
def test_an_odd_field_passes(field: str) -> None:
    """A `time` or `dist-tags` that is no object stays what it is."""
    assert narrowed({**document("1.0.0", "1.1.0"), field: 7}, "1.0.0")[field] == 7


@pytest.mark.parametrize("manifest", [{"deprecated": "old"}, {"deprecated": True}])
def test_deprecated_versions_come_last(manifest: dict[str, Any]) -> None:
    """A tag goes to a deprecated version only where there is no other."""
    value = document("1.0.0", "1.1.0", "1.2.0")
    value["versions"]["1.1.0"] |= manifest

    assert narrowed(value, "1.0.0", "1.1.0")["dist-tags"] == {"latest": "1.0.0"}
    assert narrowed(value, "1.1.0")["dist-tags"] == {"latest": "1.1.0"}


@pytest.mark.parametrize("manifest", [{"deprecated": False}, {"deprecated": ""}, 7])
def test_not_deprecated(manifest: Any) -> None:
    """`false` and an empty text deprecate nothing; nor does a manifest that is none."""
    value = document("1.0.0", "1.1.0", "1.2.0")
    value["versions"]["1.1.0"] = manifest

    assert offline.narrowed(read(value), ["1.0.0", "1.1.0"]).packument.dist_tags == {
        "latest": "1.1.0"
    }


LISTED = ["0.9.0", "1.0.0", "1.1.0", "1.2.0-rc.1", "1.2.0", "2.0.0-rc.1", "2.0.0", "odd"]
REPAIRS = [
    # (tag, what it named, what is held, where it goes)
    ("latest", "1.2.0", ["1.0.0", "1.1.0", "2.0.0"], "1.1.0"),
    ("latest", "1.2.0", ["1.1.0", "1.2.0-rc.1"], "1.1.0"),
    ("latest", "1.2.0", ["2.0.0-rc.1", "2.0.0"], "2.0.0"),
    ("latest", "1.0.0", ["1.2.0", "1.1.0"], "1.1.0"),
    ("latest", "1.2.0", ["2.0.0-rc.1"], "2.0.0-rc.1"),
    ("latest", "2.0.0-rc.1", ["1.2.0-rc.1", "1.1.0"], "1.2.0-rc.1"),
    ("latest", "1.2.0", ["odd"], "odd"),
    ("next", "2.0.0-rc.1", ["1.2.0", "2.0.0"], None),
    ("next", "1.2.0-rc.1", ["1.1.0", "2.0.0"], "1.1.0"),
    ("v1-lts", "1.0.0", ["0.9.0"], None),
    ("v1-lts", "1.2.0", ["1.2.0-rc.1"], None),
    ("dangling", "3.0.0", ["2.0.0"], None),
    ("dangling", "1.9.0", ["1.1.0"], "1.1.0"),
]


@pytest.mark.parametrize(("tag", "named", "held", "goes_to"), REPAIRS)
def test_where_a_tag_goes(tag: str, named: str, held: list[str], goes_to: str | None) -> None:
    """A tag goes down, not to a prerelease, not to another major; `latest` goes somewhere."""
    assert tags_of({tag: named}, LISTED, *held).get(tag) == goes_to
