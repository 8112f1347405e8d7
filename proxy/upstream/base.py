"""What the stories may ask of an uplink, and what it answers: over HTTP, or offline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import Protocol, Self

from proxy import errors
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.upstream.presence import Absence, Presence


class TarballGone(errors.TarballNotFound):
    """The uplink says there is no such tarball. Facts: uplink, file, status (404, 410 or 451)."""

    template = "uplink {uplink} has no {file}: it answered {status}"


@dataclass(frozen=True, slots=True)
class NotModified:
    """What we hold is current. The validators are those to send next time."""

    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Missing:
    """The uplink says there is no such package: `status` is 404, 410 or 451."""

    status: int


@dataclass(frozen=True, slots=True)
class Document:
    """A packument whose identity bytes, `size_bytes` of them, have gone to the sink.

    The transfer was whole as far as HTTP tells. A body without a length may still be cut: that is
    left to whoever reads the JSON. Validators are None if another origin than the uplink's own gave
    them.
    """

    content_type: str
    etag: str | None
    last_modified: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to be handed on: any status but those that are the uplink's failure."""

    status: int
    content_type: str
    etag: str | None
    body: bytes


class Sink(Protocol):
    """Takes a body as it arrives."""

    async def write(self, chunk: bytes) -> None: ...

    async def restart(self) -> None:
        """Forget what was written; the body starts again."""


class Stream(Protocol):
    """A tarball on its way. It starts at `offset`, which is 0 if the uplink would not resume.

    `total_bytes` is the size of the whole tarball, None if the uplink does not say. `etag` is what
    to resume with.
    """

    @property
    def status(self) -> int: ...

    @property
    def offset(self) -> int: ...

    @property
    def total_bytes(self) -> int | None: ...

    @property
    def etag(self) -> str | None: ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from `offset`, once. Raises an UplinkError if they end early or too slowly."""


class Questions(Protocol):
    """What one registry can be asked. Open between `async with`; raises UplinkError."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> str:
        """`closed` while it is asked, `open` while not, `half-open` while probed, or `offline`."""

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
        """Ask for a packument, conditionally if there are validators. The body goes to `sink`."""

    def tarball_url(self, dist_tarball: str | None, name: PackageName, version: str) -> str:
        """The address to ask for the tarball of a version, given what its manifest says."""

    def tarball(
        self, url: str, *, offset: int = 0, etag: str | None = None, request_id: str = ""
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a tarball, from `offset` if that can be. Raises TarballGone."""

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
        """Ask for anything else below the uplink's base; the answer's body is identity bytes."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Uplink(Questions, Protocol):
    """One registry we are configured to ask, and whether it is to be had now."""

    @property
    def absence(self) -> Absence | None:
        """Why nothing can be had of it, offline or as far as its last word goes; else None."""

    @property
    def presence(self) -> Presence:
        """Its last word alone, for who looks at it at every request. Offline is not in it."""
