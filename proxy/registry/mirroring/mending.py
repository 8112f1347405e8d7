"""A tarball on our disk whose first bytes cannot be read: fetched anew within the same reply."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from proxy.registry.answers import Tarball
from proxy.storage.base import Blob, Damaged


class Mending:
    """A blob that `lost` forgets where it is damaged, and `fresh` takes the place of.

    Nothing takes its place once some of it was read: of what has gone out already nobody knows any
    more whether it was right.
    """

    def __init__(
        self,
        blob: Blob,
        *,
        lost: Callable[[], Awaitable[None]],
        fresh: Callable[[], Awaitable[Tarball | None]],
    ) -> None:
        self._source: Blob | Tarball = blob
        self._lost = lost
        self._fresh = fresh
        self._is_begun = False

    async def read(self, offset: int, length: int) -> bytes:
        """A piece of it. Raises Damaged."""
        try:
            return await self._source.read(offset, length)
        except Damaged:
            await self._lost()
            if self._is_begun or (fresh := await self._fresh()) is None:
                raise
        finally:
            self._is_begun = True
        await self._source.close()
        self._source = fresh
        return await self._source.read(offset, length)

    async def close(self) -> None:
        """Let the file go."""
        await self._source.close()
