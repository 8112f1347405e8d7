"""A folder for the numbers of one instance's workers (web/metrics.py), which nobody else uses.

Each instance locks its folder; the lock is inherited by its workers and ends with the last of them,
so a folder that can be locked is rubbish.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108  whose folder it is, is looked at


def place(data: Path, *, memory: Path = _MEMORY) -> Path:
    """Where the folders of all instances are: in memory if that can be had, else in `data`.

    Workers map the files. On a disk that is full, whoever writes to a mapped file is killed.
    """
    shared = memory / f"packhouse-{os.getuid()}"
    try:
        shared.mkdir(mode=0o700, exist_ok=True)
        status = shared.lstat()
    except OSError:
        return data / "metrics"
    is_ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return shared if is_ours and not status.st_mode & 0o022 else data / "metrics"


def claim(parent: Path) -> Path:
    """A new folder in `parent`, ours until this process and its children have ended.

    Those of instances that have ended are removed. Raises OSError.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with _locked(parent):
        for left in parent.iterdir():
            if _is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        # Never closed: the lock hangs on it.
        fcntl.flock(os.open(folder, os.O_RDONLY | os.O_CLOEXEC), fcntl.LOCK_SH)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Between making a folder and locking it, nobody looks for abandoned ones."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _is_abandoned(folder: Path) -> bool:
    if not folder.is_dir() or folder.is_symlink():
        return False
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True
