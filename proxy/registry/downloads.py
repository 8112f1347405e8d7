"""One download, many readers, one growing file.

A download belongs to no request. Its states, and what a reader sees:

    asking      nothing is known yet                 readers wait
    arriving    the total is known, bytes are coming readers get what is *safe*
    following   another process downloads            the same, by watching its file grow
    done        verified and committed               readers get everything
    failed      the uplink or the digest failed us   readers get the error; a begun reply is cut

Invariants:
1. Bytes are safe when more than `HOLD_BACK_BYTES` have come after them, or when the whole is
   verified. So a wrong or short body never ends cleanly, and one of at most `HOLD_BACK_BYTES` is
   never even begun.
2. The blob and its record exist only after the digest was found right. A crash before that leaves
   an unfinished file, a crash between blob and record an orphan (upkeep removes both); never a
   wrong entry.
3. One process downloads (lease); it goes on when every reader has left, so that the next one finds
   the tarball.
4. A cut stream is resumed where it stopped; the digest at the end judges the sum of the pieces.
5. Every reader has a file handle of its own. When another file takes the place of the one it reads
   (another process gave up, we or a third one began anew), it goes on in the new one only if that
   has the same size and begins with the very bytes that were read so far. So what a reader got is
   a piece of the file that was verified in the end, or it gets an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from proxy import errors
from proxy.npm.integrity import Expected, Verifier
from proxy.storage.base import Blob, Blobs, Incoming, Index, Leases, TarballRecord
from proxy.upstream import base as upstream

_log = logging.getLogger(__name__)

HOLD_BACK_BYTES = 64 * 1024
_RESUMES = 4
_RESUME_AFTER_SECONDS = 0.2
_WATCH_SECONDS = 0.01
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
        self._safe_bytes = 0
        self._error: Exception | None = None
        self._progress = asyncio.Event()

    @property
    def size_bytes(self) -> int | None:
        """The size of the whole; None while it is not known."""
        return self.record.size_bytes if self.record else self.total_bytes

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
            if self._safe_bytes > offset:
                return self._safe_bytes
            await self._progress.wait()
        return self.record.size_bytes

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

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, where the last read ended; b"" at the end."""
        while True:
            safe_bytes = await self._download.safe_past(offset)
            if offset >= safe_bytes:
                return b""
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
            await asyncio.sleep(_WATCH_SECONDS)

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


class Downloads:
    """The downloads of this process, one per tarball."""

    def __init__(
        self, *, index: Index, blobs: Blobs, leases: Leases, clock: Callable[[], datetime]
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._leases = leases
        self._clock = clock
        self._running: dict[str, tuple[Download, asyncio.Task[None]]] = {}

    def __len__(self) -> int:
        return len(self._running)

    def join(self, promise: Promise, request_id: str = "") -> Reader:
        """A reader of the download that keeps `promise`.

        The download begins now if it is not under way.
        """
        key = promise.key
        if key not in self._running:
            download = Download(promise)
            task = asyncio.create_task(self._run(promise, download, request_id), name=key)
            self._running[key] = (download, task)
            task.add_done_callback(lambda ended: self._ended(download, ended))
        return Reader(download=self._running[key][0], blobs=self._blobs)

    async def close(self) -> None:
        """Cancel what is under way; its readers are cut."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, download: Download, task: asyncio.Task[None]) -> None:
        del self._running[download.key]
        if task.cancelled():
            reason = "we are shutting down"
            download.fail(errors.UplinkAway(uplink=download.uplink, reason=reason))

    async def _run(self, promise: Promise, download: Download, request_id: str) -> None:
        try:
            while not await self._leases.try_acquire(promise.key):
                await self._watch(download)
            try:
                if (found := await self._here(promise)) is not None:
                    download.finish(found, is_ours=False)
                else:
                    record = await self._lead(promise, download, request_id)
                    download.finish(record, is_ours=True)
            finally:
                await self._leases.release(promise.key)
        except errors.RegistryError as fault:
            download.fail(fault)
        except Exception as bug:  # noqa: BLE001 -- supervised: readers must hear of it
            _log.exception("download failed", extra={"tarball": promise.key})
            download.fail(bug)

    async def _watch(self, download: Download) -> None:
        """Another process downloads: look how far it has come."""
        growing = await self._blobs.growing(download.key)
        if growing is not None:
            blob, total_bytes = growing
            try:
                if total_bytes not in (None, download.total_bytes):
                    download.begin(total_bytes)
                download.arrived(blob.size_bytes)
            finally:
                await blob.close()
        await asyncio.sleep(_WATCH_SECONDS)

    async def _here(self, promise: Promise) -> TarballRecord | None:
        """The record, if another process has finished the tarball while we waited for the lease."""
        record = await self._index.tarball(promise.name, promise.file)
        if record is None or record.uplink != promise.uplink.name:
            return None
        if promise.expected and promise.expected.sha512_hex not in (None, record.digest):
            return None
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            return None
        await blob.close()
        return record

    async def _lead(self, promise: Promise, download: Download, request_id: str) -> TarballRecord:
        filling = _Filling(promise, download, self._blobs, request_id)
        try:
            incoming = await filling.fill()
            await incoming.commit(filling.verifier.digest)
        finally:
            await filling.discard()
        now = self._clock()
        record = TarballRecord(
            uplink=promise.uplink.name,
            name=promise.name,
            file=promise.file,
            version=promise.version,
            digest=filling.verifier.digest,
            size_bytes=filling.received_bytes,
            stored_at=now,
            used_at=now,
        )
        await self._index.put_tarball(record)
        return record


class _Filling:
    """One attempt to bring a tarball here whole, through as many streams as that takes."""

    def __init__(self, promise: Promise, download: Download, blobs: Blobs, request_id: str) -> None:
        self._promise = promise
        self._download = download
        self._blobs = blobs
        self._request_id = request_id
        self._incoming: Incoming | None = None
        self._etag: str | None = None
        self.verifier = Verifier(promise.expected)
        self.received_bytes = 0

    async def fill(self) -> Incoming:
        """Fetch and verify; the file that is returned wants only to be committed."""
        for resume in range(_RESUMES + 1):
            before_bytes = self.received_bytes
            try:
                incoming = await self._stream()
                self._judge()
            except errors.IntegrityMismatch:
                raise
            except errors.UplinkError:
                if self.received_bytes == before_bytes or resume == _RESUMES:
                    raise
                _log.info("resuming tarball", extra={"tarball": self._promise.key})
                await asyncio.sleep(_RESUME_AFTER_SECONDS)
            else:
                return incoming
        raise AssertionError  # the last round returns or raises

    async def discard(self) -> None:
        """Remove the unfinished file, if there is one."""
        if self._incoming is not None:
            await self._incoming.discard()

    async def _stream(self) -> Incoming:
        promise = self._promise
        async with promise.uplink.tarball(
            promise.url,
            offset=self.received_bytes,
            etag=self._etag,
            request_id=self._request_id,
        ) as stream:
            self._etag = stream.etag
            incoming = self._incoming or await self._begin(stream.total_bytes)
            # An uplink that cannot resume starts over: what we hold already is passed over, the
            # digest will judge.
            passing_over = self.received_bytes - stream.offset
            async for chunk in stream.chunks():
                fresh = chunk[passing_over:] if passing_over > 0 else chunk
                passing_over -= len(chunk)
                if fresh:
                    await self._take(incoming, fresh)
        return incoming

    async def _begin(self, total_bytes: int | None) -> Incoming:
        if total_bytes is None and self._promise.expected is None:
            raise errors.UplinkBroken(
                uplink=self._promise.uplink.name,
                reason="a tarball without a length or a digest cannot be told from a cut one",
            )
        self._incoming = await self._blobs.create(self._promise.key, total_bytes)
        self._download.begin(total_bytes)
        return self._incoming

    async def _take(self, incoming: Incoming, chunk: bytes) -> None:
        self.verifier.update(chunk)
        await incoming.write(chunk)
        self.received_bytes += len(chunk)
        self._download.arrived(self.received_bytes)

    def _judge(self) -> None:
        problem = self.verifier.problem()
        total_bytes = self._download.total_bytes
        if problem is None and total_bytes not in (None, self.received_bytes):
            problem = f"{self.received_bytes} bytes came, {total_bytes} were announced"
        if problem is not None:
            raise errors.IntegrityMismatch(
                uplink=self._promise.uplink.name,
                name=self._promise.name,
                file=self._promise.file,
                reason=problem,
            )
