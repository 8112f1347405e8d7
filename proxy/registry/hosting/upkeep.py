"""Removing what publishes have left behind that never came to an end.

That is unfinished files of dead processes, and blobs that no version names: of a publish that was
killed before its transaction, or of a version that was unpublished. Nothing else is ever removed of
what is hosted.

1. A blob is removed only under the lease that its publish holds until the transaction is done
   (publishing.py), and only if no version names it then. So no publish loses its blob, however long
   it takes; the age is there to spare the looking.
2. A database that cannot be read names nothing and says nothing: the sweep ends there.
3. If most blobs are named by no version, something else is wrong, an old backup of the database
   most likely: nothing is removed, and whoever runs this is told.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy import errors
from proxy.registry.hosting.publishing import lease_of
from proxy.storage.base import Blobs, Leases
from proxy.storage.hosting import HostedIndex

_log = logging.getLogger(__name__)

_AGE = timedelta(seconds=30)
# The second sweep finds what the crash before this start has left, once it is old enough.
_SECOND_SWEEP = _AGE + timedelta(seconds=5)
_SWEEP = timedelta(minutes=30)
_RETRY = timedelta(seconds=10)
_LEASE = "hosted upkeep"
# Crashes and unpublishing leave a few; more than that, and more than half, is no accident of ours.
_SUSPICIOUS = 200


@dataclass(frozen=True, slots=True)
class Reclaimed:
    """What a sweep has removed: unfinished files, and blobs with their size."""

    unfinished: int
    orphans: int
    orphan_bytes: int


class HostedUpkeep:
    """Looks after the blobs of hosted packages."""

    def __init__(
        self,
        *,
        hosted: HostedIndex,
        blobs: Blobs,
        leases: Leases,
        clock: Callable[[], datetime],
    ) -> None:
        self._hosted = hosted
        self._blobs = blobs
        self._leases = leases
        self._clock = clock

    async def run(self) -> None:
        """Sweep now, soon again, then now and then, until cancelled."""
        pauses = itertools.chain([_SECOND_SWEEP], itertools.repeat(_SWEEP))
        while True:
            pause = _RETRY
            try:
                if await self.round() is not None:
                    pause = next(pauses)
            except errors.RegistryError as fault:
                _log.warning(
                    "upkeep of hosted packages failed, trying again", extra={"reason": str(fault)}
                )
            except Exception:  # noqa: BLE001 -- supervised: the next round may do better
                _log.exception("upkeep of hosted packages failed")
            await asyncio.sleep(pause.total_seconds())

    async def round(self) -> Reclaimed | None:
        """Sweep, if no other process of the node is at it; None if one is."""
        if not await self._leases.try_acquire(_LEASE):
            return None
        try:
            return await self.sweep()
        finally:
            await self._leases.release(_LEASE)

    async def sweep(self) -> Reclaimed:
        """Remove what crashes have left, and what was unpublished."""
        before = self._clock() - _AGE
        unfinished = await self._blobs.sweep_incoming(before)
        blobs, orphans = 0, []
        async for digest, size_bytes, modified_at in self._blobs.digests():
            blobs += 1
            if modified_at < before and not await self._hosted.is_referenced(digest):
                orphans.append((digest, size_bytes))
        if len(orphans) > max(_SUSPICIOUS, blobs // 2):
            _log.error(
                "most tarballs belong to no published version; none is removed. Is the database an "
                "old backup? Restore the latest one",
                extra={"orphans": len(orphans), "blobs": blobs},
            )
            return Reclaimed(unfinished, 0, 0)
        removed = [size for digest, size in orphans if await self._remove(digest)]
        return Reclaimed(unfinished, len(removed), sum(removed))

    async def _remove(self, digest: str) -> bool:
        """Remove a blob, unless it is being published or was just now (rule 1)."""
        if not await self._leases.try_acquire(lease_of(digest)):
            return False
        try:
            if await self._hosted.is_referenced(digest):
                return False
            return await self._blobs.delete(digest)
        finally:
            await self._leases.release(lease_of(digest))
