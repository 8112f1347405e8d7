"""HostedIndex in dicts: what the protocol means, without a disk."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from proxy.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PackageNotFound,
    StorageAway,
    VersionExists,
    VersionNotFound,
)
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
from proxy.storage.hosting import (
    Access,
    Action,
    Deed,
    HostedHead,
    HostedPackage,
    HostedTarball,
    HostedVersion,
    Latest,
    NewVersion,
    SearchRow,
)
from proxy.storage.identity import AuditQuery, AuditRow
from tests.fakes.memory import KEPT_CHANGES


class MemoryStore:
    """What hosted packages and people share. `is_away = True` plays a database that is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.commits = 0
        self._audit: list[AuditRow] = []
        self._changes: list[tuple[int, str]] = []
        self._sequence = 1000

    def alive(self) -> None:
        if self.is_away:
            raise StorageAway(reason="the database is away")

    def commit(self) -> None:
        self.alive()
        self.commits += 1

    def log_change(self, name: str) -> None:
        self._sequence += 1
        self._changes = [*self._changes[1 - KEPT_CHANGES :], (self._sequence, name)]

    def append(self, action: Action, subject: str, deed: Deed, facts: Mapping[str, object]) -> None:
        told = json.dumps(facts, separators=(",", ":"), ensure_ascii=False).encode()
        self._audit.append(AuditRow(len(self._audit) + 1, deed, action, subject, told))

    def audit(self, query: AuditQuery, limit: int) -> list[AuditRow]:
        self.alive()
        return [row for row in reversed(self._audit) if _is_wanted(row, query)][:limit]

    def changes(self, since: int) -> tuple[int, Sequence[str]]:
        self.alive()
        if since in {-1, self._sequence}:
            return self._sequence, []
        oldest = self._changes[0][0] if self._changes else self._sequence + 1
        if since > self._sequence or since + 1 < oldest:
            return self._sequence, ["*"]
        return self._sequence, list(
            dict.fromkeys(n for number, n in self._changes if number > since)
        )


def _is_wanted(row: AuditRow, query: AuditQuery) -> bool:
    return (
        query.user in {None, row.deed.user}
        and query.action in {None, row.action}
        and query.subject in {None, row.subject}
        and (query.since is None or row.deed.at >= query.since)
        and (query.until is None or row.deed.at < query.until)
        and (query.before is None or row.number < query.before)
    )


@dataclass
class _Kept:
    new: NewVersion
    at: datetime
    by: str
    deprecated: str | None = None
    is_removed: bool = False

    def shown(self) -> HostedVersion:
        new = self.new
        blob = (new.digest, new.size_bytes, new.integrity, new.shasum)
        told = (self.at, self.by, self.deprecated, new.attestations is not None)
        return HostedVersion(new.version, new.manifest, new.file, *blob, *told)


@dataclass
class _Package:
    name: str
    access: Access
    created_at: datetime
    owners: tuple[str, ...]
    modified_at: datetime
    counter: int = 0
    revision: str = ""
    unpublished_at: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)
    stars: set[str] = field(default_factory=set)
    versions: list[_Kept] = field(default_factory=list)

    @property
    def live(self) -> list[_Kept]:
        return [kept for kept in self.versions if not kept.is_removed]

    def kept(self, version: str) -> _Kept:
        found = [kept for kept in self.live if kept.new.version == version]
        if not found:
            raise VersionNotFound(name=self.name, version=version)
        return found[0]

    def taken(self, version: str) -> _Kept | None:
        same = [k for k in self.versions if _bare(k.new.version) == _bare(version)]
        return same[0] if same else None


class MemoryHosted:
    """HostedIndex in dicts."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self._packages: dict[str, _Package] = {}

    # --- reading ---

    async def package(self, name: str) -> HostedPackage | None:
        found = self._live(name)
        if found is None:
            return None
        newest = found.kept(found.tags["latest"]).new
        return HostedPackage(
            *(name, found.revision, found.access, found.created_at, found.modified_at),
            *(found.owners, tuple(sorted(found.stars)), dict(sorted(found.tags.items()))),
            *(tuple(kept.shown() for kept in found.live), newest.readme, newest.readme_filename),
        )

    async def head(self, name: str) -> HostedHead | None:
        self.store.alive()
        found = self._packages.get(name)
        if found is None:
            return None
        return HostedHead(name, found.revision, found.access, found.owners, found.unpublished_at)

    async def revision_of(self, name: str) -> str | None:
        found = self._live(name)
        return found and found.revision

    async def owns(self, name: str) -> bool:
        self.store.alive()
        return name in self._packages

    async def owned(self) -> Sequence[str]:
        self.store.alive()
        return list(self._packages)

    async def is_tombstoned(self, name: str) -> bool:
        return await self.owns(name) and self._live(name) is None

    async def is_taken(self, name: str, version: str) -> bool:
        return await self.owns(name) and self._packages[name].taken(version) is not None

    async def tarball(self, name: str, file: str) -> HostedTarball | None:
        found = [kept.new for kept in self._all_live(name) if kept.new.file == file]
        if not found:
            return None
        new = found[0]
        return HostedTarball(name, file, new.version, new.digest, new.size_bytes)

    async def attestations(self, name: str, version: str) -> bytes | None:
        found = [kept.new for kept in self._all_live(name) if kept.new.version == version]
        return found[0].attestations if found else None

    async def names(self, prefix: str = "") -> Sequence[str]:
        return [name for name in self._named() if name.startswith(prefix)]

    async def search_rows(self) -> Sequence[SearchRow]:
        return [_search_row(self._packages[name]) for name in self._named()]

    async def owned_by(self, user: str) -> Sequence[str]:
        return [name for name in self._named() if user in self._packages[name].owners]

    async def starred_by(self, user: str) -> Sequence[str]:
        return [name for name in self._named() if user in self._packages[name].stars]

    async def is_referenced(self, digest: str) -> bool:
        return any(k.new.digest == digest for name in self._named() for k in self._all_live(name))

    def revision(self) -> int:
        self.store.alive()
        return self.store.commits

    async def changes(self, since: int) -> tuple[int, Sequence[str]]:
        return self.store.changes(since)

    async def check(self) -> None:
        self.store.commit()

    # --- writing ---

    async def publish(self, new: NewVersion, deed: Deed) -> str:
        self.store.commit()
        found = self._packages.get(new.name)
        taken = found and found.taken(new.version)
        if found and taken:
            _require_repeat(taken, new, deed)
            return found.revision
        if found and new.is_first and deed.user not in found.owners:
            raise Forbidden(reason=f"{deed.user} is no owner of {new.name}")
        if found is None:
            access = new.access or Access.PUBLIC
            found = _Package(new.name, access, deed.at, (deed.user,), deed.at)
            self._packages[new.name] = found
        found.unpublished_at = None
        found.versions.append(_Kept(new, deed.at, deed.user))
        found.tags = {"latest": new.version, **found.tags, new.tag: new.version}
        facts = {"version": new.version, "tag": new.tag, "digest": new.digest}
        return self._settle(found, Action.PUBLISH, deed, facts)

    async def change(
        self,
        name: str,
        changes: Sequence[Change],
        deed: Deed,
        expected_revision: str | None = None,
        *,
        latest: Latest,
    ) -> str:
        found = self._expected(name, expected_revision)
        counter = found.counter + bool(changes)
        # The rehearsal raises what there is to raise before anything is changed.
        for stage in (copy.deepcopy(self), self):
            for each in changes:
                await stage._make(name, each, deed, latest)
        found.counter = counter
        found.revision = f"{counter}-{found.revision.partition('-')[2]}"
        return found.revision

    async def _make(self, name: str, change: Change, deed: Deed, latest: Latest) -> str:
        match change:
            case Deprecations(texts):
                return await self.deprecate(name, texts, deed)
            case Removal(versions):
                return await self.remove_versions(name, versions, deed, latest=latest)
            case WholeRemoval():
                return await self.remove_package(name, deed)
            case Tags(tags):
                return [self._tag(name, *each, deed) for each in tags.items()][-1]
            case Owners(maintainers):
                return await self.set_owners(name, [each.name for each in maintainers], deed)
            case Stars(users):
                return [await self.star(name, *each, deed) for each in users.items()][-1]
            case Readme(text):
                found = self._expected(name, None)
                kept = found.kept(found.tags["latest"])
                kept.new = replace(kept.new, readme=text)
                return self._settle(found, Action.README, deed, {"characters": len(text)})

    def _tag(self, name: str, tag: str, version: str | None, deed: Deed) -> str:
        found = self._expected(name, None)
        if version is not None:
            found.tags[tag] = found.kept(version).new.version
        elif tag == "latest":
            raise Forbidden(reason=f"the dist-tag latest of {name} can be moved, not removed")
        else:
            found.tags.pop(tag, None)
        return self._settle(found, Action.TAG, deed, {"tag": tag, "version": version})

    async def deprecate(
        self,
        name: str,
        texts: Mapping[str, str | None],
        deed: Deed,
        expected_revision: str | None = None,
    ) -> str:
        found = self._expected(name, expected_revision)
        kept = [(found.kept(version), text) for version, text in texts.items()]
        for each, text in kept:
            each.deprecated = text or None
        return self._settle(found, Action.DEPRECATE, deed, {"versions": dict(texts)})

    async def remove_versions(
        self,
        name: str,
        versions: Sequence[str],
        deed: Deed,
        expected_revision: str | None = None,
        *,
        latest: Latest,
    ) -> str:
        found = self._expected(name, expected_revision)
        _remove([found.kept(version) for version in versions])
        left = [kept.new.version for kept in found.live]
        found.tags = {tag: version for tag, version in found.tags.items() if version in left}
        if left and "latest" not in found.tags:
            found.tags["latest"] = latest(left)
        if not left:
            _bury(found, deed)
        return self._settle(found, Action.UNPUBLISH, deed, {"versions": list(versions)})

    async def remove_package(
        self, name: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        found = self._expected(name, expected_revision)
        facts = {"versions": [kept.new.version for kept in found.live]}
        _remove(found.live)
        _bury(found, deed)
        return self._settle(found, Action.UNPUBLISH, deed, facts)

    async def set_tag(
        self, name: str, tag: str, version: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        self._expected(name, expected_revision)
        return self._tag(name, tag, version, deed)

    async def drop_tag(
        self, name: str, tag: str, deed: Deed, expected_revision: str | None = None
    ) -> str:
        found = self._expected(name, expected_revision)
        if tag == "latest":
            raise Forbidden(reason=f"the dist-tag latest of {name} can be moved, not removed")
        if found.tags.pop(tag, None) is None:
            raise NotFound(reason=f"{name} has no dist-tag {tag}")
        return self._settle(found, Action.TAG, deed, {"tag": tag, "version": None})

    async def set_owners(
        self, name: str, owners: Sequence[str], deed: Deed, expected_revision: str | None = None
    ) -> str:
        found = self._expected(name, expected_revision)
        if not owners:
            raise Forbidden(reason=f"{name} must keep an owner")
        found.owners = tuple(dict.fromkeys(owners))
        return self._settle(found, Action.OWNER, deed, {"owners": list(owners)})

    async def star(self, name: str, user: str, is_starred: bool, deed: Deed) -> str:
        found = self._expected(name, None)
        found.stars = found.stars | {user} if is_starred else found.stars - {user}
        return self._settle(found, Action.STAR, deed, {"user": user, "is_starred": is_starred})

    async def set_access(self, name: str, access: Access, deed: Deed) -> str:
        found = self._expected(name, None)
        found.access = access
        return self._settle(found, Action.ACCESS, deed, {"access": access.value})

    # --- within ---

    def _live(self, name: str) -> _Package | None:
        self.store.alive()
        found = self._packages.get(name)
        return found if found is not None and found.unpublished_at is None else None

    def _all_live(self, name: str) -> list[_Kept]:
        found = self._live(name)
        return found.live if found else []

    def _named(self) -> list[str]:
        self.store.alive()
        return sorted(name for name in self._packages if self._live(name))

    def _expected(self, name: str, revision: str | None) -> _Package:
        self.store.commit()
        found = self._live(name)
        if found is None:
            raise PackageNotFound(name=name)
        if revision not in {None, found.revision}:
            raise Conflict(reason="Document update conflict.", name=name)
        return found

    def _settle(self, found: _Package, action: Action, deed: Deed, facts: Mapping[str, object]):
        found.counter += 1
        found.revision = f"{found.counter}-{secrets.token_hex(16)}"
        found.modified_at = deed.at
        self.store.log_change(found.name)
        self.store.append(action, found.name, deed, facts)
        return found.revision


def _remove(kept: Iterable[_Kept]) -> None:
    for each in kept:
        each.is_removed = True
        each.new = replace(each.new, manifest=b"", readme=None, attestations=None)


def _bury(found: _Package, deed: Deed) -> None:
    found.unpublished_at = deed.at
    found.tags, found.stars = {}, set()


def _require_repeat(taken: _Kept, new: NewVersion, deed: Deed) -> None:
    same = (taken.new.version, taken.new.digest, taken.by) == (new.version, new.digest, deed.user)
    if taken.is_removed or not same or abs(deed.at - taken.at) > timedelta(minutes=10):
        raise VersionExists(name=new.name, version=new.version)


def _search_row(found: _Package) -> SearchRow:
    kept = found.kept(found.tags["latest"])
    new = kept.new
    return SearchRow(
        *(new.name, new.version, new.description, new.keywords, new.excerpt, kept.at, kept.by),
        *(found.owners, found.access),
    )


def _bare(version: str) -> str:
    return version.partition("+")[0]
