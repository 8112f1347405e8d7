"""Index, Blobs and Leases in dicts: what the storage protocols mean, without a disk.

They pass the same suites as the real ones (tests/contract): a story that is tested on them is
tested on what it will meet.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from proxy.errors import StorageAway, StorageFull
from proxy.npm.forms import Form
from proxy.storage.base import Damaged, DocumentRecord, PackumentRecord, TarballRecord, Usage

KEPT_CHANGES = 10_000


class MemoryIndex:
    """Index in dicts. `is_away = True` plays a database that cannot be used."""

    def __init__(self) -> None:
        self.is_away = False
        self._packuments: dict[tuple[str, str, Form], PackumentRecord] = {}
        self._tarballs: dict[tuple[str, str], TarballRecord] = {}
        self._firsts: dict[tuple[str, str, str, str], str] = {}
        self._documents: dict[tuple[str, str], DocumentRecord] = {}
        self._imported: dict[str, datetime] = {}
        self._changes: list[tuple[int, str]] = []
        self._sequence = 1000
        self._commits = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def packument(self, uplink: str, name: str, form: Form) -> PackumentRecord | None:
        self._alive()
        return self._packuments.get((uplink, name, form))

    async def put_packument(self, record: PackumentRecord) -> None:
        self._commit()
        key = (record.uplink, record.name, record.form)
        before = self._packuments.get(key)
        self._packuments[key] = record
        if before is not None and before.revision != record.revision:
            self._log(record.name)

    async def drop_packuments(self, name: str, uplink: str | None = None) -> Sequence[str]:
        self._commit()
        dropped = [r for r in self._packuments.values() if _is_of(r, name, uplink)]
        for record in dropped:
            del self._packuments[record.uplink, record.name, record.form]
        self._log(name)
        digests = {record.digest for record in dropped}
        return [digest for digest in digests if not self._names(digest)]

    async def tarball(self, name: str, file: str) -> TarballRecord | None:
        self._alive()
        return self._tarballs.get((name, file))

    async def put_tarball(self, record: TarballRecord, *, shasum: str | None = None) -> None:
        self._commit()
        self._tarballs[record.name, record.file] = record
        if shasum is not None:
            key = (record.uplink, record.name, record.file, shasum)
            self._firsts.setdefault(key, record.digest)

    async def first(self, uplink: str, name: str, file: str, shasum: str) -> str | None:
        self._alive()
        return self._firsts.get((uplink, name, file, shasum))

    async def drop_tarball(self, name: str, file: str) -> str | None:
        self._commit()
        record = self._tarballs.pop((name, file), None)
        self._log(name)
        if record is None or self._names(record.digest):
            return None
        return record.digest

    async def tarballs(self, name: str) -> Sequence[TarballRecord]:
        self._alive()
        held = [record for record in self._tarballs.values() if record.name == name]
        return sorted(held, key=lambda record: record.file)

    async def put_package(
        self,
        name: str,
        packuments: Sequence[PackumentRecord],
        tarballs: Sequence[TarballRecord],
        documents: Sequence[DocumentRecord] = (),
    ) -> None:
        self._commit()
        self._packuments |= {(each.uplink, each.name, each.form): each for each in packuments}
        self._tarballs |= {(each.name, each.file): each for each in tarballs}
        self._documents |= {(each.uplink, each.path): each for each in documents}
        self._log(name)

    async def document(self, uplink: str, path: str) -> DocumentRecord | None:
        self._alive()
        return self._documents.get((uplink, path))

    async def put_document(self, record: DocumentRecord) -> None:
        self._commit()
        self._documents[record.uplink, record.path] = record

    async def imported(self) -> Sequence[str]:
        self._alive()
        return list(self._imported)

    async def note_import(self, bundle: str, at: datetime) -> None:
        self._commit()
        self._imported.setdefault(bundle, at)

    async def mark_used(self, used: Iterable[tuple[str, str, datetime]]) -> None:
        self._commit()
        for name, file, used_at in used:
            record = self._tarballs.get((name, file))
            if record is not None and record.used_at < used_at:
                self._tarballs[name, file] = replace(record, used_at=used_at)

    async def least_recently_used(self, limit: int) -> Sequence[TarballRecord]:
        self._alive()
        return sorted(self._tarballs.values(), key=lambda record: record.used_at)[:limit]

    async def usage(self) -> Usage:
        self._alive()
        packuments = {r.digest: r.size_bytes for r in self._packuments.values()}
        tarballs = {r.digest: r.size_bytes for r in self._tarballs.values()}
        counts = (len(self._packuments), len(self._tarballs))
        return Usage(*counts, sum(packuments.values()), sum(tarballs.values()))

    async def names(self, prefix: str = "") -> Sequence[str]:
        self._alive()
        held = {key[1] for key in self._packuments} | {key[0] for key in self._tarballs}
        return sorted(name for name in held if name.startswith(prefix))

    async def is_referenced(self, digest: str) -> bool:
        self._alive()
        return self._names(digest)

    def revision(self) -> int:
        self._alive()
        return self._commits

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        self._alive()
        if since in {-1, self._sequence}:
            return self._sequence, []
        oldest = self._changes[0][0] if self._changes else self._sequence + 1
        if since > self._sequence or since + 1 < oldest:
            return self._sequence, ["*"]
        names = dict.fromkeys(name for number, name in self._changes if number > since)
        return self._sequence, list(names)

    async def check(self) -> None:
        self._commit()

    def _alive(self) -> None:
        if self.is_away:
            raise StorageAway(reason="the index is away")

    def _commit(self) -> None:
        self._alive()
        self._commits += 1

    def _log(self, name: str) -> None:
        self._sequence += 1
        self._changes = [*self._changes[1 - KEPT_CHANGES :], (self._sequence, name)]

    def _names(self, digest: str) -> bool:
        held = (self._packuments.values(), self._tarballs.values(), self._documents.values())
        records = [record for kind in held for record in kind]
        return any(record.digest == digest for record in records)


def _is_of(record: PackumentRecord, name: str, uplink: str | None) -> bool:
    return record.name == name and uplink in {None, record.uplink}


class MemoryBlobs:
    """Blobs in a dict. `is_full = True` plays a full disk for what is written from then on."""

    def __init__(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.is_full = False
        self._clock = clock
        self._blobs: dict[str, tuple[bytes, datetime]] = {}
        self._incoming: dict[str, list[MemoryIncoming]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def create(
        self, key: str, total_bytes: int | None = None, *, is_durable: bool = False
    ) -> MemoryIncoming:
        incoming = MemoryIncoming(self, key, total_bytes)
        self._incoming.setdefault(key, []).append(incoming)
        return incoming

    async def growing(self, key: str) -> tuple[MemoryBlob, int | None] | None:
        if not self._incoming.get(key):
            return None
        newest = self._incoming[key][-1]
        return MemoryBlob(newest.data), newest.total_bytes

    async def put(self, data: bytes, digest: str, *, is_durable: bool = False) -> None:
        self.room()
        self.settle(_checked(digest), data)

    async def open(self, digest: str, size_bytes: int | None = None) -> MemoryBlob | None:
        found = self._blobs.get(_checked(digest))
        if found is None or size_bytes not in {None, len(found[0])}:
            return None
        return MemoryBlob(bytearray(found[0]))

    async def open_sound(self, digest: str, size_bytes: int | None = None) -> MemoryBlob | None:
        found = await self.open(digest, size_bytes)
        if found is not None and hashlib.sha512(found.data).hexdigest() != digest:
            raise Damaged(digest)
        return found

    async def delete(self, digest: str) -> bool:
        return self._blobs.pop(_checked(digest), None) is not None

    async def digests(self) -> AsyncIterator[tuple[str, int, datetime]]:
        for digest, (data, modified_at) in sorted(self._blobs.items()):
            yield digest, len(data), modified_at

    async def sweep_incoming(self, older_than: datetime) -> int:
        return 0  # what is in memory dies with its writer

    async def free_bytes(self) -> int:
        return 0 if self.is_full else 1 << 40

    async def check(self) -> None:
        self.room()

    def room(self) -> None:
        """Raise StorageFull if the disk is to be full."""
        if self.is_full:
            raise StorageFull(reason="no space left in memory")

    def settle(self, digest: str, data: bytes) -> None:
        """Keep `data`, whatever was there."""
        self._blobs[digest] = (data, self._clock())

    def forget(self, incoming: MemoryIncoming) -> None:
        """Take an incoming file out of what others find."""
        held = self._incoming.get(incoming.key, [])
        if incoming in held:
            held.remove(incoming)


class MemoryBlob:
    """A view of bytes that may still grow."""

    def __init__(self, data: bytearray) -> None:
        self.data = data
        self._is_open = True

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    async def read(self, offset: int, length: int) -> bytes:
        if not self._is_open:
            raise StorageAway(reason="the file was closed while it was in use")
        return bytes(self.data[offset : offset + length])

    async def close(self) -> None:
        self._is_open = False


class MemoryIncoming:
    """An unfinished blob."""

    def __init__(self, blobs: MemoryBlobs, key: str, total_bytes: int | None) -> None:
        self.key = key
        self.data = bytearray()
        self.total_bytes = total_bytes
        self._blobs = blobs
        self._is_open = True

    @property
    def path(self) -> Path:
        return Path("nowhere") / self.key

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    async def write(self, chunk: bytes) -> None:
        self._alive()
        self.data += chunk

    async def read(self, offset: int, length: int) -> bytes:
        if not self._is_open:
            raise StorageAway(reason="the file was closed while it was in use")
        return bytes(self.data[offset : offset + length])

    async def commit(self, digest: str) -> None:
        place = _checked(digest)
        self._alive()
        self._blobs.settle(place, bytes(self.data))
        self._blobs.forget(self)

    async def discard(self) -> None:
        self._is_open = False
        self._blobs.forget(self)

    def _alive(self) -> None:
        if not self._is_open:
            raise StorageAway(reason="the file was closed while it was in use")
        try:
            self._blobs.room()
        except StorageFull:
            self._is_open = False
            self._blobs.forget(self)
            raise


class MemoryLeases:
    """Leases of one process: enough for stories that run in one."""

    def __init__(self) -> None:
        self._held: dict[str, asyncio.Event] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[bool]:
        was_free = await self.try_acquire(key)
        is_held = was_free
        while not is_held:
            if (holder := self._held.get(key)) is not None:
                await holder.wait()
            is_held = await self.try_acquire(key)
        try:
            yield was_free
        finally:
            await self.release(key)

    async def try_acquire(self, key: str) -> bool:
        if key in self._held:
            return False
        self._held[key] = asyncio.Event()
        return True

    async def release(self, key: str) -> None:
        released = self._held.pop(key, None)
        if released is not None:
            released.set()


def _checked(digest: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{16,128}", digest):
        raise ValueError(f"not a digest in lower-case hex: {digest[:150]!r}")
    return digest
