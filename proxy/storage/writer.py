"""Group commit: one thread that writes, and everybody who waits for it.

Works queue up while a commit runs and go into the next one together, so that a hundred callers cost
one commit and not a hundred. Each caller waits for the commit its own work is in. A caller that is
cancelled stops waiting; its work is done all the same, which is harmless because every work here
may be repeated.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from proxy.errors import StorageAway

W = TypeVar("W")

# Precedent: a transaction of a few hundred small rows still commits within a millisecond or two, so
# nobody waits long.
_LARGEST_BATCH = 256


@dataclass(frozen=True, slots=True)
class _Job(Generic[W]):
    work: W
    waiter: asyncio.Future[object]


class Writer(Generic[W]):
    """Runs works of type W in one thread.

    `commit` gets a batch and returns, for each work, its value or its error.
    """

    def __init__(self, commit: Callable[[Sequence[W]], Sequence[object]], *, name: str) -> None:
        self._commit = commit
        self._queue: SimpleQueue[_Job[W] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._is_open = False

    def start(self) -> None:
        """Begin; must be called once, in the process that submits."""
        self._is_open = True
        self._thread.start()

    async def submit(self, work: W) -> object:
        """Queue `work`, and return its value once it is committed.

        Raises its error, or StorageAway after `stop`.
        """
        if not self._is_open:
            raise StorageAway(reason="the index is closed")
        waiter: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._queue.put(_Job(work, waiter))
        return await waiter

    async def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        if self._is_open:
            self._is_open = False
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while jobs := self._next_batch():
            outcomes = self._outcomes([job.work for job in jobs])
            _deliver(jobs, outcomes)

    def _next_batch(self) -> list[_Job[W]]:
        """Wait for one job, take those that came meanwhile. Empty when it is time to stop."""
        jobs: list[_Job[W]] = []
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            if len(jobs) == _LARGEST_BATCH:
                return jobs
            try:
                job = self._queue.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._queue.put(
                None
            )  # the end was behind these jobs: meet it again after they are committed
        return jobs

    def _outcomes(self, works: Sequence[W]) -> Sequence[object]:
        try:
            return self._commit(works)
        except Exception as error:  # noqa: BLE001 -- supervised: the thread must outlive a bug, and its callers hear of it
            return [error] * len(works)


def _deliver(jobs: Sequence[_Job[W]], outcomes: Sequence[object]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[object], object]]] = {}
    for job, outcome in zip(jobs, outcomes, strict=True):
        by_loop.setdefault(job.waiter.get_loop(), []).append((job.waiter, outcome))
    for loop, pairs in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, pairs)


def _settle(pairs: Sequence[tuple[asyncio.Future[object], object]]) -> None:
    for waiter, outcome in pairs:
        if waiter.done():
            continue
        if isinstance(outcome, BaseException):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)
