"""Index on one SQLite file: what uplinks said and when, and the tarballs we hold (door to apsw).

Theory. Reads run on the event loop, on a connection of their own: in WAL mode a reader waits for
nobody, and an indexed row costs microseconds where a thread hop costs fifty to a hundred. Writes
run in one thread per process, many to a commit (writer.py); processes take turns through SQLite's
own lock.

1. `synchronous=NORMAL`: after a power cut the last commits may be missing, never half there. What
   is in this file can be asked for again. Hosted facts do not belong here.
2. A file that is damaged is set aside under a name that says so, and an empty one takes its place.
3. A file that was moved or removed under us is noticed before the next write; a new one takes its
   place.
4. Whoever opens, repairs or migrates the file holds the lock on `<file>.lock` meanwhile.
5. The file is not memory-mapped: a mapped file that is cut short kills the process with SIGBUS, an
   unmapped one gives an error.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import apsw

from proxy.errors import RegistryError, StorageAway, StorageCorrupt, StorageFull
from proxy.npm.forms import Form
from proxy.storage import rows, schema
from proxy.storage.base import PackumentRecord, TarballRecord, Usage
from proxy.storage.rows import Row
from proxy.storage.writer import Writer

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[apsw.Connection], object]

_WRITE_WAIT = timedelta(seconds=5)
# A WAL reader waits only while another process recovers the log after a crash; longer, and the loop
# would stand still.
_READ_WAIT = timedelta(milliseconds=250)
# The check of the whole file reads it all: some 300 MB a second. Larger files are checked when a
# read finds damage.
_CHECKED_AT_OPEN_BYTES = 256 * 1024 * 1024


def _now() -> datetime:
    return datetime.now(UTC)


class SqliteIndex:
    """Index on the SQLite file `path`, which is created if need be. An async context manager."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = _now) -> None:
        self._path = path
        self._clock = clock
        self._writer: Writer[Work] = Writer(self._commit, name="index-writer")
        self._reading: apsw.Connection
        self._writing: apsw.Connection
        self._inode: tuple[int, int] | None = None
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

    # --- packuments ---

    async def packument(self, uplink: str, name: str, form: Form) -> PackumentRecord | None:
        """What `uplink` said of `name` when asked for `form`."""
        found = self._read(schema.GET_PACKUMENT, (name, uplink, form.value))
        return rows.packument(found[0]) if found else None

    async def put_packument(self, record: PackumentRecord) -> None:
        """Insert or replace; a new revision of what we had goes into the change log."""
        row = rows.of_packument(record)

        def work(db: apsw.Connection) -> None:
            key = (record.name, record.uplink, record.form.value)
            before = _ask(db, schema.REVISION_OF, key)
            db.execute(schema.PUT_PACKUMENT, row)
            if before and before[0][0] != record.revision:
                db.execute(schema.LOG_CHANGE, (record.name,))

        await self._write(work)

    async def drop_packuments(self, name: str, uplink: str | None = None) -> Sequence[str]:
        """Forget every form of `name`; returns digests no record names any more."""

        def work(db: apsw.Connection) -> list[str]:
            digests = [row[0] for row in _ask(db, schema.DIGESTS_OF, (name, uplink))]
            db.execute(schema.DROP_PACKUMENTS, (name, uplink))
            db.execute(schema.LOG_CHANGE, (name,))
            return [digest for digest in digests if not _is_referenced(db, digest)]

        return await self._write(work)

    # --- tarballs ---

    async def tarball(self, name: str, file: str) -> TarballRecord | None:
        """The tarball `file` of `name`, if we hold it."""
        found = self._read(schema.GET_TARBALL, (name, file))
        return rows.tarball(found[0]) if found else None

    async def put_tarball(self, record: TarballRecord) -> None:
        """Insert or replace."""
        row = rows.of_tarball(record)
        await self._write(lambda db: _run(db, schema.PUT_TARBALL, row))

    async def drop_tarball(self, name: str, file: str) -> str | None:
        """Forget one tarball; returns its digest if no record names it any more."""

        def work(db: apsw.Connection) -> str | None:
            dropped = _ask(db, schema.DROP_TARBALL, (name, file))
            db.execute(schema.LOG_CHANGE, (name,))
            if not dropped or _is_referenced(db, dropped[0][0]):
                return None
            return cast("str", dropped[0][0])

        return await self._write(work)

    async def tarballs(self, name: str) -> Sequence[TarballRecord]:
        """All we hold of `name`, by file name."""
        return [rows.tarball(row) for row in self._read(schema.TARBALLS_OF, (name,))]

    async def mark_used(self, used: Iterable[tuple[str, str, datetime]]) -> None:
        """Note (name, file, used_at) of many; an earlier instant never replaces a later one."""
        uses = [(rows.micros(used_at), name, file) for name, file, used_at in used]

        def work(db: apsw.Connection) -> None:
            db.executemany(schema.MARK_USED, uses)

        if uses:
            await self._write(work)

    async def least_recently_used(self, limit: int) -> Sequence[TarballRecord]:
        """The `limit` tarballs that nobody has asked for for longest, oldest first."""
        found = await self._scan(schema.LEAST_RECENTLY_USED, (limit,))
        return [rows.tarball(row) for row in found]

    # --- all of it ---

    async def usage(self) -> Usage:
        """Counts and bytes from the running totals."""
        packuments, tarballs = self._read(schema.TOTALS, ())
        return Usage(packuments[0], tarballs[0], packuments[1], tarballs[1])

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Names of packages of which anything is held, sorted by code point."""
        found = await self._scan(schema.NAMES, (prefix, prefix + "\U0010ffff"))
        return [row[0] for row in found]

    async def is_referenced(self, digest: str) -> bool:
        """Whether any record names `digest`."""
        return bool(self._read(schema.IS_REFERENCED, (digest,))[0][0])

    def revision(self) -> int:
        """SQLite's data_version of the reading connection: it counts the commits of all others."""
        # The file's generation is part of it: data_version starts again with every connection.
        version = self._read("PRAGMA data_version", ())[0][0]
        return (self._reading_generation << 48) + cast("int", version)

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """(latest number, names changed after `since`); ["*"] where the log does not reach back."""
        (_, latest, _), (_, oldest, _), *changed = self._read(schema.CHANGES, (since,))
        if since in {-1, latest}:
            return latest, []
        if since > latest or since + 1 < (oldest or latest + 1):
            return latest, ["*"]
        return latest, [name for _, _, name in changed]

    async def check(self) -> None:
        """Raise StorageAway or StorageCorrupt unless a row can be written and read now."""
        now = rows.micros(self._clock())
        await self._write(lambda db: _run(db, schema.CHECK, (now,)))
        if not self._read("SELECT checked_at FROM checks", ()):
            raise StorageAway(reason=f"{self._path.name} does not keep what is written to it")

    # --- reading ---

    def _read(self, sql: str, values: Row) -> list[Row]:
        if self._reading_generation == self._generation:
            # The way of every request: nothing but SQLite. What fails is asked again, with care.
            with suppress(apsw.Error):
                return _ask(self._reading, sql, values)
        with self._reader() as db:
            return _ask(db, sql, values)

    @contextmanager
    def _reader(self) -> Iterator[apsw.Connection]:
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

    async def _scan(self, sql: str, values: Row) -> list[Row]:
        """Rows of a question that may have very many, on a connection and a thread of its own."""

        def scan() -> list[Row]:
            db = _reader(self._path)
            try:
                return _ask(db, sql, values)
            finally:
                db.close()

        with _ours(self._path):
            return await asyncio.to_thread(scan)

    # --- writing ---

    async def _write(self, work: Callable[[apsw.Connection], T]) -> T:
        return cast("T", await self._writer.submit(work))

    def _commit(self, works: Sequence[Work]) -> Sequence[object]:
        """In the writer's thread: the outcome of each work.

        Works share one transaction. Where one of them fails the transaction is rolled back and each
        is done in one of its own, so that the failure is its own too. (Savepoints would ask two
        more statements of every work, and an I/O error inside one ends the whole transaction
        anyway.)
        """
        if _inode(self._path) != self._inode:
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
        try:
            with _ours(self._path):
                db.execute("BEGIN IMMEDIATE")
                is_working = True
                values = [work(db) for work in works]
                is_working = False
                db.execute("COMMIT")
        except RegistryError as error:
            return None if is_working and len(works) > 1 else [error] * len(works)
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return values

    def _reopen(self) -> None:
        """Open, in the writer's thread, what stands at the path now: maybe a new, empty file."""
        log.warning("index is opened anew", extra={"file": str(self._path)})
        self._inode = None
        self._writing.close()
        with _ours(self._path):
            self._writing = self._open()
        self._generation += 1

    def _repair_soon(self) -> None:
        """Have the writer look at a file in which a read has met damage."""
        if self._repairing is None or self._repairing.done():
            self._repairing = asyncio.get_running_loop().create_task(self._repair())

    async def _repair(self) -> None:
        damage = StorageCorrupt(reason=f"{self._path.name}: a read has met a damaged page")
        with suppress(RegistryError):
            await self._write(lambda _: _raise(damage))

    def _open(self) -> apsw.Connection:
        """The writing connection, to a sound file of the newest schema."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self._path.with_name(self._path.name + ".lock")):
            try:
                db = _sound(self._path)
            except (apsw.CorruptError, apsw.NotADBError) as error:
                _set_aside(self._path, self._clock(), str(error))
                db = _sound(self._path)
            self._inode = _inode(self._path)
        return db


def _sound(path: Path) -> apsw.Connection:
    """A writing connection to `path`.

    Raises apsw's CorruptError or NotADBError if the file is damaged.
    """
    db = apsw.Connection(str(path))
    try:
        _prepare(db, _WRITE_WAIT)
        db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA journal_size_limit = 16777216")  # a log that once grew large is cut
        if 0 < path.stat().st_size <= _CHECKED_AT_OPEN_BYTES:
            _check_pages(db)
        _migrate(db, path.name)
    except BaseException:
        db.close()
        raise
    return db


def _reader(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    try:
        _prepare(db, _READ_WAIT)
        db.execute("PRAGMA query_only = 1")
        _ask(db, "PRAGMA data_version")  # SQLite opens the log with the first read: let it be now
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: apsw.Connection, wait: timedelta) -> None:
    db.set_busy_timeout(wait // timedelta(milliseconds=1))
    db.execute("PRAGMA foreign_keys = 1; PRAGMA mmap_size = 0; PRAGMA cache_size = -8192")


def _check_pages(db: apsw.Connection) -> None:
    verdict = _ask(db, "PRAGMA quick_check(1)")[0][0]
    if verdict != "ok":
        raise apsw.CorruptError(verdict)


def _migrate(db: apsw.Connection, file: str) -> None:
    """Bring the file to the newest schema; nobody else does so meanwhile (rule 4)."""
    newest = len(schema.MIGRATIONS)
    version = _ask(db, "PRAGMA user_version")[0][0]
    if version > newest:
        reason = (
            f"{file} was written by a newer packhouse (schema {version}, this one knows {newest}):"
            " upgrade packhouse, or move the file away to start with an empty one"
        )
        raise StorageAway(reason=reason)
    if version < newest:
        steps = "".join(schema.MIGRATIONS[version:])
        db.execute(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {newest}; COMMIT")


def _set_aside(path: Path, now: datetime, reason: str) -> None:
    """Rename the damaged file.

    Its log goes first: an old log beside a new file would be played into it.
    """
    aside = f"{path.name}.corrupt-{now:%Y%m%dT%H%M%S%fZ}"
    for suffix in ("-wal", "-shm", ""):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(path.with_name(aside + suffix))
    log.warning("index is damaged: set aside", extra={"file": aside, "reason": reason})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
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


def _run(db: apsw.Connection, sql: str, values: Row) -> None:
    db.execute(sql, values)


def _ask(db: apsw.Connection, sql: str, values: Row = ()) -> list[Any]:
    return db.execute(sql, values).fetchall()


def _raise(error: Exception) -> None:
    raise error


def _is_referenced(db: apsw.Connection, digest: str) -> bool:
    return bool(_ask(db, schema.IS_REFERENCED, (digest,))[0][0])
