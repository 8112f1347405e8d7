"""Cache: derived bytes that may vanish at any moment (the door to diskcache).

Whatever goes wrong in here is a miss: a damaged database, a deleted folder, a full disk, a value
that was cut short. The caller makes the bytes again, and we say so in the log once in a while.

1. Values are bytes in a frame: their length and a digest, then themselves. What does not fit its
   frame is deleted, and is a miss. (diskcache gives back cut files, and after a power cut empty
   ones, without an error.)
2. Rows are judged before they are believed. Python objects are never unpickled, and files are
   opened and removed only where our own naming would have put them.
3. Every setting is given at every open, because diskcache believes the file rather than its
   defaults.
4. The database is watched by its inode: writing into a deleted one would look like success.
5. A database that is damaged is thrown away with everything in it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import shutil
import sqlite3
import threading
import time
from asyncio import gather, get_running_loop
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, cast

import diskcache

from proxy.storage import disk

log = logging.getLogger(__name__)

T = TypeVar("T")

_THREADS = 3
_LOCK_WAIT_SECONDS = 1.0
_LOG_EVERY_SECONDS = 30.0
_FILE = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val\Z")
_RAW, _BINARY = 1, 2  # diskcache's modes for bytes in the row and bytes in a file
_LENGTH_BYTES = 8
_DIGEST_BYTES = 16
_FRAME_BYTES = _LENGTH_BYTES + _DIGEST_BYTES
_PIECE_BYTES = 1024 * 1024
_SMALL_BYTES = 1024 * 1024
_REMEMBERED = 4096
# One value may take this share of the whole, so that it cannot empty the cache to make room.
_LARGEST_SHARE = 10
_ORPHAN_AGE_SECONDS = 3600


class BytesDisk(diskcache.Disk):  # type: ignore[misc]
    """A diskcache.Disk for str keys and bytes values that believes no row it did not write."""

    def put(self, key: object) -> tuple[str, bool]:
        if not isinstance(key, str):
            raise TypeError(f"a key is a str, not {type(key).__name__}")
        return key, True

    def get(self, key: object, raw: object) -> str:
        if not raw or not isinstance(key, str):
            raise ValueError("a row's key is not one that we wrote")
        return key

    def store(self, value: object, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        if not read and not isinstance(value, bytes):
            raise TypeError(f"a value is bytes, not {type(value).__name__}")
        return super().store(value, read, key=key)

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> Any:
        is_row = mode == _RAW and isinstance(value, bytes)
        if not is_row and not (mode == _BINARY and _is_our_file(filename)):
            raise ValueError("a row's value is not one that we wrote")
        return super().fetch(mode, filename, value, read)

    def remove(self, file_path: object) -> None:
        if _is_our_file(file_path):
            super().remove(file_path)


class Cache:
    """Bytes by key under `folder`, at most `size_limit_bytes` of them; the oldest go first.

    Nothing here raises for what the disk does. An async context manager.
    """

    def __init__(self, folder: Path, *, size_limit_bytes: int) -> None:
        self._folder = folder
        self._size_limit_bytes = size_limit_bytes
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="cache")
        self._opening = threading.Lock()
        self._store: diskcache.Cache | None = None
        self._inode: tuple[int, int] | None = None
        self._verified: set[tuple[str, int, int]] = set()
        self._logged_at = -_LOG_EVERY_SECONDS

    async def __aenter__(self) -> Self:
        await self._in_thread(self._opened, None)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close what each thread has open, then end the threads. May be called again."""
        store, self._store = self._store, None
        if store is not None:
            everybody = threading.Barrier(_THREADS)
            loop = get_running_loop()
            leave = partial(loop.run_in_executor, self._threads, _leave, store, everybody)
            await gather(*(leave() for _ in range(_THREADS)))
        self._threads.shutdown(wait=False)

    async def get(self, key: str) -> bytes | None:
        """A value of at most 1 MiB; None if it is absent, damaged, or larger (see `open`)."""
        return await self._in_thread(lambda: self._get(key), None)

    async def open(self, key: str) -> CachedFile | None:
        """A value to be read in pieces and then closed; None if it is absent or damaged."""
        return await self._in_thread(lambda: self._open_value(key), None)

    async def put(self, key: str, data: bytes) -> None:
        """Keep `data`, unless it is more than a tenth of the whole cache."""
        if self._has_room_for(len(data)):
            framed = _frame(len(data), hashlib.blake2b(data, digest_size=_DIGEST_BYTES)) + data
            await self._in_thread(lambda: self._opened().set(key, framed), False)

    async def put_file(self, key: str, path: Path) -> None:
        """Keep the content of a file, which stays where it is and which nobody writes meanwhile."""
        await self._in_thread(lambda: self._put_file(key, path), None)

    async def drop(self, key: str) -> None:
        """Forget one key."""
        await self._in_thread(lambda: self._opened().delete(key), False)

    async def volume(self) -> int:
        """How many bytes the cache takes on disk, about; 0 if it cannot be asked."""
        return await self._in_thread(lambda: cast("int", self._opened().volume()), 0)

    async def sweep(self) -> int:
        """Remove files that a killed process left without a row. Returns how many."""
        return await self._in_thread(self._sweep, 0)

    # --- in a thread ---

    async def _in_thread(self, work: Callable[[], T], otherwise: T) -> T:
        return await get_running_loop().run_in_executor(
            self._threads, lambda: self._forgiving(work, otherwise)
        )

    def _forgiving(self, work: Callable[[], T], otherwise: T) -> T:
        """Do `work`; if the cache fails it, mend the cache and be content with `otherwise`."""
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if _is_damage(error):
                self._throw_away(error)
            else:
                self._tell("cache cannot be used", error)
        except (diskcache.Timeout, OSError, ValueError) as error:
            self._tell("cache cannot be used", error)
        return otherwise

    def _opened(self) -> diskcache.Cache:
        """Return diskcache on the database that stands in the folder now (rule 4)."""
        with self._opening:
            if self._store is None or self._inode is None or self._inode != self._inode_now():
                self._folder.mkdir(parents=True, exist_ok=True)
                self._store = self._connected_anew()
                self._inode = self._inode_now()
                self._verified.clear()
            return self._store

    def _connected_anew(self) -> diskcache.Cache:
        try:
            return self._connected()
        except (sqlite3.DatabaseError, TypeError, ValueError) as error:
            if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error):
                raise
            self._remove_all(error)
            return self._connected()

    def _connected(self) -> diskcache.Cache:
        return diskcache.Cache(
            str(self._folder),
            timeout=_LOCK_WAIT_SECONDS,
            disk=BytesDisk,
            disk_min_file_size=32 * 1024,
            size_limit=self._size_limit_bytes,
            eviction_policy="least-recently-stored",  # the other policies write at every read
            cull_limit=10,
            statistics=0,
            tag_index=0,
            sqlite_auto_vacuum=1,
            sqlite_cache_size=2048,
            sqlite_journal_mode="wal",
            sqlite_mmap_size=0,  # a mapped file that is cut short would kill the process
            sqlite_synchronous=1,
        )

    def _inode_now(self) -> tuple[int, int] | None:
        try:
            status = (self._folder / diskcache.core.DBNAME).stat()
        except OSError:
            return None
        return (status.st_dev, status.st_ino)

    def _get(self, key: str) -> bytes | None:
        file = self._value(key)
        if file is None:
            return None
        with file:
            if file.seek(0, io.SEEK_END) > _FRAME_BYTES + _SMALL_BYTES:
                return None
            if self._is_sound(key, file):
                file.seek(_FRAME_BYTES)
                return file.read()
        return None

    def _open_value(self, key: str) -> CachedFile | None:
        file = self._value(key)
        if file is None:
            return None
        if self._is_sound(key, file):
            return CachedFile(file, self._threads)
        file.close()
        return None

    def _value(self, key: str) -> BinaryIO | None:
        """The framed value as a file; None if there is none, or if its row is not one of ours."""
        store = self._opened()
        try:
            value = store.get(key, read=True)
        except ValueError as error:
            self._drop_damaged(key, error)
            return None
        return io.BytesIO(value) if isinstance(value, bytes) else cast("BinaryIO | None", value)

    def _is_sound(self, key: str, file: BinaryIO) -> bool:
        """Whether the frame fits; asked once of each file, because large ones take long to read."""
        mark = _mark(file)
        if mark is not None and mark in self._verified:
            return True
        is_sound = _fits(file)
        if not is_sound:
            self._drop_damaged(key, None)
        elif mark is not None:
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified.add(mark)
        return is_sound

    def _put_file(self, key: str, path: Path) -> None:
        with path.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            if self._has_room_for(size_bytes):
                frame = _frame(size_bytes, _hashed(file))
                file.seek(0)
                self._opened().set(key, _Framed(frame, file), read=True)

    def _has_room_for(self, size_bytes: int) -> bool:
        return size_bytes * _LARGEST_SHARE <= self._size_limit_bytes

    def _drop_damaged(self, key: str, error: Exception | None) -> None:
        self._tell("cached value is damaged: dropped", error)
        self._opened().delete(key)

    def _throw_away(self, error: Exception) -> None:
        with self._opening:
            self._store = None
            self._remove_all(error)

    def _remove_all(self, error: Exception) -> None:
        """Remove the database first, so that nobody finds rows without files, then the files."""
        self._tell("cache is damaged: thrown away", error)
        for suffix in ("", "-wal", "-shm"):
            (self._folder / (diskcache.core.DBNAME + suffix)).unlink(missing_ok=True)
        for shard in self._shards():
            shutil.rmtree(shard, ignore_errors=True)

    def _shards(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if re.fullmatch("[0-9a-f]{2}", path.name)]

    def _sweep(self) -> int:
        known, before = self._files_with_rows(), time.time() - _ORPHAN_AGE_SECONDS
        removed = 0
        for shard in self._shards():
            for path in shard.rglob("*.val"):
                is_known = path.relative_to(self._folder).as_posix() in known
                # A value's file is written before its row: only an old one without it is an orphan.
                if not is_known and path.lstat().st_mtime < before:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed

    def _files_with_rows(self) -> set[str]:
        self._opened()  # so that there is a table to ask
        with closing(sqlite3.connect(self._folder / diskcache.core.DBNAME)) as db:
            rows = db.execute("SELECT filename FROM Cache WHERE filename IS NOT NULL")
            return {row[0] for row in rows}

    def _tell(self, event: str, error: Exception | None) -> None:
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at = now
            log.warning(event, extra={"folder": str(self._folder), "reason": str(error)})


class CachedFile:
    """A cached value, open for reading; stays readable when the value is dropped meanwhile."""

    def __init__(self, file: BinaryIO, threads: ThreadPoolExecutor) -> None:
        self._file = file
        self._threads = threads
        self._size_bytes = file.seek(0, io.SEEK_END) - _FRAME_BYTES
        file.seek(-min(4, self._size_bytes), io.SEEK_END)
        self._tail = file.read()

    @property
    def size_bytes(self) -> int:
        """How many bytes the value has."""
        return self._size_bytes

    @property
    def identity_bytes(self) -> int:
        """How many a gzip value has when decompressed, as its last four say (RFC 1952)."""
        return int.from_bytes(self._tail, "little")

    async def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end. Raises StorageAway."""
        start = _FRAME_BYTES + offset
        if isinstance(self._file, io.BytesIO):
            return self._file.getvalue()[start : start + length]
        with disk.ours():
            fd = self._file.fileno()
            if disk.is_in_memory(fd, start + length - 1):
                return os.pread(fd, length, start)
            work = partial(os.pread, fd, length, start)
            return await get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """Let the file go."""
        self._file.close()


class _Framed(io.RawIOBase):
    """A frame and the file behind it, as diskcache reads them."""

    def __init__(self, frame: bytes, file: BinaryIO) -> None:
        self._frame = frame
        self._file = file

    def read(self, size: int = -1) -> bytes:
        frame, self._frame = self._frame, b""
        return frame or self._file.read(size)


def _is_our_file(name: object) -> bool:
    return isinstance(name, str) and _FILE.match(name) is not None


def _frame(size_bytes: int, digest: hashlib.blake2b) -> bytes:
    return size_bytes.to_bytes(_LENGTH_BYTES, "big") + digest.digest()


def _hashed(file: BinaryIO) -> hashlib.blake2b:
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    while piece := file.read(_PIECE_BYTES):
        digest.update(piece)
    return digest


def _fits(file: BinaryIO) -> bool:
    """Whether what follows the frame is what the frame says."""
    file.seek(0)
    frame = file.read(_FRAME_BYTES)
    if len(frame) < _FRAME_BYTES:
        return False
    digest = _hashed(file)
    return frame == _frame(file.tell() - _FRAME_BYTES, digest)


def _mark(file: BinaryIO) -> tuple[str, int, int] | None:
    """What tells one value's file from all others, and from itself when it is changed."""
    if isinstance(file, io.BytesIO):
        return None
    status = os.fstat(file.fileno())
    return (str(file.name), status.st_mtime_ns, status.st_size)


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the database itself is wrong, and not only in use, out of reach or out of space."""
    is_operational = isinstance(error, sqlite3.OperationalError)
    # SQLITE_ERROR is SQL that does not fit the tables: they are not the ones we made.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return not is_operational or code == sqlite3.SQLITE_ERROR


def _leave(store: diskcache.Cache, everybody: threading.Barrier) -> None:
    """Close this thread's connection, once every thread is here to close its own."""
    with suppress(threading.BrokenBarrierError):
        everybody.wait(timeout=_LOCK_WAIT_SECONDS)
    store.close()
