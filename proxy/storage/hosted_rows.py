"""What the rows of hosted packages are as records, and back."""

from __future__ import annotations

from proxy.npm import wire
from proxy.storage import hosted_schema as schema
from proxy.storage.database import Connection, ask
from proxy.storage.hosting import (
    Access,
    Deed,
    HostedHead,
    HostedPackage,
    HostedVersion,
    NewVersion,
    SearchRow,
)
from proxy.storage.rows import Row, instant, micros


def precedence(version: str) -> str:
    """What makes it another version: all but the build metadata."""
    return version.partition("+")[0]


def package(db: Connection, name: str) -> HostedPackage | None:
    """All of a package that has versions. `db` is in one transaction meanwhile."""
    found = ask(db, schema.HEAD, (name,))
    if not found or found[0][4] is not None:
        return None
    revision, access, created_at, modified_at, *_ = found[0]
    readme = ask(db, schema.README, (name,))
    return HostedPackage(
        name=name,
        revision=revision,
        access=Access(access),
        created_at=instant(created_at),
        modified_at=instant(modified_at),
        owners=_users(db, schema.OWNERS, name),
        stars=_users(db, schema.STARS, name),
        tags=dict(ask(db, schema.TAGS, (name,))),
        versions=tuple(_version(row) for row in ask(db, schema.VERSIONS, (name,))),
        readme=readme[0][0],
        readme_filename=readme[0][1],
    )


def head(db: Connection, name: str) -> HostedHead | None:
    """What decides who may do what with a name that was ever published."""
    found = ask(db, schema.HEAD, (name,))
    if not found:
        return None
    revision, access, _, _, unpublished_at, _ = found[0]
    gone = None if unpublished_at is None else instant(unpublished_at)
    return HostedHead(name, revision, Access(access), _users(db, schema.OWNERS, name), gone)


def _users(db: Connection, sql: str, name: str) -> tuple[str, ...]:
    return tuple(row[0] for row in ask(db, sql, (name,)))


def _version(row: Row) -> HostedVersion:
    fields = (*row[:7], instant(row[7]), row[8], row[9], bool(row[10]))
    return HostedVersion(*fields)


def of_version(new: NewVersion, deed: Deed) -> Row:
    """Return the row of a version that `deed` publishes."""
    return (
        *(new.name, new.version, precedence(new.version), new.file, new.digest, new.size_bytes),
        *(new.integrity, new.shasum, micros(deed.at), deed.user, new.readme_filename),
        *(new.description, wire.dumps(list(new.keywords)).decode(), new.excerpt, new.manifest),
        *(new.readme, new.attestations),
    )


def search_row(row: Row) -> SearchRow:
    """Return what search needs of a package."""
    name, version, description, keywords, excerpt, published_at, by, owners, access = row
    words, users = tuple(wire.loads(keywords.encode())), tuple(wire.loads(owners.encode()))
    return SearchRow(
        *(name, version, description, words, excerpt, instant(published_at), by, users),
        Access(access),
    )
