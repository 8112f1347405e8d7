"""Blobs on a real disk: what is in the folder, and what is done to it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.errors import StorageAway
from proxy.storage.files import FileBlobs, Handle

HELLO = b"hello, world"
NAME = hashlib.sha512(HELLO).hexdigest()


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    async with FileBlobs(tmp_path) as opened:
        yield opened


def files(folder: Path) -> list[str]:
    found = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in found)


async def test_layout(blobs: FileBlobs, tmp_path: Path) -> None:
    """A blob lies under the first two digits of its digest, and nothing else is left."""
    incoming = await blobs.create("@acme/ui")
    await incoming.write(HELLO)
    unfinished = files(tmp_path)

    await incoming.commit(NAME)

    prefix = "incoming/" + hashlib.sha256(b"@acme/ui").hexdigest() + f"-x-{os.getpid()}-"
    assert [name.startswith(prefix) for name in unfinished] == [True]
    assert files(tmp_path) == [f"blobs/{NAME[:2]}/{NAME}"]
    await incoming.discard()


@pytest.mark.parametrize("folder", ["blobs", "incoming"])
async def test_removed_folder_is_made_again(blobs: FileBlobs, tmp_path: Path, folder: str) -> None:
    """A folder that is removed while we run is there again with the next write."""
    shutil.rmtree(tmp_path / folder)

    await blobs.put(HELLO, NAME)
    incoming = await blobs.create("key")
    await incoming.write(b"more")
    await incoming.commit("ab" * 64)

    assert {name async for name, _, _ in blobs.digests()} == {NAME, "ab" * 64}
    await incoming.discard()


async def test_all_folders_removed(blobs: FileBlobs, tmp_path: Path) -> None:
    """With everything removed, looking finds nothing and fails nowhere."""
    shutil.rmtree(tmp_path)

    assert await blobs.open(NAME) is None
    assert await blobs.growing("key") is None
    assert await blobs.delete(NAME) is False
    assert await blobs.sweep_incoming(datetime.now(UTC)) == 0
    assert [name async for name in blobs.digests()] == []
    assert await blobs.free_bytes() > 0
    await blobs.check()


async def test_incoming_folder_removed_under_a_writer(blobs: FileBlobs, tmp_path: Path) -> None:
    """A file whose folder was removed cannot be committed: StorageAway, and nothing is stored."""
    incoming = await blobs.create("key")
    shutil.rmtree(tmp_path / "incoming")
    await incoming.write(HELLO)

    with pytest.raises(StorageAway):
        await incoming.commit(NAME)

    assert await blobs.open(NAME) is None


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe"])
async def test_what_is_no_plain_file_is_no_blob(
    blobs: FileBlobs, tmp_path: Path, kind: str
) -> None:
    """A link, a folder or a pipe in a blob's place is absent, and storing the blob mends that."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"hello, World")  # as long as the blob
    place = blobs.path(NAME)
    place.parent.mkdir()
    match kind:
        case "link":
            place.symlink_to(secret)
        case "dangling":
            place.symlink_to(tmp_path / "nowhere")
        case "folder":
            place.mkdir()
        case _:
            os.mkfifo(place)

    found = await blobs.open(NAME)
    listed = [name async for name, _, _ in blobs.digests()]

    assert (found, listed) == (None, [])
    if kind != "folder":
        await blobs.put(HELLO, NAME)
        assert place.read_bytes() == HELLO
        assert not place.is_symlink()
    assert secret.read_bytes() == b"hello, World"


async def test_foreign_files_are_left_alone(blobs: FileBlobs, tmp_path: Path) -> None:
    """Files that are not ours are neither listed as blobs nor swept."""
    (tmp_path / "blobs" / "notes").mkdir()
    (tmp_path / "blobs" / "notes" / "README").write_text("mine")
    (tmp_path / "blobs" / "loose").write_text("mine")
    (tmp_path / "incoming" / "keep.txt").write_text("mine")

    swept = await blobs.sweep_incoming(datetime.now(UTC) + timedelta(days=1))

    assert swept == 0
    assert [name async for name in blobs.digests()] == []
    assert len(files(tmp_path)) == 3


async def test_what_a_dead_writer_left_is_swept(blobs: FileBlobs, tmp_path: Path) -> None:
    """A part file that nobody locks is not growing, and is swept once it is old enough."""
    part = tmp_path / "incoming" / (hashlib.sha256(b"key").hexdigest() + "-5-123-abcdef.part")
    part.write_bytes(b"abc")
    hour = timedelta(hours=1)

    found = await blobs.growing("key")
    early = await blobs.sweep_incoming(datetime.now(UTC) - hour)
    late = await blobs.sweep_incoming(datetime.now(UTC) + hour)

    assert (found, early, late) == (None, 0, 1)
    assert not part.exists()


async def test_stored_again_is_young_again(blobs: FileBlobs) -> None:
    """Storing a blob that is there makes it young, so that no sweep by age takes it."""
    await blobs.put(HELLO, NAME)
    os.utime(blobs.path(NAME), (0, 0))

    await blobs.put(HELLO, NAME)

    assert blobs.path(NAME).stat().st_mtime > 1_000_000_000


async def test_forgotten_file_is_removed(blobs: FileBlobs, tmp_path: Path) -> None:
    """An unfinished file whose writer forgets it does not stay."""
    incoming = await blobs.create("key")
    await incoming.write(HELLO)

    del incoming

    assert files(tmp_path) == []


async def test_descriptor_outlives_a_cancelled_write(tmp_path: Path) -> None:
    """A write that goes on in its thread after a cancel keeps its descriptor from being reused."""
    started, gate = threading.Event(), threading.Event()
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    with ThreadPoolExecutor(1) as threads:
        handle = Handle(fd, threads)

        def write() -> None:
            started.set()
            gate.wait(10)
            os.write(fd, HELLO)

        writing = asyncio.create_task(handle.run(write))
        await asyncio.to_thread(started.wait, 10)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

        handle.close()

        other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)
        gate.set()
    await asyncio.sleep(0.01)
    assert other != fd
    assert (tmp_path / "file").read_bytes() == HELLO
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    os.close(other)


async def test_descriptors_are_given_back(blobs: FileBlobs) -> None:
    """A hundred rounds of everything leave no descriptor open."""
    before = len([*Path("/proc/self/fd").iterdir()])

    for _ in range(100):
        incoming = await blobs.create("key", 12)
        found = await blobs.growing("key")
        assert found is not None
        await incoming.write(HELLO)
        await incoming.commit(NAME)
        await incoming.discard()
        await found[0].close()
        assert await blobs.open(NAME, 3) is None
        blob = await blobs.open(NAME)
        assert blob is not None
        await blob.close()
        await blobs.delete(NAME)

    assert len([*Path("/proc/self/fd").iterdir()]) == before
