"""A deadline for every handler at the price of a dictionary entry.

`asyncio.timeout` sets a timer per request, a tenth of what a hit costs. One timer a second that
looks at all running handlers does the same for deadlines of many seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

T = TypeVar("T")

_LOOK_EVERY = timedelta(seconds=1)


class Deadlines:
    """Cancels what runs longer than `limit`, give or take `every`."""

    def __init__(self, limit: timedelta, *, every: timedelta = _LOOK_EVERY) -> None:
        self._limit = limit.total_seconds()
        self._every = every.total_seconds()
        self._ends: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def keep(self, work: Awaitable[T]) -> T:
        """The result of `work`, which runs in this task; raises TimeoutError if it is too late."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for a task")
        loop = asyncio.get_running_loop()
        self._ends[task] = loop.time() + self._limit
        if self._timer is None:
            self._timer = loop.call_later(self._every, self._look)
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            self._ends.pop(task, None)
            self._late.discard(task)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for task, end in self._ends.items():
            if end <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._timer = loop.call_later(self._every, self._look) if self._ends else None
