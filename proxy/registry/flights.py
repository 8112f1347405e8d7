"""One call per key at a time; the others wait for its answer.

A flight belongs to nobody's request: a caller that leaves ends its own waiting, never the call that
others wait for. An error reaches every waiter; the next caller after it starts a new flight.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

_log = logging.getLogger(__name__)


class Flights(Generic[K, V]):
    """The flights that are in the air in this process, by key."""

    def __init__(self) -> None:
        self._flying: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._flying)

    def join(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """The flight for `key`, started with `call` if there is none.

        Await it through `asyncio.wait` or `asyncio.shield`, so that a cancelled waiter does not
        cancel it.
        """
        flight = self._flying.get(key)
        if flight is None:
            flight = asyncio.create_task(call(), name=f"flight {key}")
            self._flying[key] = flight
            flight.add_done_callback(lambda landed: self._landed(key, landed))
        return flight

    def get(self, key: K) -> asyncio.Task[V] | None:
        """The flight for `key`, if one is in the air."""
        return self._flying.get(key)

    async def close(self) -> None:
        """Cancel what is in the air and wait until it has ended."""
        flying = list(self._flying.values())
        for flight in flying:
            flight.cancel()
        await asyncio.gather(*flying, return_exceptions=True)

    def _landed(self, key: K, flight: asyncio.Task[V]) -> None:
        del self._flying[key]
        # Asked for here so that a flight whose waiters have all left does not end as "exception was
        # never retrieved".
        if not flight.cancelled() and (error := flight.exception()) is not None:
            _log.debug("flight failed", extra={"key": str(key), "error": str(error)})
