"""Bringing a tarball here whole, through as many streams as that takes.

Nothing of one of at most `HOLD_BACK_BYTES` is sent before all of it is verified, so it needs no
file that others could watch growing: it stays in memory until it is stored.
"""

from __future__ import annotations

import asyncio
import logging

from proxy import errors
from proxy.npm.integrity import Verifier
from proxy.registry.mirroring.arriving import HOLD_BACK_BYTES, Download, Promise
from proxy.storage.base import Blobs, Incoming

_log = logging.getLogger(__name__)

_RESUMES = 4
_RESUME_AFTER_SECONDS = 0.2


class Filling:
    """One attempt to bring a tarball here whole, through as many streams as that takes."""

    def __init__(self, promise: Promise, download: Download, blobs: Blobs, request_id: str) -> None:
        self._promise = promise
        self._download = download
        self._blobs = blobs
        self._request_id = request_id
        self._incoming: Incoming | None = None
        self._small = bytearray()
        self._etag: str | None = None
        self.verifier = Verifier(promise.expected)
        self.received_bytes = 0

    async def fill(self) -> None:
        """Fetch and verify; then readers may have it all, and it wants only to be stored."""
        for resume in range(_RESUMES + 1):
            before_bytes = self.received_bytes
            try:
                await self._stream()
                self._judge()
            except errors.IntegrityMismatch:
                raise
            except errors.UplinkError:
                if self.received_bytes == before_bytes or resume == _RESUMES:
                    raise
                _log.info("resuming tarball", extra={"tarball": self._promise.key})
                await asyncio.sleep(_RESUME_AFTER_SECONDS)
            else:
                break
        body = None if self._incoming is not None else bytes(self._small)
        self._download.verified(self.received_bytes, body)

    async def store(self) -> str:
        """Make it a blob; returns its digest."""
        digest = self.verifier.digest
        if self._incoming is None:
            await self._blobs.put(bytes(self._small), digest)
        else:
            await self._incoming.commit(digest)
        return digest

    async def discard(self) -> None:
        """Remove the unfinished file, if there is one."""
        if self._incoming is not None:
            await self._incoming.discard()

    async def _stream(self) -> None:
        promise = self._promise
        async with promise.uplink.tarball(
            promise.url,
            offset=self.received_bytes,
            etag=self._etag,
            request_id=self._request_id,
        ) as stream:
            self._etag = stream.etag
            if self.received_bytes == 0:
                await self._begin(stream.total_bytes)
            # An uplink that cannot resume starts over: what we hold already is passed over, the
            # digest will judge.
            passing_over = self.received_bytes - stream.offset
            async for chunk in stream.chunks():
                fresh = chunk[passing_over:] if passing_over > 0 else chunk
                passing_over -= len(chunk)
                if fresh:
                    await self._take(fresh)

    async def _begin(self, total_bytes: int | None) -> None:
        if total_bytes is None and self._promise.expected is None:
            raise errors.UplinkBroken(
                uplink=self._promise.uplink.name,
                reason="a tarball without a length or a digest cannot be told from a cut one",
            )
        if self._incoming is None and (total_bytes or HOLD_BACK_BYTES + 1) > HOLD_BACK_BYTES:
            self._incoming = await self._blobs.create(self._promise.key, total_bytes)
        self._download.begin(total_bytes)

    async def _take(self, chunk: bytes) -> None:
        self.verifier.update(chunk)
        if self._incoming is None:
            self._small += chunk
        else:
            await self._incoming.write(chunk)
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
