"""Versions that come without any hash: their shasum is worked out, and nothing else changes."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.press import BIG_BYTES
from proxy.web import keys
from tests.fakes import faults
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Clock, Registry

MOST_VERSIONS = 32


@pytest.fixture
async def hasty(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry whose clients wait for two seconds."""
    running = Registry(tmp_path / "data", uplink.url, clock=clock)
    running.set("uplink", deadline=timedelta(seconds=1))
    async with running:
        yield running


def publish(uplink: FakeUplink, *versions: str, name: str = "n", **fields: Any) -> list[str]:
    """Publish these versions without hashes; returns the shasums they ought to have."""
    sums = []
    for version in versions:
        data = uplink.publish(name, version, **fields)
        dist = uplink.packages[name]["versions"][version]["dist"]
        del dist["integrity"], dist["shasum"]
        sums.append(hashlib.sha1(data, usedforsecurity=False).hexdigest())
    return sums


async def stated(registry: Registry, name: str = "n", accept: str = FULL) -> dict[str, str | None]:
    """The shasum of each version as a client sees it; None where there is none."""
    reply = await registry.packument(name, accept=accept)
    assert reply.status == 200, reply.body
    versions = reply.json()["versions"]
    return {version: each["dist"].get("shasum") for version, each in versions.items()}


@pytest.mark.parametrize("readme_bytes", [0, 100_000, BIG_BYTES])
async def test_nothing_else_changes(
    registry: Registry, uplink: FakeUplink, readme_bytes: int
) -> None:
    """Bodies of every size are sent with all they came with, and the shasum besides."""
    [shasum] = publish(uplink, "1.0.0", readme="x" * readme_bytes)
    whole = uplink.packages["n"]["versions"]["1.0.0"]

    entry = (await registry.packument("n")).json()["versions"]["1.0.0"]

    del entry["dist"]["tarball"]
    assert entry["dist"].pop("shasum") == shasum
    assert entry == whole | {"dist": {k: v for k, v in whole["dist"].items() if k != "tarball"}}


@pytest.mark.parametrize("none", ["", None, False])
async def test_a_shasum_that_is_none_is_replaced(
    registry: Registry, uplink: FakeUplink, none: object
) -> None:
    """An empty shasum, or one that is no string, gives way to the true one."""
    [shasum] = publish(uplink, "1.0.0")
    uplink.packages["n"]["versions"]["1.0.0"]["dist"]["shasum"] = none

    assert await stated(registry) == {"1.0.0": shasum}


async def test_a_version_with_an_integrity_is_left_alone(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Who has one hash gets no other, and no tarball is asked for."""
    uplink.publish("n", "1.0.0")
    del uplink.packages["n"]["versions"]["1.0.0"]["dist"]["shasum"]

    assert await stated(registry) == {"1.0.0": None}
    assert uplink.count("/n/-/") == 0


@pytest.mark.parametrize(
    "fault",
    [faults.status(404), faults.status(500), faults.truncate_length, faults.chunked,
     faults.refuse, faults.black_hole],
    ids=["404", "500", "cut", "no length", "refused", "silent"],
)  # fmt: skip
async def test_what_cannot_be_fetched_stays_as_it_was(
    hasty: Registry, uplink: FakeUplink, fault: Script
) -> None:
    """A tarball that does not come leaves its version as it is, and the others get theirs."""
    first, _ = publish(uplink, "1.0.0", "1.0.1")
    uplink.script("/n/-/n-1.0.1.tgz", fault, forever=True)

    assert await stated(hasty) == {"1.0.0": first, "1.0.1": None}


async def test_a_full_disk_leaves_everything_as_it_was(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """Where no tarball may be stored none is fetched for its hash."""
    publish(uplink, "1.0.0")
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    registry.set("cache", min_free_bytes=1 << 60)

    async with registry:
        assert await stated(registry) == {"1.0.0": None}
        assert uplink.count("/n/-/") == 0


async def test_nothing_is_fetched_twice(
    registry: Registry, uplink: FakeUplink, clock: Clock
) -> None:
    """Neither a 304, nor a new document, nor the other form fetches a tarball again."""
    first, second = publish(uplink, "1.0.0", "1.0.1")
    sums = {"1.0.0": first, "1.0.1": second}
    assert await stated(registry) == sums

    clock.advance(minutes=6)
    assert await stated(registry) == sums
    assert uplink.requests[-1].headers["if-none-match"]
    [third] = publish(uplink, "1.0.2")
    clock.advance(minutes=6)

    assert await stated(registry) == sums | {"1.0.2": third}
    assert await stated(registry, accept=ABBREVIATED) == sums | {"1.0.2": third}
    assert uplink.count("/n/-/") == 3


async def test_the_other_form_fetches_nothing(registry: Registry, uplink: FakeUplink) -> None:
    """A full document that is asked for after an abbreviated one is hashed from what we hold."""
    [shasum] = publish(uplink, "1.0.0")

    short, full = await stated(registry, accept=ABBREVIATED), await stated(registry)

    assert short == full == {"1.0.0": shasum}
    assert uplink.count("/n/-/") == 1


async def test_only_the_newest_are_fetched(
    registry: Registry, uplink: FakeUplink, clock: Clock
) -> None:
    """Of many versions the tagged and the newest get a shasum, and keep it as others follow."""
    versions = [f"1.0.{number}" for number in range(MOST_VERSIONS + 8)]
    sums = dict(zip(versions, publish(uplink, *versions), strict=True))
    uplink.packages["n"]["dist-tags"] = {"latest": versions[-1], "old": "1.0.0"}
    chosen = ["1.0.0", *versions[-MOST_VERSIONS + 1 :]]

    before = await stated(registry)
    [newest] = publish(uplink, "2.0.0")
    clock.advance(minutes=6)
    after = await stated(registry)

    assert before == {version: sums[version] if version in chosen else None for version in versions}
    assert after == before | {"2.0.0": newest}
    assert uplink.count("/n/-/") == MOST_VERSIONS + 1


async def test_what_failed_is_tried_again(
    registry: Registry, uplink: FakeUplink, clock: Clock
) -> None:
    """After a fault the next answer has to be whole, so that the version gets its shasum then."""
    [shasum] = publish(uplink, "1.0.0")
    uplink.script(lambda seen: "/-/" in seen.path, faults.status(500), forever=True)
    before = await stated(registry)

    uplink.clear_scripts()
    clock.advance(minutes=6)

    assert (before, await stated(registry)) == ({"1.0.0": None}, {"1.0.0": shasum})


async def test_what_is_missing_is_not_asked_for_at_every_turn(
    registry: Registry, uplink: FakeUplink, clock: Clock
) -> None:
    """A tarball the uplink says it has not is let be until the document changes."""
    publish(uplink, "1.0.0")
    uplink.tarballs.clear()
    await stated(registry)

    clock.advance(minutes=6)

    assert await stated(registry) == {"1.0.0": None}
    assert uplink.count("/n/-/") == 1


async def test_what_was_stated_is_held_against_the_uplink(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A tarball that has to be fetched again must be the one whose shasum we told."""
    publish(uplink, "1.0.0")
    await stated(registry)
    assert registry.app is not None
    await registry.app[keys.READING]._tarballs._index.drop_tarball("n", "n-1.0.0.tgz")
    uplink.tarballs["/n/-/n-1.0.0.tgz"] = b"another one"

    reply = await registry.get("/n/-/n-1.0.0.tgz")

    assert (reply.status, reply.json()["code"]) == (502, "E_INTEGRITY")


async def test_a_damaged_tarball_is_not_hashed(registry: Registry, uplink: FakeUplink) -> None:
    """What lies damaged on our disk is fetched again before anything is said of it."""
    [shasum] = publish(uplink, "1.0.0")
    await stated(registry, accept=ABBREVIATED)
    folder = registry.config.storage.path
    digest = hashlib.sha512(uplink.tarballs["/n/-/n-1.0.0.tgz"]).hexdigest()
    [blob] = [path for path in folder.rglob("*") if path.name.endswith(digest[-64:])]
    blob.write_bytes(bytes(len(blob.read_bytes())))

    assert await stated(registry) == {"1.0.0": shasum}
    assert uplink.count("/n/-/") == 2


async def test_a_slow_tarball_does_not_make_the_uplink_slow(
    registry: Registry, uplink: FakeUplink, clock: Clock
) -> None:
    """While tarballs are hashed an old copy is sent, and other packages are asked for as ever."""
    publish(uplink, "1.0.0")
    uplink.publish("m", "1.0.0")
    for name in ("n", "m"):
        await registry.packument(name)
    publish(uplink, "1.0.1")
    uplink.publish("m", "1.0.1")
    uplink.script("/n/-/n-1.0.1.tgz", faults.black_hole, forever=True)
    clock.advance(minutes=6)

    waiting, other = await stated(registry), await stated(registry, "m")

    assert list(waiting) == ["1.0.0"]
    assert list(other) == ["1.0.0", "1.0.1"]
