"""Blobs on the local disk (the door to aiofiles).

    <folder>/blobs/ab/ab12...       a blob, under its digest; complete by construction
    <folder>/incoming/<hash of key>-<total>-<pid>-<random>.part      a file that is being written

Theory. A file is written in incoming/, synced, and renamed to its digest. States of an incoming
file and what a crash leaves:

    growing     locked by its writer (flock), others read it through `growing`    a .part, unlocked
    settled     renamed; the same file is now the blob                            the blob
    discarded   removed; who has it open reads on                                 nothing

1. A name under blobs/ is only ever made by renaming a synced file: no reader finds half a blob.
2. A durable blob's folders are synced after the rename, up to the one we were given. A power cut
   may lose the name of another, which is mirrored and asked for again.
3. The kernel drops the lock of a process that dies: an unlocked .part is rubbish whatever its age,
   a locked one is alive however slow it is.
4. A descriptor is closed when nobody reads or writes through it: a number that the system has given
   to another file meanwhile is never written to.
5. After a failed write or sync the file is gone. A second fsync could report success for pages
   that the kernel has already thrown away.

What runs where (measured): a pread of 256 KiB from the page cache takes 10 us and a thread hop 130,
so a read runs on the loop when a probe (RWF_NOWAIT, 0.5 us) says that its pages are in memory, and
in a thread otherwise. Writes past 64 KiB, syncs and listings go to threads of our own, so that slow
disks do not use up the ones that others need.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from asyncio import Task, ensure_future, shield
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from aiofiles.os import wrap

from proxy.errors import StorageAway, StorageFull
from proxy.storage import checking, disk
from proxy.storage.base import Damaged
from proxy.storage.checking import CheckedBlob, Checks
from proxy.storage.disk import ours

T = TypeVar("T")

_THREADS = 8
_INLINE_BYTES = 64 * 1024


class FileBlobs:
    """Blobs under `folder`, which is created if need be. An async context manager.

    A larger one than `checked_first_bytes` is checked while it is sent (checking.py).
    """

    def __init__(self, folder: Path, *, checked_first_bytes: int = checking.FIRST_BYTES) -> None:
        self._checked_first_bytes = checked_first_bytes
        self._blobs = folder / "blobs"
        self._incoming = folder / "incoming"
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="blobs")
        self._checks = Checks()

    async def __aenter__(self) -> Self:
        with ours():
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._incoming.mkdir(exist_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        # What is under way finishes in its own time; a slow disk must not hold up the exit.
        self._threads.shutdown(wait=False)

    # --- writing ---

    async def create(
        self, key: str, total_bytes: int | None = None, *, is_durable: bool = False
    ) -> FileIncoming:
        """Start a file others can find by `key` while it grows."""
        if total_bytes is not None and total_bytes > await self.free_bytes():
            # Said now, while whoever asked can still do without us.
            raise StorageFull(reason=f"{total_bytes} bytes do not fit on the disk")
        path = self._part(key, total_bytes)
        with ours():
            handle = Handle(disk.create(path), self._threads)
        return FileIncoming(path=path, handle=handle, place=self._place, is_durable=is_durable)

    async def put(self, data: bytes, digest: str, *, is_durable: bool = False) -> None:
        """Store `data`, whose digest is `digest`, at once."""
        part, place = self._part(digest, len(data)), self._place(digest)
        with ours():
            await self._in_thread(lambda: disk.put(part, place, data, is_durable=is_durable))

    async def delete(self, digest: str) -> bool:
        """Remove a blob; False if there was none. Who has it open reads on."""
        place = self._place(digest)
        try:
            with ours():
                await self._in_thread(place.unlink)
        except StorageAway as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return False
            raise
        return True

    # --- reading ---

    async def open(self, digest: str, size_bytes: int | None = None) -> FileBlob | None:
        """The blob, or None if it is absent, is not a plain file, or has another size."""
        fd = disk.open_plain(self._place(digest))
        if fd is None:
            return None
        blob = FileBlob(Handle(fd, self._threads), digest)
        if size_bytes not in {None, blob.size_bytes}:
            await blob.close()
            return None
        return blob

    async def open_sound(
        self, digest: str, size_bytes: int | None = None
    ) -> FileBlob | CheckedBlob | None:
        """The blob, found sound now or before; a very large one while it is read."""
        fd = disk.open_plain(self._place(digest))
        if fd is None:
            return None
        handle = Handle(fd, self._threads)
        mark = checking.mark(fd)
        if size_bytes not in {None, mark[2]}:
            handle.close()
            return None
        if self._checks.knows(digest, mark):
            return FileBlob(handle, digest)
        if mark[2] > self._checked_first_bytes:
            return CheckedBlob(handle, digest=digest, mark=mark, checks=self._checks)
        try:
            await self._checks.require(handle, digest, mark)
        except BaseException:
            handle.close()
            raise
        return FileBlob(handle, digest)

    async def growing(self, key: str) -> tuple[GrowingBlob, int | None] | None:
        """The newest file that a living process is writing for `key`, and its announced total."""
        for path in self._parts_of(key):
            fd = disk.open_plain(path)
            if fd is None:
                continue
            if not disk.is_locked(fd):
                os.close(fd)
                continue
            total = path.name.split("-")[1]
            return GrowingBlob(Handle(fd, self._threads)), None if total == "x" else int(total)
        return None

    async def digests(self) -> AsyncIterator[tuple[str, int, datetime]]:
        """(digest, size, modified) of every blob on disk, shard by shard."""
        with ours():
            shards = await self._in_thread(lambda: disk.names(self._blobs))
        for shard in sorted(shards):
            with ours():
                found = await self._in_thread(partial(disk.listing, self._blobs / shard))
            for entry in found:
                yield entry

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be; for processes that read it on our behalf."""
        return self._place(digest)

    # --- upkeep ---

    async def sweep_incoming(self, older_than: datetime) -> int:
        """Remove .part files whose writer is dead and that nobody touched since `older_than`."""
        with ours():
            return await self._in_thread(lambda: disk.sweep(self._incoming, older_than.timestamp()))

    async def free_bytes(self) -> int:
        """What the file system still has for us."""
        with ours():
            self._incoming.mkdir(parents=True, exist_ok=True)
            status = os.statvfs(self._incoming)
        return status.f_bavail * status.f_frsize

    async def check(self) -> None:
        """Raise StorageAway unless a small file can be written, read back and removed now."""
        with ours():
            is_sound = await self._in_thread(lambda: disk.probe(self._part("check", 2)))
        if not is_sound:
            raise StorageAway(reason=f"{self._incoming} does not keep what is written to it")

    # --- names ---

    def _place(self, digest: str) -> Path:
        if not disk.DIGEST.match(digest):
            raise ValueError(f"not a digest in lower-case hex: {digest[:150]!r}")
        return self._blobs / digest[:2] / digest

    def _part(self, key: str, total_bytes: int | None) -> Path:
        total = "x" if total_bytes is None else str(total_bytes)
        return self._incoming / f"{_hash(key)}-{total}-{os.getpid()}-{secrets.token_hex(6)}.part"

    def _parts_of(self, key: str) -> list[Path]:
        """Unfinished files of `key`, newest first."""
        prefix = _hash(key) + "-"
        found: list[tuple[int, Path]] = []
        with ours(), suppress(FileNotFoundError), os.scandir(self._incoming) as entries:
            for entry in entries:
                if entry.name.startswith(prefix) and disk.PART.match(entry.name):
                    with suppress(FileNotFoundError):  # it was renamed as we looked
                        found.append((entry.stat().st_mtime_ns, Path(entry.path)))
        return [path for _, path in sorted(found, reverse=True)]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        run: Callable[..., Awaitable[T]] = wrap(work)
        return await run(executor=self._threads)


class Handle:
    """A descriptor that many may read through at once (rule 4)."""

    def __init__(self, fd: int, threads: ThreadPoolExecutor) -> None:
        self._fd = fd
        self._threads = threads
        self._busy: set[Task[object]] = set()
        self._is_closing = False

    @property
    def fd(self) -> int:
        """The descriptor. Raises StorageAway once it is closed."""
        if self._is_closing or self._fd < 0:
            raise StorageAway(reason="the file was closed while it was in use")
        return self._fd

    @property
    def size_bytes(self) -> int:
        """How large the file is now."""
        with ours():
            return os.fstat(self.fd).st_size

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end of the file."""
        fd = self.fd
        with ours():
            if disk.is_in_memory(fd, offset + length - 1):
                return os.pread(fd, length, offset)
            return await self.run(lambda: os.pread(fd, length, offset))

    async def run(self, work: Callable[[], T]) -> T:
        """Do `work` in a thread; until it is done the descriptor stays open, cancelled or not."""
        run: Callable[..., Awaitable[T]] = wrap(work)
        task: Task[T] = ensure_future(run(executor=self._threads))
        self._busy.add(task)
        task.add_done_callback(self._done)
        return await shield(task)

    def close(self) -> None:
        """Close as soon as nobody uses it; may be called again."""
        self._is_closing = True
        if not self._busy and self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def _done(self, task: Task[object]) -> None:
        self._busy.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it; a cancelled waiter does not want it
        if self._is_closing:
            self.close()


class FileBlob:
    """A blob, open for reading. What the disk cannot read is Damaged."""

    def __init__(self, handle: Handle, digest: str) -> None:
        self._handle = handle
        self._digest = digest
        self._size_bytes = handle.size_bytes

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def read(self, offset: int, length: int) -> bytes:
        try:
            return await self._handle.read(offset, length)
        except StorageAway as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EIO:
                raise Damaged(self._digest) from error
            raise

    async def close(self) -> None:
        self._handle.close()


class GrowingBlob:
    """Another writer's unfinished file; its size is asked for at every look."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    @property
    def size_bytes(self) -> int:
        return self._handle.size_bytes

    async def read(self, offset: int, length: int) -> bytes:
        return await self._handle.read(offset, length)

    async def close(self) -> None:
        self._handle.close()


class FileIncoming:
    """An unfinished file of ours. One writer, any number of readers."""

    def __init__(
        self, *, path: Path, handle: Handle, place: Callable[[str], Path], is_durable: bool = False
    ) -> None:
        self._path = path
        self._handle = handle
        self._place = place
        self._is_durable = is_durable
        self._size_bytes = 0
        self._is_settled = False

    @property
    def path(self) -> Path:
        return self._path

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    async def write(self, chunk: bytes) -> None:
        fd, offset = self._handle.fd, self._size_bytes
        with self._all_or_nothing():
            if len(chunk) <= _INLINE_BYTES:
                disk.write(fd, chunk, offset)
            else:
                await self._handle.run(lambda: disk.write(fd, chunk, offset))
        self._size_bytes += len(chunk)

    async def read(self, offset: int, length: int) -> bytes:
        return await self._handle.read(offset, length)

    async def commit(self, digest: str) -> None:
        fd, place, is_durable = self._handle.fd, self._place(digest), self._is_durable
        with self._all_or_nothing():
            await self._handle.run(
                lambda: disk.settle(fd, self._path, place, is_durable=is_durable)
            )
        self._is_settled = True

    async def discard(self) -> None:
        self._discard()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """A failure leaves no unfinished file behind."""
        try:
            with ours():
                yield
        except StorageAway:
            self._discard()
            raise

    def __del__(self) -> None:
        self._discard()  # its writer has forgotten it

    def _discard(self) -> None:
        if not self._is_settled:
            with suppress(OSError):
                self._path.unlink()
        self._handle.close()


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
