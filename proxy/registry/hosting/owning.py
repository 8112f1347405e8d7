"""Who owns a package, one owner at a time, as pnpm changes it.

npm changes owners through the document (changing.py). Several who add or remove somebody at the
same moment all succeed: each change starts from what the one before it has left.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from proxy import errors
from proxy.npm.names import PackageName
from proxy.npm.policy import Action
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.storage.hosting import HostedIndex
from proxy.storage.identity import People

# Each try that fails is somebody else's change that succeeded.
_TRIES = 8

Owners = tuple[str, ...]


class Owning:
    """Adds and removes owners. Both return the package's revision.

    They raise what `Permissions.require_change` raises.
    """

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

    async def add(self, caller: Caller, name: PackageName, user: str) -> str:
        """Make somebody an owner who is a user here. Raises NotFound if they are not."""
        await self._permissions.require_change(caller, Action.PUBLISH, name)
        if await self._people.user(user) is None:
            raise errors.NotFound(reason=f"there is no user {user} here who could own a package")
        return await self._change(
            caller, name, lambda owners: owners if user in owners else (*owners, user)
        )

    async def remove(self, caller: Caller, name: PackageName, user: str) -> str:
        """Take an owner away. Raises NotFound if they are none; Forbidden for the last one."""
        await self._permissions.require_change(caller, Action.PUBLISH, name)

        def without(owners: Owners) -> Owners:
            if user not in owners:
                raise errors.NotFound(reason=f"{user} is no owner of {name.full}")
            return tuple(owner for owner in owners if owner != user)

        return await self._change(caller, name, without)

    async def _change(
        self, caller: Caller, name: PackageName, alter: Callable[[Owners], Owners]
    ) -> str:
        deed = caller.deed(self._clock())
        for _ in range(_TRIES):
            head = await self._hosted.head(name.full)
            if head is None or head.unpublished_at is not None:
                raise errors.PackageNotFound(name=name.full)
            owners = alter(head.owners)
            if owners == head.owners:
                return head.revision
            try:
                return await self._hosted.set_owners(name.full, owners, deed, head.revision)
            except errors.Conflict:
                continue
        raise errors.Conflict(reason=f"{name.full} is being changed all the time; try again")
