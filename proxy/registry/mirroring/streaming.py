"""A tarball passed through without being kept: what is left to do when the disk has no room.

The last `HOLD_BACK_BYTES` are held until the digest is found right, as in a download; every client
has a stream of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from proxy import errors
from proxy.npm.integrity import Verifier
from proxy.registry.mirroring.arriving import HOLD_BACK_BYTES, Promise


class Streamed:
    """One client's stream from the uplink; reads go forward only."""

    def __init__(self, promise: Promise, request_id: str = "") -> None:
        self._promise = promise
        self._request_id = request_id
        self._verifier = Verifier(promise.expected)
        self._stack = AsyncExitStack()
        self._chunks: AsyncIterator[bytes] | None = None
        self._pending = bytearray()
        self._position = 0
        self._received_bytes = 0
        self._total_bytes = 0
        self._is_verified = False

    async def ready(self) -> int:
        """Wait until the reply can begin; returns the size of the whole."""
        promise = self._promise
        stream = await self._stack.enter_async_context(
            promise.uplink.tarball(promise.url, request_id=self._request_id)
        )
        if stream.total_bytes is None:
            raise errors.StorageFull(reason="no room to hold a tarball whose length is unknown")
        self._total_bytes = stream.total_bytes
        self._chunks = stream.chunks()
        await self._receive_past(0)
        return self._total_bytes

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`, which is not before the end of the last read."""
        await self._receive_past(offset)
        self._pass_over(offset)
        piece = bytes(self._pending[: max(0, min(length, self._safe_bytes - offset))])
        self._pass_over(offset + len(piece))
        return piece

    async def close(self) -> None:
        """End the stream."""
        await self._stack.aclose()

    @property
    def _safe_bytes(self) -> int:
        return self._received_bytes - (0 if self._is_verified else HOLD_BACK_BYTES)

    async def _receive_past(self, offset: int) -> None:
        """Receive until bytes past `offset` are safe, or all are; what lies before is not held."""
        while not self._is_verified and self._safe_bytes <= offset:
            await self._receive()
            self._pass_over(min(offset, self._received_bytes))

    def _pass_over(self, position: int) -> None:
        """Forget what comes before `position`."""
        if position > self._position:
            del self._pending[: position - self._position]
            self._position = position

    async def _receive(self) -> None:
        if self._chunks is None:
            message = "read before ready"
            raise RuntimeError(message)
        chunk = await anext(self._chunks, b"")
        if chunk:
            self._verifier.update(chunk)
            self._pending += chunk
            self._received_bytes += len(chunk)
            return
        self._judge()
        self._is_verified = True

    def _judge(self) -> None:
        problem = self._verifier.problem()
        if problem is None and self._received_bytes != self._total_bytes:
            problem = f"{self._received_bytes} bytes came, {self._total_bytes} were announced"
        if problem is not None:
            raise errors.IntegrityMismatch(
                uplink=self._promise.uplink.name,
                name=self._promise.name,
                file=self._promise.file,
                reason=problem,
            )
