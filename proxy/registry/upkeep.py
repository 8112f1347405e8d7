"""Keeping the cache within its bounds.

That is eviction, what a crash left behind, and the check of every stored byte.

Order of removal: the record first, then the blob, so that no record ever names a blob that is gone
on purpose. What lies between is an orphan, removed when it is older than `_ORPHAN_AGE`; a blob that
was just stored and whose record is still on its way is younger than that. One process of a node
does this at a time (lease).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy import errors
from proxy.storage.base import Blobs, Index, Leases, TarballRecord

_log = logging.getLogger(__name__)

_ORPHAN_AGE = timedelta(minutes=10)
_ROUND = timedelta(seconds=10)
_SWEEP = timedelta(minutes=30)
_BATCH = 64
_LOOK_AT_DISK_EVERY = timedelta(seconds=1)
_READ_BYTES = 1024 * 1024
_LEASE = "upkeep"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large the cache may grow, and how much of the disk it leaves free."""

    max_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has removed."""

    unfinished: int
    orphans: int
    orphan_bytes: int


@dataclass(frozen=True, slots=True)
class Damaged:
    """A tarball whose bytes are not those that were stored."""

    record: TarballRecord
    reason: str


class Upkeep:
    """Looks after Index and Blobs."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        leases: Leases,
        bounds: Bounds,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._leases = leases
        self._bounds = bounds
        self._clock = clock
        self._monotonic = monotonic
        self._used: dict[tuple[str, str], datetime] = {}
        self._free_bytes = 0
        self._looked_at = float("-inf")

    def used(self, name: str, file: str) -> None:
        """Note that a tarball was served.

        Written down with the next round, never on the way of a request.
        """
        self._used[name, file] = self._clock()

    async def has_room(self) -> bool:
        """Whether the disk has more free than its floor (looked at once a second)."""
        now = self._monotonic()
        if now - self._looked_at >= _LOOK_AT_DISK_EVERY.total_seconds():
            self._free_bytes = await self._blobs.free_bytes()
            self._looked_at = now
        return self._free_bytes > self._bounds.min_free_bytes

    async def run(self) -> None:
        """Do what has to be done, round after round, until cancelled."""
        sweep_at = self._monotonic()
        while True:
            is_sweep_due = self._monotonic() >= sweep_at
            try:
                await self.round(is_sweep_due=is_sweep_due)
            except errors.RegistryError as fault:
                _log.warning("upkeep failed, trying again", extra={"reason": str(fault)})
            if is_sweep_due:
                sweep_at = self._monotonic() + _SWEEP.total_seconds()
            await asyncio.sleep(_ROUND.total_seconds())

    async def round(self, *, is_sweep_due: bool = False) -> None:
        """Write down what was used; then, in one process of the node, evict and sweep."""
        await self.flush()
        if not await self._leases.try_acquire(_LEASE):
            return
        try:
            await self.evict()
            if is_sweep_due:
                await self.sweep()
        finally:
            await self._leases.release(_LEASE)

    async def flush(self) -> None:
        """Write down which tarballs were served since the last time."""
        used, self._used = self._used, {}
        if used:
            await self._index.mark_used((name, file, at) for (name, file), at in used.items())

    async def evict(self) -> int:
        """Remove the least recently used tarballs until the bounds hold.

        Returns how many bytes were freed.
        """
        freed_bytes = 0
        while (excess_bytes := await self._excess_bytes()) > 0:
            batch_bytes = await self._evict_batch(excess_bytes)
            if batch_bytes == 0:
                break
            freed_bytes += batch_bytes
        if freed_bytes:
            _log.info("evicted", extra={"bytes": freed_bytes})
        return freed_bytes

    async def _excess_bytes(self) -> int:
        usage = await self._index.usage()
        over_bytes = usage.packument_bytes + usage.tarball_bytes - self._bounds.max_bytes
        short_bytes = self._bounds.min_free_bytes - await self._blobs.free_bytes()
        return max(over_bytes, short_bytes)

    async def _evict_batch(self, excess_bytes: int) -> int:
        freed_bytes = 0
        for record in await self._index.least_recently_used(_BATCH):
            if freed_bytes >= excess_bytes:
                break
            await self.remove(record)
            freed_bytes += record.size_bytes
        return freed_bytes

    async def remove(self, record: TarballRecord) -> None:
        """Forget one tarball, and its blob if no other entry has the same bytes."""
        digest = await self._index.drop_tarball(record.name, record.file)
        if digest is not None:
            await self._blobs.delete(digest)

    async def sweep(self) -> Swept:
        """Remove what crashes have left: unfinished files, and blobs that no record names."""
        before = self._clock() - _ORPHAN_AGE
        unfinished = await self._blobs.sweep_incoming(before)
        orphans = orphan_bytes = 0
        async for digest, size_bytes, modified_at in self._blobs.digests():
            if modified_at < before and not await self._index.is_referenced(digest):
                await self._blobs.delete(digest)
                orphans += 1
                orphan_bytes += size_bytes
        return Swept(unfinished=unfinished, orphans=orphans, orphan_bytes=orphan_bytes)

    async def verify(self) -> AsyncIterator[TarballRecord | Damaged]:
        """Read every tarball and compare its digest.

        Damaged ones are removed, to be fetched again.
        """
        for name in await self._index.names():
            for record in await self._index.tarballs(name):
                reason = await self._damage(record)
                if reason is None:
                    yield record
                else:
                    await self.remove(record)
                    await self._blobs.delete(record.digest)
                    yield Damaged(record, reason)

    async def _damage(self, record: TarballRecord) -> str | None:
        blob = await self._blobs.open(record.digest)
        if blob is None:
            return "the file is missing"
        digest = hashlib.sha512()
        try:
            for offset in range(0, blob.size_bytes, _READ_BYTES):
                digest.update(await blob.read(offset, _READ_BYTES))
        finally:
            await blob.close()
        if blob.size_bytes != record.size_bytes:
            return f"{blob.size_bytes} bytes instead of {record.size_bytes}"
        return None if digest.hexdigest() == record.digest else "its bytes have changed"
