"""How fast and how far a run of a mirror rule goes: its budget, and when it waits.

It waits before it asks, never while an answer comes: whoever wants the same thing meanwhile reads
it as fast as it arrives. So a large tarball comes at once and is paid for afterwards, and the rate
holds on average.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from proxy.upstream.base import Uplink

_LOOK_SECONDS = 0.5  # how soon it is seen that a breaker has closed, or a switch was thrown
_OPEN = "open"


class End(Enum):
    """How a run ended, in the words of logs and metrics."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    BUDGET = "budget spent"
    OFFLINE = "offline"
    NO_ROOM = "no room"


class Halted(Exception):
    """The run ends before it is done, which is nobody's fault."""

    def __init__(self, end: End) -> None:
        self.end = end
        super().__init__(end.value)


class Pace:
    """The budget of one run, and what it has used of it (a Meter of upstream/metered.py)."""

    def __init__(
        self, *, max_requests: int, max_bytes_per_second: int, monotonic: Callable[[], float]
    ) -> None:
        self._max_requests = max_requests
        self._rate = max_bytes_per_second
        self._monotonic = monotonic
        self._paid_at = float("-inf")
        self.requests = 0
        self.fetched_bytes = 0

    @property
    def is_spent(self) -> bool:
        """Whether no request is left."""
        return self.requests >= self._max_requests

    @property
    def unpaid_seconds(self) -> float:
        """How long until what has come is paid for; not above 0 if it is."""
        return self._paid_at - self._monotonic()

    def may_ask(self) -> bool:
        """Whether one more request may be made; if so, it is counted."""
        if self.is_spent:
            return False
        self.requests += 1
        return True

    def took(self, size_bytes: int) -> None:
        """Count bytes that have come: they are paid for with time."""
        self.fetched_bytes += size_bytes
        self._paid_at = max(self._paid_at, self._monotonic()) + size_bytes / self._rate

    async def wait(self, uplink: Uplink) -> None:
        """Return when `uplink` may be asked again; call it while nobody waits for us.

        Raises Halted where that will not be in this run.
        """
        while True:
            absence = uplink.absence
            if absence is not None and absence.is_offline:
                raise Halted(End.OFFLINE)
            if self.is_spent:
                raise Halted(End.BUDGET)
            is_open = uplink.state == _OPEN
            if not is_open and self.unpaid_seconds <= 0:
                return
            pause = _LOOK_SECONDS if is_open else min(self.unpaid_seconds, _LOOK_SECONDS)
            await asyncio.sleep(max(pause, 0))
