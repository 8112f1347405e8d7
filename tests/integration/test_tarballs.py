"""Tarballs over HTTP: streamed while they come, verified before they are kept, and never mixed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import expectations as expect
from tests.fakes import faults, packing
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry

LARGE = 256 * 1024 * 1024 * 1024 * 1024


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry in which nothing times out."""
    async with expect.patient(tmp_path / "data", uplink, clock) as running:
        yield running


@pytest.fixture
async def full_disk(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry whose disk is below its floor of free space."""
    full = expect.patient(tmp_path / "full", uplink, clock)
    full.set("cache", min_free_bytes=LARGE)
    async with full:
        yield full


async def test_streamed_while_it_comes(registry: Registry, uplink: FakeUplink) -> None:
    """The first bytes reach the client while the last ones have not left the uplink."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.stall_mid_body)

    async with registry.session.get(registry.url + expect.TARBALL) as reply:
        first = await reply.content.readexactly(50_000)

    assert reply.headers["Content-Length"] == str(len(data))
    assert data.startswith(first)


async def test_a_hit_asks_nobody(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball that is held is sent a year later without a word to the uplink."""
    data = expect.publish(uplink)
    small = uplink.publish("tiny", "1.0.0")
    for path in (expect.TARBALL, "/tiny/-/tiny-1.0.0.tgz"):
        await registry.get(path)
    asked = uplink.count()
    registry.clock.advance(days=365)

    answers = [await registry.get(path) for path in (expect.TARBALL, "/tiny/-/tiny-1.0.0.tgz") * 3]

    assert [answer.body for answer in answers] == [data, small] * 3
    assert {answer.headers["Cache-Status"] for answer in answers} == {"packhouse; hit"}
    assert uplink.count() == asked


async def test_kept_over_a_restart(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball is kept over a restart, with its entity tag."""
    data = expect.publish(uplink)
    before = await registry.get(expect.TARBALL)
    await registry.restart()
    await uplink.stop()

    after = await registry.get(expect.TARBALL)

    assert after.body == before.body == data
    assert after.headers["ETag"] == before.headers["ETag"]


async def test_a_file_name_in_two_scopes_never_mixes(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Packages of one bare name have files of one name, and each keeps its own bytes."""
    names = ["ui", "@a/ui", "@b/ui"]
    expected = {
        name: uplink.publish(name, "1.0.0", files={"who": name.encode() * 9}) for name in names
    }
    paths = {name: f"/{name}/-/ui-1.0.0.tgz" for name in names}

    cold = await asyncio.gather(*[registry.get(paths[name]) for name in names * 5])
    warm = [await registry.get(paths[name]) for name in names]

    assert [answer.body for answer in cold] == [expected[name] for name in names * 5]
    assert [answer.body for answer in warm] == [expected[name] for name in names]
    assert len(set(expected.values())) == 3


@pytest.mark.parametrize("is_other", [False, True])
async def test_other_bytes_of_the_same_shasum(
    registry: Registry, uplink: FakeUplink, is_other: bool
) -> None:
    """What came first under a shasum is remembered: later on other bytes of it are refused.

    Two files of one SHA-1 are too dear to make here, so it is what is remembered that is exchanged.
    """
    data = uplink.publish("old", "1.0.0", dist={"integrity": ""})
    assert (await registry.get("/old/-/old-1.0.0.tgz")).body == data
    await registry.idle()
    await registry.stop()
    folder = registry.config.storage.path
    shutil.rmtree(folder / "blobs")
    with closing(sqlite3.connect(folder / "index.sqlite")) as db, db:
        noted = db.execute("SELECT name, file, digest FROM firsts").fetchall()
        if is_other:
            db.execute("UPDATE firsts SET digest = ?", ("ab" * 64,))
    await registry.start()

    again = await registry.get("/old/-/old-1.0.0.tgz")

    assert noted == [("old", "old-1.0.0.tgz", hashlib.sha512(data).hexdigest())]
    assert again.status == (502 if is_other else 200)
    assert again.json()["code"] == "E_INTEGRITY" if is_other else again.body == data


async def test_an_old_tarball_with_a_shasum_only(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball of before there was an integrity is judged by its shasum."""
    data = uplink.publish("old", "1.0.0", dist={"integrity": ""})
    path = "/old/-/old-1.0.0.tgz"
    uplink.script(path, faults.wrong_bytes)

    wrong, right = await registry.get(path), await registry.get(path)

    assert (wrong.status, right.status) == (502, 200)
    assert right.body == data


async def test_a_wrong_integrity_is_never_kept(registry: Registry, uplink: FakeUplink) -> None:
    """Whatever the shasum says, bytes that do not match the integrity are refused every time."""
    other = packing.sri(b"something else")
    data = uplink.publish("ui", "1.0.0", dist={"integrity": other})

    answers = [await registry.get(expect.TARBALL) for _ in range(3)]

    assert [answer.status for answer in answers] == [502] * 3
    assert not expect.has(registry, data)
    assert uplink.count(expect.TARBALL) == 3


# --- what the uplink has not ----------------------------------------------------------------------


async def test_a_listed_tarball_that_is_missing_forces_a_refresh(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A tarball that the packument lists and the uplink has not makes us read the packument anew.

    It is asked for without validators: registries have taken versions away under the same ETag.
    """
    expect.publish(uplink)
    expect.publish(uplink, "2.0.0")
    await registry.packument("ui")
    document = uplink.packages["ui"]
    del document["versions"]["2.0.0"], uplink.tarballs["/ui/-/ui-2.0.0.tgz"]
    document["dist-tags"] = {"latest": "1.0.0"}

    answer = await registry.get("/ui/-/ui-2.0.0.tgz")
    packument = await registry.packument("ui")

    assert answer.status == 404
    assert list(packument.json()["versions"]) == ["1.0.0"]
    last = [request for request in uplink.requests if request.path == "/ui"][-1]
    assert not {"if-none-match", "if-modified-since"} & set(last.headers)


async def test_a_missing_tarball_is_not_asked_for_again_and_again(
    registry: Registry, uplink: FakeUplink
) -> None:
    """The uplink's 404 for a tarball it lists is believed for a minute, by all who want it."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    del uplink.tarballs[expect.TARBALL]

    answers = await asyncio.gather(*[registry.get(expect.TARBALL) for _ in range(20)])
    answers += [await registry.get(expect.TARBALL) for _ in range(3)]
    asked = uplink.count(expect.TARBALL), uplink.count("/ui")
    uplink.tarballs[expect.TARBALL] = data
    registry.clock.advance(seconds=61)
    mended = await registry.get(expect.TARBALL)

    assert {answer.status for answer in answers} == {404}
    assert asked[0] == 1
    assert asked[1] - asked[0] <= 4
    assert (mended.status, mended.body == data) == (200, True)


async def test_a_tarball_that_nobody_lists(registry: Registry, uplink: FakeUplink) -> None:
    """A file that the packument does not list is a 404, and the uplink is not asked for it."""
    expect.publish(uplink)

    answers = [await registry.get(f"/ui/-/{file}") for file in ("ui-9.9.9.tgz", "other-1.0.0.tgz")]

    assert [answer.status for answer in answers] == [404, 404]
    assert uplink.count() == 1


async def test_an_outage_during_the_forced_refresh(registry: Registry, uplink: FakeUplink) -> None:
    """When the packument cannot be read anew, the uplink's 404 for the tarball still stands."""
    expect.publish(uplink)
    await registry.packument("ui")
    del uplink.tarballs[expect.TARBALL]
    uplink.script("/ui", faults.html, forever=True)

    answer = await registry.get(expect.TARBALL)

    assert answer.status == 404


# --- what is lost on our disk ---------------------------------------------------------------------


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("damage", ["deleted", "truncated"])
async def test_rows_60_and_61_a_tarball_that_is_lost(
    registry: Registry, uplink: FakeUplink, size: str, damage: str
) -> None:
    """A tarball whose file is gone or cut short on disk is fetched again, and whole."""
    files = {"noise": expect.NOISE} if size == "large" else {}
    data = uplink.publish("ui", "1.0.0", files=files)
    await registry.get(expect.TARBALL)
    path = _blob(registry, data)
    path.unlink() if damage == "deleted" else os.truncate(path, len(data) // 2)
    await registry.restart()

    answer = await registry.get(expect.TARBALL)

    assert (answer.status, answer.body == data) == (200, True)
    assert path.read_bytes() == data
    assert uplink.count(expect.TARBALL) == 2


async def test_row_61_a_small_tarball_with_a_flipped_bit(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A small tarball is judged each time it is read into memory: a flipped bit is mended."""
    data = uplink.publish("ui", "1.0.0")
    await registry.get(expect.TARBALL)
    path = _blob(registry, data)
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    await registry.restart()

    answer = await registry.get(expect.TARBALL)

    assert (answer.status, answer.body) == (200, data)
    assert path.read_bytes() == data


async def test_row_60_the_whole_folder_is_deleted_while_we_run(
    registry: Registry, uplink: FakeUplink
) -> None:
    """When all blobs vanish under a running registry, everything is fetched again."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    await registry.get(expect.TARBALL)
    for path in (registry.config.storage.path / "blobs").rglob("*"):
        if path.is_file():
            path.unlink()

    tarball, packument = await registry.get(expect.TARBALL), await registry.packument("ui")

    assert (tarball.status, tarball.body == data) == (200, True)
    assert packument.status == 200


# --- a disk without room --------------------------------------------------------------------------


async def test_below_the_floor_of_free_disk(full_disk: Registry, uplink: FakeUplink) -> None:
    """Without room a tarball is passed through and not kept; every client asks for itself."""
    data = expect.publish(uplink)

    answers = [await full_disk.get(expect.TARBALL) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert all(answer.body == data for answer in answers)
    assert all("stored" not in answer.headers["Cache-Status"] for answer in answers)
    assert not expect.has(full_disk, data)
    assert expect.unfinished(full_disk) == []
    assert uplink.count(expect.TARBALL) == 2


async def test_below_the_floor_a_wrong_byte_is_seen(
    full_disk: Registry, uplink: FakeUplink
) -> None:
    """What is passed through is verified as well: large it is cut, small it is a 502."""
    expect.publish(uplink)
    small = uplink.publish("tiny", "1.0.0")
    uplink.script(expect.TARBALL, faults.wrong_bytes)
    uplink.script("/tiny/-/tiny-1.0.0.tgz", faults.wrong_bytes)

    cut = await expect.fetch(full_disk, expect.TARBALL)
    refused = await full_disk.get("/tiny/-/tiny-1.0.0.tgz")
    mended = await full_disk.get("/tiny/-/tiny-1.0.0.tgz")

    assert (cut.status, cut.is_complete) == (200, False)
    assert (refused.status, mended.body) == (502, small)


async def test_below_the_floor_a_range(full_disk: Registry, uplink: FakeUplink) -> None:
    """A range of what is passed through is the right one."""
    data = expect.publish(uplink)

    answer = await full_disk.get(expect.TARBALL, range="bytes=200000-299999")

    assert (answer.status, answer.body == data[200_000:300_000]) == (206, True)


@pytest.mark.parametrize("fault", [faults.truncate_length, faults.reset_mid_body])
async def test_below_the_floor_a_cut(
    full_disk: Registry, uplink: FakeUplink, fault: Script
) -> None:
    """What is passed through and breaks off is cut for the client too."""
    data = expect.publish(uplink)
    uplink.script(expect.TARBALL, fault, forever=True)

    got = await expect.fetch(full_disk, expect.TARBALL)

    assert (got.status, got.is_complete) == (200, False)
    assert data.startswith(got.body)


# --- a packument of 60 MB -------------------------------------------------------------------------


async def test_a_giant_packument(registry: Registry, uplink: FakeUplink) -> None:
    """A packument of more than 60 MB is served, and a ping is answered all the while."""
    document = _giant(uplink)
    serving = asyncio.create_task(_size(registry, "/giant"))
    pings = 0
    while not serving.done():
        assert (await registry.get("/-/ping")).status == 200
        pings += 1
        await asyncio.sleep(0.01)

    status, size_bytes = await serving
    again = await _size(registry, "/giant")
    manifest = await registry.get("/giant/1.0.7")

    assert (status, again[0]) == (200, 200)
    assert size_bytes == again[1] > 60_000_000
    assert pings > 10
    assert manifest.json()["scripts"] == document["versions"]["1.0.7"]["scripts"]
    assert [request.path for request in uplink.requests].count("/giant") == 1


def _giant(uplink: FakeUplink) -> dict[str, Any]:
    uplink.publish("giant", "1.0.0")
    document = uplink.packages["giant"]
    manifest = document["versions"]["1.0.0"]
    noise = random.Random(3).randbytes(2_000).hex()
    for number in range(1, 15_500):
        version = f"1.0.{number}"
        dist = {
            **manifest["dist"],
            "tarball": f"{uplink.url}/giant/-/giant-{version}.tgz",
        }
        scripts = {"build": noise + version}
        fields = {"version": version, "scripts": scripts, "dist": dist}
        document["versions"][version] = {**manifest, **fields}
    return document


async def _size(registry: Registry, path: str) -> tuple[int, int]:
    """The status, and how many bytes there are without coding; they are not held."""
    connector = aiohttp.TCPConnector(force_close=True)
    size_bytes = 0
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(registry.url + path, headers={"accept-encoding": "gzip"}) as reply,
    ):
        async for piece in reply.content.iter_any():
            size_bytes += len(piece)
        return reply.status, size_bytes


def _blob(registry: Registry, data: bytes) -> Path:
    found = [
        path
        for path in (registry.config.storage.path / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() == data
    ]
    assert len(found) == 1
    return found[0]
