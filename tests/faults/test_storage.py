"""Storage when processes are killed, disks fill up, and descriptors run out."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import resource
import sqlite3
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import proxy
from proxy.errors import StorageAway, StorageFull
from proxy.storage.base import TarballRecord
from proxy.storage.cache import Cache
from proxy.storage.files import FileBlobs, FileIncoming, Handle
from proxy.storage.leases import FileLeases
from proxy.storage.sqlite import SqliteIndex

ROOT = Path(proxy.__file__).parent.parent
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LATER = timedelta(days=1)

PRELUDE = """
import asyncio, hashlib, os, sys
from datetime import UTC, datetime
from pathlib import Path
from proxy.storage.base import TarballRecord
from proxy.storage.files import FileBlobs
from proxy.storage.leases import FileLeases
from proxy.storage.sqlite import SqliteIndex
folder = Path(sys.argv[1])
now = datetime.now(UTC)
"""

STORE_WITHOUT_END = """
async def store(index, blobs, number):
    name, data = f"p{os.getpid()}", os.urandom(1000 + number * 997 % 200_000)
    digest = hashlib.sha512(data).hexdigest()
    incoming = await blobs.create(f"{name} {number}", len(data))
    for start in range(0, len(data), 70_000):
        await incoming.write(data[start:start + 70_000])
    await incoming.commit(digest)
    await incoming.discard()
    record = TarballRecord("npm", name, f"{number}.tgz", "1.0.0", digest, len(data), now, now)
    await index.put_tarball(record)
    print(name, f"{number}.tgz", digest, flush=True)

async def main():
    async with SqliteIndex(folder / "index.sqlite") as index, FileBlobs(folder) as blobs:
        for number in range(100_000):
            await asyncio.gather(*(store(index, blobs, number * 4 + n) for n in range(4)))

asyncio.run(main())
"""

HOLD_A_LEASE = """
async def main():
    async with FileLeases(folder / "leases.lock") as leases, leases.hold("a"):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""

WRITE_AND_STALL = """
async def main():
    async with FileBlobs(folder) as blobs:
        incoming = await blobs.create("key", 100)
        await incoming.write(b"x" * 10)
        print("written", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""

WRITE_MANY_ROWS = """
async def main():
    async with SqliteIndex(folder / "index.sqlite") as index:
        for number in range(100):
            name = f"p{os.getpid()}-{number}"
            await index.put_tarball(TarballRecord("npm", name, "f", "1", "ab" * 64, 1, now, now))

asyncio.run(main())
"""


@asynccontextmanager
async def running(script: str, folder: Path) -> AsyncIterator[Process]:
    command = (sys.executable, "-c", PRELUDE + script, str(folder))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, env=env)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        return (await process.stdout.readline()).decode()


def a_tarball(name: str) -> TarballRecord:
    return TarballRecord("npm", name, f"{name}.tgz", "1.0.0", "ab" * 64, 10, NOON, NOON)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# --- killed processes ---


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """However a writer is killed, every entry it has told of is there with the right bytes."""
    told: list[list[str]] = []
    for _ in range(5):
        async with running(STORE_WITHOUT_END, tmp_path) as process:
            told.append((await line_of(process)).split())
            await asyncio.sleep(random.uniform(0.02, 0.25))
            process.kill()
            rest, _ = await process.communicate()
        told += [line.split() for line in rest.decode().splitlines(keepends=True) if "\n" in line]

    async with SqliteIndex(tmp_path / "index.sqlite") as index, FileBlobs(tmp_path) as blobs:
        for name, file, digest in told:
            record = await index.tarball(name, file)
            assert record is not None
            assert record.digest == digest
            blob = await blobs.open(digest, record.size_bytes)
            assert blob is not None
            assert hashlib.sha512(await blob.read(0, blob.size_bytes)).hexdigest() == digest
            await blob.close()
        await blobs.sweep_incoming(datetime.now(UTC) + LATER)
    assert len(told) > 20
    assert files(tmp_path / "incoming") == []
    assert not list(tmp_path.glob("*.corrupt-*"))


async def test_killed_holder_frees_its_lease(tmp_path: Path) -> None:
    """A lease that another process holds cannot be had, and can as soon as it is killed."""
    async with (
        FileLeases(tmp_path / "leases.lock") as leases,
        running(HOLD_A_LEASE, tmp_path) as process,
    ):
        await line_of(process)
        during = [await leases.try_acquire("a"), await leases.try_acquire("b")]
        process.kill()
        await process.wait()

        async with asyncio.timeout(5), leases.hold("a"):
            pass

    assert during == [False, True]


async def test_lease_file_may_be_removed(tmp_path: Path) -> None:
    """After the file of the leases is removed, whoever asks next agrees on the new one."""
    path = tmp_path / "leases.lock"
    async with FileLeases(path) as leases:
        await leases.try_acquire("old")
        path.unlink()
        async with running(HOLD_A_LEASE, tmp_path) as process:
            await line_of(process)

            theirs, ours = await leases.try_acquire("a"), await leases.try_acquire("b")

        await leases.release("old")
        await leases.release("b")
        assert (theirs, ours) == (False, True)
        assert await leases.try_acquire("old")


async def test_file_of_a_killed_writer_is_not_growing(tmp_path: Path) -> None:
    """Another process's unfinished file is found while that lives; then it is rubbish."""
    async with FileBlobs(tmp_path) as blobs:
        async with running(WRITE_AND_STALL, tmp_path) as process:
            await line_of(process)
            found = await blobs.growing("key")
            early = await blobs.sweep_incoming(datetime.now(UTC) + LATER)

        assert found is not None
        assert (found[0].size_bytes, found[1], early) == (10, 100, 0)
        await found[0].close()
        assert await blobs.growing("key") is None
        assert await blobs.sweep_incoming(datetime.now(UTC) + LATER) == 1


async def test_processes_share_one_index(tmp_path: Path) -> None:
    """Four processes that write at once lose nothing, and the file is sound afterwards."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-c", PRELUDE + WRITE_MANY_ROWS, str(tmp_path))
    writers = [await asyncio.create_subprocess_exec(*command, env=env) for _ in range(4)]

    codes = [await writer.wait() for writer in writers]

    async with SqliteIndex(tmp_path / "index.sqlite") as index:
        assert (codes, len(await index.names())) == ([0] * 4, 400)
    with sqlite3.connect(tmp_path / "index.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


# --- full disks ---


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB, really mounted: needs root, as `scripts/test` has in CI."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take all the room there is; what is returned gives it back when it is removed."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return ballast


async def test_full_disk_stores_no_part_of_a_blob(small_disk: Path) -> None:
    """A blob that does not fit is StorageFull and leaves nothing; what fits still goes in."""
    async with FileBlobs(small_disk) as blobs:
        await blobs.put(b"before", "ab" * 64)
        incoming = await blobs.create("key")

        with pytest.raises(StorageFull):
            await blobs.put(b"x" * 5_000_000, "cd" * 64)
        with pytest.raises(StorageFull):
            for _ in range(100):
                await incoming.write(b"x" * 60_000)

        assert files(small_disk) == ["ab" * 64]
        await blobs.put(b"after", "ef" * 64)
        assert await blobs.open("ef" * 64, 5) is not None


async def test_full_disk_fails_the_check(small_disk: Path) -> None:
    """With no room at all the check says StorageFull; with room again it passes."""
    async with FileBlobs(small_disk) as blobs:
        ballast = fill(small_disk)
        with pytest.raises(StorageFull):
            await blobs.check()
        free_bytes = await blobs.free_bytes()

        ballast.unlink()

        await blobs.check()
        assert (free_bytes, files(small_disk)) == (0, [])


async def test_index_on_a_full_disk(small_disk: Path) -> None:
    """An index without room is read as ever, refuses to write, and goes on when there is room."""
    async with SqliteIndex(small_disk / "index.sqlite") as index:
        await index.put_tarball(a_tarball("before"))
        ballast = fill(small_disk)

        refused = 0
        for number in range(300):  # what SQLite has set aside for its log is used up first
            try:
                await index.put_tarball(a_tarball(f"p{number:03}"))
            except StorageFull:
                refused += 1
        during = await index.tarball("before", "before.tgz")
        ballast.unlink()
        await index.put_tarball(a_tarball("after"))

        assert refused > 0
        assert during == a_tarball("before")
        assert await index.tarball("after", "after.tgz") == a_tarball("after")
        assert (await index.usage()).tarballs == len(await index.names())


async def test_cache_on_a_full_disk(small_disk: Path) -> None:
    """A cache without room keeps what it has, takes nothing, and takes again when there is room."""
    value = os.urandom(100_000)
    async with Cache(small_disk / "cache", size_limit_bytes=3_000_000) as cache:
        await cache.put("before", value)
        ballast = fill(small_disk)

        await cache.put("during", value)
        found = (await cache.get("before"), await cache.get("during"))
        ballast.unlink()
        await cache.put("after", value)

        assert found == (value, None)
        assert await cache.get("after") == value


async def test_read_only_disk(small_disk: Path) -> None:
    """On a disk that has become read-only blobs are read, not written; later all is well."""
    async with FileBlobs(small_disk) as blobs:
        await blobs.put(b"blob", "ab" * 64)
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

        with pytest.raises(StorageAway):
            await blobs.put(b"more", "cd" * 64)
        with pytest.raises(StorageAway):
            await blobs.create("key")
        with pytest.raises(StorageAway):
            await blobs.check()
        assert await blobs.open("ab" * 64, 4) is not None
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)

        await blobs.put(b"more", "cd" * 64)
        assert files(small_disk) == ["ab" * 64, "cd" * 64]


# --- failing calls ---


async def test_failed_sync_leaves_no_file(tmp_path: Path) -> None:
    """When the sync fails, neither the unfinished file nor a blob is there, for good."""
    async with FileBlobs(tmp_path) as blobs:
        part = tmp_path / "incoming" / "x.part"
        part.write_bytes(b"data")
        reader, writer = os.pipe()  # the system refuses to sync a pipe
        handle = Handle(writer, blobs._threads)
        incoming = FileIncoming(path=part, handle=handle, place=blobs.path)

        with pytest.raises(StorageAway):
            await incoming.commit("ab" * 64)

        assert files(tmp_path) == []
        with pytest.raises(StorageAway):
            await incoming.commit("ab" * 64)
        os.close(reader)


async def test_descriptors_run_out(tmp_path: Path) -> None:
    """Without a free descriptor every call is StorageAway, not absence; later all is well."""
    async with SqliteIndex(tmp_path / "index.sqlite") as index, FileBlobs(tmp_path) as blobs:
        await blobs.put(b"blob", "ab" * 64)
        await index.put_tarball(a_tarball("a"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        taken: list[int] = []
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.dup(0))
            with pytest.raises(StorageAway):
                await blobs.open("ab" * 64)
            with pytest.raises(StorageAway):
                await blobs.create("key")
            during = await index.tarball("a", "a.tgz")
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        assert during is not None
        assert await blobs.open("ab" * 64) is not None
