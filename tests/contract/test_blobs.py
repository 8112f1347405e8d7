"""What every Blobs keeps to, whatever it is made of."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.errors import StorageAway
from proxy.storage.base import Blobs
from proxy.storage.files import FileBlobs
from tests.fakes.memory import MemoryBlobs

HELLO = b"hello, world"
LONG = (
    bytes(range(256)) * 2048
)  # 512 KiB: past every size at which a write or read goes another way
DAY = timedelta(days=1)


@pytest.fixture(params=["files", "memory"])
async def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Blobs]:
    made = FileBlobs(tmp_path) if request.param == "files" else MemoryBlobs()
    async with made as opened:
        yield opened


def digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


async def content(blobs: Blobs, name: str) -> bytes | None:
    blob = await blobs.open(name)
    if blob is None:
        return None
    try:
        return await blob.read(0, blob.size_bytes)
    finally:
        await blob.close()


async def listed(blobs: Blobs) -> dict[str, int]:
    return {name: size async for name, size, _ in blobs.digests()}


@pytest.mark.parametrize("data", [b"", HELLO, LONG])
async def test_put_blob_comes_back(blobs: Blobs, data: bytes) -> None:
    """What was put is read back whole under its digest, be it nothing or much."""
    await blobs.put(data, digest(data))

    assert await content(blobs, digest(data)) == data


async def test_absent_blob_is_none(blobs: Blobs) -> None:
    """A digest that was never stored opens as None."""
    assert await blobs.open(digest(b"never")) is None


async def test_blob_of_another_size_is_none(blobs: Blobs) -> None:
    """A blob that has not the size it should have is as good as absent."""
    await blobs.put(HELLO, digest(HELLO))

    assert await blobs.open(digest(HELLO), len(HELLO) + 1) is None
    assert await blobs.open(digest(HELLO), len(HELLO)) is not None


@pytest.mark.parametrize(
    "name", ["", "ab", "../" * 8, "AB" * 32, "ab" * 31 + "/.", "ab" * 32 + "\n"]
)
async def test_digest_must_be_lower_hex(blobs: Blobs, name: str) -> None:
    """What is not a digest never becomes a path: it is a ValueError everywhere."""
    incoming = await blobs.create("key")

    with pytest.raises(ValueError, match="not a digest"):
        await blobs.open(name)
    with pytest.raises(ValueError, match="not a digest"):
        await blobs.put(HELLO, name)
    with pytest.raises(ValueError, match="not a digest"):
        await blobs.delete(name)
    with pytest.raises(ValueError, match="not a digest"):
        await incoming.commit(name)
    await incoming.discard()


async def test_reading_a_part(blobs: Blobs) -> None:
    """A read gives the bytes from its offset, fewer at the end, none behind it."""
    await blobs.put(HELLO, digest(HELLO))
    blob = await blobs.open(digest(HELLO))
    assert blob is not None

    parts = [await blob.read(0, 5), await blob.read(7, 100), await blob.read(100, 5)]

    assert parts == [b"hello", b"world", b""]
    assert blob.size_bytes == len(HELLO)
    await blob.close()


async def test_deleted_blob_is_read_to_the_end(blobs: Blobs) -> None:
    """Who has a blob open reads it to the end although it was deleted; others do not find it."""
    await blobs.put(HELLO, digest(HELLO))
    blob = await blobs.open(digest(HELLO))
    assert blob is not None

    was_there = [await blobs.delete(digest(HELLO)), await blobs.delete(digest(HELLO))]

    assert was_there == [True, False]
    assert await blob.read(0, 100) == HELLO
    assert await blobs.open(digest(HELLO)) is None
    await blob.close()


async def test_committed_file_is_a_blob(blobs: Blobs) -> None:
    """What was written in pieces of any size is, once committed, one blob."""
    incoming = await blobs.create("key", len(HELLO) + len(LONG))
    for chunk in (HELLO, LONG):
        await incoming.write(chunk)

    await incoming.commit(digest(HELLO + LONG))

    assert await content(blobs, digest(HELLO + LONG)) == HELLO + LONG
    await incoming.discard()
    assert await content(blobs, digest(HELLO + LONG)) == HELLO + LONG


async def test_uncommitted_file_is_no_blob(blobs: Blobs) -> None:
    """A file that was discarded has left nothing, and may be discarded again."""
    incoming = await blobs.create("key")
    await incoming.write(HELLO)

    await incoming.discard()
    await incoming.discard()

    assert await listed(blobs) == {}
    assert await blobs.growing("key") is None


async def test_own_writing_is_read_as_it_grows(blobs: Blobs) -> None:
    """The writer's own handle reads what it has written, before and after the commit."""
    incoming = await blobs.create("key")
    await incoming.write(HELLO)
    early = await incoming.read(7, 100)
    await incoming.write(b"!")

    await incoming.commit(digest(HELLO + b"!"))

    assert early == b"world"
    assert incoming.size_bytes == len(HELLO) + 1
    assert await incoming.read(7, 100) == b"world!"
    await incoming.discard()


async def test_discarded_file_is_closed(blobs: Blobs) -> None:
    """Reading or writing a file that was let go is StorageAway, never somebody else's bytes."""
    incoming = await blobs.create("key")
    await incoming.discard()

    with pytest.raises(StorageAway):
        await incoming.write(HELLO)
    with pytest.raises(StorageAway):
        await incoming.read(0, 1)
    with pytest.raises(StorageAway):
        await incoming.commit(digest(b""))


async def test_growing_file_is_found_by_its_key(blobs: Blobs) -> None:
    """Others find an unfinished file by its key, with the announced total, and see it grow."""
    incoming = await blobs.create("tarball a", 24)
    await incoming.write(HELLO)
    found = await blobs.growing("tarball a")
    assert found is not None
    blob, total_bytes = found
    sizes = [blob.size_bytes]

    await incoming.write(HELLO)

    sizes.append(blob.size_bytes)
    assert (sizes, total_bytes) == ([12, 24], 24)
    assert await blob.read(12, 5) == b"hello"
    assert await blobs.growing("tarball b") is None
    await blob.close()
    await incoming.discard()


async def test_unannounced_total_is_none(blobs: Blobs) -> None:
    """A file whose total nobody knows is found all the same, its total None."""
    incoming = await blobs.create("key")

    found = await blobs.growing("key")

    assert found is not None
    assert found[1] is None
    await found[0].close()
    await incoming.discard()


async def test_newest_attempt_is_found(blobs: Blobs) -> None:
    """Of two unfinished files of one key the newer is found; when it goes, the older."""
    old = await blobs.create("key", 1)
    await old.write(b"o")
    new = await blobs.create("key", 2)
    await new.write(b"nn")

    first = await blobs.growing("key")
    await new.discard()
    second = await blobs.growing("key")

    assert first is not None
    assert second is not None
    assert (first[1], second[1]) == (2, 1)
    for blob, _ in (first, second):
        await blob.close()
    await old.discard()


async def test_growing_reader_reads_on_after_the_commit(blobs: Blobs) -> None:
    """Who reads a growing file reads on in the same handle when it becomes a blob."""
    incoming = await blobs.create("key", len(HELLO))
    found = await blobs.growing("key")
    assert found is not None
    await incoming.write(HELLO)

    await incoming.commit(digest(HELLO))
    await incoming.discard()

    assert await found[0].read(0, 100) == HELLO
    assert await blobs.growing("key") is None
    await found[0].close()


async def test_a_sound_blob_stays(blobs: Blobs) -> None:
    """Storing what is there already keeps it readable and leaves nothing unfinished behind."""
    await blobs.put(HELLO, digest(HELLO))
    incoming = await blobs.create("key", len(HELLO))
    await incoming.write(HELLO)

    await incoming.commit(digest(HELLO))
    await blobs.put(HELLO, digest(HELLO))

    assert await listed(blobs) == {digest(HELLO): len(HELLO)}
    assert await blobs.growing("key") is None
    await incoming.discard()


@pytest.mark.parametrize("damaged", [HELLO[:5], b"", HELLO.upper()])
async def test_a_damaged_blob_is_replaced(blobs: Blobs, damaged: bytes) -> None:
    """Storing a blob mends one that was cut or changed, in either way of storing."""
    name = digest(HELLO)
    await blobs.put(damaged, name)
    incoming = await blobs.create("key")
    await incoming.write(HELLO)

    await incoming.commit(name)
    committed = await content(blobs, name)
    await blobs.put(damaged, name)
    await blobs.put(HELLO, name)

    assert (committed, await content(blobs, name)) == (HELLO, HELLO)
    await incoming.discard()


async def test_digests_lists_every_blob(blobs: Blobs) -> None:
    """Every blob is listed with its size and an instant of now; unfinished files are not."""
    await blobs.put(HELLO, digest(HELLO))
    await blobs.put(b"", digest(b""))
    incoming = await blobs.create("key")

    found = [entry async for entry in blobs.digests()]

    assert min(found)[:2] in {(digest(HELLO), len(HELLO)), (digest(b""), 0)}
    assert len(found) == 2
    assert all(abs(at - datetime.now(UTC)) < DAY for _, _, at in found)
    await incoming.discard()


async def test_sweeping_spares_the_living(blobs: Blobs) -> None:
    """A file that is being written is not swept, however old it looks."""
    incoming = await blobs.create("key")

    swept = await blobs.sweep_incoming(datetime.now(UTC) + DAY)

    assert swept == 0
    await incoming.write(HELLO)
    await incoming.commit(digest(HELLO))
    assert await content(blobs, digest(HELLO)) == HELLO
    await incoming.discard()


async def test_check_leaves_nothing(blobs: Blobs) -> None:
    """A healthy store passes its check, has room, and holds nothing afterwards."""
    await blobs.check()

    assert await listed(blobs) == {}
    assert await blobs.free_bytes() > 0
