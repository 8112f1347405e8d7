"""Bodies on the wire: sent with back-pressure, read within limits, cut if need be.

A reader that stalls holds one piece of memory and a connection, for `PATIENCE` at most. A body that
cannot be finished is never ended cleanly: its length was promised, and breaking the connection is
the only honest error left.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Protocol, cast

from aiohttp import hdrs, web
from multidict import CIMultiDict

from proxy import errors
from proxy.npm import encoding

_log = logging.getLogger(__name__)

# 64 KiB cost a third more CPU per megabyte on loopback, 1 MiB gains nothing: one read, one write,
# one look at the loop.
PIECE_BYTES = 256 * 1024
PATIENCE = timedelta(seconds=60)
# What a socket takes without pausing (asyncio's and uvloop's high-water mark).
UNPAUSED_BYTES = 64 * 1024
# A request body comes within this time or not at all; below the deadline of a handler.
READING = timedelta(seconds=15)


class Source(Protocol):
    """Bytes to read in pieces; b"" is their end. Answers' `Stored` and `Tarball` are sources."""

    async def read(self, offset: int, length: int) -> bytes: ...

    async def close(self) -> None: ...


class Memory:
    """A source over bytes in memory. `data` is not copied until a piece of it is read."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    async def read(self, offset: int, length: int) -> bytes:
        # A view is as good as bytes to every reader of a source, and costs no copy.
        return cast("bytes", self._data[offset : offset + length])

    async def close(self) -> None:
        """Nothing to give back."""


async def pieces(source: Source, start: int, length: int) -> AsyncGenerator[bytes]:
    """`length` bytes of `source` from `start`, piece by piece; fewer if the source ends early."""
    end = start + length
    while start < end:
        piece = await source.read(start, min(PIECE_BYTES, end - start))
        if not piece:
            return
        start += len(piece)
        yield piece


async def gunzipped(chunks: AsyncGenerator[bytes], size_bytes: int) -> AsyncGenerator[bytes]:
    """The identity bytes of gzip `chunks`; raises encoding.BadEncoding if they are not whole."""
    gunzip = encoding.Gunzip(limit_bytes=size_bytes)
    async for chunk in chunks:
        for piece in gunzip.feed(chunk):
            yield piece
    gunzip.finish()


class Streamed(web.StreamResponse):
    """A reply whose body of `size_bytes` is made of `chunks` while it is sent.

    `source` is closed afterwards. The first chunk is fetched before the headers go out (`begin`),
    so that what fails at once can still be told.
    """

    def __init__(
        self,
        chunks: AsyncGenerator[bytes],
        *,
        source: Source,
        size_bytes: int,
        status: int,
        headers: CIMultiDict[str],
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = size_bytes
        self.is_cut = False
        self._chunks = chunks
        self._source = source
        self._left_bytes = size_bytes
        self._first = b""
        self._has_ended = False
        self._is_closed = False

    async def begin(self) -> bytes:
        """Fetch the first chunk and show it. Raises what the source raises, after closing it."""
        try:
            self._first = await anext(self._chunks, b"")
        except BaseException:
            await self.close()
            raise
        return self._first

    async def close(self) -> None:
        """Give the source back. May be called again."""
        if not self._is_closed:
            self._is_closed = True
            await self._source.close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Send everything, then end the body; cut the connection if not everything can be had."""
        if self._has_ended:
            # aiohttp ends every reply once more, also one that was cut.
            return
        self._has_ended = True
        transport = self._req.transport if self._req is not None else None
        try:
            if not self._must_be_empty_body:
                await self._send()
        except BaseException as error:
            self.is_cut = True
            if transport is not None:
                transport.abort()
            if not isinstance(error, Exception):
                raise
            _tell(error)
        finally:
            await self.close()
        if not self.is_cut:
            await super().write_eof(data)

    async def _send(self) -> None:
        await self._write(self._first)
        self._first = b""
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                await self._write(chunk)
        if self._left_bytes:
            raise errors.StorageCorrupt(reason=f"a body ended {self._left_bytes} bytes early")

    async def _write(self, chunk: bytes) -> None:
        self._left_bytes -= len(chunk)
        if self._left_bytes < 0:
            raise errors.StorageCorrupt(reason="a body is longer than its record says")
        async with asyncio.timeout(PATIENCE.total_seconds()):
            await self.write(chunk)


async def read(request: web.Request, limit_bytes: int) -> bytes:
    """The request's body without its content coding.

    Raises TooLarge beyond `limit_bytes` (counted after decompression), InvalidRequest if it is
    broken or does not come within `READING`.
    """
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if coding not in {"identity", "gzip", "x-gzip"}:
        raise errors.InvalidRequest(reason="a body may be coded with gzip, or not at all")
    body = await _received(request, limit_bytes)
    # By its first bytes, not by its header: whoever decoded it on the way may have left that.
    return await _unpacked(body, limit_bytes) if encoding.is_gzip(body) else body


async def _received(request: web.Request, limit_bytes: int) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(READING.total_seconds()):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit_bytes:
                    raise errors.TooLarge(limit_bytes=limit_bytes)
    except TimeoutError:
        raise errors.InvalidRequest(reason="the body did not arrive in time") from None
    except web.RequestPayloadError:
        raise errors.InvalidRequest(reason="the body is damaged or cut short") from None
    return bytes(body)


async def _unpacked(body: bytes, limit_bytes: int) -> bytes:
    try:
        return await asyncio.to_thread(encoding.gunzip, body, limit_bytes=limit_bytes)
    except encoding.TooBig:
        raise errors.TooLarge(limit_bytes=limit_bytes) from None
    except encoding.BadEncoding:
        raise errors.InvalidRequest(reason="the body is damaged or cut short") from None


def _tell(error: Exception) -> None:
    # A client that leaves is no event: a traceback each would let anybody fill the log.
    if isinstance(error, ConnectionError | TimeoutError):
        _log.debug("the reader left or stalled", extra={"error": repr(error)})
    elif isinstance(error, errors.UplinkError):
        _log.warning("a body was cut", extra={"error": str(error), "facts": error.facts})
    else:
        _log.error("a body was cut", exc_info=error)
