"""A body as it arrives: back to identity bytes, counted, and judged by its first byte."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from proxy.npm import encoding

_IDENTITY = ("", "identity")
_GZIP = ("gzip", "x-gzip")
_SPACE = b" \t\r\n"


class UnusableBody(ValueError):
    """The body cannot be used. Its text says why."""


class UnknownCoding(UnusableBody):
    """A Content-Encoding we did not ask for. Asking for identity may help."""


class Body:
    """Turns received bytes into identity bytes, in pieces of at most 256 KiB.

    gzip bytes that no header announces are recognised: some registries send them, and JSON never
    starts so. Raises UnusableBody, UnknownCoding. `limit_bytes` bounds what comes and what it
    decompresses to.
    """

    def __init__(self, *, coding: str | None, content_type: str | None, limit_bytes: int) -> None:
        coding = (coding or "").strip().lower()
        if coding not in _IDENTITY + _GZIP:
            raise UnknownCoding(f"the body has the Content-Encoding {coding[:40]!r}")
        if is_html(content_type):
            raise UnusableBody("the body is a web page (text/html)")
        self._is_gzip: bool | None = True if coding in _GZIP else None
        self._gunzip = encoding.Gunzip(limit_bytes=limit_bytes)
        self._limit_bytes = limit_bytes
        self._start = b""
        self._has_begun = False
        self._taken_bytes = 0
        self.size_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The identity bytes this chunk gives; to be exhausted before the next one."""
        self._taken_bytes += len(chunk)
        if self._taken_bytes > self._limit_bytes:
            raise UnusableBody(f"the body is larger than {self._limit_bytes} bytes")
        if self._is_gzip is None:
            chunk = self._start + chunk
            if len(chunk) < len(encoding.MAGIC):
                self._start = chunk
                return
            self._is_gzip = encoding.is_gzip(chunk)
        yield from self._pieces(chunk)

    def finish(self) -> Iterator[bytes]:
        """What is left. Raises UnusableBody unless the body has come to its end."""
        if self._is_gzip is None and self._start:
            yield self._noted(self._start)
        if self._is_gzip:
            try:
                self._gunzip.finish()
            except encoding.BadEncoding as error:
                raise UnusableBody(str(error)) from error

    def _pieces(self, chunk: bytes) -> Iterator[bytes]:
        if not self._is_gzip:
            yield self._noted(chunk)
            return
        try:
            for piece in self._gunzip.feed(chunk):
                yield self._noted(piece)
        except (encoding.BadEncoding, encoding.TooBig) as error:
            raise UnusableBody(str(error)) from error

    def _noted(self, piece: bytes) -> bytes:
        self.size_bytes += len(piece)
        if not self._has_begun and (text := piece.lstrip(_SPACE)):
            self._has_begun = True
            if text.startswith(b"<"):
                raise UnusableBody("the body is a web page: it starts with '<'")
        return piece


class MinimumRate:
    """Tells when a stream is slower than `rate_bytes` a second, averaged over `over`.

    Only the time that was spent waiting for the uplink counts, so that a slow disk of ours is not
    held against it.
    """

    def __init__(self, *, rate_bytes: int, over: timedelta) -> None:
        self._over_seconds = over.total_seconds()
        self._least_bytes = rate_bytes * self._over_seconds
        self._waited_seconds = 0.0
        self._received_bytes = 0

    def is_missed(self, received_bytes: int, waited_seconds: float) -> bool:
        """Count a chunk; True if the window that ends with it brought too little."""
        self._received_bytes += received_bytes
        self._waited_seconds += waited_seconds
        if self._waited_seconds < self._over_seconds:
            return False
        is_missed = self._received_bytes < self._least_bytes
        self._received_bytes, self._waited_seconds = 0, 0.0
        return is_missed


def is_html(content_type: str | None) -> bool:
    """Whether a Content-Type names a web page."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml")
