"""A name that lives at an uplink and here: one document, and one owner for each version."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.npm.policy import Rules
from proxy.storage.hosting import Deed
from proxy.web import keys
from tests.fakes import faults, packing
from tests.fakes.uplink import FakeUplink
from tests.owned import OURS, REST, Owned, owned
from tests.registry import ABBREVIATED, FULL, Clock

NAME = "lodash"


@pytest.fixture
async def fork(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Owned]:
    """A registry where lodash is merged; the uplink has 1.0.0 and 2.0.0 of it."""
    for version in ("1.0.0", "2.0.0"):
        uplink.publish(NAME, version, files={"who.txt": b"theirs"}, homepage="https://a.example")
    async with owned(tmp_path / "data", uplink, clock) as running:
        yield running


def files_of(fork: Owned) -> dict[str, bytes]:
    """The uplink's tarballs by version."""
    return {
        version: fork.uplink.tarballs[f"/{NAME}/-/{NAME}-{version}.tgz"]
        for version in fork.uplink.packages[NAME]["versions"]
    }


@pytest.mark.parametrize("accept", [FULL, ABBREVIATED])
async def test_versions_of_both(fork: Owned, accept: str) -> None:
    """Local versions stand beside the uplink's, and a local one takes the place of its number."""
    ours = await fork.publish(NAME, "2.0.0")
    await fork.publish(NAME, "2.0.1", tag="patched")

    found = await fork.document(NAME, accept=accept)

    assert list(found["versions"]) == ["1.0.0", "2.0.0", "2.0.1"]
    assert found["versions"]["2.0.0"]["dist"]["integrity"] == packing.sri(ours)
    theirs = fork.uplink.packages[NAME]["versions"]["1.0.0"]
    assert found["versions"]["1.0.0"]["dist"]["integrity"] == theirs["dist"]["integrity"]
    for version, manifest in found["versions"].items():
        address = f"{fork.registry.url}/{NAME}/-/{NAME}-{version}.tgz"
        assert manifest["dist"]["tarball"] == address


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0", "2.0.1", "0.9.0"])
async def test_packument_manifest_and_tarball_agree(fork: Owned, version: str) -> None:
    """Whoever owns a version in the packument owns its manifest and its tarball too."""
    await fork.publish(NAME, "2.0.0")
    await fork.publish(NAME, "2.0.1")
    fork.uplink.publish(NAME, "0.9.0", tag=None)

    promised = (await fork.document(NAME))["versions"][version]["dist"]["integrity"]
    manifest = (await fork.get(f"/{NAME}/{version}")).json()
    tarball = await fork.get(f"/{NAME}/-/{NAME}-{version}.tgz")

    assert manifest["dist"]["integrity"] == promised
    assert packing.sri(tarball.body) == promised


async def test_a_tarball_that_was_mirrored_before(fork: Owned) -> None:
    """A local version's tarball is ours from its publish on, whatever of the uplink's is held."""
    path = f"/{NAME}/-/{NAME}-2.0.0.tgz"
    before = [await fork.get(path) for _ in range(2)]

    ours = await fork.publish(NAME, "2.0.0")
    after = [await fork.get(each) for each in (path, f"/{NAME}/download/{NAME}-2.0.0.tgz", path)]

    assert {answer.body for answer in before} == {files_of(fork)["2.0.0"]}
    assert {answer.body for answer in after} == {ours}


@pytest.mark.parametrize(
    ("theirs", "ours", "latest"),
    [
        ("2.0.0", "2.0.1", "2.0.1"),
        ("2.0.0", "1.9.0", "2.0.0"),
        ("2.0.0", "3.0.0-beta.1", "2.0.0"),
        ("3.0.0-rc.1", "1.0.1", "1.0.1"),
        ("3.0.0-rc.1", "3.0.0-rc.2", "3.0.0-rc.2"),
        ("3.0.0-rc.10", "3.0.0-rc.9", "3.0.0-rc.10"),
        ("2.0.0", "2.0.0", "2.0.0"),
    ],
)
async def test_latest(fork: Owned, theirs: str, ours: str, latest: str) -> None:
    """`latest` is the higher of the two in npm's order, a prerelease only if both are."""
    fork.uplink.publish(NAME, theirs)
    await fork.publish(NAME, ours)

    document = await fork.document(NAME)
    tags = (await fork.get(f"/-/package/{NAME}/dist-tags")).json()
    manifest = (await fork.get(f"/{NAME}/latest")).json()

    assert document["dist-tags"] == tags
    assert tags["latest"] == manifest["version"] == latest


async def test_dist_tags_of_both(fork: Owned) -> None:
    """The uplink's tags are there, and a local one wins over the same tag."""
    fork.uplink.publish(NAME, "3.0.0-a", tag="next")
    fork.uplink.publish(NAME, "1.5.0", tag="old")
    await fork.publish(NAME, "2.0.1")
    await fork.publish(NAME, "3.0.0-b", tag="next")

    tags = (await fork.document(NAME))["dist-tags"]
    named = [(await fork.get(f"/{NAME}/{tag}")).json()["version"] for tag in tags]

    assert tags == {"latest": "2.0.1", "next": "3.0.0-b", "old": "1.5.0"}
    assert named == list(tags.values())


async def test_time_is_complete(fork: Owned) -> None:
    """Every version has its instant, modified is the later one, created the earlier one."""
    await fork.publish(NAME, "2.0.1")

    found = await fork.document(NAME)

    theirs = fork.uplink.packages[NAME]["time"]
    assert found["time"].keys() == {"created", "modified", *found["versions"]}
    assert found["time"]["created"] == theirs["created"]
    assert found["time"]["1.0.0"] == theirs["1.0.0"]
    assert found["time"]["modified"] == found["time"]["2.0.1"] > theirs["modified"]


@pytest.mark.parametrize(("version", "owner"), [("2.0.1", "ours"), ("1.0.1", "theirs")])
async def test_described_by_who_owns_latest(fork: Owned, version: str, owner: str) -> None:
    """Readme and description are of whoever `latest` is of; unknown fields come along."""
    fork.uplink.packages[NAME] |= {"readme": "theirs", "description": "theirs", "x-new": {"a": 1.5}}
    await fork.publish(NAME, version, readme="ours", description="ours")

    found = await fork.document(NAME)

    assert (found["readme"], found["description"]) == (owner, owner)
    assert found["x-new"] == {"a": 1.5}


async def test_what_comes_back_with_a_change_is_ours(fork: Owned) -> None:
    """`_rev` and the maintainers, which clients send back, are of the part they can change."""
    await fork.publish(NAME, "2.0.1")

    found = await fork.document(NAME)

    assert found["_rev"] == await fork.hosted.revision_of(NAME)
    assert [each["name"] for each in found["maintainers"]] == ["ann"]


async def test_nothing_published_yet(fork: Owned) -> None:
    """Until something is published the answers are the uplink's."""
    found = await fork.document(NAME)
    tags = (await fork.get(f"/-/package/{NAME}/dist-tags")).json()
    manifest = await fork.get(f"/{NAME}/v1.0.0")

    assert list(found["versions"]) == ["1.0.0", "2.0.0"]
    assert tags == {"latest": "2.0.0"}
    assert manifest.json()["version"] == "1.0.0"


async def test_the_uplink_has_no_such_package(fork: Owned) -> None:
    """A fork of what the uplink has not is our part alone, and nothing about it is stale."""
    ours = await fork.publish("@fork/own", "1.0.0")

    found = await fork.get("/@fork%2fown", accept=FULL)
    tags = await fork.get("/-/package/@fork%2fown/dist-tags")
    statuses = [
        (await fork.get(f"/@fork/own/{spec}")).status for spec in ("1.0.0", "latest", "v1.0.0", "2")
    ]
    tarball = await fork.get("/@fork/own/-/own-1.0.0.tgz")

    assert list(found.json()["versions"]) == ["1.0.0"]
    assert "stale" not in found.headers["Cache-Status"]
    assert tags.json() == {"latest": "1.0.0"}
    assert statuses == [200, 200, 200, 404]
    assert tarball.body == ours


async def test_the_uplink_is_away(fork: Owned) -> None:
    """While the uplink is away and nothing of it is held, our part is served and says stale."""
    ours = await fork.publish(NAME, "2.0.1")
    await fork.uplink.stop()

    found = await fork.get(f"/{NAME}", accept=FULL)
    tagged = await fork.get(f"/{NAME}/latest")
    tarball = await fork.get(f"/{NAME}/-/{NAME}-2.0.1.tgz")
    theirs = await fork.get(f"/{NAME}/1.0.0")

    assert list(found.json()["versions"]) == ["2.0.1"]
    assert "stale" in found.headers["Cache-Status"]
    assert "stale" in tagged.headers["Cache-Status"]
    assert tarball.body == ours
    assert theirs.status in {502, 503, 504}


async def test_the_uplink_goes_away_later(fork: Owned) -> None:
    """What was mirrored before the uplink went away goes on being merged, as stale."""
    await fork.publish(NAME, "2.0.1")
    before = await fork.get(f"/{NAME}", accept=FULL)
    for version in ("1.0.0", "2.0.0"):
        await fork.get(f"/{NAME}/-/{NAME}-{version}.tgz")
    await fork.uplink.stop()
    fork.registry.clock.advance(hours=5)

    after = await fork.get(f"/{NAME}", accept=FULL)

    assert after.body == before.body
    assert after.headers["ETag"] == before.headers["ETag"]
    assert "stale" in after.headers["Cache-Status"]


async def test_the_etag_is_of_both(fork: Owned) -> None:
    """A write of either part gives another ETag; nothing else does, and a 304 follows from it."""
    await fork.publish(NAME, "2.0.1")
    tags = []
    for change in (None, "ours", None, "theirs", None):
        if change == "ours":
            await fork.publish(NAME, "2.0.2")
        if change == "theirs":
            fork.uplink.publish(NAME, "1.1.0", tag=None)
            fork.registry.clock.advance(hours=1)
        tags.append((await fork.get(f"/{NAME}", accept=FULL)).headers["ETag"])

    same = await fork.get(f"/{NAME}", accept=FULL, if_none_match=tags[-1])
    other = await fork.get(f"/{NAME}", accept=ABBREVIATED, if_none_match=tags[-1])

    assert tags[1] == tags[2] != tags[0]
    assert tags[3] == tags[4] != tags[2]
    assert same.status == 304
    assert other.status == 200


async def test_not_for_shared_caches(fork: Owned) -> None:
    """A document with a part that lives here may not be kept by a cache that many share."""
    await fork.publish(NAME, "2.0.1")

    found = await fork.get(f"/{NAME}", accept=FULL)

    assert found.headers["Cache-Control"] == "private, no-cache"
    assert "Last-Modified" not in found.headers


async def test_unpublished_again(fork: Owned) -> None:
    """When the local part is removed the uplink's is the whole again, tarball and all."""
    await fork.publish(NAME, "2.0.0")
    ours = await fork.document(NAME)
    await fork.hosted.remove_package(NAME, Deed("ann", fork.registry.clock.now()))
    theirs = await fork.document(NAME)
    tarball = await fork.get(f"/{NAME}/-/{NAME}-2.0.0.tgz")

    assert ours["versions"]["2.0.0"]["dist"] != theirs["versions"]["2.0.0"]["dist"]
    assert tarball.body == files_of(fork)["2.0.0"]


async def test_attestations_go_with_the_version(fork: Owned) -> None:
    """A local version has its own provenance or none, never that of the uplink's version."""
    fork.uplink.attestations = {
        f"{NAME}@{version}": [{"predicateType": "theirs"}] for version in ("1.0.0", "2.0.0")
    }
    await fork.publish(NAME, "2.0.0")

    theirs = await fork.get(f"/-/npm/v1/attestations/{NAME}@1.0.0")
    ours = await fork.get(f"/-/npm/v1/attestations/{NAME}@2.0.0")

    assert theirs.status == 200
    assert ours.status == 404
    assert fork.uplink.count(f"/-/npm/v1/attestations/{NAME}@2.0.0") == 0


async def test_a_big_one_is_merged_beside_the_loop(fork: Owned) -> None:
    """A document of megabytes is merged once for all who ask, while others are answered."""
    blob = os.urandom(3000).hex()
    for number in range(1000):
        fork.uplink.packages[NAME]["versions"][f"1.0.{number}"] = {
            "name": NAME, "version": f"1.0.{number}", "x": f"{number}{blob}",
            "dist": {"integrity": "sha512-AA==", "shasum": "00", "tarball": "https://a.example/x"},
        }  # fmt: skip
    await fork.publish(NAME, "2.0.1")

    answers, pings = await asyncio.gather(
        asyncio.gather(*(fork.get(f"/{NAME}", accept=FULL) for _ in range(5))),
        asyncio.gather(*(fork.get("/-/ping") for _ in range(20))),
    )
    again = await fork.get(f"/{NAME}", accept=FULL)

    assert {answer.status for answer in (*answers, *pings)} == {200}
    assert len({answer.body for answer in (*answers, again)}) == 1
    assert len(again.json()["versions"]) == 1002
    assert again.json()["versions"]["1.0.7"]["x"] == f"7{blob}"


async def test_rules_that_change(fork: Owned) -> None:
    """When the rule no longer merges, what was published here stays, alone."""
    await fork.publish(NAME, "2.0.1")
    before = await fork.document(NAME)
    assert fork.registry.app is not None
    fork.registry.app[keys.ROUTING].replace(Rules((OURS, REST)))

    after = await fork.get(f"/{NAME}", "ann", accept=FULL)

    assert list(before["versions"]) == ["1.0.0", "2.0.0", "2.0.1"]
    assert list(after.json()["versions"]) == ["2.0.1"]


async def test_a_broken_uplink_is_no_uplink(fork: Owned) -> None:
    """An answer of the uplink that is no packument leaves our part standing."""
    await fork.publish(NAME, "2.0.1")
    fork.uplink.script(f"/{NAME}", faults.body(b"<html>"), forever=True)

    found = await fork.get(f"/{NAME}", accept=FULL)

    assert list(found.json()["versions"]) == ["2.0.1"]
    assert "stale" in found.headers["Cache-Status"]
