"""Leases: one process of this node does a piece of work, the others wait for it.

A lease is a POSIX lock on one byte of one file, at an offset made of the key. The kernel drops it
when its process ends, however it ends, so there is nothing to clean up and nothing to time out.

1. A process has the file open once. POSIX locks belong to the process, and closing any descriptor
   of the file drops them all, so a replaced file's descriptor is kept while a lease hangs on it.
2. The kernel lets one process lock a byte twice; `_held` sees to it that a key is taken once.
3. Waiting is asking again: a blocking lock would cost a thread for every waiter.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from proxy.errors import StorageAway

_OFFSET_BITS = 62  # an off_t is signed, and a lock's end must fit too
_SHORTEST_WAIT_SECONDS = 0.010
_LONGEST_WAIT_SECONDS = 0.020


class FileLeases:
    """Leases on the file `path`, which is created if need be. An async context manager."""

    def __init__(self, path: Path, *, jitter: Callable[[], float] = random.random) -> None:
        self._path = path
        self._jitter = jitter
        self._fd = -1
        self._held: dict[str, int] = {}  # key to the descriptor its lock is on

    async def __aenter__(self) -> Self:
        self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        for fd in {self._fd, *self._held.values()} - {-1}:
            os.close(fd)
        self._held.clear()
        self._fd = -1

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[bool]:
        """Wait for `key`, then hold it until the block ends; yields whether it was free at once."""
        was_free = is_held = await self.try_acquire(key)
        while not is_held:
            span = _LONGEST_WAIT_SECONDS - _SHORTEST_WAIT_SECONDS
            await asyncio.sleep(_SHORTEST_WAIT_SECONDS + span * self._jitter())
            is_held = await self.try_acquire(key)
        try:
            yield was_free
        finally:
            await self.release(key)

    async def try_acquire(self, key: str) -> bool:
        """Take `key` if nobody holds it. Raises StorageAway if the file cannot be locked."""
        if key in self._held:
            return False
        self._open()
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            raise StorageAway(reason=f"{self._path.name}: {error.strerror}") from error
        self._held[key] = self._fd
        return True

    async def release(self, key: str) -> None:
        """Let `key` go; one that is not held is passed over."""
        fd = self._held.pop(key, None)
        if fd is None:
            return
        if fd == self._fd:
            fcntl.lockf(fd, fcntl.LOCK_UN, 1, _offset(key))
        elif fd not in self._held.values():
            os.close(fd)  # of a file that was replaced; this was the last lease on it

    def _open(self) -> None:
        """Have the file open that stands at the path now: the others lock that one."""
        if self._fd >= 0 and _is_at(self._path, self._fd):
            return
        fresh = _opened(self._path)
        if self._fd >= 0 and self._fd not in self._held.values():
            os.close(self._fd)
        self._fd = fresh


def _offset(key: str) -> int:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _OFFSET_BITS)


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def _opened(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageAway(reason=f"{path}: {error.strerror}") from error
