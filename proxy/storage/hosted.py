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

from proxy.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PackageNotFound,
    VersionExists,
    VersionNotFound,
)
from proxy.storage import audit, changes, database, hosted_rows
from proxy.storage import hosted_schema as schema
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

_LATEST = "latest"
# Clients repeat a publish whose answer they have not seen.
_REPEATED_WITHIN = timedelta(minutes=10)
# Precedent: reading as much takes a few hundred microseconds; more is read in a thread.
_READ_ON_LOOP_BYTES = 1024 * 1024

Facts = Mapping[str, object]


def open_database(path: Path, *, clock: Callable[[], datetime] = database.now) -> Database:
    """The database of hosted packages and people, which is never set aside. Not open yet."""
    return Database(path, migrations=schema.MIGRATIONS, is_precious=True, clock=clock)


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
        return [hosted_rows.search_row(row) for row in await self._database.scan(schema.SEARCH)]

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
            _add_package(db, new, deed)
            db.execute(schema.ADD_VERSION, hosted_rows.of_version(new, deed))
            db.execute(schema.GROW, (new.name, len(new.manifest)))
            db.execute(schema.SET_TAG, (new.name, new.tag, new.version))
            db.execute(schema.ADD_TAG, (new.name, _LATEST, new.version))
            facts = {"version": new.version, "tag": new.tag, "digest": new.digest}
            return _settle(db, new.name, Action.PUBLISH, deed, facts)

        return await self._database.write(work)

    async def deprecate(
        self,
        name: str,
        texts: Mapping[str, str | None],
        deed: Deed,
        expected_revision: str | None = None,
    ) -> str:
        """Set or take away the text of many versions."""

        def change(db: Connection) -> Facts:
            _require_versions(db, name, texts)
            for version, text in texts.items():
                db.execute(schema.DEPRECATE, (name, version, text or None))
            return {"versions": dict(texts)}

        return await self._change(name, Action.DEPRECATE, deed, change, expected_revision)

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

        def change(db: Connection) -> Facts:
            _require_versions(db, name, versions)
            _remove(db, name, versions, deed)
            if left := _live(db, name):
                db.execute(schema.DROP_LOOSE_TAGS, (name,))
                if _LATEST not in dict(ask(db, schema.TAGS, (name,))):
                    db.execute(schema.SET_TAG, (name, _LATEST, latest(left)))
            else:
                _bury(db, name, deed)
            return {"versions": list(versions)}

        return await self._change(name, Action.UNPUBLISH, deed, change, expected_revision)

    async def remove_package(
        self, name: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Unpublish every version."""

        def change(db: Connection) -> Facts:
            versions = _live(db, name)
            _remove(db, name, versions, deed)
            _bury(db, name, deed)
            return {"versions": versions}

        return await self._change(name, Action.UNPUBLISH, deed, change, expected_revision)

    async def set_tag(
        self, name: str, tag: str, version: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Point a dist-tag at a version that is there."""

        def change(db: Connection) -> Facts:
            _require_versions(db, name, [version])
            db.execute(schema.SET_TAG, (name, tag, version))
            return {"tag": tag, "version": version}

        return await self._change(name, Action.TAG, deed, change, expected_revision)

    async def drop_tag(
        self, name: str, tag: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Remove a dist-tag other than `latest`."""

        def change(db: Connection) -> Facts:
            if tag == _LATEST:
                raise Forbidden(reason=f"the dist-tag latest of {name} can be moved, not removed")
            if not ask(db, schema.DROP_TAG, (name, tag)):
                raise NotFound(reason=f"{name} has no dist-tag {tag}")
            return {"tag": tag, "version": None}

        return await self._change(name, Action.TAG, deed, change, expected_revision)

    async def set_owners(
        self, name: str, owners: Sequence[str], deed: Deed, expected_revision: str | None = None
    ) -> str:
        """Replace the owners; one at least stays."""

        def change(db: Connection) -> Facts:
            if not owners:
                raise Forbidden(reason=f"{name} must keep an owner")
            db.execute(schema.DROP_OWNERS, (name,))
            for place, user in enumerate(owners):
                db.execute(schema.ADD_OWNER, (name, user, place))
            return {"owners": list(owners)}

        return await self._change(name, Action.OWNER, deed, change, expected_revision)

    async def star(self, name: str, user: str, is_starred: bool, deed: Deed) -> str:
        """Give or take away a star."""

        def change(db: Connection) -> Facts:
            db.execute(schema.ADD_STAR if is_starred else schema.DROP_STAR, (name, user))
            return {"user": user, "is_starred": is_starred}

        return await self._change(name, Action.STAR, deed, change)

    async def set_access(self, name: str, access: Access, deed: Deed) -> str:
        """Say who may read it."""

        def change(db: Connection) -> Facts:
            db.execute(schema.SET_ACCESS, (name, access.value))
            return {"access": access.value}

        return await self._change(name, Action.ACCESS, deed, change)

    async def _change(
        self,
        name: str,
        action: Action,
        deed: Deed,
        change: Callable[[Connection], Facts],
        expected_revision: str | None = None,
    ) -> str:
        def work(db: Connection) -> str:
            _require_revision(db, name, expected_revision)
            return _settle(db, name, action, deed, change(db))

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


def _require_versions(db: Connection, name: str, versions: Sequence[str] | Facts) -> None:
    live = set(_live(db, name))
    for version in versions:
        if version not in live:
            raise VersionNotFound(name=name, version=version)


def _require_repeat(taken: Sequence[Row], new: NewVersion, deed: Deed) -> None:
    """Raise VersionExists unless this is a publish that was done, asked for once more."""
    version, digest, by, published_at, removed_at = taken[0]
    is_same = (version, digest, by) == (new.version, new.digest, deed.user) and removed_at is None
    if not is_same or abs(deed.at - instant(published_at)) > _REPEATED_WITHIN:
        raise VersionExists(name=new.name, version=new.version)


# --- changing -------------------------------------------------------------------------------------


def _add_package(db: Connection, new: NewVersion, deed: Deed) -> None:
    if ask(db, schema.HEAD, (new.name,)):
        db.execute(schema.SET_UNPUBLISHED, (new.name, None))
        return
    access = new.access or Access.PUBLIC
    db.execute(schema.ADD_PACKAGE, (new.name, access.value, micros(deed.at)))
    db.execute(schema.ADD_OWNER, (new.name, deed.user, 0))


def _remove(db: Connection, name: str, versions: Sequence[str], deed: Deed) -> None:
    for version in versions:
        db.execute(schema.REMOVE_VERSION, (name, version, micros(deed.at)))
    db.execute(schema.MEASURE, (name,))


def _bury(db: Connection, name: str, deed: Deed) -> None:
    """What becomes of a package that has no version any more (rule 3)."""
    db.execute(schema.DROP_LOOSE_TAGS, (name,))
    db.execute(schema.DROP_STARS, (name,))
    db.execute(schema.SET_UNPUBLISHED, (name, micros(deed.at)))


def _settle(db: Connection, name: str, action: Action, deed: Deed, facts: Facts) -> str:
    """Bring up to date what follows from a change; returns the new revision."""
    settled = ask(db, schema.SETTLE, (name, secrets.token_hex(16), micros(deed.at)))
    db.execute(schema.DROP_SEARCH, (name,))
    db.execute(schema.ADD_SEARCH, (name,))
    db.execute(changes.LOG_CHANGE, (name,))
    audit.append(db, action, name, deed, facts)
    return cast("str", settled[0][0])


def _revision(db: Connection, name: str) -> str:
    return cast("str", ask(db, schema.HEAD, (name,))[0][0])


def _live(db: Connection, name: str) -> list[str]:
    return [row[0] for row in ask(db, schema.LIVE, (name,))]
