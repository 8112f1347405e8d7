"""What was asked for in vain while its uplink was not to be had, for who fetches it elsewhere.

Noted in memory, each thing once however often it is asked for, and written down a moment later,
many together: never on the way of a request. A process that is killed loses the last moment's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from proxy import errors
from proxy.storage.offline import Missing

_log = logging.getLogger(__name__)

_PAUSE = timedelta(milliseconds=250)
# More than that in one moment is somebody who asks for names at random.
_MOST_AT_ONCE = 1000


class Kept(Protocol):
    """Where it is written down (storage/offline.py)."""

    async def note(self, missing: Sequence[Missing]) -> None: ...


class MissingNotes:
    """The notes of this process that are not written down yet."""

    def __init__(self, *, kept: Kept, clock: Callable[[], datetime]) -> None:
        self._kept = kept
        self._clock = clock
        self._noted: dict[tuple[str, str], Missing] = {}
        self._writing: asyncio.Task[None] | None = None

    def note(self, name: str, version: str = "") -> None:
        """Note a version or dist-tag, or that nothing is held of a package."""
        key, before = (name, version), self._noted.get((name, version))
        if before is None and len(self._noted) >= _MOST_AT_ONCE:
            return
        times = 1 if before is None else before.times + 1
        self._noted[key] = Missing(name, version, times, self._clock())
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_soon())

    async def close(self) -> None:
        """Write down what is noted."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        await self._write()

    async def _write_soon(self) -> None:
        while self._noted:
            await asyncio.sleep(_PAUSE.total_seconds())
            await self._write()

    async def _write(self) -> None:
        noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            await self._kept.note(list(noted.values()))
        except errors.RegistryError as fault:
            _log.warning("missing things are not remembered", extra={"reason": str(fault)})
