"""Index on one SQLite file: what uplinks said and when, and the tarballs we hold.

What is in this file can be asked for again, so the file is not precious (database.py): damaged, it
is set aside and an empty one takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self, cast

from proxy.npm.forms import Form
from proxy.storage import changes, database, rows, schema
from proxy.storage.base import DocumentRecord, PackumentRecord, TarballRecord, Usage
from proxy.storage.database import Connection, Database, ask


class SqliteIndex:
    """Index on the SQLite file `path`, which is created if need be. An async context manager."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = database.now) -> None:
        self._database = Database(path, migrations=schema.MIGRATIONS, clock=clock)

    async def __aenter__(self) -> Self:
        await self._database.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._database.__aexit__(*error)

    @property
    def database(self) -> Database:
        """The file, which offline.py keeps its tables in too."""
        return self._database

    # --- packuments ---

    async def packument(self, uplink: str, name: str, form: Form) -> PackumentRecord | None:
        """What `uplink` said of `name` when asked for `form`."""
        found = self._database.read(schema.GET_PACKUMENT, (name, uplink, form.value))
        return rows.packument(found[0]) if found else None

    async def put_packument(self, record: PackumentRecord) -> None:
        """Insert or replace; a new revision of what we had goes into the change log."""
        row = rows.of_packument(record)

        def work(db: Connection) -> None:
            key = (record.name, record.uplink, record.form.value)
            before = ask(db, schema.REVISION_OF, key)
            db.execute(schema.PUT_PACKUMENT, row)
            if before and before[0][0] != record.revision:
                db.execute(changes.LOG_CHANGE, (record.name,))

        await self._database.write(work)

    async def drop_packuments(self, name: str, uplink: str | None = None) -> Sequence[str]:
        """Forget every form of `name`; returns digests no record names any more."""

        def work(db: Connection) -> list[str]:
            digests = [row[0] for row in ask(db, schema.DIGESTS_OF, (name, uplink))]
            db.execute(schema.DROP_PACKUMENTS, (name, uplink))
            db.execute(changes.LOG_CHANGE, (name,))
            return [digest for digest in digests if not _is_referenced(db, digest)]

        return await self._database.write(work)

    # --- tarballs ---

    async def tarball(self, name: str, file: str) -> TarballRecord | None:
        """The tarball `file` of `name`, if we hold it."""
        found = self._database.read(schema.GET_TARBALL, (name, file))
        return rows.tarball(found[0]) if found else None

    async def put_tarball(self, record: TarballRecord, *, shasum: str | None = None) -> None:
        """Insert or replace."""
        row = rows.of_tarball(record)

        def work(db: Connection) -> None:
            db.execute(schema.PUT_TARBALL, row)
            if shasum is not None:
                key = (record.uplink, record.name, record.file, shasum)
                db.execute(schema.NOTE_FIRST, (*key, record.digest))

        await self._database.write(work)

    async def first(self, uplink: str, name: str, file: str, shasum: str) -> str | None:
        """The digest of what came first under this SHA-1."""
        found = self._database.read(schema.GET_FIRST, (uplink, name, file, shasum))
        return cast("str", found[0][0]) if found else None

    async def drop_tarball(self, name: str, file: str) -> str | None:
        """Forget one tarball; returns its digest if no record names it any more."""

        def work(db: Connection) -> str | None:
            dropped = ask(db, schema.DROP_TARBALL, (name, file))
            db.execute(changes.LOG_CHANGE, (name,))
            if not dropped or _is_referenced(db, dropped[0][0]):
                return None
            return cast("str", dropped[0][0])

        return await self._database.write(work)

    async def tarballs(self, name: str) -> Sequence[TarballRecord]:
        """All we hold of `name`, by file name."""
        return [rows.tarball(row) for row in self._database.read(schema.TARBALLS_OF, (name,))]

    async def mark_used(self, used: Iterable[tuple[str, str, datetime]]) -> None:
        """Note (name, file, used_at) of many; an earlier instant never replaces a later one."""
        uses = [(rows.micros(used_at), name, file) for name, file, used_at in used]

        def work(db: Connection) -> None:
            db.executemany(schema.MARK_USED, uses)

        if uses:
            await self._database.write(work)

    async def least_recently_used(self, limit: int) -> Sequence[TarballRecord]:
        """The `limit` tarballs that nobody has asked for for longest, oldest first."""
        found = await self._database.scan(schema.LEAST_RECENTLY_USED, (limit,))
        return [rows.tarball(row) for row in found]

    # --- bundles ---

    async def put_package(
        self,
        name: str,
        packuments: Sequence[PackumentRecord],
        tarballs: Sequence[TarballRecord],
        documents: Sequence[DocumentRecord] = (),
    ) -> None:
        """Insert or replace records of one package, all of them or none."""

        def work(db: Connection) -> None:
            db.executemany(schema.PUT_PACKUMENT, map(rows.of_packument, packuments))
            db.executemany(schema.PUT_TARBALL, map(rows.of_tarball, tarballs))
            db.executemany(schema.PUT_DOCUMENT, map(rows.of_document, documents))
            db.execute(changes.LOG_CHANGE, (name,))

        await self._database.write(work)

    async def document(self, uplink: str, path: str) -> DocumentRecord | None:
        """What `uplink` said when it was asked for `path`."""
        found = self._database.read(schema.GET_DOCUMENT, (uplink, path))
        return rows.document(found[0]) if found else None

    async def put_document(self, record: DocumentRecord) -> None:
        """Insert or replace."""
        row = rows.of_document(record)
        await self._database.write(lambda db: db.execute(schema.PUT_DOCUMENT, row))

    async def imported(self) -> Sequence[str]:
        """The bundles that were imported here, in the order of their import."""
        return [row[0] for row in await self._database.scan(schema.IMPORTED)]

    async def note_import(self, bundle: str, at: datetime) -> None:
        """Note that a bundle was imported."""
        row = (bundle, rows.micros(at))
        await self._database.write(lambda db: db.execute(schema.NOTE_IMPORT, row))

    # --- all of it ---

    async def usage(self) -> Usage:
        """Counts and bytes from the running totals."""
        packuments, tarballs = self._database.read(schema.TOTALS)
        return Usage(packuments[0], tarballs[0], packuments[1], tarballs[1])

    async def names(self, prefix: str = "") -> Sequence[str]:
        """Names of packages of which anything is held, sorted by code point."""
        found = await self._database.scan(schema.NAMES, (prefix, prefix + "\U0010ffff"))
        return [row[0] for row in found]

    async def is_referenced(self, digest: str) -> bool:
        """Whether any record names `digest`."""
        return bool(self._database.read(schema.IS_REFERENCED, (digest,))[0][0])

    def revision(self) -> int:
        """A number that counts the commits of every process."""
        return self._database.revision()

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        """(latest number, names changed after `since`); ["*"] where the log does not reach back."""
        return await self._database.changes(since)

    async def check(self) -> None:
        """Raise StorageAway or StorageCorrupt unless a row can be written and read now."""
        await self._database.check()


def _is_referenced(db: Connection, digest: str) -> bool:
    return bool(ask(db, schema.IS_REFERENCED, (digest,))[0][0])
