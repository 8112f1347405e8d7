"""An uplink that is asked unless its switch says otherwise, at this very request.

Where the switch is thrown while a tarball arrives, the tarball ends there, and its readers are cut:
no packet leaves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from proxy import errors
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.upstream.base import Answer, Document, Missing, NotModified, Questions, Sink, Stream
from proxy.upstream.offline import refusal
from proxy.upstream.presence import OFFLINE, Absence, Presence


class SwitchedUplink:
    """`uplink`, while `is_offline` says no; that is asked before each question and each chunk."""

    def __init__(self, uplink: Questions, *, is_offline: Callable[[], bool]) -> None:
        self._uplink = uplink
        self._is_offline = is_offline
        self._presence = Presence()

    @property
    def name(self) -> str:
        return self._uplink.name

    @property
    def state(self) -> str:
        return "offline" if self._is_offline() else self._uplink.state

    @property
    def absence(self) -> Absence | None:
        return OFFLINE if self._is_offline() else self._presence.absence

    @property
    def presence(self) -> Presence:
        return self._presence

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
        self._refuse()
        with self._noted():
            return await self._uplink.packument(
                name,
                form,
                etag=etag,
                last_modified=last_modified,
                sink=sink,
                request_id=request_id,
            )

    def tarball_url(self, dist_tarball: str | None, name: PackageName, version: str) -> str:
        return self._uplink.tarball_url(dist_tarball, name, version)

    @asynccontextmanager
    async def tarball(
        self, url: str, *, offset: int = 0, etag: str | None = None, request_id: str = ""
    ) -> AsyncIterator[Stream]:
        self._refuse()
        async with AsyncExitStack() as stack:
            with self._noted():
                opened = self._uplink.tarball(url, offset=offset, etag=etag, request_id=request_id)
                stream = await stack.enter_async_context(opened)
            yield _Switched(stream, self._refuse)

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
        self._refuse()
        return await self._uplink.forward(
            method,
            path_and_query,
            body=body,
            headers=headers,
            timeout=timeout,
            limit_bytes=limit_bytes,
            request_id=request_id,
        )

    async def __aenter__(self) -> Self:
        await self._uplink.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._uplink.__aexit__(kind, error, trace)

    def _refuse(self) -> None:
        if self._is_offline():
            raise refusal(self.name)

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Note what comes of a question: an answer, be it that there is nothing, or a fault."""
        try:
            yield
        except errors.NotFound:
            self._presence.answered()
            raise
        except errors.UplinkError as fault:
            self._presence.failed(fault)
            raise
        self._presence.answered()


class _Switched:
    """A tarball that goes on arriving until the switch is thrown."""

    def __init__(self, stream: Stream, refuse: Callable[[], None]) -> None:
        self._stream = stream
        self._refuse = refuse

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
            self._refuse()
            yield chunk
