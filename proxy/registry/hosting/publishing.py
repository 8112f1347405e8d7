"""Publishing: a PUT of a package, from the first look at who sends it to the acknowledgement.

Theory. A publish goes through these states; what a crash leaves of each stands beside it:

    judged      who it is, may they, is there room      nothing
    received    body taken apart, tarball in a file     an unfinished file, unlocked
    judged      is it what it says it is                the same
    stored      tarball synced under its digest         a blob that no version names
    published   one transaction: version, tags, audit   the version
    told        the client has its 201                  the version

1. Nobody sees anything before `published`, and everything at once from then on.
2. What `told` promises is on disk: the blob and its name were synced before the transaction, the
   transaction is synced before it returns.
3. Of many who publish one version, one wins: the database says so in the transaction, whatever was
   found before. The same bytes by the same user within minutes are the same publish, told again:
   clients repeat a request whose answer got lost.
4. From `stored` to `published` the publish holds a lease on the digest. Who removes blobs that no
   version names takes that lease first (upkeep.py), so age decides nothing.
5. Everything else that is left is removed by whoever finds it: the unfinished file when the publish
   ends, or by upkeep when its process has died.

A PUT may also change what is published (changing.py). Which it is, only the body says; so who may
not publish is heard until a tarball comes: stars are everybody's to give. Who sees no package under
the name has nothing to change, and is refused at once, whether there is one or not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from proxy import errors
from proxy.npm import names, publish
from proxy.npm.names import PackageName
from proxy.npm.policy import Action
from proxy.npm.publish import NewVersion
from proxy.npm.splitting import BUNDLE_BYTES, METADATA_BYTES
from proxy.npm.updates import Person, Stored, Update
from proxy.registry.hosting.intake import Body, Pace, Taken, Upload, refusals, too_large
from proxy.registry.hosting.versions import examined
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.storage import hosting
from proxy.storage.base import Blobs, Leases
from proxy.storage.hosting import Deed, HostedIndex
from proxy.storage.identity import People

_log = logging.getLogger(__name__)

# As long as storage takes the same version for the same request.
_REPEATED_WITHIN = timedelta(minutes=10)


class Signer(Protocol):
    """Signs versions (signatures.py)."""

    def sign(self, name: PackageName, version: str, integrity: str) -> Mapping[str, str]:
        """The entry for `dist.signatures`, `{keyid, sig}`."""


class Changing(Protocol):
    """Does what a PUT without a tarball asks for (changing.py)."""

    async def stored(self, name: PackageName) -> Stored | None:
        """What a document that comes back is compared with."""

    async def apply(self, caller: Caller, name: PackageName, update: Update) -> str:
        """The new revision. Judges every change by itself."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a publish may take.

    `tarball_bytes` is the largest tarball, `min_free_bytes` what stays free of the disk, `at_once`
    how many publishes are heard at a time, `wait` how long the others wait.
    """

    tarball_bytes: int
    min_free_bytes: int
    at_once: int = 8
    wait: timedelta = timedelta(seconds=10)
    pace: Pace = field(default_factory=Pace)

    @property
    def body_bytes(self) -> int:
        """No body is larger: base64 takes four characters for three bytes."""
        return self.tarball_bytes * 4 // 3 + METADATA_BYTES + 2 * BUNDLE_BYTES


@dataclass(frozen=True, slots=True)
class Written:
    """What a PUT has done: the package's revision now, and the version if one was published."""

    rev: str
    version: str | None


class Publishing:
    """Takes the PUT of a package."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        hosted: HostedIndex,
        people: People,
        blobs: Blobs,
        leases: Leases,
        changing: Changing,
        signer: Signer,
        bounds: Bounds,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._hosted = hosted
        self._people = people
        self._blobs = blobs
        self._leases = leases
        self._changing = changing
        self._signer = signer
        self._bounds = bounds
        self._clock = clock
        self._slots = asyncio.Semaphore(bounds.at_once)
        self._announced_bytes = 0

    async def publish(
        self,
        caller: Caller,
        name: PackageName,
        chunks: AsyncIterator[bytes],
        *,
        size_bytes: int | None = None,
        revision: str | None = None,
    ) -> Written:
        """Do what the body in `chunks` asks for.

        `size_bytes` is its announced length, `revision` the one in the address. Raises what
        `Permissions.require` raises, InvalidRequest, PublishTooLarge, Unprocessable, VersionExists,
        Busy, StorageFull, StorageAway, and what Changing raises.
        """
        refusal = await self._refusal(caller, name)
        if size_bytes is not None and size_bytes > self._bounds.body_bytes:
            raise refusal or too_large(self._bounds.tarball_bytes)
        upload = Upload(
            blobs=self._blobs,
            key=f"publish {name.full}",
            tarball_limit_bytes=self._bounds.tarball_bytes,
        )

        async def admit(key: str) -> None:
            if refusal is not None:
                raise refusal
            await self._check_new(caller, name, key)

        async with self._slot(size_bytes or 0):
            try:
                taken = await upload.receive(Body(chunks, self._bounds.pace), admit)
                asked = await self._asked(name, taken, revision)
                if isinstance(asked, Update):
                    return Written(await self._changing.apply(caller, name, asked), None)
                if refusal is not None:
                    raise refusal
                return await self._publish(caller, asked, upload)
            finally:
                await upload.close()

    # --- before the body --------------------------------------------------------------------------

    async def _refusal(self, caller: Caller, name: PackageName) -> errors.Forbidden | None:
        """Why the caller may not publish; None if they may. Raises if they may not write at all."""
        self._permissions.require_token(caller, name)
        try:
            await self._permissions.require(caller, Action.PUBLISH, name)
        except errors.NotHosted:
            raise
        except errors.Forbidden as refusal:
            if not await self._permissions.sees_package(caller, name):
                raise
            return refusal
        return None

    @asynccontextmanager
    async def _slot(self, size_bytes: int) -> AsyncIterator[None]:
        """One of the few publishes at a time, with room on the disk for its body."""
        try:
            async with asyncio.timeout(self._bounds.wait.total_seconds()):
                await self._slots.acquire()
        except TimeoutError:
            raise errors.Busy(
                reason=f"{self._bounds.at_once} packages are being published right now; try again "
                "in a few seconds"
            ) from None
        self._announced_bytes += size_bytes
        try:
            await self._check_room()
            yield
        finally:
            self._announced_bytes -= size_bytes
            self._slots.release()

    async def _check_room(self) -> None:
        wanted_bytes = self._announced_bytes + self._bounds.min_free_bytes
        if await self._blobs.free_bytes() < wanted_bytes:
            raise errors.StorageFull(reason="a publish does not fit above half of cache.min_free")

    async def _check_new(self, caller: Caller, name: PackageName, key: str) -> None:
        """Refuse a tarball by its name if it can only be refused once all of it has come."""
        version = names.version_of(name, key.rpartition("/")[2])
        if version is None or not await self._hosted.is_taken(name.full, version):
            return
        package = await self._hosted.package(name.full)
        since = self._clock() - _REPEATED_WITHIN
        for each in () if package is None else package.versions:
            is_ours = each.version == version and each.published_by == caller.user
            if is_ours and each.published_at >= since:
                return
        raise errors.VersionExists(name=name.full, version=version)

    # --- after it ---------------------------------------------------------------------------------

    async def _asked(
        self, name: PackageName, taken: Taken, revision: str | None
    ) -> NewVersion | Update:
        stored = await self._changing.stored(name)

        def work() -> NewVersion | Update:
            with refusals():
                return publish.asked(
                    name, taken.metadata, taken.attachments, revision=revision, stored=stored
                )

        return await asyncio.to_thread(work)

    async def _publish(self, caller: Caller, new: NewVersion, upload: Upload) -> Written:
        version = await asyncio.to_thread(lambda: examined(new, upload.contents()))
        # The body may have taken an hour, so the right is asked for again; and once more by the
        # transaction: of two who publish a new package, one is told that it is not theirs.
        user = await self._permissions.require(caller, Action.PUBLISH, new.name)
        head = await self._hosted.head(new.name.full)
        owners = await self._persons([user] if head is None else head.owners)
        (person,) = await self._persons([user])
        digest = new.tarball.sha512.hex()
        async with self._leases.hold(lease_of(digest)):
            await upload.commit(digest)
            signature = self._signer.sign(new.name, new.version, new.tarball.integrity)
            row = await asyncio.to_thread(version.row, person, owners, signature)
            row = replace(row, is_first=head is None)
            rev = await self._add(row, caller.deed(self._clock()))
        _log.info(
            "published", extra={"package": new.name.full, "version": new.version, "user": user}
        )
        return Written(rev, new.version)

    async def _add(self, row: hosting.NewVersion, deed: Deed) -> str:
        try:
            return await self._hosted.publish(row, deed)
        except errors.Forbidden:
            # Who came too late has stored a blob for nothing; the winner's has another digest.
            if not await self._hosted.is_referenced(row.digest):
                await self._blobs.delete(row.digest)
            raise

    async def _persons(self, users: Sequence[str]) -> tuple[Person, ...]:
        found = [(user, await self._people.user(user)) for user in users]
        return tuple(Person(user, (known.email if known else None) or "") for user, known in found)


def lease_of(digest: str) -> str:
    """The lease on a blob that is stored and may not have its version yet (rule 4)."""
    return f"publish {digest}"
