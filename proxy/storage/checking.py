"""Whether a blob's bytes are still the ones that were stored, found out once in each process.

A disk may change a bit without telling anybody, and a client that gets it reports a package that
was tampered with. So a blob is read through and hashed before the first time that it is sent on;
its file is remembered as sound by its inode, its size and the time of its last change, and sent
without looking from then on. Hashing takes 2 ms for a megabyte: one that is larger than
`FIRST_BYTES` would keep its client waiting, and is hashed as it is sent instead, its last piece
held back until the digest is found right.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

from proxy.storage.base import Damaged
from proxy.storage.disk import ours

T = TypeVar("T")

FIRST_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
# A name and a few numbers each: 20 MiB.
_MOST_REMEMBERED = 65_536

Mark = tuple[int, int, int]


class Handle(Protocol):
    """An open file (files.py)."""

    @property
    def fd(self) -> int: ...

    async def read(self, offset: int, length: int) -> bytes: ...

    async def run(self, work: Callable[[], T]) -> T: ...

    def close(self) -> None: ...


class Checks:
    """The files that were found sound, and the checks that are under way."""

    def __init__(self) -> None:
        self._sound: OrderedDict[str, Mark] = OrderedDict()
        self._running: dict[tuple[str, Mark], asyncio.Task[bool]] = {}

    def knows(self, digest: str, mark: Mark) -> bool:
        """Whether this very file was found sound before."""
        return self._sound.get(digest) == mark

    def note(self, digest: str, mark: Mark) -> None:
        """Remember that this file is sound."""
        self._sound[digest] = mark
        self._sound.move_to_end(digest)
        if len(self._sound) > _MOST_REMEMBERED:
            self._sound.popitem(last=False)

    async def require(self, handle: Handle, digest: str, mark: Mark) -> None:
        """Read the file through, once for all who ask meanwhile. Raises Damaged, StorageAway."""
        key = (digest, mark)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(_is_sound(handle.run, handle.fd, digest))
            self._running[key] = task
            task.add_done_callback(partial(self._done, key))
        if not await asyncio.shield(task):
            raise Damaged(digest)
        self.note(digest, mark)

    def _done(self, key: tuple[str, Mark], task: asyncio.Task[bool]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it


def mark(fd: int) -> Mark:
    """What tells this file from one that was changed or took its place."""
    with ours():
        status = os.fstat(fd)
    return status.st_ino, status.st_mtime_ns, status.st_size


class CheckedBlob:
    """A blob that is hashed as it is read from its start to its end; another order is not checked.

    The read that would give its last bytes raises Damaged instead if they are not what was stored.
    """

    def __init__(self, handle: Handle, *, digest: str, mark: Mark, checks: Checks) -> None:
        self._handle = handle
        self._digest = digest
        self._mark = mark
        self._checks = checks
        self._hash = hashlib.sha512()
        self._hashed_bytes = 0

    @property
    def size_bytes(self) -> int:
        return self._mark[2]

    async def read(self, offset: int, length: int) -> bytes:
        if offset != self._hashed_bytes or offset == self.size_bytes:
            return await self._handle.read(offset, length)
        with ours():
            piece = await self._handle.run(partial(self._next, self._handle.fd, offset, length))
        self._hashed_bytes += len(piece)
        if self._hashed_bytes == self.size_bytes:
            if self._hash.hexdigest() != self._digest:
                raise Damaged(self._digest)
            self._checks.note(self._digest, self._mark)
        return piece

    async def close(self) -> None:
        self._handle.close()

    def _next(self, fd: int, offset: int, length: int) -> bytes:
        piece = _pread(fd, length, offset, self._digest)
        self._hash.update(piece)
        return piece


async def _is_sound(
    run: Callable[[Callable[[], bool]], Awaitable[bool]], fd: int, digest: str
) -> bool:
    with ours():
        return await run(partial(_matches, fd, digest))


def _matches(fd: int, digest: str) -> bool:
    found, offset = hashlib.sha512(), 0
    while piece := _pread(fd, _PIECE_BYTES, offset, digest):
        found.update(piece)
        offset += len(piece)
    return found.hexdigest() == digest


def _pread(fd: int, length: int, offset: int, digest: str) -> bytes:
    try:
        return os.pread(fd, length, offset)
    except OSError as error:
        if error.errno == errno.EIO:
            raise Damaged(digest) from error
        raise
