"""Find a tarball, open it, or join its download."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy import errors
from proxy.npm import integrity, names
from proxy.npm.forms import Form
from proxy.npm.packument import Dist
from proxy.registry.answers import CacheState, Freshness, Held, Tarball
from proxy.registry.hot import Hot
from proxy.registry.mirroring.arriving import Promise, Reader
from proxy.registry.mirroring.downloads import Downloads
from proxy.registry.mirroring.mending import Mending
from proxy.registry.mirroring.mirror import Mirror
from proxy.registry.mirroring.missing import MissingNotes
from proxy.registry.mirroring.streaming import Streamed
from proxy.registry.mirroring.upkeep import Upkeep
from proxy.registry.routing import Routing
from proxy.storage.base import Blob, Blobs, Damaged, Index, PackumentRecord, TarballRecord
from proxy.storage.press import BodyLost, Press

_log = logging.getLogger(__name__)

# A version our copy does not list is asked for once more, unless the copy is younger than this.
_BELIEVED_FOR = timedelta(seconds=5)
# Until a reply begins. Afterwards its progress counts, not its time.
_PATIENCE = timedelta(seconds=19)


@dataclass(frozen=True, slots=True)
class Opened:
    """A tarball on disk, or one that is still arriving."""

    source: Mending | Reader | Streamed
    size_bytes: int
    etag: str | None
    modified_at: datetime | None
    freshness: Freshness
    is_private: bool = False

    async def read(self, offset: int, length: int) -> bytes:
        """A piece of it; waits for what has not arrived.

        Raises Damaged in the place of the end of what is not what was stored.
        """
        return await self.source.read(offset, length)

    async def close(self) -> None:
        """Let the file go."""
        await self.source.close()


class Tarballs:
    """Every tarball this registry can serve."""

    def __init__(
        self,
        *,
        routing: Routing,
        index: Index,
        blobs: Blobs,
        press: Press,
        downloads: Downloads,
        hot: Hot[Held],
        upkeep: Upkeep,
        missing: MissingNotes,
        small_bytes: int,
        clock: Callable[[], datetime],
        patience: timedelta = _PATIENCE,
    ) -> None:
        self._routing = routing
        self._index = index
        self._blobs = blobs
        self._press = press
        self._downloads = downloads
        self._hot = hot
        self._upkeep = upkeep
        self._missing = missing
        self._small_bytes = small_bytes
        self._clock = clock
        self._patience = patience

    async def open(self, name: names.PackageName, file: str, request_id: str = "") -> Tarball:
        """The tarball `file` of `name`, to be closed by the caller.

        Raises TarballNotFound, PackageNotFound, or an UplinkError if nothing of it can be sent.
        """
        held = await self.at_hand(name, file)
        if held is not None:
            return held
        mirror = await self._routing.mirror(name)
        kept = await self._kept(mirror, name, file)
        if kept is not None:
            return kept
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return await self._brought(mirror, name, file, request_id)
        except errors.UplinkError:
            if mirror.uplink.absence is not None:
                self._missing.note(name.full, names.version_of(name, file) or "")
            raise
        except TimeoutError:
            # Its download goes on, if there is one: who asks again finds more of it.
            reason = f"{file} did not begin to arrive within {self._patience.total_seconds():g} s"
            raise errors.UplinkTimeout(uplink=mirror.uplink.name, reason=reason) from None

    async def at_hand(self, name: names.PackageName, file: str) -> Held | None:
        """The tarball, if it is in memory. Never waits."""
        held = await self._hot.get(name.full, file)
        if held is not None:
            self._upkeep.used(name.full, file)
        return held

    async def _brought(
        self, mirror: Mirror, name: names.PackageName, file: str, request_id: str
    ) -> Tarball:
        """What is not here, or only under another spelling of its name."""
        dist = await self._promised(mirror, name, file, request_id)
        canonical = names.tarball_file(name, dist.version)
        if canonical != file and (kept := await self._kept(mirror, name, canonical)) is not None:
            return kept
        promise = self._promise(mirror, name, canonical, dist)
        if mirror.gone.has(promise.url):
            raise errors.TarballNotFound(name=name.full, file=file)
        try:
            return await self._fetch(promise, request_id)
        except errors.TarballNotFound:
            # The uplink lists a version it no longer has: read its packument again, so that ours
            # does not. Of all who waited for the tarball, one does that.
            if not mirror.gone.has(promise.url):
                mirror.gone.put(promise.url)
                with suppress(errors.UplinkError):
                    await mirror.reread(name, request_id)
            raise

    # --- what we hold -----------------------------------------------------------------------------

    async def _kept(self, mirror: Mirror, name: names.PackageName, file: str) -> Tarball | None:
        as_of = self._hot.sequence
        record = await self._index.tarball(name.full, file)
        if record is None or record.uplink != mirror.uplink.name:
            return None
        try:
            found = await (self._body if self._is_small(record) else self._sound)(record)
        except Damaged:
            found = None
        if found is None:
            await self._lost(record)
            return None
        self._upkeep.used(name.full, file)
        if not isinstance(found, bytes):
            return _opened(self._mending(found, record, mirror, name), record)
        held = _held(found, record)
        self._hot.put(name.full, file, held, record.size_bytes, as_of=as_of)
        return held

    def _is_small(self, record: TarballRecord) -> bool:
        return record.size_bytes <= self._small_bytes

    async def _sound(self, record: TarballRecord) -> Blob | None:
        return await self._blobs.open_sound(record.digest, record.size_bytes)

    async def _body(self, record: TarballRecord) -> bytes | None:
        """All of a small one. Raises Damaged."""
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            return None
        try:
            body = await blob.read(0, record.size_bytes)
        except errors.StorageAway as fault:  # the disk cannot read it; perhaps it can write another
            raise Damaged(record.digest) from fault
        finally:
            await blob.close()
        if hashlib.sha512(body).hexdigest() != record.digest:
            raise Damaged(record.digest)
        return body

    async def _lost(self, record: TarballRecord) -> None:
        """Forget a tarball whose bytes are gone or damaged, so that it is fetched again."""
        _log.warning("tarball lost, asking again", extra=_facts(record))
        digest = await self._index.drop_tarball(record.name, record.file)
        if digest is not None:
            # A damaged blob of the right size would pass for the one that comes in its place.
            await self._blobs.delete(digest)

    def _mending(
        self, blob: Blob, record: TarballRecord, mirror: Mirror, name: names.PackageName
    ) -> Mending:
        async def fresh() -> Tarball | None:
            with suppress(errors.RegistryError, TimeoutError):
                async with asyncio.timeout(self._patience.total_seconds()):
                    found = await self._brought(mirror, name, record.file, "")
                if (found.etag, found.size_bytes) == (_etag(record.digest), record.size_bytes):
                    return found
                await found.close()  # the reply has promised other bytes
            return None

        return Mending(blob, lost=lambda: self._lost(record), fresh=fresh)

    # --- what the packument promises --------------------------------------------------------------

    async def _promised(
        self, mirror: Mirror, name: names.PackageName, file: str, request_id: str
    ) -> Dist:
        dist = await self._dist(mirror, name, file, request_id)
        if dist is None:
            # It may have been published since: ask once more before saying no.
            not_before = self._clock() - _BELIEVED_FOR
            dist = await self._dist(mirror, name, file, request_id, not_before)
        if dist is None:
            raise errors.TarballNotFound(name=name.full, file=file)
        return dist

    async def _dist(
        self,
        mirror: Mirror,
        name: names.PackageName,
        file: str,
        request_id: str,
        not_before: datetime | None = None,
    ) -> Dist | None:
        async def copied() -> PackumentRecord:
            copy = await mirror.packument(
                name, Form.ABBREVIATED, request_id=request_id, not_before=not_before
            )
            return copy.record

        record = await copied()
        try:
            return await self._press.dist(record, name, file)
        except BodyLost:
            await mirror.forget(record)
        return await self._press.dist(await copied(), name, file)

    def _promise(self, mirror: Mirror, name: names.PackageName, file: str, dist: Dist) -> Promise:
        return Promise(
            uplink=mirror.uplink,
            name=name.full,
            file=file,
            version=dist.version,
            url=mirror.uplink.tarball_url(dist.tarball, name, dist.version),
            expected=integrity.parse(dist.integrity, dist.shasum),
        )

    # --- fetching it ------------------------------------------------------------------------------

    async def _fetch(self, promise: Promise, request_id: str) -> Tarball:
        if await self._upkeep.has_room():
            with suppress(errors.StorageAway):
                return await self._begun(self._downloads.join(promise, request_id), promise)
        return await self._begun(Streamed(promise, request_id), promise)

    async def _begun(self, source: Reader | Streamed, promise: Promise) -> Tarball:
        try:
            size_bytes = await source.ready()
        except BaseException:
            await source.close()
            raise
        digest = promise.expected.sha512_hex if promise.expected else None
        not_stored = "no room to store it" if isinstance(source, Streamed) else None
        freshness = Freshness(CacheState.MISS, uplink=promise.uplink.name, reason=not_stored)
        return Opened(source, size_bytes, _etag(digest), None, freshness)


def _facts(record: TarballRecord) -> dict[str, object]:
    return {"package": record.name, "file": record.file, "digest": record.digest}


def _etag(digest: str | None) -> str | None:
    """A strong entity tag made of the bytes' sha512; none while only a shasum is promised."""
    return None if digest is None else f'"{digest[:32]}"'


def _hit(record: TarballRecord) -> Freshness:
    return Freshness(CacheState.HIT, uplink=record.uplink)


def _opened(source: Mending, record: TarballRecord) -> Opened:
    return Opened(
        source=source,
        size_bytes=record.size_bytes,
        etag=_etag(record.digest),
        modified_at=record.stored_at,
        freshness=_hit(record),
    )


def _held(body: bytes, record: TarballRecord) -> Held:
    return Held(body, _etag(record.digest), record.stored_at, _hit(record))
