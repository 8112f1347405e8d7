"""A tarball on its way: what was promised of it, how far it has come, and who reads it.

The theory stands in downloads.py.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Self

from proxy import errors
from proxy.npm import integrity, names
from proxy.npm.dist import Dist
from proxy.npm.integrity import Expected
from proxy.storage.base import Blob, Blobs, TarballRecord
from proxy.upstream import base as upstream

HOLD_BACK_BYTES = 64 * 1024
WATCH_SECONDS = 0.01
_COMPARED_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Promise:
    """What a packument promises of a tarball.

    `expected` None means that it says nothing about the bytes.
    """

    uplink: upstream.Uplink
    name: str
    file: str
    version: str
    url: str
    expected: Expected | None

    @classmethod
    def of(cls, uplink: upstream.Uplink, name: names.PackageName, dist: Dist) -> Self:
        """What this dist promises, under the file name that is ours for it."""
        return cls(
            uplink=uplink,
            name=name.full,
            file=names.tarball_file(name, dist.version),
            version=dist.version,
            url=uplink.tarball_url(dist.tarball, name, dist.version),
            expected=integrity.parse(dist.integrity, dist.shasum),
        )

    @property
    def key(self) -> str:
        """Names the download within this node."""
        return f"tarball {self.uplink.name} {self.name} {self.file}"


class Download:
    """How far a tarball has come. Downloads tells it, readers wait on it."""

    def __init__(self, promise: Promise) -> None:
        self.key = promise.key
        self.uplink = promise.uplink.name
        self.total_bytes: int | None = None
        self.record: TarballRecord | None = None
        self.attempt = 0
        self.body: bytes | None = None
        self._safe_bytes = 0
        self._verified_bytes: int | None = None
        self._error: Exception | None = None
        self._progress = asyncio.Event()

    @property
    def size_bytes(self) -> int | None:
        """The size of the whole; None while it is not known."""
        if self.record is not None:
            return self.record.size_bytes
        return self.total_bytes if self._verified_bytes is None else self._verified_bytes

    @property
    def is_verified(self) -> bool:
        """Whether all of it is here and is what was promised."""
        return self._verified_bytes is not None

    async def ready(self) -> int:
        """Wait until a reply can begin; returns the size of the whole.

        Raises what the download failed with.
        """
        await self.safe_past(0)
        if self.size_bytes is None:
            message = "bytes were called safe before the total was known"
            raise RuntimeError(message)
        return self.size_bytes

    async def safe_past(self, offset: int) -> int:
        """Wait until bytes past `offset` are safe, or all are.

        Returns how many are, from the start.
        """
        while self.record is None:
            if self._error is not None:
                raise self._error
            if self._verified_bytes is not None:
                return self._verified_bytes
            if self._safe_bytes > offset:
                return self._safe_bytes
            await self._progress.wait()
        return self.record.size_bytes

    async def stored(self) -> TarballRecord:
        """Wait until the whole is kept here; returns its record.

        Raises what the download failed with.
        """
        while self.record is None:
            if self._error is not None:
                raise self._error
            await self._progress.wait()
        return self.record

    def begin(self, total_bytes: int | None) -> None:
        """A new attempt writes to a new file, of which nothing is safe yet."""
        self.attempt += 1
        self.total_bytes = total_bytes
        self._safe_bytes = 0
        self._tell()

    def arrived(self, so_far_bytes: int) -> None:
        """So many bytes are in the file; all but the last of them are safe."""
        if self.total_bytes is not None and so_far_bytes - HOLD_BACK_BYTES > self._safe_bytes:
            self._safe_bytes = so_far_bytes - HOLD_BACK_BYTES
            self._tell()

    def verified(self, size_bytes: int, body: bytes | None) -> None:
        """The whole is what was promised, and is being stored; `body` is it, if it is small."""
        self._verified_bytes, self.body = size_bytes, body
        self._tell()

    def finish(self, record: TarballRecord, *, is_ours: bool) -> None:
        """The whole is verified and stored.

        Unless it is ours, nobody knows whether it is the file that was seen growing.
        """
        self.record = record
        if not is_ours:
            self.attempt += 1
        self._tell()

    def fail(self, error: Exception) -> None:
        """Nothing more will come."""
        self._error = error
        self._tell()

    def began_anew(self) -> errors.UplinkBroken:
        """The error for a reader that cannot go on in the file that has taken another's place."""
        reason = f"{self.key} had to begin anew and brought other bytes"
        return errors.UplinkBroken(uplink=self.uplink, reason=reason)

    def _tell(self) -> None:
        # Whoever waits holds the old event; whoever comes later waits for the next one.
        told, self._progress = self._progress, asyncio.Event()
        told.set()


class Reader:
    """One reader's view of a download: reads forward as far as is safe, then waits."""

    def __init__(self, *, download: Download, blobs: Blobs) -> None:
        self._download = download
        self._blobs = blobs
        self._blob: Blob | None = None
        self._attempt = -1
        self._size_bytes: int | None = None
        self._start = self._end = 0

    async def ready(self) -> int:
        """Wait until the reply can begin; returns the size of the whole."""
        self._size_bytes = await self._download.ready()
        return self._size_bytes

    async def stored(self) -> TarballRecord:
        """Wait until the whole is kept here, whatever has been read; returns its record."""
        return await self._download.stored()

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, where the last read ended; b"" at the end."""
        while True:
            safe_bytes = await self._download.safe_past(offset)
            if offset >= safe_bytes:
                return b""
            if self._download.body is not None:
                return self._download.body[offset : offset + length]
            blob = await self._current()
            piece = (
                b"" if blob is None else await blob.read(offset, min(length, safe_bytes - offset))
            )
            if piece:
                self._start = offset if self._end != offset else self._start
                self._end = offset + len(piece)
                return piece
            # The file was renamed or given up between our look and the reading: what follows will
            # say which, and where to go on.
            self._attempt = -1
            await asyncio.sleep(WATCH_SECONDS)

    async def close(self) -> None:
        """Let the file go; the download goes on."""
        if self._blob is not None:
            await self._blob.close()
            self._blob = None

    async def _current(self) -> Blob | None:
        """The file to read now; None if it cannot be had at the moment."""
        attempt = self._download.attempt
        if self._blob is None or self._attempt != attempt:
            fresh = await self._open()
            if fresh is None or not await self._replaced_by(fresh):
                return None
            self._attempt = attempt
        return self._blob

    async def _open(self) -> Blob | None:
        record = self._download.record
        if record is None:
            growing = await self._blobs.growing(self._download.key)
            return growing[0] if growing is not None else None
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            raise errors.StorageAway(reason=f"{self._download.key} vanished as it was read")
        return blob

    async def _replaced_by(self, fresh: Blob) -> bool:
        """Go on in `fresh`; False if it has not come far enough for that. Raises UplinkBroken."""
        try:
            if self._download.size_bytes not in (None, self._size_bytes):
                raise self._download.began_anew()
            if self._blob is not None:
                if fresh.size_bytes < self._end:
                    await fresh.close()
                    return False
                await self._compare(self._blob, fresh)
        except BaseException:
            await fresh.close()
            raise
        await self.close()
        self._blob = fresh
        return True

    async def _compare(self, before: Blob, fresh: Blob) -> None:
        for offset in range(self._start, self._end, _COMPARED_BYTES):
            length = min(_COMPARED_BYTES, self._end - offset)
            if await before.read(offset, length) != await fresh.read(offset, length):
                raise self._download.began_anew()
            await asyncio.sleep(0)
