"""Keeping the cache within its bounds.

That is eviction, what a crash left behind, and the check of every stored byte.

Order of removal: the record first, then the blob, so that no record ever names a blob that is gone
on purpose. What lies between is an orphan, removed when it is older than `_ORPHAN_AGE`; a blob that
was just stored and whose record is still on its way is younger than that. (Where a stalled disk
makes it older, the record names nothing, and the next request fetches the tarball again.) One
process of a node does this at a time (lease).
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from proxy import errors
from proxy.registry import scrub
from proxy.registry.scrub import Verdict
from proxy.storage.base import Blobs, Index, Leases, TarballRecord

_log = logging.getLogger(__name__)

_ORPHAN_AGE = timedelta(seconds=30)
_ROUND = timedelta(seconds=10)
# The first sweep is at the start. The second finds what the crash before that start has left, once
# it is old enough.
_SECOND_SWEEP = _ORPHAN_AGE + timedelta(seconds=5)
_SWEEP = timedelta(minutes=30)
_BATCH = 64
_LOOK_AT_DISK_EVERY = timedelta(seconds=1)
LEASE = "upkeep"
"""Held by who sweeps or evicts, and by who needs that nobody does."""


class Derived(Protocol):
    """Bytes that may vanish, which clean up after themselves (storage/cache.py)."""

    async def sweep(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large the cache may grow, and how much of the disk it leaves free."""

    max_bytes: int
    min_free_bytes: int


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep has removed: unfinished files, blobs without a record, rendered files."""

    unfinished: int
    orphans: int
    orphan_bytes: int
    rendered: int


class Upkeep:
    """Looks after Index and Blobs."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        cache: Derived,
        leases: Leases,
        bounds: Bounds,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._cache = cache
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
        pauses = itertools.chain([_SECOND_SWEEP], itertools.repeat(_SWEEP))
        sweep_at = self._monotonic()
        while True:
            now = self._monotonic()
            try:
                has_swept = await self.round(is_sweep_due=now >= sweep_at)
            except errors.RegistryError as fault:
                _log.warning("upkeep failed, trying again", extra={"reason": str(fault)})
            except Exception:  # noqa: BLE001 -- supervised: the next round may do better
                _log.exception("upkeep failed")
            else:
                sweep_at = now + next(pauses).total_seconds() if has_swept else sweep_at
            await asyncio.sleep(_ROUND.total_seconds())

    async def round(self, *, is_sweep_due: bool = False) -> bool:
        """Write down what was used; then, in one process of the node, evict and sweep.

        Returns whether it has swept.
        """
        await self.flush()
        if not await self._leases.try_acquire(LEASE):
            return False
        try:
            await self.evict()
            if is_sweep_due:
                await self.sweep()
        finally:
            await self._leases.release(LEASE)
        return is_sweep_due

    async def collect(self) -> tuple[Swept, int]:
        """Sweep and evict now, after whoever is at it; returns what went, and the bytes evicted."""
        async with self._leases.hold(LEASE):
            swept = await self.sweep()
            return swept, await self.evict()

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
        rendered = await self._cache.sweep()
        return Swept(unfinished, orphans, orphan_bytes, rendered)

    async def verify(self) -> AsyncIterator[Verdict]:
        """Read every blob and compare its digest: all tarballs, then packuments' bodies.

        What is damaged is removed, to be fetched again.
        """
        seen: dict[str, str | None] = {}
        for name in await self._index.names():
            for record in await self._index.tarballs(name):
                if record.digest not in seen:
                    seen[record.digest] = await scrub.damage(
                        self._blobs, record.digest, record.size_bytes
                    )
                damage = seen[record.digest]
                if damage is not None:
                    await self._index.drop_tarball(record.name, record.file)
                    await self._blobs.delete(record.digest)
                yield Verdict(f"{record.name}@{record.version}", damage)
        async for digest, size_bytes, _ in self._blobs.digests():
            if digest not in seen:
                damage = await scrub.damage(self._blobs, digest, size_bytes)
                if damage is not None:
                    await self._blobs.delete(digest)
                yield Verdict(f"packument body {digest[:16]}", damage)
