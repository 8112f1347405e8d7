"""Index and Blobs in dicts: what the storage protocols mean, without a disk.

They pass the same suites as the real ones (tests/contract), so a story tested on them is tested on what it will meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Self

from proxy.errors import StorageAway
from proxy.npm.forms import Form
from proxy.storage.base import PackumentRecord, TarballRecord, Usage

KEPT_CHANGES = 10_000


class MemoryIndex:
    """Index in dicts. `is_away = True` plays a database that cannot be used."""

    def __init__(self) -> None:
        self.is_away = False
        self._packuments: dict[tuple[str, str, Form], PackumentRecord] = {}
        self._tarballs: dict[tuple[str, str], TarballRecord] = {}
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

    async def put_tarball(self, record: TarballRecord) -> None:
        self._commit()
        self._tarballs[record.name, record.file] = record

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
        records = [*self._packuments.values(), *self._tarballs.values()]
        return any(record.digest == digest for record in records)


def _is_of(record: PackumentRecord, name: str, uplink: str | None) -> bool:
    return record.name == name and uplink in {None, record.uplink}
