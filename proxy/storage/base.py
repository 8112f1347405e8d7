"""What the stories may ask of storage: the protocols, and the records they exchange.

Three places to keep things. `Index`: small facts that must survive. `Blobs`: immutable bytes by
digest. `Cache` (one class, in cache.py): derived bytes that may vanish at any moment. `Leases` keep
two processes of one node from doing the same work at once. Instants are aware UTC datetimes; sizes
are bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from proxy.errors import StorageCorrupt
from proxy.npm.forms import Form


@dataclass(frozen=True, slots=True)
class PackumentRecord:
    """What one uplink said of one package when asked for one form, and when.

    `form` is the form that was asked for, `body_form` the form that came. `digest` names the stored
    body (a blob of gzip bytes); `revision` names its content (hex, of the identity bytes) and is
    what every derived thing is keyed by. `size_bytes` is the size of that blob. `etag` and
    `last_modified` are the uplink's validators, as it wrote them. `missing_since` is the first of
    the 404s that have come since the body did.
    """

    uplink: str
    name: str
    form: Form
    body_form: Form
    digest: str
    revision: str
    size_bytes: int
    etag: str | None
    last_modified: str | None
    modified_at: datetime
    fetched_at: datetime
    checked_at: datetime
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class TarballRecord:
    """One tarball we hold.

    `digest` is the sha512 (hex) of its bytes; `uplink` is where it came from.
    """

    uplink: str
    name: str
    file: str
    version: str
    digest: str
    size_bytes: int
    stored_at: datetime
    used_at: datetime


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """Something else that an uplink said: its signing keys, or the attestations of a version.

    `path` is where it was asked for, `digest` the sha512 (hex) of the stored JSON.
    """

    uplink: str
    path: str
    digest: str
    size_bytes: int
    fetched_at: datetime


@dataclass(frozen=True, slots=True)
class Usage:
    """How much the mirror holds. A blob that two entries share counts once."""

    packuments: int
    tarballs: int
    packument_bytes: int
    tarball_bytes: int


class Index(Protocol):
    """Small facts that survive.

    Reads are cheap enough for the event loop; writes are on disk when they return.
    """

    async def packument(self, uplink: str, name: str, form: Form) -> PackumentRecord | None: ...

    async def put_packument(self, record: PackumentRecord) -> None:
        """Insert or replace.

        A new `revision` of a known (uplink, name, form) adds `name` to the change log.
        """

    async def drop_packuments(self, name: str, uplink: str | None = None) -> Sequence[str]:
        """Forget every form of `name`; adds to the change log.

        Returns digests no record names any more.
        """

    async def tarball(self, name: str, file: str) -> TarballRecord | None: ...

    async def put_tarball(self, record: TarballRecord, *, shasum: str | None = None) -> None:
        """Insert or replace; `shasum` is the SHA-1 (hex) that it was fetched for, if that is all.

        Which digest that was is remembered: of several the first one, whatever becomes of it.
        """

    async def first(self, uplink: str, name: str, file: str, shasum: str) -> str | None:
        """The digest of the tarball that came first under this SHA-1."""

    async def drop_tarball(self, name: str, file: str) -> str | None:
        """Forget one tarball; adds to the change log.

        Returns its digest if no record names it any more.
        """

    async def tarballs(self, name: str) -> Sequence[TarballRecord]: ...

    async def put_package(
        self,
        name: str,
        packuments: Sequence[PackumentRecord],
        tarballs: Sequence[TarballRecord],
        documents: Sequence[DocumentRecord] = (),
    ) -> None:
        """Insert or replace records of one package, all of them or none; adds to the change log."""

    async def document(self, uplink: str, path: str) -> DocumentRecord | None: ...

    async def put_document(self, record: DocumentRecord) -> None:
        """Insert or replace."""

    async def imported(self) -> Sequence[str]:
        """The bundles that were imported here, by their names, in the order of their import."""

    async def note_import(self, bundle: str, at: datetime) -> None:
        """Note that a bundle was imported; one that is noted already keeps its place."""

    async def mark_used(self, used: Iterable[tuple[str, str, datetime]]) -> None:
        """Note (name, file, used_at) of many tarballs at once; unknown ones are passed over."""

    async def least_recently_used(self, limit: int) -> Sequence[TarballRecord]: ...

    async def usage(self) -> Usage: ...

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Names of all packages of which a packument or a tarball is held, sorted."""

    async def is_referenced(self, digest: str) -> bool: ...

    def revision(self) -> int:
        """A number that differs from the last one if anybody has committed. Costs microseconds."""

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """(latest sequence number, names changed after `since`).

        `changes(-1)` gives the latest number and no names. Where the log does not reach back to
        `since` (only its last 10,000 rows are kept, and a new file begins elsewhere) the names are
        `["*"]`: everything may have changed.
        """

    async def check(self) -> None:
        """Raise StorageAway unless a row can be read and written now."""


class Blob(Protocol):
    """Immutable bytes, open for reading; stays readable when the blob is deleted meanwhile."""

    @property
    def size_bytes(self) -> int: ...

    async def read(self, offset: int, length: int) -> bytes: ...

    async def close(self) -> None: ...


class Incoming(Protocol):
    """A file that is being written and is not a blob yet; others read it as it grows.

    A write or commit that fails leaves no file. One task writes, any number may read.
    """

    @property
    def path(self) -> Path: ...

    @property
    def size_bytes(self) -> int: ...

    async def write(self, chunk: bytes) -> None: ...

    async def read(self, offset: int, length: int) -> bytes: ...

    async def commit(self, digest: str) -> None:
        """Sync, then rename to its place under `digest`; readers keep reading.

        A blob that is there already is replaced: it may have been damaged, and who reads it reads
        on. Whatever is in the file is committed, whoever wrote it there by its `path`.
        """

    async def discard(self) -> None:
        """Forget it, or after a commit only let go of it; what is in flight is read to the end.

        May be called again. Reading and writing raise StorageAway from now on.
        """


class Damaged(StorageCorrupt):
    """A blob's bytes are not those that were stored, or cannot be read. Facts: digest."""

    def __init__(self, digest: str) -> None:
        super().__init__(reason=f"the bytes of {digest[:16]} have changed", digest=digest)


class Blobs(Protocol):
    """Immutable bytes by digest (hex). Raises StorageFull and StorageAway."""

    async def create(
        self, key: str, total_bytes: int | None = None, *, is_durable: bool = False
    ) -> Incoming:
        """Start a file others can find by `key` (any string) while it grows.

        What is `is_durable` survives a power cut from the moment its commit returns.
        """

    async def growing(self, key: str) -> tuple[Blob, int | None] | None:
        """The incoming file that a living process writes for `key`, and its announced total.

        None if there is no such file. Its blob's `size_bytes` grows; whoever opens it closes it.
        """

    async def put(self, data: bytes, digest: str, *, is_durable: bool = False) -> None: ...

    async def open(self, digest: str, size_bytes: int | None = None) -> Blob | None:
        """None if absent, or if its size is not `size_bytes`."""

    async def open_sound(self, digest: str, size_bytes: int | None = None) -> Blob | None:
        """As `open`, for bytes that are sent on: they are those that were stored.

        Raises Damaged if they are not, or have not been found so before and cannot be read. A very
        large blob may be checked as it is read from start to end: the last read raises Damaged.
        """

    async def delete(self, digest: str) -> bool: ...

    def digests(self) -> AsyncIterator[tuple[str, int, datetime]]:
        """(digest, size, modified) of every blob on disk."""

    async def sweep_incoming(self, older_than: datetime) -> int:
        """Remove what a crash left of unfinished files. Returns how many."""

    async def free_bytes(self) -> int: ...

    async def check(self) -> None:
        """Raise StorageAway unless a small file can be written, read back and removed now."""


class Leases(Protocol):
    """Keeps two processes from doing the same work.

    A lease ends with its process, however that dies.
    """

    def hold(self, key: str) -> AbstractAsyncContextManager[bool]:
        """Wait for `key`, then hold it until the block ends.

        Yields True if it was free at once, False if it was waited for.
        """

    async def try_acquire(self, key: str) -> bool:
        """Take `key` if it is free.

        Within one process the caller sees to it that a key is taken once at a time.
        """

    async def release(self, key: str) -> None: ...
