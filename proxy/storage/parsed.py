"""The packuments that were read last, by revision: what is asked of one is asked again."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial

from proxy.npm.packument import Packument


class Parsed:
    """As many as fit into `limit_bytes`, counted as the size of their JSON."""

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._kept: OrderedDict[str, tuple[Packument, int]] = OrderedDict()
        self._loading: dict[str, asyncio.Task[tuple[Packument, int]]] = {}

    def get(self, revision: str) -> tuple[Packument, int] | None:
        """A packument and its size, if it is kept."""
        kept = self._kept.get(revision)
        if kept is not None:
            self._kept.move_to_end(revision)
        return kept

    async def load(
        self, revision: str, load: Callable[[], Awaitable[tuple[Packument, int]]]
    ) -> tuple[Packument, int]:
        """Load once for all who ask meanwhile; who is cancelled leaves the others waiting."""
        task = self._loading.get(revision)
        if task is None:
            task = asyncio.create_task(self._loaded(revision, load))
            self._loading[revision] = task
            task.add_done_callback(partial(self._forget, revision))
        return await asyncio.shield(task)

    def _forget(self, revision: str, task: asyncio.Task[tuple[Packument, int]]) -> None:
        self._loading.pop(revision, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; who was cancelled does not want it

    async def _loaded(
        self, revision: str, load: Callable[[], Awaitable[tuple[Packument, int]]]
    ) -> tuple[Packument, int]:
        loaded = await load()
        self.keep(revision, *loaded)
        return loaded

    def keep(self, revision: str, read: Packument, size_bytes: int) -> None:
        """Keep one, and let go of those that were used longest ago."""
        _, before_bytes = self._kept.pop(revision, (None, 0))
        self._kept[revision] = (read, size_bytes)
        self._held_bytes += size_bytes - before_bytes
        while self._held_bytes > self._limit_bytes:
            _, (_, gone_bytes) = self._kept.popitem(last=False)
            self._held_bytes -= gone_bytes
