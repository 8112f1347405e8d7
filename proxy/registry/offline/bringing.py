"""Bring one packument or one tarball here, as clients would who asked for it, and keep it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from proxy import errors
from proxy.npm import integrity, wire
from proxy.npm.choosing import Chosen
from proxy.npm.forms import Form
from proxy.npm.integrity import Expected
from proxy.npm.names import PackageName
from proxy.registry.mirroring.arriving import Promise
from proxy.registry.mirroring.downloads import Downloads
from proxy.registry.mirroring.mirror import Mirror
from proxy.storage.base import Blobs, Index, PackumentRecord, TarballRecord
from proxy.storage.press import BodyLost, Press
from proxy.upstream.base import Uplink

_READ_BYTES = 1024 * 1024
# A version our copy does not list is asked for once more, unless the copy is younger than this.
_BELIEVED_FOR = timedelta(seconds=5)


class WrongBytes(errors.IntegrityMismatch):
    """The lockfile promises other bytes than the uplink. Facts: uplink, reason."""

    template = "{reason}"


BeforeAsking = Callable[[Uplink], Awaitable[None]]
"""Awaited before an uplink is asked, while nobody waits for that. May raise, to end it all."""


async def at_once(_: Uplink) -> None:
    """Ask without waiting."""


class Bringing:
    """What a prefetch asks the mirrors for."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        press: Press,
        downloads: Downloads,
        has_room: Callable[[], Awaitable[bool]],
        clock: Callable[[], datetime],
        before_asking: BeforeAsking = at_once,
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._press = press
        self._downloads = downloads
        self._has_room = has_room
        self._clock = clock
        self._before_asking = before_asking

    # --- the packument ----------------------------------------------------------------------------

    async def choose(
        self,
        mirror: Mirror,
        name: PackageName,
        *,
        exact: Sequence[str],
        specs: Sequence[str],
        request_id: str = "",
    ) -> Chosen:
        """What the full packument has of versions and ranges.

        One that is held and lists the versions will do, however old, if there are no ranges.
        """

        async def among(record: PackumentRecord) -> Chosen | None:
            try:
                return await self._press.choose(record, name, exact=exact, specs=specs)
            except BodyLost:
                await mirror.forget(record)
                return None

        held = await self._index.packument(mirror.uplink.name, name.full, Form.FULL)
        chosen = None if held is None or specs else await among(held)
        for not_before in (None, self._clock() - _BELIEVED_FOR):
            if chosen is not None and not chosen.missing:
                break
            await self._before_asking(mirror.uplink)
            copy = await mirror.packument(
                name, Form.FULL, request_id=request_id, not_before=not_before
            )
            chosen = await among(copy.record)
        if chosen is None:
            raise BodyLost(name=name.full, reason=f"the body of {name.full} was lost twice")
        return chosen

    async def lead(
        self,
        mirror: Mirror,
        name: PackageName,
        *,
        specs: Sequence[str],
        not_before: datetime,
        request_id: str = "",
    ) -> Chosen:
        """The versions that the dist-tags lead to, and those of `specs`.

        They are chosen from what the uplink said at or after `not_before`.
        """
        held = await self._index.packument(mirror.uplink.name, name.full, Form.FULL)
        for _ in range(2):
            if held is None or held.checked_at < not_before:
                await self._before_asking(mirror.uplink)
                copy = await mirror.packument(
                    name, Form.FULL, request_id=request_id, not_before=not_before
                )
                held = copy.record
            try:
                tags = wire.loads(await self._press.dist_tags(held, name))
                tagged = sorted(set(tags.values()))
                return await self._press.choose(held, name, specs=[*tagged, *specs])
            except BodyLost:
                await mirror.forget(held)
                held = None
        raise BodyLost(name=name.full, reason=f"the body of {name.full} was lost twice")

    # --- the tarball ------------------------------------------------------------------------------

    async def keep(
        self, promise: Promise, expected: Expected | None, request_id: str = ""
    ) -> tuple[TarballRecord, bool]:
        """The record of a tarball, fetched if it is not held, and whether it was held.

        Raises WrongBytes if it is not `expected` (what a lockfile says), if possible before it is
        fetched; StorageFull below the floor of free space; and what a download fails with.
        """
        _compare(expected, promise)
        record = await self._downloads.held(promise)
        is_held = record is not None
        if record is None:
            record = await self._fetched(promise, request_id)
        await self._check(expected, record)
        return record, is_held

    async def _fetched(self, promise: Promise, request_id: str) -> TarballRecord:
        if not await self._has_room():
            raise errors.StorageFull(
                reason="the disk has less free than cache.min_free; make room or lower that, then "
                "run this again: it goes on where it stopped"
            )
        await self._before_asking(promise.uplink)
        reader = self._downloads.join(promise, request_id)
        try:
            return await reader.stored()
        finally:
            await reader.close()

    async def _check(self, expected: Expected | None, record: TarballRecord) -> None:
        """Compare the bytes with what is expected. The sha512 is known; others are worked out."""
        if expected is None or expected.sha512_hex == record.digest:
            return
        verifier = integrity.Verifier(expected)
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            raise errors.StorageCorrupt(reason=f"{record.file} is gone again; run this again")
        try:
            for offset in range(0, record.size_bytes, _READ_BYTES):
                verifier.update(await blob.read(offset, _READ_BYTES))
        finally:
            await blob.close()
        problem = verifier.problem()
        if problem is not None:
            reason = f"the lockfile {problem} from the uplink {record.uplink}"
            raise WrongBytes(uplink=record.uplink, reason=reason)


def _compare(expected: Expected | None, promise: Promise) -> None:
    """Raise WrongBytes where lockfile and packument contradict each other in one algorithm."""
    promised, uplink = promise.expected, promise.uplink.name
    if expected is None or promised is None or expected.algorithm != promised.algorithm:
        return
    if not set(expected.digests) & set(promised.digests):
        reason = f"the lockfile expected {expected.sri}, the uplink {uplink} has {promised.sri}"
        raise WrongBytes(uplink=uplink, reason=reason)
