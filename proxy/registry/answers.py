"""What the stories answer: values that know nothing of HTTP.

They are all that the web floor needs to make a reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Protocol

from proxy.npm.forms import JSON_TYPE, Form
from proxy.upstream.presence import Presence


class CacheState(Enum):
    """How an answer came about, in RFC 9211's sense (Cache-Status)."""

    HIT = "hit"
    MISS = "miss"
    REVALIDATED = "revalidated"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Freshness:
    """Where an answer comes from and how old it is.

    `reason` says in a few words why a stale one was sent.
    """

    state: CacheState
    age: timedelta = timedelta(0)
    uplink: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Withheld:
    """How many versions are hidden because their tarballs are not to be had, and how many shown.

    `is_offline` if that was decided; else the uplink is away.
    """

    hidden: int
    shown: int
    is_offline: bool


class Stored(Protocol):
    """Gzip bytes too many to hold in memory: read in pieces, then close.

    `identity_bytes` is their size without gzip.
    """

    @property
    def size_bytes(self) -> int: ...

    @property
    def identity_bytes(self) -> int: ...

    async def read(self, offset: int, length: int) -> bytes: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON document. `body` is gzip if `is_gzip`; `identity_bytes` is its size without coding.

    Whoever gets a `Stored` body closes it. `form` is None for what is no packument.
    """

    body: bytes | Stored
    is_gzip: bool
    identity_bytes: int
    etag: str | None
    modified_at: datetime | None
    content_type: str
    freshness: Freshness
    form: Form | None = None
    is_private: bool = False
    withheld: Withheld | None = None


@dataclass(slots=True)
class Finished:
    """A document in memory, and how long it may be sent without asking.

    That is while its uplink is here, as far as `presence` knows. One that was narrowed because the
    operator put its uplink offline has a `revision` of the Index, and is good while that stays:
    until a tarball comes or goes, or the switch is thrown. `last` is the document as it was last
    sent from here: within a second its age is the same.
    """

    document: Document
    checked_at: datetime
    fresh_until: datetime
    presence: Presence
    revision: int | None = None
    last: Document | None = None


def plain(
    body: bytes,
    freshness: Freshness,
    *,
    etag: str | None = None,
    modified_at: datetime | None = None,
    is_private: bool = False,
) -> Document:
    """A small document as it is: JSON in memory, without coding, and no packument."""
    return Document(
        body=body,
        is_gzip=False,
        identity_bytes=len(body),
        etag=etag,
        modified_at=modified_at,
        content_type=JSON_TYPE,
        freshness=freshness,
        is_private=is_private,
    )


class Tarball(Protocol):
    """A tarball that is being served, whether it is complete or still arriving.

    `read` waits for bytes that have not arrived yet and returns b"" at the end; it raises
    UplinkError if the download fails, upon which a reply that has begun must be cut. `etag` is
    strong, made of the bytes' sha512; it is None while they arrive and the packument promises only
    a shasum. One that `is_private` is not for shared caches.
    """

    @property
    def is_private(self) -> bool: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def etag(self) -> str | None: ...

    @property
    def modified_at(self) -> datetime | None: ...

    @property
    def freshness(self) -> Freshness: ...

    async def read(self, offset: int, length: int) -> bytes: ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Held:
    """A small tarball in memory."""

    body: bytes
    etag: str | None
    modified_at: datetime | None
    freshness: Freshness
    is_private: bool = False

    @property
    def size_bytes(self) -> int:
        """The size of the whole."""
        return len(self.body)

    async def read(self, offset: int, length: int) -> bytes:
        """A piece of it."""
        return self.body[offset : offset + length]

    async def close(self) -> None:
        """Nothing to let go of."""
