"""The SHA-1 of tarballs of which a packument promises nothing, so that yarn 1 can name them.

Yarn classic ends with a TypeError at a version that has neither `dist.integrity` nor `dist.shasum`
(its npm-resolver.js hands `dist.shasum` on as it is). So the tarballs of the versions that are
wanted first are brought here, as if a client had asked for them, and their hash is worked out. It
says what this registry got first, nothing more; why that is worth having stands in
docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from proxy import errors
from proxy.npm import names
from proxy.npm.packument import Dist
from proxy.registry.mirroring.arriving import Promise, Reader
from proxy.registry.mirroring.downloads import Downloads
from proxy.storage.base import Blob, Blobs, Index, TarballRecord
from proxy.upstream.base import Uplink

_log = logging.getLogger(__name__)

MOST_VERSIONS = 32
"""How many tarballs are fetched for one packument; what we hold already is hashed besides."""

_AT_ONCE = 4
_LONGEST = timedelta(seconds=10)
_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Hashed:
    """Version to SHA-1 (hex), as far as could be found out.

    `is_final` says that asking again would not find more.
    """

    shasums: Mapping[str, str]
    is_final: bool


@dataclass(frozen=True, slots=True)
class _Sums:
    """What is computed as bytes go by; the SHA-512 is the name under which they are stored."""

    sha1: hashlib._Hash = field(default_factory=lambda: hashlib.sha1(usedforsecurity=False))
    sha512: hashlib._Hash = field(default_factory=lambda: hashlib.sha512(usedforsecurity=False))

    def update(self, piece: bytes) -> None:
        self.sha1.update(piece)
        self.sha512.update(piece)


class Hashing:
    """Finds out what one uplink's packuments do not say of their tarballs."""

    def __init__(
        self,
        *,
        uplink: Uplink,
        index: Index,
        blobs: Blobs,
        downloads: Downloads,
        has_room: Callable[[], Awaitable[bool]],
    ) -> None:
        self._uplink = uplink
        self._index = index
        self._blobs = blobs
        self._downloads = downloads
        self._has_room = has_room

    async def shasums(
        self,
        name: names.PackageName,
        unhashed: Sequence[Dist],
        *,
        within: timedelta,
        request_id: str = "",
    ) -> Hashed:
        """The hashes of these dists' tarballs, the first ones first; it never takes longer.

        Raises nothing that a tarball, its uplink or the disk is to blame for. A download that is
        under way at the end goes on, so that its tarball is here the next time.
        """
        turn = asyncio.Semaphore(_AT_ONCE)
        tasks = {
            each.version: asyncio.create_task(self._in_turn(turn, name, each, held, request_id))
            for each, held in await self._chosen(name, unhashed)
        }
        limit = max(min(within, _LONGEST), timedelta(0))
        try:
            if tasks:
                await asyncio.wait(tasks.values(), timeout=limit.total_seconds())
        finally:
            for task in tasks.values():
                task.cancel()
            ended = await asyncio.gather(*tasks.values(), return_exceptions=True)
        return _outcome(dict(zip(tasks, ended, strict=True)))

    async def _chosen(
        self, name: names.PackageName, unhashed: Sequence[Dist]
    ) -> list[tuple[Dist, TarballRecord | None]]:
        """The first few, and what we hold of the others, each with its record if there is one."""
        try:
            records = await self._index.tarballs(name.full)
        except errors.StorageAway:
            records = ()
        held = {each.file: each for each in records if each.uplink == self._uplink.name}
        found = [(each, held.get(names.tarball_file(name, each.version))) for each in unhashed]
        return [*found[:MOST_VERSIONS], *(pair for pair in found[MOST_VERSIONS:] if pair[1])]

    # --- one tarball ------------------------------------------------------------------------------

    async def _in_turn(
        self,
        turn: asyncio.Semaphore,
        name: names.PackageName,
        dist: Dist,
        held: TarballRecord | None,
        request_id: str,
    ) -> str | None:
        """The hash; None if it cannot be had now, "" if the uplink says that it never can."""
        async with turn:
            try:
                shasum = None if held is None else await self._of_held(held)
                return shasum or await self._of_fetched(name, dist, request_id)
            except errors.TarballNotFound:
                return ""
            except errors.RegistryError as fault:
                facts = {"package": name.full, "version": dist.version, "reason": str(fault)}
                _log.info("tarball not hashed", extra=facts)
                return None

    async def _of_held(self, record: TarballRecord) -> str | None:
        """The hash of a tarball we hold; None if its bytes are gone or damaged, as it is then."""
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is not None:
            try:
                sums = await _sums(blob)
            finally:
                await blob.close()
            if sums.sha512.hexdigest() == record.digest:
                return sums.sha1.hexdigest()
        digest = await self._index.drop_tarball(record.name, record.file)
        if digest is not None:
            await self._blobs.delete(digest)
        return None

    async def _of_fetched(self, name: names.PackageName, dist: Dist, request_id: str) -> str | None:
        """The hash of a tarball that is fetched; None if there is no room for it."""
        if not await self._has_room():
            return None
        promise = Promise(
            uplink=self._uplink,
            name=name.full,
            file=names.tarball_file(name, dist.version),
            version=dist.version,
            url=self._uplink.tarball_url(dist.tarball, name, dist.version),
            expected=None,
        )
        reader = self._downloads.join(promise, request_id)
        try:
            await reader.ready()
            return (await _sums(reader)).sha1.hexdigest()
        finally:
            await reader.close()


def _outcome(ended: Mapping[str, str | BaseException | None]) -> Hashed:
    for bug in ended.values():
        if isinstance(bug, Exception):
            _log.error("hashing failed", exc_info=bug)
    found = {version: said for version, said in ended.items() if isinstance(said, str)}
    shasums = {version: said for version, said in found.items() if said}
    return Hashed(shasums, is_final=len(found) == len(ended))


async def _sums(source: Blob | Reader) -> _Sums:
    sums, offset = _Sums(), 0
    while piece := await source.read(offset, _READ_BYTES):
        await asyncio.to_thread(sums.update, piece)
        offset += len(piece)
    return sums
