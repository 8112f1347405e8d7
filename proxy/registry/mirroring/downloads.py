"""One download, many readers, one growing file.

A download belongs to no request. Its states, and what a reader sees:

    asking      nothing is known yet                 readers wait
    arriving    the total is known, bytes are coming readers get what is *safe*
    following   another process downloads            the same, by watching its file grow
    verified    the digest was found right           readers get everything
    done        stored, and its record written       the same
    failed      the uplink or the digest failed us   readers get the error; a begun reply is cut

Invariants:
1. Bytes are safe when more than `HOLD_BACK_BYTES` have come after them, or when the whole is
   verified; then they do not wait for our disk. So a wrong or short body never ends cleanly, and
   one of at most `HOLD_BACK_BYTES` is never even begun.
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
from dataclasses import replace
from datetime import datetime

from proxy import errors
from proxy.npm.integrity import Expected
from proxy.registry.mirroring.arriving import WATCH_SECONDS, Download, Promise, Reader
from proxy.registry.mirroring.filling import Filling
from proxy.storage.base import Blobs, Index, Leases, TarballRecord

_log = logging.getLogger(__name__)


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

    def begin(self, promise: Promise) -> asyncio.Task[None] | None:
        """Begin the download that keeps `promise`, for nobody yet; None if it is under way.

        The task ends when the tarball is stored or given up, and never raises.
        """
        if promise.key in self._running:
            return None
        self.join(promise)
        return self._running[promise.key][1]

    async def close(self) -> None:
        """Cancel what is under way, and its readers are cut; what is verified is stored first."""
        running = list(self._running.values())
        for download, task in running:
            if not download.is_verified:
                task.cancel()
        await asyncio.gather(*(task for _, task in running), return_exceptions=True)

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
                if (found := await self.held(promise)) is not None:
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
        await asyncio.sleep(WATCH_SECONDS)

    async def held(self, promise: Promise) -> TarballRecord | None:
        """The record of what keeps `promise` already; None if it has to be fetched.

        Another process may have finished the tarball while we waited for the lease.
        """
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
        filling = Filling(await self._firm(promise), download, self._blobs, request_id)
        try:
            await filling.fill()
            digest = await filling.store()
        finally:
            await filling.discard()
        now = self._clock()
        record = TarballRecord(
            uplink=promise.uplink.name,
            name=promise.name,
            file=promise.file,
            version=promise.version,
            digest=digest,
            size_bytes=filling.received_bytes,
            stored_at=now,
            used_at=now,
        )
        shasum = promise.expected.sha1_hex if promise.expected is not None else None
        await self._index.put_tarball(record, shasum=shasum)
        return record

    async def _firm(self, promise: Promise) -> Promise:
        """The promise, or where it is a SHA-1 alone, the digest of what has come for it first.

        Two files can be made that have the same SHA-1; whoever has got one is not given the other.
        """
        shasum = promise.expected.sha1_hex if promise.expected is not None else None
        if shasum is None:
            return promise
        first = await self._index.first(promise.uplink.name, promise.name, promise.file, shasum)
        if first is None:
            return promise
        return replace(promise, expected=Expected("sha512", (bytes.fromhex(first),)))
