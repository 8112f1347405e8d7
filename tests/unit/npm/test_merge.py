"""Two packuments of one name as one: who owns what, and that nothing else changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import merge, names, packument, render, semver
from proxy.npm.forms import Form
from proxy.npm.packument import Packument
from tests.strategies import exact, json_values, selected

NAME = names.parse("lodash")
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
VERSIONS = st.builds(
    "{}.{}.{}{}".format,
    st.integers(0, 3),
    st.integers(0, 3),
    st.integers(0, 12),
    st.sampled_from(["", "", "-alpha", "-rc.2", "-rc.10"]),
)


def document(*versions: str, latest: str | None = None, **fields: Any) -> dict[str, Any]:
    """A full document as the public registry writes one."""
    listed = versions or ("1.0.0",)
    days = {version: f"2020-02-{at:02}T00:00:00.000Z" for at, version in enumerate(listed, 1)}
    return {
        "_id": "lodash",
        "_rev": "1-a",
        "name": "lodash",
        "dist-tags": {"latest": latest or listed[-1]},
        "versions": {
            version: {"name": "lodash", "version": version, "dist": {"tarball": "x"}}
            for version in listed
        },
        "time": {"created": "2020-02-01T00:00:00.000Z", "modified": max(days.values()), **days},
        **fields,
    }


def read(value: object) -> Packument:
    return packument.read(json.dumps(value).encode(), name=NAME, fetched_at=EPOCH)


def merged(mirrored: object, hosted: object) -> dict[str, Any]:
    """The merged document, as a client would read it."""
    return dict(json.loads(render.render(merge.merge(read(mirrored), read(hosted)), Form.FULL, "")))


def abbreviated(**fields: Any) -> dict[str, Any]:
    """A document in the abbreviated form."""
    return {
        "name": "lodash",
        "dist-tags": {"latest": "1.0.0"},
        "modified": "2020-02-03T00:00:00.000Z",
        "versions": {"1.0.0": {"name": "lodash", "version": "1.0.0", "dist": {"tarball": "x"}}},
        **fields,
    }


@given(
    st.lists(VERSIONS, min_size=1, max_size=6, unique=True),
    st.lists(VERSIONS, min_size=1, max_size=6, unique=True),
)
def test_every_version_has_its_owner(theirs: list[str], ours: list[str]) -> None:
    """A version is ours if we have it, else the uplink's; theirs keep their order, ours follow."""
    mine = document(*ours)
    for manifest in mine["versions"].values():
        manifest["by"] = "us"

    found = merged(document(*theirs), mine)

    assert {version for version, each in found["versions"].items() if "by" in each} == set(ours)
    assert list(found["versions"]) == [*theirs, *(each for each in ours if each not in theirs)]
    assert found["time"].keys() - {"created", "modified"} == found["versions"].keys()


@given(VERSIONS, VERSIONS)
def test_latest_is_the_higher_release(theirs: str, ours: str) -> None:
    """`latest` is never lower than the other one, and a prerelease only if both are."""
    found = merge.latest_of({"latest": theirs}, {"latest": ours})

    released = [each for each in (theirs, ours) if "-" not in each]
    assert found is not None
    assert semver.order(found) == max(map(semver.order, released or [theirs, ours]))


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ({}, {}, None),
        ({"latest": "1.0.0"}, {}, "1.0.0"),
        ({}, {"latest": "1.0.0-a"}, "1.0.0-a"),
        ({"latest": "nonsense"}, {"latest": "0.0.1"}, "0.0.1"),
        ({"latest": "1.0.0"}, {"latest": "1.0.0+local"}, "1.0.0"),
    ],
)
def test_latest_of_odd_tags(
    theirs: dict[str, str], ours: dict[str, str], expected: str | None
) -> None:
    """Whatever one side lacks or cannot say, the other side's `latest` counts."""
    assert merge.latest_of(theirs, ours) == expected


@given(json_values(), st.booleans())
def test_unknown_fields_pass(value: str, is_ours: bool) -> None:
    """A field that we do not know comes through with its exact value, from either side."""
    plain = json.dumps(document()).encode()
    odd = plain[:-1] + f', "x-new": {value}}}'.encode()
    theirs, ours = (plain, odd) if is_ours else (odd, plain)

    of = merge.merge(
        *(packument.read(each, name=NAME, fetched_at=EPOCH) for each in (theirs, ours))
    )
    found = exact(render.render(of, Form.FULL, ""))

    assert selected(found, "x-new") == exact(value.encode())


def test_the_order_of_the_fields_stays() -> None:
    """The fields come in the uplink's order; what only we have follows."""
    theirs = document(readme="r", zeta=1, users={"x": True}, alpha=2)

    found = merged(theirs, {**document("0.1.0"), "beta": 1})

    assert list(found) == [key for key in theirs if key != "users"] + ["beta"]


def test_a_number_is_not_touched() -> None:
    """Numbers that no float can hold pass as they were written, at the top and in a manifest."""
    body = json.dumps(document()).replace('"dist"', '"n": 1, "dist"')
    body = body.replace('"_rev"', '"n": 1, "_rev"').replace('"n": 1', '"n":123456789012345678901')
    mirrored = packument.read(body.encode(), name=NAME, fetched_at=EPOCH)

    found = render.render(merge.merge(mirrored, read(document("2.0.0"))), Form.FULL, "")

    assert found.count(b'"n":123456789012345678901') == 2


@pytest.mark.parametrize(("latest", "owner"), [("2.0.0", "ours"), ("0.1.0", "theirs")])
def test_who_describes_the_package(latest: str, owner: str) -> None:
    """Readme, description and licence are of whoever owns `latest`, also where they say less."""
    theirs = document(readme="theirs", license="MIT", bugs="theirs")
    ours = document(latest, readme="ours", keywords=["ours"])

    found = merged(theirs, ours)

    shown = {"ours": {"readme": "ours", "keywords": ["ours"]},
             "theirs": {"readme": "theirs", "license": "MIT", "bugs": "theirs"}}  # fmt: skip
    described = {"readme", "license", "bugs", "keywords"}
    assert {key: found[key] for key in found if key in described} == shown[owner]


def test_what_is_sent_back_is_ours() -> None:
    """Revision, maintainers and stars are ours, or absent: changes are compared with our part."""
    theirs = document(maintainers=[{"name": "x"}], users={"x": True})
    ours = document("2.0.0", _rev="7-b", maintainers=[{"name": "ann"}])

    found = merged(theirs, ours)

    assert (found["_rev"], found["maintainers"]) == ("7-b", [{"name": "ann"}])
    assert "users" not in found


def test_tags_that_are_no_strings_pass() -> None:
    """What an uplink keeps among its tags that is none stays where it is."""
    theirs = document()
    theirs["dist-tags"] = {"odd": None, "latest": "1.0.0", "next": "1.0.0"}
    ours = document("2.0.0")
    ours["dist-tags"]["next"] = "2.0.0"

    found = merged(theirs, ours)

    assert list(found["dist-tags"].items()) == [
        ("odd", None), ("latest", "2.0.0"), ("next", "2.0.0"),
    ]  # fmt: skip
    assert merge.tags_of({"a": "1.0.0"}, {"b": "1.0.0"}) == {"a": "1.0.0", "b": "1.0.0"}


def test_nobody_has_latest() -> None:
    """Where neither part has `latest` none is made up."""
    theirs, ours = document(), document("2.0.0")
    theirs["dist-tags"] = ours["dist-tags"] = {"next": "1.0.0"}

    assert merged(theirs, ours)["dist-tags"] == {"next": "1.0.0"}


def test_an_uplink_without_time() -> None:
    """Where the uplink tells no times, or none that are any, ours are told."""
    without, odd = document(), document()
    del without["time"]
    odd["time"] = None
    ours = document("2.0.0")

    times = [merged(theirs, ours)["time"] for theirs in (without, odd)]

    assert [sorted(each) for each in times] == [["2.0.0", "created", "modified"]] * 2


def test_nobody_knows_when_it_was_created() -> None:
    """Without an instant of creation on either side none is made up."""
    theirs, ours = document(), document("2.0.0")
    del theirs["time"]["created"], ours["time"]["created"]

    assert "created" not in merged(theirs, ours)["time"]


def test_abbreviated() -> None:
    """An abbreviated document stays one: our manifests are abbreviated, `modified` is the later."""
    ours = document("2.0.0", readme="ours")
    ours["versions"]["2.0.0"] |= {"readme": "ours", "scripts": {"install": "x"}}

    of = merge.merge(read(abbreviated()), read(ours))
    found = json.loads(render.render(of, Form.ABBREVIATED, ""))

    assert of.form is Form.ABBREVIATED
    assert list(found) == ["name", "dist-tags", "modified", "versions"]
    assert found["modified"] == "2020-02-03T00:00:00.000Z"
    assert found["versions"]["2.0.0"]["hasInstallScript"] is True
    assert "readme" not in found["versions"]["2.0.0"]


def test_abbreviated_with_times() -> None:
    """An abbreviated document that tells times tells ours too."""
    time = {"1.0.0": "2020-01-01T00:00:00.000Z"}

    of = merge.merge(read(abbreviated(time=time)), read(document("2.0.0")))
    found = json.loads(render.render(of, Form.ABBREVIATED, ""))

    assert found["time"].keys() == {"1.0.0", "2.0.0", "created", "modified"}
