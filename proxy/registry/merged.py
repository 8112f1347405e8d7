"""Packages that are published here beside what an uplink has of them: a fork, a patched version.

Whatever is asked, one answer decides who owns a version: ours, if it is published here, else the
uplink's. So a packument, a manifest and a tarball of one version always come from the same place.
Without the uplink (it has no such package, or is away and nothing of it is held) our part stands
alone; it says that it is stale if the uplink is away. Without anything published here the uplink's
part is the whole.

A merged document is keyed by what both parts are now: the ETag of the mirrored document and the
revision of ours. It is worked out in a thread, once for all who wait, and kept in memory and in the
Cache.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from proxy import errors
from proxy.npm import encoding, merge, names, packument, render, wire
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Packument
from proxy.registry.answers import CacheState, Document, Freshness, Stored, Tarball
from proxy.registry.bases import Bases
from proxy.registry.flights import Flights
from proxy.registry.hosting.published import Published
from proxy.registry.hot import Hot
from proxy.registry.mirroring.packuments import Packuments
from proxy.registry.mirroring.relay import Relay
from proxy.registry.mirroring.tarballs import Tarballs
from proxy.storage.cache import Cache
from proxy.storage.hosting import HostedIndex, HostedTarball

# Each takes several times the size of its document: a few at a time are enough.
_AT_ONCE = 2
_PIECE_BYTES = 1024 * 1024
_ANY_RATIO = 2048
# Why the uplink's part is missing: it has no such package, or it cannot be asked.
_MISSING = (errors.NotFound, errors.UplinkError)


class Merged:
    """Documents and tarballs of names that live at an uplink and here. Who asks has been judged."""

    def __init__(
        self,
        *,
        packuments: Packuments,
        tarballs: Tarballs,
        relay: Relay,
        published: Published,
        hosted: HostedIndex,
        cache: Cache,
        hot: Hot[bytes],
        bases: Bases,
    ) -> None:
        self._packuments = packuments
        self._tarballs = tarballs
        self._relay = relay
        self._published = published
        self._hosted = hosted
        self._cache = cache
        self._hot = hot
        self._bases = bases
        self._merging: Flights[str, bytes] = Flights()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        """End what is being merged."""
        await self._merging.close()

    async def document(
        self, name: PackageName, form: Form, base_url: str, request_id: str = ""
    ) -> Document:
        """The packument of both parts, gzip. Without one of ours it raises what the mirror does."""
        revision = await self._hosted.revision_of(name.full)
        if revision is None:
            return await self._packuments.document(name, form, base_url, request_id)
        try:
            theirs = await self._packuments.document(name, form, base_url, request_id)
        except _MISSING as fault:
            return _alone(await self._published.document(name, form, base_url), fault)
        if not isinstance(theirs.body, bytes):
            await theirs.body.close()
        tag = _tag(theirs, revision, form, base_url)
        body = await self._body(tag, name, form, base_url, request_id)
        return _document(theirs, tag, body)

    async def manifest(
        self, name: PackageName, spec: str, base_url: str, request_id: str = ""
    ) -> Document:
        """The manifest of a version or dist-tag, of whoever owns it. Raises VersionNotFound."""
        ours = await self._published.packument(name)
        if ours is None:
            return await self._packuments.manifest(name, spec, base_url, request_id)
        version = _own_version(ours, spec)
        if version is not None:
            return await self._published.manifest(name, version, base_url)
        tags, fault = await self._tags(name, ours, request_id)
        named = tags.get(spec, spec)
        if named in ours.versions:
            return _alone(await self._published.manifest(name, named, base_url), fault)
        if isinstance(fault, errors.NotFound):
            raise errors.VersionNotFound(name=name.full, version=spec)
        if fault is not None:
            raise fault
        return await self._packuments.manifest(name, named, base_url, request_id)

    async def dist_tags(self, name: PackageName, request_id: str = "") -> Document:
        """`{tag: version}` of both parts."""
        revision = await self._hosted.revision_of(name.full)
        if revision is None:
            return await self._packuments.dist_tags(name, request_id)
        ours = await self._published.dist_tags(name)
        try:
            theirs = await self._packuments.dist_tags(name, request_id)
        except _MISSING as fault:
            return _alone(ours, fault)
        body = wire.dumps(merge.tags_of(_loaded(theirs), _loaded(ours)))
        tag = render.etag(theirs.etag or "", revision, str(render.RENDERER))
        return replace(
            ours,
            body=body,
            identity_bytes=len(body),
            etag=tag,
            freshness=theirs.freshness,
            withheld=theirs.withheld,
        )

    async def tarball(self, name: PackageName, file: str, request_id: str = "") -> Tarball:
        """The tarball of whoever owns its version, to be closed by whoever gets it."""
        ours = await self._own_tarball(name, file)
        if ours is not None:
            return await self._published.tarball(name, ours.file)
        return await self._tarballs.open(name, file, request_id)

    async def attestations(self, name: PackageName, version: str, request_id: str = "") -> Document:
        """The provenance of one version, from whoever owns it. Raises NotFound."""
        if await self._own_tarball(name, names.tarball_file(name, version)) is not None:
            return await self._published.attestations(name, version)
        return await self._relay.attestations(name, version, request_id)

    # --- parts ------------------------------------------------------------------------------------

    async def _own_tarball(self, name: PackageName, file: str) -> HostedTarball | None:
        """Our record of a file, also under another spelling of its name."""
        found = await self._hosted.tarball(name.full, file)
        if found is not None:
            return found
        version = names.version_of(name, file.removeprefix("download/"))
        if version is None:
            return None
        return await self._hosted.tarball(name.full, names.tarball_file(name, version))

    async def _tags(
        self, name: PackageName, ours: Packument, request_id: str
    ) -> tuple[dict[str, str], errors.RegistryError | None]:
        """The dist-tags of both parts, and why the uplink's are missing."""
        try:
            theirs = await self._packuments.dist_tags(name, request_id)
        except _MISSING as fault:
            return dict(ours.dist_tags), fault
        return merge.tags_of(_loaded(theirs), ours.dist_tags), None

    async def _body(
        self, tag: str, name: PackageName, form: Form, base_url: str, request_id: str
    ) -> bytes | Stored:
        kept = await self._hot.get(name.full, tag)
        if kept is not None:
            return kept
        as_of = self._hot.sequence
        found = await self._cache.get(tag) or await self._cache.open(tag)
        if found is None:
            flight = self._merging.join(
                tag, lambda: self._merged(tag, name, form, base_url, request_id)
            )
            found = await asyncio.shield(flight)
        if isinstance(found, bytes) and self._bases.admit(base_url):
            self._hot.put(name.full, tag, found, len(found), as_of=as_of)
        return found

    async def _merged(
        self, tag: str, name: PackageName, form: Form, base_url: str, request_id: str
    ) -> bytes:
        """Both parts in one. It asks for them itself: whoever waits may leave, and close theirs."""
        theirs = await self._packuments.document(name, form, base_url, request_id)
        gzipped = await _gzipped(theirs.body)
        ours = await self._published.packument(name)
        if ours is None:
            return gzipped
        async with self._turns:
            body = await asyncio.to_thread(_merge, gzipped, theirs, ours, form, base_url)
        # If a part has changed meanwhile, this is right too, but not what the tag stands for.
        revision = wire.text(ours.envelope["_rev"]) or ""
        if _tag(theirs, revision, form, base_url) == tag and self._bases.admit(base_url):
            await self._cache.put(tag, body)
        return body


def _tag(theirs: Document, revision: str, form: Form, base_url: str) -> str:
    return render.etag(theirs.etag or "", revision, form.value, base_url, str(render.RENDERER))


def _merge(gzipped: bytes, theirs: Document, ours: Packument, form: Form, base_url: str) -> bytes:
    if theirs.withheld is not None and not theirs.withheld.shown:
        return encoding.gzip(render.render(ours, form, base_url))  # nothing of theirs is held
    try:
        # It is of our own making: no bomb, whatever its ratio.
        body = encoding.gunzip(gzipped, limit_bytes=theirs.identity_bytes, max_ratio=_ANY_RATIO)
        read = packument.read(
            body, name=names.parse(ours.name), fetched_at=theirs.modified_at or ours.modified_at
        )
    except (packument.Malformed, encoding.BadEncoding, encoding.TooBig) as fault:
        raise errors.StorageCorrupt(reason=f"the mirrored part of {ours.name}: {fault}") from fault
    return encoding.gzip(render.render(merge.merge(read, ours), form, base_url))


async def _gzipped(body: bytes | Stored) -> bytes:
    if isinstance(body, bytes):
        return body
    try:
        return b"".join(
            [
                await body.read(offset, _PIECE_BYTES)
                for offset in range(0, body.size_bytes, _PIECE_BYTES)
            ]
        )
    finally:
        await body.close()


def _document(theirs: Document, tag: str, body: bytes | Stored) -> Document:
    if isinstance(body, bytes):
        identity_bytes = encoding.identity_size(body)
    else:
        identity_bytes = body.identity_bytes
    return replace(
        theirs,
        body=body,
        identity_bytes=identity_bytes,
        etag=tag,
        modified_at=None,  # the later of two, of which a hit knows but one
        is_private=True,
    )


def _alone(ours: Document, fault: errors.RegistryError | None) -> Document:
    """Our part, stale if it is only a part because the uplink cannot be asked."""
    if not isinstance(fault, errors.UplinkError):
        return ours
    uplink = fault.facts.get("uplink")
    freshness = Freshness(
        CacheState.STALE, uplink=str(uplink) if uplink else None, reason=str(fault)
    )
    return replace(ours, freshness=freshness)


def _own_version(ours: Packument, spec: str) -> str | None:
    """The version of ours that is meant, loosely written too; tags are a matter of both parts."""
    return packument.resolve(replace(ours, dist_tags={}), spec)


def _loaded(tags: Document) -> dict[str, str]:
    assert isinstance(tags.body, bytes)  # noqa: S101  # dist-tags are in memory
    loaded: dict[str, str] = wire.loads(tags.body)
    return loaded
