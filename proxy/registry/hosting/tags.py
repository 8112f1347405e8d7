"""Dist-tags of a package that lives here, by their own addresses.

A tag names a version that is there, and is no version or range itself; `latest` can be moved and
not removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from proxy import errors
from proxy.npm import documents
from proxy.npm.documents import BadPublish
from proxy.npm.names import PackageName
from proxy.npm.policy import Action
from proxy.npm.updates import Tags as TagChanges
from proxy.registry.hosting.removing import newest
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.storage.hosting import HostedIndex

_LATEST = "latest"


class Tags:
    """Sets and drops dist-tags. Every method returns the package's revision.

    They raise what `Permissions.require_change` raises, InvalidRequest for what cannot be a tag,
    VersionNotFound, PackageNotFound.
    """

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

    async def set(self, caller: Caller, name: PackageName, tag: str, version: str) -> str:
        """Point a tag at a version."""
        return await self.merge(caller, name, {tag: version})

    async def drop(self, caller: Caller, name: PackageName, tag: str) -> str:
        """Remove a tag. Raises NotFound; Forbidden for `latest`."""
        await self._permissions.require_change(caller, Action.PUBLISH, name)
        return await self._hosted.drop_tag(name.full, tag, caller.deed(self._clock()))

    async def merge(self, caller: Caller, name: PackageName, tags: Mapping[str, str]) -> str:
        """Point many tags at versions; all others stay."""
        await self._permissions.require_change(caller, Action.PUBLISH, name)
        return await self._change(caller, name, tags, None)

    async def replace(self, caller: Caller, name: PackageName, tags: Mapping[str, str]) -> str:
        """Point many tags at versions; all others but `latest` go.

        Raises Conflict if the package is changed meanwhile.
        """
        await self._permissions.require_change(caller, Action.PUBLISH, name)
        package = await self._hosted.package(name.full)
        if package is None:
            raise errors.PackageNotFound(name=name.full)
        others = dict.fromkeys(package.tags.keys() - tags.keys() - {_LATEST})
        return await self._change(caller, name, {**others, **tags}, package.revision)

    async def _change(
        self,
        caller: Caller,
        name: PackageName,
        tags: Mapping[str, str | None],
        revision: str | None,
    ) -> str:
        for tag, version in tags.items():
            if version is not None:
                _check(tag)
        deed = caller.deed(self._clock())
        return await self._hosted.change(
            name.full, [TagChanges(tags)], deed, revision, latest=newest
        )


def _check(tag: str) -> None:
    try:
        documents.check_tag(tag)
    except BadPublish as error:
        raise errors.InvalidRequest(reason=error.reason) from error
