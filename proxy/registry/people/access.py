"""Who may do what with a package that lives here: told, and changed.

A package is public or restricted. Its owners and collaborators (by themselves, or by their teams)
have their own permissions beside that; the rules in force stand above both (permissions.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from proxy import errors
from proxy.npm.names import PackageName
from proxy.npm.policy import Action
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.storage.hosting import Access, HostedHead, HostedIndex
from proxy.storage.identity import People, Permission


class PackageAccess:
    """Tells and changes who may do what with packages that live here."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        hosted: HostedIndex,
        people: People,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._hosted = hosted
        self._people = people
        self._clock = clock

    async def of(self, caller: Caller, name: PackageName) -> Access:
        """Whether a package is public or restricted. Raises NotFound for who may not read it."""
        return (await self._readable(caller, name)).access

    async def set(self, caller: Caller, name: PackageName, access: Access) -> None:
        """Make a package public or restricted, for who may publish it."""
        await self._permissions.require_change(caller, Action.PUBLISH, name)
        await self._hosted.set_access(name.full, access, caller.deed(self._clock()))

    async def collaborators(self, caller: Caller, name: PackageName) -> Mapping[str, Permission]:
        """What everybody may do with a package: its owners write. Sorted by user.

        For whoever is logged in and may read it, as npm has it.
        """
        caller.require()
        head = await self._readable(caller, name)
        granted = await self._people.collaborators(name.full)
        return dict(sorted({**granted, **dict.fromkeys(head.owners, Permission.WRITE)}.items()))

    async def packages_of(self, caller: Caller, user: str) -> Mapping[str, Permission]:
        """What `user` may do with which packages, of those that the caller may read.

        Raises Unauthenticated, NotFound for an unknown user.
        """
        caller.require()
        if await self._people.user(user) is None:
            raise errors.NotFound(reason="there is no such user")
        granted = await self._people.packages_of(user)
        owned = dict.fromkeys(await self._hosted.owned_by(user), Permission.WRITE)
        return await self.readable(caller, {**granted, **owned})

    async def readable(
        self, caller: Caller, permissions: Mapping[str, Permission]
    ) -> Mapping[str, Permission]:
        """Those of these packages that are there and that the caller may read, sorted."""
        names = await self._permissions.readable_names(caller, sorted(permissions))
        return {name: permissions[name] for name in names}

    async def _readable(self, caller: Caller, name: PackageName) -> HostedHead:
        origin = await self._permissions.require_read(caller, name)
        if not origin.takes_versions:
            raise errors.NotFound(reason=f"who may use {name.full} is known to {origin} only")
        head = await self._hosted.head(name.full)
        if head is None or head.unpublished_at is not None:
            raise errors.PackageNotFound(name=name.full)
        return head
