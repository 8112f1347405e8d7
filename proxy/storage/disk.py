"""What blocks: the calls to the file system that files.py is made of.

Each is one step of its theory, and runs in whatever thread it is called. OSErrors pass through;
`ours` turns them into the errors of the house.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from proxy.errors import StorageAway, StorageFull

DIGEST = re.compile(r"[0-9a-f]{16,128}\Z")
PART = re.compile(r"[0-9a-f]{64}-(x|[0-9]+)-[0-9]+-[0-9a-f]+\.part\Z")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
# Neither follow a planted link nor wait for the other end of a planted pipe.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOWAIT = getattr(os, "RWF_NOWAIT", None)


def create(path: Path) -> int:
    """Create a file that must not exist, and lock it as being written; returns its descriptor."""
    try:
        fd = os.open(path, _CREATE, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, _CREATE, 0o644)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def write(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data`; a disk that fills up may take a part of it first."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, offset)
        rest, offset = rest[written:], offset + written


def settle(fd: int, part: Path, place: Path, *, is_durable: bool = False) -> None:
    """Sync, then rename to `place`, over what is there: that may be damaged, this is not."""
    os.fsync(fd)
    place.parent.mkdir(parents=True, exist_ok=True)
    part.replace(place)
    if is_durable:
        _sync_names(place)


def put(part: Path, place: Path, data: bytes, *, is_durable: bool = False) -> None:
    """Create, write and settle at once, unless `place` holds these very bytes."""
    if _holds(place, data):
        os.utime(place)  # whoever removes orphans by age sees that it is wanted again
        if is_durable:
            _sync_names(place)  # its bytes were synced before it had this name
        return
    fd = create(part)
    try:
        write(fd, data, 0)
        settle(fd, part, place, is_durable=is_durable)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def put_first(place: Path, data: bytes) -> bool:
    """Store a secret where nothing is, for its owner to read; False if something is there."""
    aside = place.with_name(f".new-{secrets.token_hex(8)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        with suppress(FileExistsError):
            os.link(aside, place)
            return True
        return False
    finally:
        aside.unlink()
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_names(place: Path) -> None:
    """Sync the folders that lead to a blob: its shard, `blobs`, and what that is in."""
    for folder in place.parents[:3]:
        sync_folder(folder)


def probe(part: Path) -> bool:
    """Write a few bytes, read them back, remove them; says whether they were the same."""
    fd = create(part)
    try:
        write(fd, b"ok", 0)
        return os.pread(fd, 2, 0) == b"ok"
    finally:
        os.close(fd)
        part.unlink()


def sweep(folder: Path, before: float) -> int:
    """Remove unlocked .part files older than `before` (seconds since 1970); returns how many."""
    removed = 0
    for name in names(folder):
        path = folder / name
        fd = open_plain(path) if PART.match(name) else None
        if fd is None:
            continue
        try:
            if os.fstat(fd).st_mtime < before and not is_locked(fd):
                path.unlink(missing_ok=True)
                removed += 1
        finally:
            os.close(fd)
    return removed


def listing(folder: Path) -> list[tuple[str, int, datetime]]:
    """The (digest, size, modified) of every blob in one shard."""
    found = []
    for name in names(folder):
        with suppress(FileNotFoundError, NotADirectoryError):
            status = (folder / name).lstat()
            if DIGEST.match(name) and stat.S_ISREG(status.st_mode):
                found.append((name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)))
    return found


def names(folder: Path) -> list[str]:
    """What is in a folder; nothing if there is no such folder."""
    try:
        return [path.name for path in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def open_plain(path: Path) -> int | None:
    """A descriptor of the plain file at `path`; None for anything else."""
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        with ours():
            raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd


def is_locked(fd: int) -> bool:
    """Whether a living process is writing this file (rule 3)."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def is_in_memory(fd: int, offset: int) -> bool:
    """Whether the page at `offset` can be read without waiting for the disk.

    The last page of what is wanted speaks for all: the kernel reads ahead, not behind. A file
    system that knows no such question (tmpfs) keeps its pages in memory anyway.
    """
    if _NOWAIT is None:
        return True
    try:
        os.preadv(fd, [bytearray(1)], max(offset, 0), _NOWAIT)
    except OSError as error:
        return error.errno != errno.EAGAIN
    return True


def _holds(path: Path, data: bytes) -> bool:
    fd = open_plain(path)
    if fd is None:
        return False
    try:
        return os.fstat(fd).st_size == len(data) and os.pread(fd, len(data), 0) == data
    finally:
        os.close(fd)


@contextmanager
def ours() -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        kind = StorageFull if error.errno in _FULL else StorageAway
        raise kind(reason=f"{error.strerror}: {error.filename or 'a file'}") from error
