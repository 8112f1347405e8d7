"""gzip, whole and in pieces: the door to isal.

Reading is strict where it protects us: the output is counted against a limit while it grows, so
that a small body cannot fill the memory; the trailer must be there and right, so that a body cut
short is not taken for a whole one; and nothing may follow it (RFC 1952). Writing is deterministic:
the same bytes give the same gzip, without a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import cast

from isal import igzip_lib, isal_zlib
from isal.igzip_lib import IgzipDecompressor

from proxy.npm.wire import Raw

LEVEL = 1
MAX_RATIO = 100  # JSON rarely passes 30; deflate can reach 1,032
RATIO_FREE_BYTES = 32 * 1024 * 1024  # below this size any ratio is harmless
PIECE_BYTES = 256 * 1024
MAGIC = b"\x1f\x8b"

# the library's own annotations call this class an instance
_IsalError = cast("type[Exception]", igzip_lib.IsalError)
_GZIP_WINDOW = 31  # zlib's number for "gzip, 32 KiB window"
_TRAILER_BYTES = 4
_SMALLEST_BYTES = 18  # header 10, trailer 8


class BadEncoding(ValueError):
    """The bytes are not one complete gzip body. Its text says why."""


class TooBig(ValueError):
    """Decompressed, the body is larger than we take, or larger than an honest one can be."""


class Gunzip:
    """Decompresses a body as it arrives, in pieces of at most `PIECE_BYTES`.

    `limit_bytes` bounds the output; past RATIO_FREE_BYTES of it, the output may be `max_ratio`
    times the input.
    """

    __slots__ = ("_engine", "_limit_bytes", "_max_ratio", "given_bytes", "taken_bytes")

    def __init__(self, *, limit_bytes: int, max_ratio: int = MAX_RATIO) -> None:
        self._engine = IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        self._limit_bytes = limit_bytes
        self._max_ratio = max_ratio
        self.taken_bytes = 0
        self.given_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give the pieces this chunk yields, to be taken before the next chunk.

        Raises BadEncoding, TooBig.
        """
        self.taken_bytes += len(chunk)
        while chunk or not (self._engine.eof or self._engine.needs_input):
            piece = self._decompress(chunk)
            chunk = b""
            if piece:
                self._count(piece)
                yield piece

    def finish(self) -> None:
        """Raise BadEncoding unless the body has come to its end."""
        if not self._engine.eof:
            raise BadEncoding("the gzip body is cut short")

    def _decompress(self, chunk: bytes) -> bytes:
        is_over = self._engine.eof
        try:
            piece = b"" if is_over else self._engine.decompress(chunk, PIECE_BYTES)
        except _IsalError as error:
            raise BadEncoding(f"not a sound gzip body: {error}") from error
        if is_over or self._engine.unused_data:
            raise BadEncoding("bytes follow the end of the gzip body")
        return piece

    def _count(self, piece: bytes) -> None:
        self.given_bytes += len(piece)
        if self.given_bytes > self._limit_bytes:
            raise TooBig(f"the body is larger than {self._limit_bytes} bytes when decompressed")
        if self.given_bytes > max(RATIO_FREE_BYTES, self._max_ratio * self.taken_bytes):
            raise TooBig(f"the body grows more than {self._max_ratio} times when decompressed")


class Gzip:
    """Compresses a body as it arrives."""

    __slots__ = ("_engine",)

    def __init__(self) -> None:
        self._engine = isal_zlib.compressobj(LEVEL, wbits=_GZIP_WINDOW)

    def feed(self, chunk: bytes | Raw) -> bytes:
        """Take a chunk; give what is ready, often nothing."""
        return self._engine.compress(chunk)

    def finish(self) -> bytes:
        """End the body; give the rest of it."""
        return self._engine.flush()


def gzip(data: bytes) -> bytes:
    """Compress a whole body."""
    return b"".join(gzipped((data,)))


def gzipped(chunks: Iterable[bytes | Raw]) -> Iterator[bytes]:
    """Compress a body that is made as it is asked for; give what is ready."""
    writer = Gzip()
    for chunk in chunks:
        if ready := writer.feed(chunk):
            yield ready
    yield writer.finish()


def gunzip(data: bytes, *, limit_bytes: int, max_ratio: int = MAX_RATIO) -> bytes:
    """Decompress a whole body. Raises BadEncoding, TooBig."""
    reader = Gunzip(limit_bytes=limit_bytes, max_ratio=max_ratio)
    stated_bytes = int.from_bytes(data[-_TRAILER_BYTES:], "little")
    if stated_bytes > limit_bytes:
        for _ in reader.feed(data):  # too big, or broken: nothing of it is worth keeping
            pass
        reader.finish()
    # It has its size from the start and hands its bytes over at the end: growing it, or joining
    # pieces, would take twice the memory.
    whole = io.BytesIO()
    if 0 < stated_bytes <= min(limit_bytes, max_ratio * len(data)):
        whole.seek(stated_bytes - 1)
        whole.write(b"\0")
        whole.seek(0)
    whole.writelines(reader.feed(data))
    reader.finish()
    return whole.getvalue()


def is_gzip(start: bytes) -> bool:
    """Whether bytes start as gzip does; JSON never does."""
    return start.startswith(MAGIC)


def identity_size(data: bytes) -> int:
    """The decompressed size a gzip body announces in its last four bytes.

    It is modulo 4 GiB; ours are smaller. Raises BadEncoding if the bytes cannot be a gzip body.
    """
    if len(data) < _SMALLEST_BYTES or not is_gzip(data):
        raise BadEncoding("not a gzip body")
    return int.from_bytes(data[-_TRAILER_BYTES:], "little")
