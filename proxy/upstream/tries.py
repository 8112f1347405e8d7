"""Trying again, once or as often as the operator says, when that may help and costs little."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from proxy.upstream.asking import GZIP, IDENTITY, Patience
from proxy.upstream.breaker import RetryBudget
from proxy.upstream.faults import Fault

T = TypeVar("T")

_SHORTEST_PAUSE_SECONDS = 0.05
_JITTER_SECONDS = 0.25


class Tries:
    """The retries of one uplink: at most `retries` a call, all of them within one budget."""

    def __init__(
        self, *, retries: int, clock: Callable[[], float], rand: Callable[[], float]
    ) -> None:
        self._retries = retries
        self._clock = clock
        self._rand = rand
        self._budget = RetryBudget()

    async def run(
        self,
        attempt: Callable[[str], Awaitable[T]],
        patience: Patience,
        *,
        before_retry: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Run `attempt` with the Content-Encoding to ask for, until it succeeds or it is enough.

        Raises the last Fault.
        """
        coding = GZIP
        left = self._retries
        self._budget.asked(self._clock())
        while True:
            try:
                return await attempt(coding)
            except Fault as fault:
                pause_seconds = _SHORTEST_PAUSE_SECONDS + self._rand() * _JITTER_SECONDS
                if not left or not self._is_worth_it(fault, pause_seconds, patience):
                    raise
                coding = IDENTITY if fault.as_identity else coding
            left -= 1
            await asyncio.sleep(pause_seconds)
            if before_retry is not None:
                await before_retry()

    def _is_worth_it(self, fault: Fault, pause_seconds: float, patience: Patience) -> bool:
        return (
            fault.may_retry and pause_seconds < patience.left() and self._budget.take(self._clock())
        )
