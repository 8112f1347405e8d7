"""Packages that were published here, as clients get them.

A document is put together from what the database holds of the package, rendered for one form and
base URL, and kept in memory until the database's change log names the package. Its ETag is made of
the revision, so that it changes with every write and with nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from proxy import errors
from proxy.npm import encoding, hosted, names, packument, render
from proxy.npm.forms import CONTENT_TYPES, Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Packument
from proxy.npm.updates import Person
from proxy.registry.answers import CacheState, Document, Freshness, plain
from proxy.registry.bases import Bases
from proxy.registry.hot import Hot
from proxy.storage.base import Blob, Blobs, Damaged
from proxy.storage.hosting import HostedIndex, HostedPackage, HostedTarball
from proxy.storage.identity import People

_log = logging.getLogger(__name__)

_OURS = Freshness(CacheState.HIT)
_BESIDE_LOOP_BYTES = 256 * 1024  # of manifests: rendering that takes a millisecond


@dataclass(frozen=True, slots=True)
class PublishedTarball:
    """A tarball that lives here, open."""

    blob: Blob
    size_bytes: int
    etag: str
    modified_at: datetime | None = None
    freshness: Freshness = _OURS
    is_private: bool = True
    on_damage: Callable[[], None] | None = None

    async def read(self, offset: int, length: int) -> bytes:
        """A piece of it. Raises Damaged in the place of the end of what is not what was stored."""
        try:
            return await self.blob.read(offset, length)
        except Damaged:
            if self.on_damage is not None:
                self.on_damage()
            raise

    async def close(self) -> None:
        """Let the file go."""
        await self.blob.close()


class Published:
    """Documents and tarballs of hosted packages. Who asks has been judged already."""

    def __init__(
        self,
        *,
        hosted: HostedIndex,
        people: People,
        blobs: Blobs,
        hot: Hot[Document],
        bases: Bases,
    ) -> None:
        self._hosted = hosted
        self._people = people
        self._blobs = blobs
        self._hot = hot
        self._bases = bases
        self._damaged: set[str] = set()

    async def packument(self, name: PackageName) -> Packument | None:
        """All of a package, or None if nothing is published under this name now."""
        found = await self._hosted.package(name.full)
        return None if found is None else await self._assembled(found)

    async def document(self, name: PackageName, form: Form, base_url: str) -> Document:
        """The packument, gzip. Raises PackageNotFound."""
        kept = await self._hot.get(name.full, (form, base_url))
        if kept is not None:
            return kept
        as_of = self._hot.sequence
        package = await self._package(name)
        of = await self._assembled(package)
        tag = render.etag(package.revision, form.value, base_url, str(render.RENDERER))
        document = await _document(of, tag, form, base_url)
        if isinstance(document.body, bytes) and self._bases.admit(base_url):
            self._hot.put(name.full, (form, base_url), document, len(document.body), as_of=as_of)
        return document

    async def manifest(self, name: PackageName, spec: str, base_url: str) -> Document:
        """One version's manifest, by version (loosely written too) or dist-tag.

        Raises PackageNotFound, VersionNotFound.
        """
        package = await self._package(name)
        of = await self._assembled(package)
        version = packument.resolve(of, spec)
        if version is None:
            raise errors.VersionNotFound(name=name.full, version=spec)
        return _small(render.manifest(of, version, base_url), package, spec, base_url)

    async def dist_tags(self, name: PackageName) -> Document:
        """`{tag: version}`. Raises PackageNotFound."""
        package = await self._package(name)
        return _small(render.dist_tags(await self._assembled(package)), package, "dist-tags")

    async def attestations(self, name: PackageName, version: str) -> Document:
        """The provenance bundles of one version. Raises NotFound."""
        found = await self._hosted.attestations(name.full, version)
        package = await self._package(name)
        if found is None:
            raise errors.NotFound(reason=f"{name.full}@{version} has no attestations")
        return _small(found, package, "attestations", version)

    async def tarball(self, name: PackageName, file: str) -> PublishedTarball:
        """A tarball, open.

        Raises PackageNotFound, as for who may not read it, TarballNotFound; Damaged if its bytes
        are not there any more.
        """
        record = await self._hosted.tarball(name.full, file)
        if record is None:
            if await self._hosted.revision_of(name.full) is None:
                raise errors.PackageNotFound(name=name.full)
            raise errors.TarballNotFound(name=name.full, file=file)
        try:
            blob = await self._blobs.open_sound(record.digest, record.size_bytes)
        except Damaged:
            self._alarm(record, "its bytes have changed")
            raise
        if blob is None:
            self._alarm(record, "it is gone or cut short")
            raise Damaged(record.digest)
        self._damaged.discard(record.digest)
        return PublishedTarball(
            blob,
            record.size_bytes,
            f'"{record.digest[:32]}"',
            on_damage=lambda: self._alarm(record, "its bytes have changed"),
        )

    @property
    def damaged(self) -> int:
        """How many tarballs this process has found damaged and has not seen restored."""
        return len(self._damaged)

    def _alarm(self, record: HostedTarball, what: str) -> None:
        self._damaged.add(record.digest)
        _log.error(
            "published tarball damaged: restore it from a backup of the data folder",
            extra={
                "package": record.name,
                "file": record.file,
                "digest": record.digest,
                "reason": what,
            },
        )

    async def _package(self, name: PackageName) -> HostedPackage:
        found = await self._hosted.package(name.full)
        if found is None:
            raise errors.PackageNotFound(name=name.full)
        return found

    async def _assembled(self, package: HostedPackage) -> Packument:
        maintainers = [await self._person(owner) for owner in package.owners]
        value = hosted.HostedPackage(
            name=names.parse(package.name),
            revision=package.revision,
            access=package.access.value,
            tags=package.tags,
            versions=[
                hosted.HostedVersion(
                    each.version, each.manifest, each.published_at, each.deprecated
                )
                for each in package.versions
            ],
            created_at=package.created_at,
            modified_at=package.modified_at,
            maintainers=maintainers,
            users=package.stars,
            readme=package.readme,
            readme_filename=package.readme_filename,
        )
        return hosted.packument(value)

    async def _person(self, user: str) -> Person:
        known = await self._people.user(user)
        return Person(user, (known.email if known else None) or "")


async def _document(of: Packument, tag: str, form: Form, base_url: str) -> Document:
    def work() -> tuple[bytes, int]:
        body = render.render(of, form, base_url)
        return encoding.gzip(body), len(body)

    volume_bytes = sum(len(bytes(raw)) for raw in of.versions.values())
    big = volume_bytes > _BESIDE_LOOP_BYTES
    body, identity_bytes = await asyncio.to_thread(work) if big else work()
    return Document(
        body=body,
        is_gzip=True,
        identity_bytes=identity_bytes,
        etag=tag,
        modified_at=of.modified_at,
        content_type=CONTENT_TYPES[form],
        freshness=_OURS,
        form=form,
        is_private=True,
    )


def _small(body: bytes, package: HostedPackage, *tag_parts: str) -> Document:
    tag = render.etag(package.revision, *tag_parts, str(render.RENDERER))
    return plain(body, _OURS, etag=tag, modified_at=package.modified_at, is_private=True)
