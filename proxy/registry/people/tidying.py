"""What is done about people now and then: uses of tokens written down, what expired forgotten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from proxy import errors
from proxy.registry.people.callers import Callers
from proxy.storage.identity import People

_log = logging.getLogger(__name__)

EVERY = timedelta(minutes=1)
_FORGET_EVERY = timedelta(hours=1)


class Tidying:
    """Runs beside the requests, in every worker; what one has done another finds done."""

    def __init__(self, *, callers: Callers, people: People, clock: Callable[[], datetime]) -> None:
        self._callers = callers
        self._people = people
        self._clock = clock
        self._forgot_at: datetime | None = None

    async def run(self, every: timedelta = EVERY) -> None:
        """Tidy for ever."""
        while True:
            await asyncio.sleep(every.total_seconds())
            await self.once()

    async def once(self) -> None:
        """Tidy now. Never raises: what cannot be done now is done the next time."""
        try:
            await self._callers.flush()
            await self._forget()
        except errors.RegistryError as fault:
            _log.warning("users and tokens cannot be tidied", extra={"reason": str(fault)})

    async def _forget(self) -> None:
        now = self._clock()
        if self._forgot_at is None or not timedelta() <= now - self._forgot_at < _FORGET_EVERY:
            await self._people.drop_expired(now)
            self._forgot_at = now
