"""Changing what is published: deprecations, removals, dist-tags, owners, stars, the readme.

Clients send a document back with something changed in it; npm/updates.py says what. Here it is
judged and done, and what one document asks for is done as a whole or not at all:

1. every change is judged by itself: a removal asks for the right to unpublish, a star for nothing
   but that the caller may read the package (and is for themselves only), all others for the right
   to publish. A dist-tag that moves because its version goes is part of the removal;
2. whoever names a revision has read what is there, or is told to read again (Conflict);
3. all changes are one transaction, which compares the revision once more.

Names that come from an uplink are refused; of a merged name only the part that lives here changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from proxy import errors
from proxy.npm import names
from proxy.npm.names import PackageName
from proxy.npm.policy import Action
from proxy.npm.publish import README_BYTES
from proxy.npm.updates import (
    Change,
    Deprecations,
    Owners,
    Person,
    Readme,
    Removal,
    Stars,
    Stored,
    Tags,
    Update,
    WholeRemoval,
)
from proxy.registry.hosting.removing import Removing, newest
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.registry.routing import Routing
from proxy.storage.hosting import HostedIndex, HostedPackage
from proxy.storage.identity import People

# What is removed goes last of what may name it, so that a tag can still be told to go elsewhere;
# the readme after it, because it is that of the version `latest` names then.
_ORDER = (Deprecations, Tags, Removal, WholeRemoval, Readme, Owners, Stars)


class Changing:
    """Does what a document without a tarball asks for."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        routing: Routing,
        hosted: HostedIndex,
        people: People,
        removing: Removing,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._routing = routing
        self._hosted = hosted
        self._people = people
        self._removing = removing
        self._clock = clock

    async def stored(self, name: PackageName) -> Stored | None:
        """What may be changed of a package, for asked() to compare a document with; or None."""
        package = await self._hosted.package(name.full)
        if package is None:
            return None
        return Stored(
            versions={each.version: each.deprecated for each in package.versions},
            tags=package.tags,
            maintainers=tuple([await self._person(owner) for owner in package.owners]),
            users=dict.fromkeys(package.stars, True),
            readme=package.readme,
            is_merged=(await self._routing.guard()).origin_of(name.full).is_merged,
        )

    async def apply(self, caller: Caller, name: PackageName, update: Update) -> str:
        """Make the changes; returns the package's revision.

        Raises what `Permissions.require_change` raises, Forbidden for what the policy of removals
        or the last owner forbids, NotFound for an owner nobody knows, VersionNotFound, Conflict.
        """
        package = await self._hosted.package(name.full)
        changes = [each for each in update.changes if not _is_echo(each, package)]
        await self._require(caller, name, package, changes)
        if package is None:
            raise errors.PackageNotFound(name=name.full)
        if update.revision not in {None, package.revision}:
            reason = _NEVER_READ if update.revision == "undefined" else _READ_AGAIN
            raise errors.Conflict(reason=reason, name=name.full)
        for change in changes:
            await self._judge(caller, package, change)
        changes.sort(key=lambda change: _ORDER.index(type(change)))
        deed = caller.deed(self._clock())
        return await self._hosted.change(name.full, changes, deed, update.revision, latest=newest)

    async def remove_tarball(
        self, caller: Caller, name: PackageName, file: str, revision: str
    ) -> str:
        """Remove the version of a tarball; returns the package's revision.

        npm asks for this after the document has taken the version away, with the one-time password
        that was used up for that; then there is nothing left to do, and reading is all it takes.
        Raises as `apply`, and TarballNotFound for one that never was.
        """
        caller.require()
        # First of all: what follows says whether there is such a package.
        origin = await self._permissions.require_read(caller, name)
        if not origin.takes_versions:
            raise errors.NotHosted(name=name.full, origin=str(origin))
        found = await self._hosted.tarball(name.full, file)
        if found is not None:
            return await self.apply(caller, name, Update((Removal((found.version,)),), revision))
        version = names.version_of(name, file)
        now = await self._hosted.revision_of(name.full)
        if now is None:
            raise errors.PackageNotFound(name=name.full)
        if version is None or not await self._hosted.is_taken(name.full, version):
            raise errors.TarballNotFound(name=name.full, file=file)
        return now

    async def _require(
        self,
        caller: Caller,
        name: PackageName,
        package: HostedPackage | None,
        changes: Sequence[Change],
    ) -> None:
        """Raise unless the caller may do all of it."""
        gone = {version for change in changes for version in _removed(package, change)}
        actions = {_action(change, package, gone) for change in changes} - {None}
        if not actions:
            await self._permissions.require_reader(caller, name)
        for action in (Action.PUBLISH, Action.UNPUBLISH):
            if action in actions:
                await self._permissions.require_change(caller, action, name)

    async def _judge(self, caller: Caller, package: HostedPackage, change: Change) -> None:
        """Raise if a change is not to be, whoever may make such."""
        match change:
            case Removal() | WholeRemoval():
                gone = set(_removed(package, change))
                versions = [each for each in package.versions if each.version in gone]
                self._removing.require(caller, package.name, versions)
            case Owners(maintainers):
                for person in maintainers:
                    await self._require_user(person.name, package)
            case Stars(users) if set(users) != {caller.user}:
                raise errors.Forbidden(
                    reason=f"{caller.user} gives and takes away stars of their own only"
                )
            case Readme(text) if len(text.encode("utf-8", "surrogatepass")) > README_BYTES:
                raise errors.InvalidRequest(
                    reason=f"a readme is kept up to {README_BYTES} bytes; shorten it"
                )

    async def _require_user(self, user: str, package: HostedPackage) -> None:
        if user not in package.owners and await self._people.user(user) is None:
            raise errors.NotFound(reason=f"there is no user {user} here who could own a package")

    async def _person(self, user: str) -> Person:
        known = await self._people.user(user)
        return Person(user, (known.email if known else None) or "")


_READ_AGAIN = "Document update conflict: somebody has changed the package; read it again"
# Yarn 1 reads the abbreviated packument, in which there are neither revision nor owners.
_NEVER_READ = "Document update conflict: this client did not read the package; use npm owner"


def _is_echo(change: Change, package: HostedPackage | None) -> bool:
    """Whether a change is none, because owners are compared by name: addresses may be old."""
    if package is None or not isinstance(change, Owners):
        return False
    return tuple(person.name for person in change.maintainers) == package.owners


def _removed(package: HostedPackage | None, change: Change) -> Collection[str]:
    if isinstance(change, Removal):
        return change.versions
    if isinstance(change, WholeRemoval) and package is not None:
        return [each.version for each in package.versions]
    return ()


def _action(change: Change, package: HostedPackage | None, gone: Collection[str]) -> Action | None:
    """The right a change asks for; None if every reader has it."""
    if isinstance(change, Stars):
        return None
    if isinstance(change, Removal | WholeRemoval):
        return Action.UNPUBLISH
    if isinstance(change, Tags) and package is not None:
        # Without the versions that go, these tags had to move or to go as well.
        is_part = all(package.tags.get(tag) in gone for tag in change.tags)
        return Action.UNPUBLISH if is_part else Action.PUBLISH
    return Action.PUBLISH
