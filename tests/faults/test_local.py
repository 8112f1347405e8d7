"""Faults of our own machine: full disks, lost folders, damaged files, descriptors, restarts.

Rows 43, 49, 60, 61 and 68 of the fault matrix. (52, 53: test_kill; 62 and 53: test_workers; 63, 64:
test_drain; 67: test_logs_and_metrics.)
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.fakes import rawhttp
from tests.fakes.uplink import FakeUplink
from tests.process import FULL, Process

LARGE = "/large/-/large-1.0.0.tgz"
SMALL = "/small/-/small-1.0.0.tgz"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, really mounted: needs root, as `scripts/test` has in CI."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(autouse=True)
def published(uplink: FakeUplink) -> None:
    """A tarball that is kept in memory, and one that is not."""
    uplink.publish("large", "1.0.0", files={"data": os.urandom(1_000_000)})
    uplink.publish("small", "1.0.0", files={"data": b"x"})


@pytest.mark.parametrize("workers", [1, 2])
async def test_row_43_a_full_disk_keeps_nothing_and_stops_nothing(
    disk: Path, uplink: FakeUplink, workers: int
) -> None:
    """With the disk full a tarball is passed through whole; with room again it is kept."""
    async with Process(disk, uplink.url, workers=workers) as process:
        await process.get(SMALL)
        await process.get("/large", FULL)
        ballast = _fill(disk, leave_bytes=200_000)

        passed = [await process.get(LARGE) for _ in range(3)]
        kept = await process.get(SMALL)
        left = list((process.data / "incoming").iterdir())
        asked_while_full = uplink.count(LARGE)
        died = process.events("worker died")
        ballast.unlink()
        again = [await process.get(LARGE), await process.held(LARGE)]

    data = uplink.tarballs[LARGE]
    assert [(reply.status, reply.body == data) for reply in passed] == [(200, True)] * 3
    assert kept.status == 200
    assert left == []
    assert died == []
    assert asked_while_full >= 3
    assert [reply.body == data for reply in again] == [True, True]


@pytest.mark.parametrize("workers", [1, 2])
async def test_row_49_it_recovers_when_descriptors_ran_out(
    tmp_path: Path, uplink: FakeUplink, workers: int
) -> None:
    """200 clients at once with 64 descriptors wait their turn, and later all is well."""
    prefix = ("prlimit", "--nofile=64")
    async with Process(tmp_path, uplink.url, workers=workers, prefix=prefix) as process:
        crowd = [asyncio.create_task(_try(process, LARGE)) for _ in range(200)]
        replies = [reply for reply in await asyncio.gather(*crowd) if reply is not None]
        living = process.workers()
        async with asyncio.timeout(5):
            while (await _try(process, "/-/ready") or _NONE).status != 200:
                await asyncio.sleep(0.05)
        after = [await process.get(path) for path in (LARGE, SMALL, "/large")]

    data = uplink.tarballs[LARGE]
    assert {reply.status for reply in replies} <= {200, 503}
    assert len(replies) > 150
    assert all(reply.body == data for reply in replies if reply.status == 200)
    assert [reply.status for reply in after] == [200, 200, 200]
    assert after[0].body == data
    assert len(living) == (0 if workers == 1 else workers)
    assert process.events("worker died") == []


@pytest.mark.parametrize("lost", ["cache", "blobs", "incoming", ""])
async def test_row_60_a_folder_that_is_removed_is_made_anew(
    tmp_path: Path, uplink: FakeUplink, lost: str
) -> None:
    """A part of the data folder, or all of it, removed under a running server: fetched again."""
    paths = ["/large", LARGE, "/small", SMALL]
    # One worker: a second one may hold in memory what the first would have to fetch once more.
    async with Process(tmp_path, uplink.url) as process:
        for path in paths * 3:
            await process.get(path, FULL)
        await process.held(LARGE)
        shutil.rmtree(process.data / lost)

        after = [await process.get(path, FULL) for path in paths * 3]
        await process.held(LARGE)
        await process.held(SMALL)
        await uplink.stop()
        kept = [await process.get(path, FULL) for path in paths]
        await uplink.start()
        await process.end()
        await process.start()
        restarted = [await process.get(path, FULL) for path in paths]

    assert {reply.status for reply in after + kept + restarted} == {200}
    assert all(replies[1].body == uplink.tarballs[LARGE] for replies in (after, kept, restarted))


@pytest.mark.parametrize("path", [LARGE, SMALL])
async def test_row_61_a_truncated_tarball_is_fetched_again(
    tmp_path: Path, uplink: FakeUplink, path: str
) -> None:
    """A blob that has lost its end is not served."""
    data = uplink.tarballs[path]
    async with Process(tmp_path, uplink.url) as process:
        await process.get(path)
        await _restarted(process)
        with _blob(process, data).open("r+b") as file:
            file.truncate(len(data) // 2)

        reply = await process.get(path)

    assert reply.body == data
    assert uplink.count(path) == 2


async def test_row_61_a_flipped_bit_in_a_packument_is_noticed(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A packument body whose bytes have changed is fetched again, not parsed as it is."""
    async with Process(tmp_path, uplink.url) as process:
        before = await process.get("/large", FULL)
        await _restarted(process)
        shutil.rmtree(process.data / "cache")
        for body in (process.data / "blobs").rglob("*"):
            if body.is_file():
                damaged = bytearray(body.read_bytes())
                damaged[len(damaged) // 2] ^= 1
                body.write_bytes(damaged)

        after = await process.get("/large", FULL)

    assert after.status == 200
    # The restart has another port, and so other links.
    assert len(after.body) == len(before.body)


async def test_row_68_a_storm_of_restarts_loses_nothing(tmp_path: Path, uplink: FakeUplink) -> None:
    """Restarted over and over, with and without a farewell, it has what it had."""
    process = Process(tmp_path, uplink.url, workers=2)
    statuses = []
    try:
        for number in range(6):
            await process.start()
            reply = await process.held(LARGE)
            assert reply.body == uplink.tarballs[LARGE]
            statuses.append(await process.stop() if number % 2 else await process.end())
    finally:
        await process.end()

    assert uplink.count(LARGE) == 1
    assert statuses == [None, 0] * 3


_NONE = rawhttp.RawReply(0, "", {}, b"", is_complete=False)


async def _try(process: Process, path: str) -> rawhttp.RawReply | None:
    """A whole answer, or None."""
    with suppress(ConnectionError, TimeoutError):
        reply = await rawhttp.send(process.port, rawhttp.get(path), timeout=20)
        return reply if reply is not None and reply.is_complete else None
    return None


async def _restarted(process: Process) -> None:
    """Start it anew, so that nothing is in memory."""
    await process.stop()
    await process.start()


def _blob(process: Process, data: bytes) -> Path:
    digest = hashlib.sha512(data).hexdigest()
    return process.data / "blobs" / digest[:2] / digest


def _fill(disk: Path, *, leave_bytes: int) -> Path:
    """Take all the room there is but a little; what is returned gives it back."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(ballast, ballast.stat().st_size - leave_bytes)
    return ballast
