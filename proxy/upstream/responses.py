"""An answer as it comes: its head, and its body in pieces that are counted and timed.

Complete means: as many bytes as were promised. What the transfer does not promise (a body without a
length) is left to whoever reads the content.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from proxy.upstream import bodies, fields
from proxy.upstream.addresses import Kind
from proxy.upstream.asking import Ask, Patience
from proxy.upstream.breaker import Pass
from proxy.upstream.faults import Fault, Faults

_WITH_BODY = frozenset({200, 206})
_DRAINED_BYTES = 64 * 1024  # the body of an error is read up to this size, to keep the connection
_DRAIN_SECONDS = 0.5


class Content(Protocol):
    """A body that is read as it comes; empty bytes are its end."""

    async def readany(self) -> bytes: ...


class Raw(Protocol):
    """What we need of the HTTP library's response."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> Content: ...
    def close(self) -> None: ...


class Response:
    """The answer of one hop. Whoever gets it closes it.

    It settles the pass of its hop: at once when the head says all, at the end of the body when that
    is what was wanted. A tarball's head is proof enough: a probe must not last as long as a
    download.
    """

    def __init__(
        self,
        raw: Raw,
        *,
        ask: Ask,
        is_home: bool,
        passed: Pass,
        patience: Patience,
        faults: Faults,
        translated: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._raw = raw
        self._passed = passed
        self._patience = patience
        self._faults = faults
        self._translated = translated
        self.ask = ask
        self.is_home = is_home
        self.status = raw.status
        if self.status >= 500 and self.status != 501:
            passed.failed(patience.clock())
        elif self.status not in _WITH_BODY or ask.kind is Kind.TARBALL:
            passed.succeeded()

    @property
    def was_conditional(self) -> bool:
        """Whether this very hop was sent our validators."""
        return self.is_home and bool(self.ask.validators)

    @property
    def length_bytes(self) -> int | None:
        """Content-Length, None without one."""
        value = self.header("content-length") or ""
        return int(value) if value.isascii() and value.isdigit() else None

    @property
    def content_type(self) -> str:
        """Content-Type, empty if there is none or it could not be sent on."""
        return fields.printable(self.header("content-type")) or ""

    def header(self, name: str) -> str | None:
        return self._raw.headers.get(name)

    def validator(self, name: str) -> str | None:
        """A validator to keep: one of the uplink's own origin that can be sent back as it is."""
        return fields.printable(self.header(name)) if self.is_home else None

    async def identity(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The identity bytes of the body. Raises Fault."""
        try:
            body = bodies.Body(
                coding=self.header("content-encoding"),
                content_type=self.header("content-type"),
                limit_bytes=limit_bytes,
            )
            if (self.length_bytes or 0) > limit_bytes:
                raise bodies.UnusableBody(f"the body is larger than {limit_bytes} bytes")
            async for chunk in self.chunks():
                for piece in body.feed(chunk):
                    yield piece
            for piece in body.finish():
                yield piece
        except bodies.UnknownCoding as error:
            raise self._faults.unusable(str(error), may_retry=True, as_identity=True) from error
        except bodies.UnusableBody as error:
            raise self._faults.unusable(str(error)) from error

    async def chunks(self, rate: bodies.MinimumRate | None = None) -> AsyncIterator[bytes]:
        """The body as it was sent. Raises Fault if it ends early, stalls or misses `rate`."""
        received_bytes = 0
        clock = self._patience.clock
        while True:
            asked_at = clock()
            chunk = await self._read()
            if not chunk:
                break
            received_bytes += len(chunk)
            if rate is not None and rate.is_missed(len(chunk), clock() - asked_at):
                raise self._blamed(self._faults.timed_out("the body comes too slowly"))
            yield chunk
        if self.length_bytes not in (None, received_bytes):
            reason = f"{received_bytes} of {self.length_bytes} bytes came"
            raise self._blamed(self._faults.broken(reason, may_retry=True))
        self._passed.succeeded()

    async def close(self) -> None:
        """Let the connection go: back to the pool if the body was read or is short, else closed."""
        try:
            if self.status not in _WITH_BODY and (self.length_bytes or 0) <= _DRAINED_BYTES:
                await self._drain()
        finally:
            self._raw.close()
            self._passed.abandoned()

    async def _drain(self) -> None:
        left = _DRAINED_BYTES
        with suppress(Fault, TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while left > 0 and (chunk := await self._read()):
                    left -= len(chunk)

    async def _read(self) -> bytes:
        try:
            with self._translated():
                async with asyncio.timeout(self._patience.for_chunk()):
                    return await self._raw.content.readany()
        except Fault as fault:
            raise self._blamed(fault) from fault.__cause__

    def _blamed(self, fault: Fault) -> Fault:
        if fault.is_failure:
            self._passed.failed(self._patience.clock())
        return fault


class TarballStream:
    """A tarball on its way: `base.Stream` over HTTP. Raises Fault if the head is not sound."""

    def __init__(
        self,
        response: Response,
        *,
        asked_offset: int,
        rate: bodies.MinimumRate,
        faults: Faults,
    ) -> None:
        self._response = response
        self._rate = rate
        self._faults = faults
        self.status = response.status
        self.etag = fields.printable(response.header("etag"))
        self.received_bytes = 0
        self.offset = 0
        self.total_bytes = response.length_bytes
        self._check_kind()
        if self.status == 206:
            self.offset, self.total_bytes = asked_offset, self._total_of_part(asked_offset)

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.chunks(self._rate):
                self.received_bytes += len(chunk)
                yield chunk
            self._check_end()
        except Fault as fault:
            raise fault.error from fault

    def _check_kind(self) -> None:
        coding = (self._response.header("content-encoding") or "identity").strip().lower()
        if coding != "identity":
            # Either the mirror compressed what is compressed, or it takes the file's own gzip for a
            # transfer's. Nobody can tell which, and npm's clients fall over both.
            raise self._faults.unusable(f"sends a tarball with Content-Encoding {coding[:40]!r}")
        if bodies.is_html(self._response.header("content-type")):
            raise self._faults.unusable("sends a web page (text/html) for a tarball")

    def _total_of_part(self, asked_offset: int) -> int | None:
        """The size of the whole, if this is the part we asked for, up to the end."""
        part = fields.content_range(self._response.header("content-range"))
        is_ours = part is not None and part.start == asked_offset > 0
        if part is None or not is_ours or part.total_bytes not in (None, part.end + 1):
            raise self._faults.unusable("sends another part of the tarball than was asked for")
        if self._response.length_bytes not in (None, part.length_bytes):
            raise self._faults.unusable("Content-Range and Content-Length disagree")
        return part.end + 1

    def _check_end(self) -> None:
        if self.total_bytes not in (None, self.offset + self.received_bytes):
            reason = f"{self.offset + self.received_bytes} of {self.total_bytes} bytes came"
            raise self._faults.broken(reason)
