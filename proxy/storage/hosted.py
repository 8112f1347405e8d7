"""HostedIndex on SQLite.

Theory. A package is a row of `packages` and what names it in the other tables. Every write is one
transaction: judge (is the revision the expected one, is the version taken), change, then settle:
a new revision, the search row, the change log, the audit row. What is judged in it cannot change
before it commits, because SQLite lets one writer in at a time.

1. A row of `versions` is never deleted, and unique by name and version: that is why of many who
   publish the same version one wins, and why a removed version is never published again.
2. A package with versions has the tag `latest`, and every tag names a version that is there.
3. A package without versions keeps its row, its owners and its access: the name stays here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from proxy.errors import Conflict, Forbidden, NotFound, PackageNotFound, VersionExists
from proxy.npm.updates import (
    Change,
    Deprecations,
    Owners,
    Person,
    Removal,
    Stars,
    Tags,
    WholeRemoval,
)
from proxy.storage import alterations, audit, database, hosted_rows
from proxy.storage import changes as changes_log
from proxy.storage import hosted_schema as schema
from proxy.storage.alterations import LATEST, Told
from proxy.storage.database import Connection, Database, ask
from proxy.storage.hosted_rows import precedence
from proxy.storage.hosting import (
    Access,
    Action,
    Deed,
    HostedHead,
    HostedPackage,
    HostedTarball,
    Latest,
    NewVersion,
    SearchRow,
)
from proxy.storage.rows import Row, instant, micros

# Clients repeat a publish whose answer they have not seen.
_REPEATED_WITHIN = timedelta(minutes=10)
# Precedent: reading as much takes a few hundred microseconds; more is read in a thread.
_READ_ON_LOOP_BYTES = 1024 * 1024


def open_database(path: Path, *, clock: Callable[[], datetime] = database.now) -> Database:
    """The database of hosted packages and people, which is never set aside. Not open yet."""
    return Database(
        path, migrations=schema.MIGRATIONS, is_precious=True, newest=schema.NEWEST, clock=clock
    )


class SqliteHosted:
    """HostedIndex on `database`, which its caller opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- reading ---

    async def package(self, name: str) -> HostedPackage | None:
        """All of a package, as of one moment."""
        head = self._database.read(schema.HEAD, (name,))
        if not head or head[0][4] is not None:
            return None
        if head[0][5] > _READ_ON_LOOP_BYTES:
            return await self._database.look_aside(lambda db: hosted_rows.package(db, name))
        return self._database.look(lambda db: hosted_rows.package(db, name))

    async def head(self, name: str) -> HostedHead | None:
        return self._database.look(lambda db: hosted_rows.head(db, name))

    async def revision_of(self, name: str) -> str | None:
        found = self._database.read(schema.HEAD, (name,))
        return cast("str", found[0][0]) if found and found[0][4] is None else None

    async def owns(self, name: str) -> bool:
        return bool(self._database.read(schema.HEAD, (name,)))

    async def owned(self) -> Sequence[str]:
        return [name for (name,) in self._database.read(schema.OWNED)]

    async def is_tombstoned(self, name: str) -> bool:
        found = self._database.read(schema.HEAD, (name,))
        return bool(found) and found[0][4] is not None

    async def is_taken(self, name: str, version: str) -> bool:
        return bool(self._database.read(schema.IS_TAKEN, (name, precedence(version))))

    async def tarball(self, name: str, file: str) -> HostedTarball | None:
        found = self._database.read(schema.TARBALL, (name, file))
        return HostedTarball(*found[0]) if found else None

    async def attestations(self, name: str, version: str) -> bytes | None:
        found = self._database.read(schema.ATTESTATIONS, (name, version))
        return cast("bytes | None", found[0][0]) if found else None

    async def names(self, prefix: str = "") -> Sequence[str]:
        found = await self._database.scan(schema.NAMES, (prefix, prefix + "\U0010ffff"))
        return [row[0] for row in found]

    async def search_rows(self) -> Sequence[SearchRow]:
        # Rows of thousands of packages are made into records where they are read, in a thread.
        return await self._database.look_aside(
            lambda db: [hosted_rows.search_row(row) for row in ask(db, schema.SEARCH)]
        )

    async def owned_by(self, user: str) -> Sequence[str]:
        return [row[0] for row in await self._database.scan(schema.OWNED_BY, (user,))]

    async def starred_by(self, user: str) -> Sequence[str]:
        return [row[0] for row in await self._database.scan(schema.STARRED_BY, (user,))]

    async def is_referenced(self, digest: str) -> bool:
        return bool(self._database.read(schema.IS_REFERENCED, (digest,)))

    def revision(self) -> int:
        return self._database.revision()

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        return await self._database.changes(since)

    async def check(self) -> None:
        await self._database.check()

    # --- writing ---

    async def publish(self, new: NewVersion, deed: Deed) -> str:
        """Add a version, in one transaction with its tag."""

        def work(db: Connection) -> str:
            taken = ask(db, schema.TAKEN, (new.name, precedence(new.version), new.file))
            if taken:
                _require_repeat(taken, new, deed)
                return _revision(db, new.name)
            _require_first(db, new, deed)
            _add_package(db, new, deed)
            db.execute(schema.ADD_VERSION, hosted_rows.of_version(new, deed))
            db.execute(schema.GROW, (new.name, len(new.manifest)))
            db.execute(schema.SET_TAG, (new.name, new.tag, new.version))
            db.execute(schema.ADD_TAG, (new.name, LATEST, new.version))
            facts = {"version": new.version, "tag": new.tag, "digest": new.digest}
            return _settle(db, new.name, deed, [(Action.PUBLISH, facts)])

        return await self._database.write(work)

    async def change(
        self,
        name: str,
        changes: Sequence[Change],
        deed: Deed,
        expected_revision: str | None = None,
        *,
        latest: Latest,
    ) -> str:
        """Make all of these changes in one transaction."""

        def work(db: Connection) -> str:
            _require_revision(db, name, expected_revision)
            told: list[Told] = []
            for each in changes:
                _require_revision(db, name, None)  # the change before may have removed all of it
                told += alterations.make(db, name, each, deed, latest)
            return _settle(db, name, deed, told) if told else _revision(db, name)

        return await self._database.write(work)

    async def deprecate(
        self,
        name: str,
        texts: Mapping[str, str | None],
        deed: Deed,
        expected_revision: str | None = None,
    ) -> str:
        """Set or take away the text of many versions."""
        change = Deprecations({version: text or "" for version, text in texts.items()})
        return await self.change(name, [change], deed, expected_revision, latest=_never)

    async def remove_versions(
        self,
        name: str,
        versions: Sequence[str],
        deed: Deed,
        expected_revision: str | None = None,
        *,
        latest: Latest,
    ) -> str:
        """Unpublish versions; `latest` moves if it was one of them."""
        change = Removal(tuple(versions))
        return await self.change(name, [change], deed, expected_revision, latest=latest)

    async def remove_package(
        self, name: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Unpublish every version."""
        change = WholeRemoval()
        return await self.change(name, [change], deed, expected_revision, latest=_never)

    async def set_tag(
        self, name: str, tag: str, version: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Point a dist-tag at a version that is there."""
        change = Tags({tag: version})
        return await self.change(name, [change], deed, expected_revision, latest=_never)

    async def drop_tag(
        self, name: str, tag: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Remove a dist-tag other than `latest`."""

        def work(db: Connection) -> str:
            _require_revision(db, name, expected_revision)
            there = {LATEST, *dict(ask(db, schema.TAGS, (name,)))}
            if tag not in there:
                raise NotFound(reason=f"{name} has no dist-tag {tag}")
            told = alterations.set_tag(db, name, tag, None)
            return _settle(db, name, deed, [(Action.TAG, told)])

        return await self._database.write(work)

    async def set_owners(
        self, name: str, owners: Sequence[str], deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Replace the owners; one at least stays."""
        change = Owners(tuple(map(Person, owners)))
        return await self.change(name, [change], deed, expected_revision, latest=_never)

    async def star(self, name: str, user: str, is_starred: bool, deed: Deed) -> str:
        """Give or take away a star."""
        return await self.change(name, [Stars({user: is_starred})], deed, latest=_never)

    async def set_access(self, name: str, access: Access, deed: Deed) -> str:
        """Say who may read it."""

        def work(db: Connection) -> str:
            _require_revision(db, name, None)
            db.execute(schema.SET_ACCESS, (name, access.value))
            return _settle(db, name, deed, [(Action.ACCESS, {"access": access.value})])

        return await self._database.write(work)


# --- judging --------------------------------------------------------------------------------------


def _require_revision(db: Connection, name: str, expected: str | None) -> None:
    found = ask(db, schema.HEAD, (name,))
    if not found or found[0][4] is not None:
        raise PackageNotFound(name=name)
    if expected not in {None, found[0][0]}:
        raise Conflict(
            reason="Document update conflict.", name=name, expected=expected, found=found[0][0]
        )


def _require_repeat(taken: Sequence[Row], new: NewVersion, deed: Deed) -> None:
    """Raise VersionExists unless this is a publish that was done, asked for once more."""
    version, digest, by, published_at, removed_at = taken[0]
    is_same = (version, digest, by) == (new.version, new.digest, deed.user) and removed_at is None
    if not is_same or abs(deed.at - instant(published_at)) > _REPEATED_WITHIN:
        raise VersionExists(name=new.name, version=new.version)


def _require_first(db: Connection, new: NewVersion, deed: Deed) -> None:
    """Raise Forbidden if the package has become somebody else's since its publisher was judged."""
    owners = [user for (user,) in ask(db, schema.OWNERS, (new.name,))]
    if new.is_first and owners and deed.user not in owners:
        raise Forbidden(reason=f"{deed.user} is no owner of {new.name}: somebody else came first")


# --- changing -------------------------------------------------------------------------------------


def _add_package(db: Connection, new: NewVersion, deed: Deed) -> None:
    if ask(db, schema.HEAD, (new.name,)):
        db.execute(schema.SET_UNPUBLISHED, (new.name, None))
        return
    access = new.access or Access.PUBLIC
    db.execute(schema.ADD_PACKAGE, (new.name, access.value, micros(deed.at)))
    db.execute(schema.ADD_OWNER, (new.name, deed.user, 0))


def _settle(db: Connection, name: str, deed: Deed, told: Sequence[Told]) -> str:
    """Bring up to date what follows from changes; returns the new revision."""
    settled = ask(db, schema.SETTLE, (name, secrets.token_hex(16), micros(deed.at)))
    db.execute(schema.DROP_SEARCH, (name,))
    db.execute(schema.ADD_SEARCH, (name,))
    db.execute(changes_log.LOG_CHANGE, (name,))
    for action, facts in told:
        audit.append(db, action, name, deed, facts)
    return cast("str", settled[0][0])


def _revision(db: Connection, name: str) -> str:
    return cast("str", ask(db, schema.HEAD, (name,))[0][0])


def _never(versions: Sequence[str]) -> str:
    raise AssertionError(f"no version was to be removed, so {versions[0]} is not to be chosen")
