"""One SQLite file, several processes, and what becomes of it when it is hurt (the door to apsw).

Theory. Reads run on the event loop, on a connection of their own: in WAL mode a reader waits for
nobody, and an indexed row costs microseconds where a thread hop costs fifty to a hundred. Writes
run in one thread per process, many to a commit (writer.py); processes take turns through SQLite's
own lock.

1. What can be asked for again is written with `synchronous=NORMAL`: after a power cut the last
   commits may be missing, never half there. A precious file has FULL: a commit that has returned is
   on disk.
2. A file that is damaged is set aside under a name that says so, and an empty one takes its place.
   A precious file never is: it is refused, at the start and at every write, until whoever runs this
   has restored it.
3. A file that was moved, removed or restored under us is noticed before the next write, and what
   stands at the path now is opened. A precious file that is missing, though it was made once, is
   not made again; that it was made is written in its lock file.
4. Whoever opens, repairs or migrates the file holds the lock on `<file>.lock` meanwhile.
5. The file is not memory-mapped: a mapped file that is cut short kills the process with SIGBUS, an
   unmapped one gives an error.
6. A precious file that lacks rows it once had (its log was removed, an older copy was restored) is
   refused as a damaged one is: how far it had come stands in a file of its own (watermark.py).
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import apsw

from proxy.errors import RegistryError, StorageAway, StorageCorrupt, StorageFull
from proxy.storage import changes, disk
from proxy.storage.rows import Row, instant, micros
from proxy.storage.watermark import Mark, Watermark
from proxy.storage.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")
Connection = apsw.Connection
"""What a work is given; `ask` and `Connection.execute` are all it uses."""
Work = Callable[[Connection], object]

_WRITE_WAIT = timedelta(seconds=5)
# A WAL reader waits only while another process recovers the log after a crash; longer, and the loop
# would stand still.
_READ_WAIT = timedelta(milliseconds=250)
# The check of the whole file reads it all: some 300 MB a second. Larger files are checked when a
# read finds damage.
_CHECKED_AT_OPEN_BYTES = 256 * 1024 * 1024
_MADE = b"made\n"


def now() -> datetime:
    """The clock, unless another one is given."""
    return datetime.now(UTC)


def ask(db: Connection, sql: str, values: Row = ()) -> list[Any]:
    """All rows of one question.

    `execute` alone stops at the first row: of several statements the later ones are then not done.
    """
    return db.execute(sql, values).fetchall()


class Database:
    """The SQLite file `path`, which is created if need be. An async context manager.

    `migrations` bring it from schema n to n + 1; the tables of changes.py are among them. `newest`
    asks a precious file for (number, micros) of the last row that nobody may lose; numbers grow.
    """

    def __init__(
        self,
        path: Path,
        *,
        migrations: Sequence[str],
        is_precious: bool = False,
        newest: str | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._path = path
        self._migrations = migrations
        self._is_precious = is_precious
        self._newest = newest
        self._watermark = Watermark(path)
        self._marked = 0  # the number of the newest row this process has marked
        self._clock = clock
        self._writer: Writer[Work] = Writer(self._commit, name=f"{path.stem}-writer")
        self._reading: Connection
        self._writing: Connection
        self._inode: tuple[int, int] | None = None
        self._is_doubted = False  # nothing is written before the file was opened and checked anew
        self._generation = 0  # how often the file was opened anew; counted by the writer thread
        self._reading_generation = 0
        self._repairing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with _ours(self._path):
            self._writing = await asyncio.to_thread(self._open)
            self._reading = _reader(self._path)
        self._writer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._writer.stop()
        if self._repairing is not None:
            await self._repairing
        self._reading.close()
        await asyncio.to_thread(self._writing.close)

    # --- what every database tells ---

    def revision(self) -> int:
        """SQLite's data_version of the reading connection: it counts the commits of all others."""
        # The file's generation is part of it: data_version starts again with every connection.
        version = self.read("PRAGMA data_version")[0][0]
        return (self._reading_generation << 48) + cast("int", version)

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """(latest number, names changed after `since`); ["*"] where the log does not reach back."""
        (_, latest, _), (_, oldest, _), *changed = self.read(changes.CHANGES, (since,))
        if since in {-1, latest}:
            return latest, []
        if since > latest or since + 1 < (oldest or latest + 1):
            return latest, ["*"]
        return latest, [name for _, _, name in changed]

    async def check(self) -> None:
        """Raise StorageAway or StorageCorrupt unless a row can be written and read now."""
        at = micros(self._clock())
        await self.write(lambda db: db.execute(changes.CHECK, (at,)))
        if not self.read(changes.CHECKED):
            raise StorageAway(reason=f"{self._path.name} does not keep what is written to it")

    # --- reading ---

    def read(self, sql: str, values: Row = ()) -> list[Row]:
        """Rows of one question that an index answers, at once."""
        if self._reading_generation == self._generation:
            # The way of every request: nothing but SQLite. What fails is asked again, with care.
            with suppress(apsw.Error):
                return ask(self._reading, sql, values)
        with self._reader() as db:
            return ask(db, sql, values)

    def look(self, questions: Callable[[Connection], T]) -> T:
        """The answers to a few such questions, all of one moment."""
        with self._reader() as db:
            return _at_one_moment(db, questions)

    async def look_aside(self, questions: Callable[[Connection], T]) -> T:
        """As `look`, for answers that may be large: on a connection and a thread of its own."""

        def scan() -> T:
            db = _reader(self._path)
            try:
                return _at_one_moment(db, questions)
            finally:
                db.close()

        with _ours(self._path):
            return await asyncio.to_thread(scan)

    async def scan(self, sql: str, values: Row = ()) -> list[Row]:
        """Rows of a question that may have very many."""
        return await self.look_aside(lambda db: ask(db, sql, values))

    @contextmanager
    def _reader(self) -> Iterator[Connection]:
        """The reading connection, opened anew if the file was."""
        with _ours(self._path):
            try:
                if self._reading_generation != self._generation:
                    self._reopen_reader()
                yield self._reading
            except (apsw.CorruptError, apsw.NotADBError):
                self._repair_soon()
                raise

    def _reopen_reader(self) -> None:
        generation = self._generation
        fresh = _reader(self._path)
        self._reading.close()
        self._reading, self._reading_generation = fresh, generation

    # --- writing ---

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction; returns its value when that is committed.

        A work that raises one of our errors has changed nothing. It may be done again after a
        rollback, so it keeps nothing but its value.
        """
        return cast("T", await self._writer.submit(work))

    def _commit(self, works: Sequence[Work]) -> Sequence[object]:
        """In the writer's thread: the outcome of each work.

        Works share one transaction. Where one of them fails the transaction is rolled back and each
        is done in one of its own, so that the failure is its own too. (Savepoints would ask two
        more statements of every work, and an I/O error inside one ends the whole transaction
        anyway.)
        """
        if self._is_doubted or _inode(self._path) != self._inode:
            self._reopen()
        outcomes = self._transaction(works)
        if outcomes is None:
            outcomes = [outcome for work in works for outcome in self._transaction([work]) or ()]
        if any(isinstance(outcome, StorageCorrupt) for outcome in outcomes):
            self._reopen()
        return outcomes

    def _transaction(self, works: Sequence[Work]) -> list[object] | None:
        """Do `works` in one transaction. None if one of several failed, and nothing was done."""
        db = self._writing
        is_working = False
        newest: Mark | None = None
        try:
            with _ours(self._path):
                db.execute("BEGIN IMMEDIATE")
                is_working = True
                values = [work(db) for work in works]
                newest = self._newest_row(db)
                is_working = False
                db.execute("COMMIT")
        except RegistryError as error:
            return None if is_working and len(works) > 1 else [error] * len(works)
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        self._mark(newest)
        return values

    def _newest_row(self, db: Connection) -> Mark | None:
        found = ask(db, self._newest) if self._newest is not None else []
        return Mark(found[0][0], instant(found[0][1])) if found else None

    def _mark(self, newest: Mark | None) -> None:
        if newest is not None and newest.number != self._marked:
            self._watermark.raise_to(newest)
            self._marked = newest.number

    # --- opening ---

    def _reopen(self) -> None:
        """Open, in the writer's thread, what stands at the path now: maybe a new, empty file."""
        log.warning("database is opened anew", extra={"file": str(self._path)})
        self._is_doubted = True
        self._writing.close()
        with _ours(self._path):
            self._writing = self._open()
        self._is_doubted = False
        self._generation += 1

    def _repair_soon(self) -> None:
        """Have the writer look at a file in which a read has met damage."""
        self._is_doubted = True
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.get_running_loop().create_task(self._repair())

    async def _repair(self) -> None:
        with suppress(RegistryError):
            await self.write(lambda _: None)

    def _open(self) -> Connection:
        """The writing connection, to a sound file of the newest schema."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._path.with_name(self._path.name + ".lock")) as lock:
            db = self._precious(lock) if self._is_precious else self._replaceable()
            self._inode = _inode(self._path)
        return db

    def _replaceable(self) -> Connection:
        try:
            return self._sound()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            _set_aside(self._path, self._clock(), str(error))
            return self._sound()

    def _precious(self, lock: int) -> Connection:
        """The connection to a file that is never replaced (rules 2 and 3)."""
        was_made = os.pread(lock, len(_MADE), 0) == _MADE
        if _is_blank(self._path):
            if was_made:
                raise _refusal(self._path, "it is missing or empty, and was not before")
            self._watermark.forget()
        # SQLite gives its log the same mode: what is precious is nobody else's to read.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        try:
            db = self._sound()
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise _refusal(self._path, str(error)) from error
        if not was_made:
            os.pwrite(lock, _MADE, 0)
            os.fsync(lock)
            disk.sync_folder(self._path.parent)
        return db

    def _sound(self) -> Connection:
        """A writing connection. Raises apsw's CorruptError or NotADBError if there is damage."""
        db = apsw.Connection(str(self._path))
        try:
            _prepare(db, _WRITE_WAIT)
            synchronous = "FULL" if self._is_precious else "NORMAL"
            ask(db, f"PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}")
            ask(db, "PRAGMA journal_size_limit = 16777216")  # a log that once grew large is cut
            if 0 < self._path.stat().st_size <= _CHECKED_AT_OPEN_BYTES:
                _check_pages(db)
            # Before anything is written: a log that is put back fits what it was taken from only.
            self._require_newest(db)
            _migrate(db, self._path.name, self._migrations)
        except BaseException:
            db.close()
            raise
        return db

    def _require_newest(self, db: Connection) -> None:
        """Raise StorageCorrupt if the file lacks rows it once had (rule 6)."""
        if self._newest is not None and ask(db, "PRAGMA user_version")[0][0]:
            before = self._watermark.read()  # the mark first: others may commit, and raise it
            newest = self._newest_row(db)
            self._watermark.require(before, newest)
            self._mark(newest)


def _reader(path: Path) -> Connection:
    # A reader creates nothing: where a precious file was taken away, none comes into being.
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        _prepare(db, _READ_WAIT)
        db.execute("PRAGMA query_only = 1")
        ask(db, "PRAGMA data_version")  # SQLite opens the log with the first read: let it be now
    except BaseException:
        db.close()
        raise
    return db


def _at_one_moment(db: Connection, questions: Callable[[Connection], T]) -> T:
    db.execute("BEGIN")
    try:
        return questions(db)
    finally:
        if db.in_transaction:
            db.execute("COMMIT")


def _prepare(db: Connection, wait: timedelta) -> None:
    db.set_busy_timeout(wait // timedelta(milliseconds=1))
    ask(db, "PRAGMA foreign_keys = 1; PRAGMA mmap_size = 0; PRAGMA cache_size = -8192")


def _check_pages(db: Connection) -> None:
    verdict = ask(db, "PRAGMA quick_check(1)")[0][0]
    if verdict != "ok":
        raise apsw.CorruptError(verdict)


def _migrate(db: Connection, file: str, migrations: Sequence[str]) -> None:
    """Bring the file to the newest schema; nobody else does so meanwhile (rule 4)."""
    newest = len(migrations)
    version = ask(db, "PRAGMA user_version")[0][0]
    if version > newest:
        reason = (
            f"{file} was written by a newer packhouse (schema {version}, this one knows {newest}):"
            " upgrade packhouse, or move the file away to start with an empty one"
        )
        raise StorageAway(reason=reason)
    if version < newest:
        steps = "".join(migrations[version:])
        db.execute(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {newest}; COMMIT")


def _set_aside(path: Path, at: datetime, reason: str) -> None:
    """Rename the damaged file.

    Its log goes first: an old log beside a new file would be played into it.
    """
    aside = f"{path.name}.corrupt-{at:%Y%m%dT%H%M%S%fZ}"
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(path.with_name(aside + suffix))
    log.warning("database is damaged: set aside", extra={"file": aside, "reason": reason})


def _refusal(path: Path, reason: str) -> StorageCorrupt:
    """What whoever runs this reads when a precious file cannot be used."""
    log.error("published packages cannot be reached", extra={"file": str(path), "reason": reason})
    return StorageCorrupt(
        reason=f"{path}: {reason}. This file holds what was published here, so no empty one takes"
        f" its place: restore it from your latest backup (move {path.name}-wal and {path.name}-shm"
        f" away with the damaged one). To begin with nothing published, remove {path.name}.lock too"
    )


def _is_blank(path: Path) -> bool:
    return not path.exists() or path.stat().st_size == 0


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file stands at `path`, if one does."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino)


@contextmanager
def _ours(path: Path) -> Iterator[None]:
    """Turn apsw's errors and the system's into ours."""
    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise StorageCorrupt(reason=f"{path.name}: {error}") from error
    except apsw.FullError as error:
        raise StorageFull(reason=f"{path.name}: {error}") from error
    except apsw.IOError as error:
        # On a full disk the log's index cannot grow, and SQLite calls that an I/O error.
        is_full = getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_SHMSIZE
        raise (StorageFull if is_full else StorageAway)(reason=f"{path.name}: {error}") from error
    except (apsw.SQLError, apsw.ConstraintError) as error:
        raise StorageCorrupt(reason=f"{path.name} is not as we made it: {error}") from error
    except (apsw.Error, OSError) as error:
        raise StorageAway(reason=f"{path.name}: {error}") from error
