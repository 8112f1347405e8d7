"""Prefetches that somebody asks a running server for: a CI job that warms the mirror.

They may bring what the same person could bring by asking for every package alone. What they are
told of a name that lives here is what they would be told by its address.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial

from proxy import errors
from proxy.npm import lockfiles
from proxy.npm.lockfiles import platforms
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.names import PackageName
from proxy.npm.policy import Origin
from proxy.registry.offline.errands import Progress
from proxy.registry.offline.prefetching import Prefetching
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions

MOST = 4
"""How many there are at once in a worker; of one user there is one."""

ALL = "all"


class Warm:
    """A prefetch that is under way; whoever gets it closes it, which ends it."""

    def __init__(self, on_close: Callable[[], object]) -> None:
        self._queue: asyncio.Queue[Progress | None] = asyncio.Queue()
        self._on_close = on_close
        self._task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """Follow `task`, which tells what it does."""
        self._task = task
        task.add_done_callback(lambda _: self._queue.put_nowait(None))

    def tell(self, progress: Progress) -> None:
        """Take what is told."""
        self._queue.put_nowait(progress)

    async def progress(self) -> AsyncGenerator[Progress]:
        """What becomes of each thing, as it is settled. Raises StorageAway at the end of a disk."""
        while (progress := await self._queue.get()) is not None:
            yield progress
        if self._task is not None:
            await self._task

    async def read(self, offset: int, length: int) -> bytes:  # noqa: ARG002  # a source's method
        """Nothing: what it brings is not sent."""
        return b""

    async def close(self) -> None:
        """End it, if it has not ended, and wait for that. What is arriving goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._on_close()


class Warming:
    """Prefetches, for whoever is logged in."""

    def __init__(
        self, *, prefetching: Prefetching, permissions: Permissions, here: Platform
    ) -> None:
        self._prefetching = prefetching
        self._permissions = permissions
        self._here = here
        self._running: dict[str, Warm] = {}

    def require(self, caller: Caller) -> str:
        """The caller's name, if one may begin now. Raises Unauthenticated, Busy."""
        user = caller.require()
        if user in self._running:
            raise errors.Busy(reason="a prefetch of yours is under way: wait for its end")
        if len(self._running) >= MOST:
            raise errors.Busy(reason=f"{MOST} prefetches are under way: ask again a little later")
        return user

    async def begin(
        self, caller: Caller, file: str, data: bytes, fit: Sequence[str], request_id: str = ""
    ) -> Warm:
        """Begin to bring what a file names; `fit` are platforms, this server's if there are none.

        Raises InvalidRequest, and what `require` raises.
        """
        wanted = None if ALL in fit else [platforms.parse(each) for each in fit] or [self._here]
        found = await asyncio.to_thread(lockfiles.read, file, data)
        user = self.require(caller)

        async def where(name: PackageName) -> Origin:
            return await self._permissions.require_read(caller, name)

        warm = self._running[user] = Warm(partial(self._running.pop, user, None))
        run = self._prefetching.run([found], wanted, where, warm.tell, request_id)
        warm.begin(asyncio.create_task(run, name=f"prefetch of {user}"))
        return warm

    async def close(self) -> None:
        """End what is under way."""
        for warm in list(self._running.values()):
            await warm.close()
