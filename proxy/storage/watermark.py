"""How far a precious database had come, in a small file beside it.

Theory. A log that was removed, or an older copy that was restored, leaves a database that is sound
and lacks what was acknowledged. Nothing in it tells. So the number of its newest row that nobody
may lose stands in `<database>.newest` as well, and a database that is behind it is refused.

1. The mark is raised after the commit and before anybody hears of it: a crash in between leaves it
   behind the database, which says nothing.
2. It costs no sync, and so it survives a crash of ours and not always a power cut; it is then
   behind as well.
3. Its bytes are always as many, and written over the old ones by one call: they are never half
   there, and a full disk has room for them. (A file renamed over it would have to be synced, lest
   it be empty after a power cut.)
4. Processes raise it one after the other, by a lock on the file: it never falls.
5. Whoever reads mark and database reads the mark first.
"""

from __future__ import annotations

import fcntl
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from proxy.errors import StorageCorrupt

log = logging.getLogger(__name__)

_SIZE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Mark:
    """The number of a row, and when it was written."""

    number: int
    at: datetime


class Watermark:
    """The mark of the database `file`. What the disk does not let it do is logged once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._path = file.with_name(file.name + ".newest")
        self._is_heard = False

    def read(self) -> Mark | None:
        """The mark; None if there is none that can be read."""
        try:
            return _parsed(self._path.read_bytes()[:_SIZE_BYTES])
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._complain(error)
            return None

    def raise_to(self, mark: Mark) -> None:
        """Say that this row is on disk, unless a later one is said to be."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            try:
                self._raise(fd, mark)
            finally:
                os.close(fd)
        except OSError as error:
            self._complain(error)

    def forget(self) -> None:
        """Begin anew, with a new database."""
        self._path.unlink(missing_ok=True)

    def require(self, before: Mark | None, found: Mark | None) -> None:
        """Raise StorageCorrupt if the newest row `found` is older than the mark read `before`."""
        if before is None or (found is not None and found.number >= before.number):
            return
        end = "is empty" if found is None else f"ends with {_told(found)}"
        reason = f"its audit log {end}, but {_told(before)} was written"
        log.error("published packages are missing", extra={"file": str(self._file), "why": reason})
        name = self._file.name
        raise StorageCorrupt(
            reason=f"{self._file}: {reason}: what was published or changed in between is missing."
            f" Was {name}-wal removed, or an older {name} restored? Put back the newest {name},"
            f" and its {name}-wal if there is one. To go on without what is missing, remove"
            f" {self._path.name}"
        )

    def _raise(self, fd: int, mark: Mark) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        old = os.pread(fd, _SIZE_BYTES, 0)
        if not old:
            self._give_to_owner(fd)
        with suppress(ValueError):
            if _parsed(old).number >= mark.number:
                return
        os.pwrite(fd, _written(mark), 0)

    def _give_to_owner(self, fd: int) -> None:
        """Let the server raise what a command of root has made; as SQLite does with its log."""
        if os.geteuid() == 0:
            owner = self._file.stat()
            os.fchown(fd, owner.st_uid, owner.st_gid)

    def _complain(self, error: Exception) -> None:
        if not self._is_heard:
            self._is_heard = True
            facts = {"file": str(self._path), "reason": str(error)}
            log.warning("lost rows would not be noticed", extra=facts)


def _written(mark: Mark) -> bytes:
    return f"{mark.number} {mark.at.isoformat()}".encode().ljust(_SIZE_BYTES - 1) + b"\n"


def _parsed(text: bytes) -> Mark:
    """Undo `_written`. Raises ValueError."""
    number, at = text.decode("ascii").split()
    return Mark(int(number), datetime.fromisoformat(at))


def _told(mark: Mark) -> str:
    return f"entry {mark.number} of {mark.at:%Y-%m-%d %H:%M:%S} UTC"
