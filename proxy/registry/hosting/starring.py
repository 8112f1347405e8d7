"""Stars: what somebody marks as a favourite, of what they may read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from proxy import errors
from proxy.npm.names import PackageName
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.storage.hosting import HostedIndex


class Starring:
    """Gives and takes away stars, each caller their own, and lists anybody's."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        hosted: HostedIndex,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._hosted = hosted
        self._clock = clock

    async def set(self, caller: Caller, name: PackageName, *, is_starred: bool) -> str:
        """The package's revision, once it has the caller's star, or has it no more.

        Raises what `Permissions.require_reader` raises, and PackageNotFound.
        """
        user = await self._permissions.require_reader(caller, name)
        package = await self._hosted.package(name.full)
        if package is None:
            raise errors.PackageNotFound(name=name.full)
        if (user in package.stars) is is_starred:
            return package.revision
        deed = caller.deed(self._clock())
        return await self._hosted.star(name.full, user, is_starred, deed)

    async def of(self, caller: Caller, user: str | None = None) -> Sequence[str]:
        """Names of what a user has starred and the caller may read; None asks for their own.

        Nobody who is unknown has starred anything. Raises Unauthenticated if it is the caller who
        is unknown and asks for their own.
        """
        starred = await self._hosted.starred_by(caller.require() if user is None else user)
        return await self._permissions.readable_names(caller, starred)
