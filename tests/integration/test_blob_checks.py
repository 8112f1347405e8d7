"""Blobs whose bytes have changed on the disk: noticed before they are sent on, looked at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.storage import checking
from proxy.storage.base import Blob, Damaged
from proxy.storage.files import FileBlobs
from tests.owned import flip

DATA = os.urandom(300_000)
DIGEST = hashlib.sha512(DATA).hexdigest()
PIECE = 100_000
LIMIT = 200_000


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    """Blobs that hold DATA, and look through it before it is sent."""
    async with FileBlobs(tmp_path) as opened:
        await opened.put(DATA, DIGEST)
        yield opened


@pytest.fixture
async def streaming(tmp_path: Path) -> AsyncIterator[FileBlobs]:
    """Blobs that hold DATA, for which it is so large that it is looked through while it is sent."""
    async with FileBlobs(tmp_path, checked_first_bytes=LIMIT) as opened:
        await opened.put(DATA, DIGEST)
        yield opened


async def pieces(blob: Blob | None) -> list[bytes]:
    """All of a blob, as it is sent, until it ends or fails."""
    assert blob is not None
    found: list[bytes] = []
    try:
        while (offset := len(b"".join(found))) < blob.size_bytes:
            found += [await blob.read(offset, PIECE)]
    except Damaged:
        found.append(b"damaged")
    finally:
        await blob.close()
    return found


async def test_a_flipped_bit_is_noticed_at_once(blobs: FileBlobs) -> None:
    """A blob of the right size with other bytes is not opened."""
    flip(blobs.path(DIGEST))

    for _ in range(2):
        with pytest.raises(Damaged, match="have changed"):
            await blobs.open_sound(DIGEST, len(DATA))


async def test_a_sound_blob_is_read_through_once(
    blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time a blob is hashed, for all who ask meanwhile together; then never again."""
    hashed = []
    matches = checking._matches
    monkeypatch.setattr(
        checking, "_matches", lambda fd, digest: hashed.append(digest) or matches(fd, digest)
    )

    first = await asyncio.gather(*(blobs.open_sound(DIGEST) for _ in range(8)))
    later = [await blobs.open_sound(DIGEST) for _ in range(8)]

    assert [b"".join(await pieces(each)) for each in (*first, *later)] == [DATA] * 16
    assert hashed == [DIGEST]


async def test_a_blob_that_changes_later(blobs: FileBlobs) -> None:
    """A blob that was found sound is looked through again when its file has changed."""
    await pieces(await blobs.open_sound(DIGEST))
    flip(blobs.path(DIGEST))

    with pytest.raises(Damaged):
        await blobs.open_sound(DIGEST)


async def test_a_blob_that_is_restored(blobs: FileBlobs) -> None:
    """A damaged blob in whose place the right bytes are put is served again."""
    flip(blobs.path(DIGEST))
    with pytest.raises(Damaged):
        await blobs.open_sound(DIGEST)
    blobs.path(DIGEST).write_bytes(DATA)

    assert b"".join(await pieces(await blobs.open_sound(DIGEST))) == DATA


@pytest.mark.parametrize("size_bytes", [None, len(DATA)])
async def test_one_who_leaves_does_not_end_the_check(
    blobs: FileBlobs, size_bytes: int | None
) -> None:
    """Whoever stops waiting leaves the others the check that they share."""
    leaving = asyncio.create_task(blobs.open_sound(DIGEST, size_bytes))
    staying = asyncio.create_task(blobs.open_sound(DIGEST, size_bytes))
    await asyncio.sleep(0)
    leaving.cancel()

    assert b"".join(await pieces(await staying)) == DATA
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_absent_and_cut_short(blobs: FileBlobs) -> None:
    """What is not there, or has another size, is None as ever."""
    blobs.path(DIGEST).write_bytes(DATA[:-1])

    assert await blobs.open_sound(DIGEST, len(DATA)) is None
    assert await blobs.open_sound("ab" * 64) is None


async def test_a_large_one_keeps_its_end_back(streaming: FileBlobs) -> None:
    """A large damaged blob is read up to its last piece, which never comes."""
    flip(streaming.path(DIGEST))

    found = await pieces(await streaming.open_sound(DIGEST))

    assert [len(piece) for piece in found] == [PIECE, PIECE, len(b"damaged")]
    assert found[-1] == b"damaged"


async def test_a_large_one_is_hashed_once(streaming: FileBlobs) -> None:
    """A large blob that was read to its end once is sent without looking from then on."""
    first = await streaming.open_sound(DIGEST)
    assert isinstance(first, checking.CheckedBlob)
    assert b"".join(await pieces(first)) == DATA

    again = await streaming.open_sound(DIGEST)

    assert not isinstance(again, checking.CheckedBlob)
    assert b"".join(await pieces(again)) == DATA


async def test_a_range_of_a_large_one(streaming: FileBlobs) -> None:
    """Pieces out of order are given as they are, and do not make the blob a sound one."""
    blob = await streaming.open_sound(DIGEST)
    assert blob is not None
    assert await blob.read(150_000, 10) == DATA[150_000:150_010]
    assert await blob.read(299_999, 10) == DATA[-1:]
    await blob.close()

    assert isinstance(await streaming.open_sound(DIGEST), checking.CheckedBlob)


async def test_no_more_is_remembered_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many sound blobs the latest are remembered."""
    monkeypatch.setattr(checking, "_MOST_REMEMBERED", 3)
    checks = checking.Checks()
    for number in range(5):
        checks.note(str(number), (number, 0, 0))

    assert [checks.knows(str(number), (number, 0, 0)) for number in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip
