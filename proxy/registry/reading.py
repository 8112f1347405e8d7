"""Reading a package: who may, where it lives, and who tells of it.

Every read of a package goes through here, so that what may not be read is the same 404 as what does
not exist, whichever address it was asked at.
"""

from __future__ import annotations

from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.registry.answers import Document, Held, Tarball
from proxy.registry.hosting.published import Published
from proxy.registry.merged import Merged
from proxy.registry.mirroring.ahead import Ahead
from proxy.registry.mirroring.packuments import Packuments
from proxy.registry.mirroring.relay import Relay
from proxy.registry.mirroring.tarballs import Tarballs
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions


class Reading:
    """One door to what is mirrored, what is hosted, and what is both."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        packuments: Packuments,
        tarballs: Tarballs,
        ahead: Ahead,
        relay: Relay,
        published: Published,
        merged: Merged,
    ) -> None:
        self._permissions = permissions
        self._packuments = packuments
        self._tarballs = tarballs
        self._ahead = ahead
        self._relay = relay
        self._published = published
        self._merged = merged

    async def close(self) -> None:
        """End what is being put together."""
        await self._merged.close()

    async def document(
        self, caller: Caller, name: PackageName, form: Form, base_url: str, request_id: str = ""
    ) -> Document:
        """The packument of `name` in `form`, gzip, its tarballs under `base_url`."""
        origin = await self._permissions.require_read(caller, name)
        if origin.is_hosted:
            return await self._published.document(name, form, base_url)
        if origin.is_merged:
            return await self._merged.document(name, form, base_url, request_id)
        self._ahead.asked(name, form)
        return await self._packuments.document(name, form, base_url, request_id)

    async def document_at_hand(
        self, caller: Caller, name: PackageName, form: Form, base_url: str
    ) -> Document | None:
        """The same packument, if nothing has to be waited for. Raises as `document`."""
        origin = await self._permissions.require_read(caller, name)
        if origin.takes_versions:
            return None
        return await self._packuments.at_hand(name, form, base_url)

    async def manifest(
        self, caller: Caller, name: PackageName, spec: str, base_url: str, request_id: str = ""
    ) -> Document:
        """The manifest of a version or dist-tag, identity JSON."""
        origin = await self._permissions.require_read(caller, name)
        if origin.is_hosted:
            return await self._published.manifest(name, spec, base_url)
        if origin.is_merged:
            return await self._merged.manifest(name, spec, base_url, request_id)
        return await self._packuments.manifest(name, spec, base_url, request_id)

    async def dist_tags(self, caller: Caller, name: PackageName, request_id: str = "") -> Document:
        """`{tag: version}`, identity JSON."""
        origin = await self._permissions.require_read(caller, name)
        if origin.is_hosted:
            return await self._published.dist_tags(name)
        if origin.is_merged:
            return await self._merged.dist_tags(name, request_id)
        return await self._packuments.dist_tags(name, request_id)

    async def tarball(
        self, caller: Caller, name: PackageName, file: str, request_id: str = ""
    ) -> Tarball:
        """The tarball `file` of `name`, to be closed by whoever gets it."""
        origin = await self._permissions.require_read(caller, name)
        if origin.is_hosted:
            return await self._published.tarball(name, file)
        if origin.is_merged:
            return await self._merged.tarball(name, file, request_id)
        self._ahead.asked(name, file)
        return await self._tarballs.open(name, file, request_id)

    async def tarball_at_hand(self, caller: Caller, name: PackageName, file: str) -> Held | None:
        """The same tarball, if nothing has to be waited for. Raises as `tarball`."""
        origin = await self._permissions.require_read(caller, name)
        return None if origin.takes_versions else await self._tarballs.at_hand(name, file)

    async def attestations(
        self, caller: Caller, name: PackageName, version: str, request_id: str = ""
    ) -> Document:
        """The provenance of one version."""
        origin = await self._permissions.require_read(caller, name)
        if origin.is_hosted:
            return await self._published.attestations(name, version)
        if origin.is_merged:
            return await self._merged.attestations(name, version, request_id)
        return await self._relay.attestations(name, version, request_id)
