"""What a change asks of the rows of a hosted package, within the transaction of whoever asks.

Every function leaves rules 1 to 3 of hosted.py as it found them, and says what the audit log is to
tell of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from proxy.errors import Forbidden, VersionNotFound
from proxy.npm.updates import (
    Change,
    Deprecations,
    Owners,
    Readme,
    Removal,
    Stars,
    Tags,
    WholeRemoval,
)
from proxy.storage import hosted_schema as schema
from proxy.storage.database import Connection, ask
from proxy.storage.hosting import Action, Deed, Latest
from proxy.storage.rows import micros

LATEST = "latest"

Facts = Mapping[str, object]
Told = tuple[Action, Facts]


def make(db: Connection, name: str, change: Change, deed: Deed, latest: Latest) -> Iterator[Told]:
    """Make one change; yields what was done. Raises VersionNotFound, Forbidden."""
    match change:
        case Deprecations(texts):
            yield Action.DEPRECATE, _deprecate(db, name, texts)
        case Removal(versions):
            yield Action.UNPUBLISH, _unpublish(db, name, versions, deed, latest)
        case WholeRemoval():
            yield Action.UNPUBLISH, _unpublish(db, name, live(db, name), deed, latest)
        case Tags(tags):
            for tag, version in tags.items():
                yield Action.TAG, set_tag(db, name, tag, version)
        case Owners(maintainers):
            yield Action.OWNER, set_owners(db, name, [each.name for each in maintainers])
        case Stars(users):
            for user, is_starred in users.items():
                yield Action.STAR, set_star(db, name, user, is_starred)
        case Readme(text):
            db.execute(schema.SET_README, (name, text))
            yield Action.README, {"characters": len(text)}
        case _:
            assert_never(change)


def set_tag(db: Connection, name: str, tag: str, version: str | None) -> Facts:
    """Point a dist-tag at a version that is there, or drop it (None), `latest` never."""
    if version is not None:
        _require_versions(db, name, [version])
        db.execute(schema.SET_TAG, (name, tag, version))
    elif tag == LATEST:
        raise Forbidden(reason=f"the dist-tag latest of {name} can be moved, not removed")
    else:
        db.execute(schema.DROP_TAG, (name, tag))
    return {"tag": tag, "version": version}


def set_owners(db: Connection, name: str, owners: Sequence[str]) -> Facts:
    """Replace the owners; one at least stays."""
    if not owners:
        raise Forbidden(reason=f"{name} must keep an owner")
    db.execute(schema.DROP_OWNERS, (name,))
    for place, user in enumerate(owners):
        db.execute(schema.ADD_OWNER, (name, user, place))
    return {"owners": list(owners)}


def set_star(db: Connection, name: str, user: str, is_starred: bool) -> Facts:
    """Give or take away a star."""
    db.execute(schema.ADD_STAR if is_starred else schema.DROP_STAR, (name, user))
    return {"user": user, "is_starred": is_starred}


def live(db: Connection, name: str) -> list[str]:
    """The versions that are there, in the order they were published."""
    return [row[0] for row in ask(db, schema.LIVE, (name,))]


def _deprecate(db: Connection, name: str, texts: Mapping[str, str | None]) -> Facts:
    _require_versions(db, name, texts)
    for version, text in texts.items():
        db.execute(schema.DEPRECATE, (name, version, text or None))
    return {"versions": dict(texts)}


def _unpublish(
    db: Connection, name: str, versions: Sequence[str], deed: Deed, latest: Latest
) -> Facts:
    _require_versions(db, name, versions)
    for version in versions:
        db.execute(schema.REMOVE_VERSION, (name, version, micros(deed.at)))
    db.execute(schema.MEASURE, (name,))
    db.execute(schema.DROP_LOOSE_TAGS, (name,))
    left = live(db, name)
    if not left:
        _bury(db, name, deed)
    elif LATEST not in dict(ask(db, schema.TAGS, (name,))):
        db.execute(schema.SET_TAG, (name, LATEST, latest(left)))
    return {"versions": list(versions)}


def _bury(db: Connection, name: str, deed: Deed) -> None:
    """What becomes of a package that has no version any more (rule 3)."""
    db.execute(schema.DROP_STARS, (name,))
    db.execute(schema.SET_UNPUBLISHED, (name, micros(deed.at)))


def _require_versions(db: Connection, name: str, versions: Sequence[str] | Facts) -> None:
    there = set(live(db, name))
    for version in versions:
        if version not in there:
            raise VersionNotFound(name=name, version=version)
