"""An uplink whose requests and bytes are counted, for work that has a budget.

It shares connections, breaker and presence with the uplink it stands for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

from proxy import errors
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.upstream.base import Answer, Document, Missing, NotModified, Sink, Stream, Uplink
from proxy.upstream.presence import Absence, Presence


class Meter(Protocol):
    """What counts."""

    def may_ask(self) -> bool:
        """Whether one more request may be made; if so, it is counted."""

    def took(self, size_bytes: int) -> None:
        """Count bytes that have come."""


class MeteredUplink:
    """`uplink`, as far as `meter` lets it be asked; what is not asked fails with UplinkAway.

    It counts questions, not the retries and redirects of each; of a packument the bytes count
    unpacked. It is not opened by itself, and closing it closes nothing.
    """

    def __init__(self, uplink: Uplink, meter: Meter) -> None:
        self._uplink = uplink
        self._meter = meter

    @property
    def name(self) -> str:
        return self._uplink.name

    @property
    def state(self) -> str:
        return self._uplink.state

    @property
    def absence(self) -> Absence | None:
        return self._uplink.absence

    @property
    def presence(self) -> Presence:
        return self._uplink.presence

    async def packument(
        self,
        name: PackageName,
        form: Form,
        *,
        etag: str | None,
        last_modified: str | None,
        sink: Sink,
        request_id: str = "",
    ) -> NotModified | Missing | Document:
        self._count()
        answer = await self._uplink.packument(
            name, form, etag=etag, last_modified=last_modified, sink=sink, request_id=request_id
        )
        if isinstance(answer, Document):
            self._meter.took(answer.size_bytes)
        return answer

    def tarball_url(self, dist_tarball: str | None, name: PackageName, version: str) -> str:
        return self._uplink.tarball_url(dist_tarball, name, version)

    @asynccontextmanager
    async def tarball(
        self, url: str, *, offset: int = 0, etag: str | None = None, request_id: str = ""
    ) -> AsyncIterator[Stream]:
        self._count()
        opened = self._uplink.tarball(url, offset=offset, etag=etag, request_id=request_id)
        async with opened as stream:
            yield _Metered(stream, self._meter)

    async def forward(
        self,
        method: str,
        path_and_query: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeout: timedelta,
        limit_bytes: int,
        request_id: str = "",
    ) -> Answer:
        self._count()
        answer = await self._uplink.forward(
            method,
            path_and_query,
            body=body,
            headers=headers,
            timeout=timeout,
            limit_bytes=limit_bytes,
            request_id=request_id,
        )
        self._meter.took(len(answer.body))
        return answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def _count(self) -> None:
        if not self._meter.may_ask():
            raise errors.UplinkAway(uplink=self.name, reason="the budget of requests is spent")


class _Metered:
    """A tarball whose bytes are counted as they come."""

    def __init__(self, stream: Stream, meter: Meter) -> None:
        self._stream = stream
        self._meter = meter

    @property
    def status(self) -> int:
        return self._stream.status

    @property
    def offset(self) -> int:
        return self._stream.offset

    @property
    def total_bytes(self) -> int | None:
        return self._stream.total_bytes

    @property
    def etag(self) -> str | None:
        return self._stream.etag

    async def chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream.chunks():
            self._meter.took(len(chunk))
            yield chunk
