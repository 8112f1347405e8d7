"""Publishing on a bad disk: full, failing, or with its database locked by somebody else.

Rows 43, 44, 46, 47 and 56 of the fault matrix.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.uplink import FakeUplink
from tests.injection import injected
from tests.process import Process
from tests.publishing import UI, Publish, Publisher, a_publish, blobs, hosting

WAL = "hosted.sqlite-wal"


@dataclass
class Sick:
    """A registry whose disk is made to fail, and what was published before."""

    process: Process
    publisher: Publisher
    first: Publish

    async def fails(self, publish: Publish, *inject: str, path: str | None = None) -> str:
        """The code of the answer to a publish, with these injections."""
        where = () if path is None else ("-P", str(self.process.data / path))
        options = (word for each in inject for word in ("-e", f"inject={each}"))
        async with injected(self.process.pid, *where, *options):
            _, said = await self.publisher.put(publish.body)
        return str(said.get("code", "published"))

    async def is_as_before(self) -> bool:
        """Whether the version that was there is there alone, with its bytes."""
        _, body = await self.publisher.get(f"/{UI}/-/ui-1.0.0.tgz")
        return list(await self.publisher.versions()) == ["1.0.0"] and body == self.first.tarball

    def unfinished(self) -> list[str]:
        return [name for name in blobs(self.process) if name.endswith(".part")]


@pytest.fixture
async def sick(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Sick]:
    """One version is published, then the disk goes bad."""
    async with _published(tmp_path, uplink) as found:
        yield found


@asynccontextmanager
async def _published(folder: Path, uplink: FakeUplink) -> AsyncIterator[Sick]:
    async with (
        hosting(folder, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as publisher,
    ):
        first = a_publish("1.0.0")
        status, _ = await publisher.put(first.body)
        assert status == 201
        yield Sick(process, publisher, first)


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


def big(version: str, size_bytes: int = 1_000_000) -> Publish:
    return a_publish(version, files={"data": os.urandom(size_bytes)})


@pytest.mark.parametrize("left_bytes", [0, 300_000])
async def test_row_43_a_full_disk(disk: Path, uplink: FakeUplink, left_bytes: int) -> None:
    """On a full disk a publish is 507 and leaves nothing; with room again it succeeds."""
    async with _published(disk, uplink) as sick:
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        os.truncate(ballast, ballast.stat().st_size - left_bytes)

        status, said = await sick.publisher.put(big("1.1.0").body)
        seen, unfinished = await sick.is_as_before(), sick.unfinished()
        ballast.unlink()
        after, _ = await sick.publisher.put(big("1.1.0").body)

    assert (status, said["code"]) == (507, "E_STORAGE_FULL")
    assert (seen, unfinished, after) == (True, [], 201)


async def test_row_44_no_room_at_any_write(sick: Sick) -> None:
    """ENOSPC at a write of the tarball, or at each one of the commit: 507, nothing visible."""
    publish = big("1.1.0")
    told = [await sick.fails(publish, "pwrite64:error=ENOSPC:when=1")]
    seen = [await sick.is_as_before()]
    for number in itertools.count(1):
        told.append(await sick.fails(publish, f"pwrite64:error=ENOSPC:when={number}", path=WAL))
        if told[-1] == "published":
            break
        seen.append(await sick.is_as_before())
    versions = await sick.publisher.versions()

    assert len(told) > 2
    assert set(told[:-1]) == {"E_STORAGE_FULL"}
    assert set(seen) == {True}
    assert list(versions) == ["1.0.0", "1.1.0"]
    assert sick.unfinished() == []


@pytest.mark.parametrize(
    ("inject", "path"),
    [
        ("fsync:error=EIO:when=1", None),
        ("fsync:error=EIO", "hosted/blobs"),
        ("fdatasync:error=EIO:when=1", WAL),
        ("rename:error=EIO:when=1", None),
        ("pwrite64:error=EIO:when=1", None),
    ],
    ids=["sync of the blob", "sync of its name", "sync of the commit", "rename", "write"],
)
async def test_rows_46_and_47_a_failing_disk(sick: Sick, inject: str, path: str | None) -> None:
    """EIO at a sync, a rename or a write: 503, nothing visible, and the next try succeeds."""
    publish = big("1.1.0")

    told = await sick.fails(publish, inject, path=path)
    seen, unfinished = await sick.is_as_before(), sick.unfinished()
    after, _ = await sick.publisher.put(publish.body)
    _, body = await sick.publisher.get(f"/{UI}/-/ui-1.1.0.tgz")

    assert told == "E_STORAGE"
    assert (seen, unfinished) == (True, [])
    assert (after, body) == (201, publish.tarball)


async def test_row_56_somebody_locks_the_database(sick: Sick) -> None:
    """While the database is locked reads go on; a publish waits, and is told to come again."""
    file = sick.process.data / "hosted.sqlite"
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(sick.publisher.put(a_publish("1.1.0").body))
        await asyncio.sleep(0.3)
        reading = await sick.is_as_before()
        async with asyncio.timeout(15):
            status, said = await waiting
        other.execute("ROLLBACK")
    after, _ = await sick.publisher.put(a_publish("1.1.0").body)

    assert reading
    assert (status, said["code"]) == (503, "E_STORAGE")
    assert after == 201
