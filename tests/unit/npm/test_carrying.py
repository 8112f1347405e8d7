"""Packuments trimmed to what is carried, and united with what is held."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import carrying, names, packument
from proxy.npm.packument import Packument
from tests.fakes import packing

NAME = names.parse("a")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
ALL = ["1.0.0", "1.1.0", "2.0.0-rc.1", "2.0.0", "3.0.0"]
SOME = st.sets(st.sampled_from(ALL), min_size=1)


def read(document: dict[str, Any]) -> Packument:
    return packument.read(json.dumps(document).encode(), name=NAME, fetched_at=NOON)


def again(body: bytes) -> Packument:
    return packument.read(body, name=NAME, fetched_at=NOON)


def document(*versions: str, at: int = 1, text: str = "") -> dict[str, Any]:
    """A full packument, last changed on that day of May."""
    packages: dict[str, Any] = {}
    for version in versions:
        fields = {"name": "a", "version": version, "scripts": {"test": text}}
        entry = packing.manifest(fields, version.encode(), "https://registry.example/a.tgz")
        published_at = datetime(2026, 5, at, tzinfo=UTC)
        packing.add(packages, entry, tag="latest", published_at=published_at)
    return {**packages["a"], "x-unknown": [1, {"y": text}]}


@given(shown=SOME, fewer=SOME)
def test_trimming_twice_is_trimming_once(shown: set[str], fewer: set[str]) -> None:
    """What was trimmed comes back to the byte; only versions, tags and their times are fewer."""
    whole = document(*ALL)
    body = carrying.trimmed(read(whole), shown)

    told = json.loads(body)

    assert carrying.trimmed(again(body), shown) == body
    assert set(told["versions"]) == shown
    assert set(told["time"]) == {"created", "modified", *shown}
    assert set(told["dist-tags"].values()) <= shown
    assert {key: told[key] for key in ("readme", "x-unknown", "_rev")} == {
        key: whole[key] for key in ("readme", "x-unknown", "_rev")
    }


@given(held=SOME, carried=SOME, at=st.integers(1, 3), of=st.integers(1, 3))
def test_uniting_is_done_once(held: set[str], carried: set[str], at: int, of: int) -> None:
    """Versions of both are there, tags name some of them, and a second time is no change."""
    here = read(document(*sorted(held), at=at, text="held"))
    there = read(document(*sorted(carried), at=of, text="carried"))
    body = carrying.united(here, there)

    both = here if body is None else again(body)

    assert set(both.versions) == held | carried
    assert set(both.dist_tags.values()) <= set(both.versions)
    assert both.modified_at == max(here.modified_at, there.modified_at)
    assert set(json.loads(bytes(both.envelope["time"]))) >= held | carried
    assert carrying.united(both, there) in {None, body}
    text = "carried" if of > at else "held"
    for version in held & carried:
        assert json.loads(bytes(both.versions[version]))["scripts"]["test"] == text


def test_nothing_new_is_no_change() -> None:
    """An older copy with fewer versions changes nothing."""
    held = read(document("1.0.0", "2.0.0", at=2))

    assert carrying.united(held, read(document("1.0.0", at=1))) is None
    assert carrying.united(held, held) is None


def test_a_newer_copy_of_all_moves_tags_back() -> None:
    """Where the newer copy has all versions, its tags count, also if they go down."""
    held = read(document("1.0.0", "2.0.0", at=1))
    newer = document("1.0.0", "2.0.0", at=2)
    newer["dist-tags"]["latest"] = "1.0.0"

    body = carrying.united(held, read(newer))

    assert body is not None
    assert again(body).dist_tags == {"latest": "1.0.0"}


def test_a_trimmed_copy_moves_latest_up_only() -> None:
    """Where the newer copy lacks versions, `latest` is the higher one; its other tags count."""
    held = document("1.0.0", "2.0.0", at=1)
    held["dist-tags"]["old"] = "1.0.0"
    carried = document("1.1.0", at=2)
    carried["dist-tags"]["old"] = "1.1.0"

    body = carrying.united(read(held), read(carried))

    assert body is not None
    assert again(body).dist_tags == {"latest": "2.0.0", "old": "1.1.0"}


def test_an_abbreviated_copy_stays_abbreviated() -> None:
    """What is united with an abbreviated copy is abbreviated, with its own `modified`."""
    held = read(packing.abbreviated(document("1.0.0", at=1)))

    body = carrying.united(held, read(document("1.0.0", "2.0.0", at=2, text="x")))

    assert body is not None
    told = json.loads(body)
    assert again(body).form is held.form
    assert told["modified"] == "2026-05-02T00:00:00.000Z"
    assert "readme" not in told
    assert "scripts" not in told["versions"]["2.0.0"]
    assert carrying.united(again(body), read(document("1.0.0", "2.0.0", at=2, text="x"))) is None


def test_a_full_copy_stays_full() -> None:
    """An abbreviated copy adds its versions to a full one, and takes nothing from it."""
    held = read(document("1.0.0", at=1, text="x"))

    body = carrying.united(held, read(packing.abbreviated(document("1.0.0", "2.0.0", at=2))))

    assert body is not None
    told = json.loads(body)
    assert told["readme"] == "# a\n"
    assert list(told["versions"]) == ["1.0.0", "2.0.0"]


def test_other_promises_disagree() -> None:
    """Another integrity, or shasum, of one version is found; what only one of both says is not."""
    held, other, old = document("1.0.0"), document("1.0.0"), document("1.0.0")
    other["versions"]["1.0.0"]["dist"]["integrity"] = packing.sri(b"other")
    del old["versions"]["1.0.0"]["dist"]["integrity"]

    found = carrying.disagreement(read(held), read(other))

    assert found is not None
    assert found[0] == "1.0.0"
    assert found[1] != found[2]
    assert found[1].startswith("sha512 ")
    assert carrying.disagreement(read(held), read(held)) is None
    assert carrying.disagreement(read(held), read(old)) is None
    old["versions"]["1.0.0"]["dist"]["shasum"] = "0" * 40
    assert carrying.disagreement(read(held), read(old)) is not None
    assert carrying.disagreement(read(held), read(document("2.0.0"))) is None


def test_keys_are_never_taken_away() -> None:
    """Of two documents each key is kept, with its end if either knows of one."""
    a, b = {"keyid": "a", "expires": None}, {"keyid": "b", "expires": None}
    ended = {"keyid": "a", "expires": "2025-01-01T00:00:00.000Z"}
    old, new = (json.dumps({"keys": keys}).encode() for keys in ([a], [ended, b]))

    assert carrying.united_keys(None, old) == old
    assert carrying.united_keys(old, old) is None
    assert carrying.united_keys(old, new) == new
    assert carrying.united_keys(new, old) is None
    both = carrying.united_keys(json.dumps({"keys": [b]}).encode(), old)
    assert both is not None
    assert json.loads(both) == {"keys": [a, b]}
    assert carrying.united_keys(both, old) is None
    assert carrying.united_keys(old, b'{"keys":7}') is None


def test_what_is_attested() -> None:
    """Only a `dist.attestations` that is there says that there are any."""
    assert carrying.is_attested(b'{"dist":{"attestations":{"url":"x"}}}')
    assert not carrying.is_attested(b'{"dist":{"attestations":null}}')
    assert not carrying.is_attested(b'{"dist":{}}')
    assert not carrying.is_attested(b'{"attestations":{}}')
    assert not carrying.is_attested(b"7")
