"""Make a bundle of what is held: choose, trim, sign, and write it all in one go.

Theory. Everything that goes into the manifest is known before the first byte is written, so that
the manifest can come first. Trimmed packuments wait in a file without a name until it is their
turn, and tarballs stay where they are: nobody sweeps or evicts while a bundle is made (the lease of
upkeep). The same content makes the same bytes, which is why a run that was killed can be gone on
with: the next one compares what it writes with what is there (storage/volumes.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from proxy.npm import bundles, carrying, names, packument, signing
from proxy.npm.bundles import BadBundle, Entry, Kind
from proxy.npm.packument import Packument
from proxy.npm.policy import Rules
from proxy.npm.receipts import Receipt
from proxy.registry.mirroring.documents import Documents
from proxy.registry.mirroring.upkeep import LEASE
from proxy.registry.offline import choosing
from proxy.registry.offline.choosing import Plan, Selection
from proxy.registry.offline.copies import Copies
from proxy.storage.base import Blobs, Index, Leases, TarballRecord
from proxy.storage.bundles import READ_BYTES, BundleWriter, Head, size_of
from proxy.storage.volumes import Spool, VolumesWriter

# Requests for attestations that are under way together.
_AT_ONCE = 8


class Bundling:
    """Makes bundles of what one registry holds."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        leases: Leases,
        copies: Copies,
        documents: Documents,
        rules: Rules,
        addresses: Mapping[str, str],
        key: bytes,
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._leases = leases
        self._copies = copies
        self._documents = documents
        self._rules = rules
        self._addresses = addresses
        self._key = key

    async def create(
        self,
        selection: Selection,
        path: Path,
        *,
        since: Receipt | None = None,
        volume_bytes: int | None = None,
        may_lack: bool = False,
        on_bytes: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> tuple[Plan, VolumesWriter | None]:
        """Write a bundle to `path`; nothing is written if there is nothing to carry.

        `on_bytes` is told how much of how much is done. Raises BadBundle if something is missing
        (unless it `may_lack` something) or contradicts the receipt, BadVolumes, StorageAway.
        """
        with Spool(path.parent) as spool:
            async with self._leases.hold(LEASE):
                plan = await self._plan(selection, since, spool)
                if plan.missing and not may_lack:
                    raise BadBundle(reason=choosing.lacking(plan.missing))
                if not plan.entries:
                    return plan, None
                plan.head = self._signed(plan, since)
                with VolumesWriter(path, size_of(plan.head), volume_bytes) as volumes:
                    await self._write(plan, plan.head, volumes, spool, on_bytes)
                return plan, volumes

    # --- choosing ---------------------------------------------------------------------------------

    async def _plan(self, selection: Selection, since: Receipt | None, spool: Spool) -> Plan:
        plan = Plan()
        chosen = selection.packages or dict.fromkeys(await self._index.names())
        for name in sorted(chosen):
            uplink = self._rules.origin_of(name).uplink
            if uplink is None:
                plan.left_out.append(f"{name}: it lives here, and what lives here is not carried")
                continue
            await self._package(plan, uplink, name, chosen[name], selection, since, spool)
        for uplink in sorted({entry.uplink for entry in plan.entries}):
            await self._keys(plan, uplink, spool)
        return plan

    async def _package(
        self,
        plan: Plan,
        uplink: str,
        name: str,
        versions: set[str] | None,
        selection: Selection,
        since: Receipt | None,
        spool: Spool,
    ) -> None:
        tarballs = await self._held(plan, uplink, name, versions)
        document = await self._copies.listing_most(uplink, name, tarballs.keys())
        carried = {
            version: tarball
            for version, tarball in tarballs.items()
            if self._is_sound(plan, document, tarball, selection)
        }
        for version in sorted((versions or set()) - carried.keys()):
            is_optional = (name, version) in selection.optional
            lacking = plan.left_out if is_optional else plan.missing
            lacking.append(f"{name}@{version}{': optional, and not held' if is_optional else ''}")
        if versions is None and selection.packages and not carried:
            plan.missing.append(name)
        listed = carried.keys() or (
            set() if document is None else choosing.known(document, versions)
        )
        if document is None or not listed:
            return
        new = choosing.new_in(document, carried, since)
        if not new and not choosing.is_newer(document, since):
            return
        body = carrying.trimmed(document, listed)
        self._add(plan, Kind.PACKUMENT, uplink, name, "", body, spool)
        for version in new:
            tarball = carried[version]
            facts = (uplink, name, version, tarball.digest, tarball.size_bytes)
            plan.entries.append(Entry(Kind.TARBALL, *facts))
        attested = [each for each in new if carrying.is_attested(document.versions[each])]
        for at in range(0, len(attested), _AT_ONCE):
            await self._attestations(plan, uplink, name, attested[at : at + _AT_ONCE], spool)

    async def _held(
        self, plan: Plan, uplink: str, name: str, versions: set[str] | None
    ) -> dict[str, TarballRecord]:
        """The tarballs of these versions, by version; those whose file is lost are left out."""
        held = {}
        for tarball in await self._index.tarballs(name):
            is_wanted = versions is None or tarball.version in versions
            if not is_wanted or tarball.uplink != uplink or not choosing.is_plain(tarball):
                continue
            blob = await self._blobs.open(tarball.digest, tarball.size_bytes)
            if blob is None:
                plan.left_out.append(f"{name}@{tarball.version}: its file is lost")
                continue
            await blob.close()
            held[tarball.version] = tarball
        return held

    def _is_sound(
        self, plan: Plan, document: Packument | None, tarball: TarballRecord, selection: Selection
    ) -> bool:
        """Whether packument and lockfile promise this tarball; if not, why is noted."""
        key, reason = (tarball.name, tarball.version), None
        dist = None if document is None else packument.dist(document, tarball.version)
        if dist is None:
            reason = "its packument does not list it"
        elif not choosing.is_promised(dist.integrity, dist.shasum, tarball.digest):
            reason = "its packument promises other bytes"
        elif not choosing.is_promised(selection.integrity.get(key), None, tarball.digest):
            reason = f"the lockfile wants {selection.integrity[key]}, and other bytes are held"
        if reason is not None:
            plan.left_out.append(f"{tarball.name}@{tarball.version}: {reason}")
        return reason is None

    async def _attestations(
        self, plan: Plan, uplink: str, name: str, versions: Sequence[str], spool: Spool
    ) -> None:
        ask, parsed = self._documents.attestations, names.parse(name)
        bodies = await asyncio.gather(*(ask(uplink, parsed, each) for each in versions))
        for version, body in zip(versions, bodies, strict=True):
            if body is None:
                plan.left_out.append(f"the attestations of {name}@{version}: they cannot be had")
            else:
                self._add(plan, Kind.ATTESTATIONS, uplink, name, version, body, spool)

    async def _keys(self, plan: Plan, uplink: str, spool: Spool) -> None:
        body = await self._documents.keys(uplink)
        if body is not None:
            self._add(plan, Kind.KEYS, uplink, "", "", body, spool)

    def _add(
        self,
        plan: Plan,
        kind: Kind,
        uplink: str,
        name: str,
        version: str,
        body: bytes,
        spool: Spool,
    ) -> None:
        digest = bundles.identity(body)
        plan.places[digest] = spool.append(body)
        plan.entries.append(Entry(kind, uplink, name, version, digest, len(body)))

    # --- writing ----------------------------------------------------------------------------------

    def _signed(self, plan: Plan, since: Receipt | None) -> Head:
        predecessor = None if since is None else since.bundle
        manifest = bundles.made(plan.entries, self._addresses, predecessor)
        written = bundles.written(manifest)
        key, signature = signing.bundle_key(self._key), signing.sign_bundle(self._key, written)
        return Head(manifest, written, key, signature)

    async def _write(
        self,
        plan: Plan,
        head: Head,
        volumes: VolumesWriter,
        spool: Spool,
        on_bytes: Callable[[int, int], None],
    ) -> None:
        writer, total, done = BundleWriter(volumes, head), size_of(head), 0
        writer.begin()
        for digest, size_bytes in head.manifest.blobs().items():
            if digest in plan.places:
                await writer.blob(spool.pieces(plan.places[digest], size_bytes))
            else:
                await writer.blob(self._pieces(digest, size_bytes))
            done += size_bytes
            on_bytes(done, total)
        writer.finish()

    async def _pieces(self, digest: str, size_bytes: int) -> AsyncIterator[bytes]:
        blob = await self._blobs.open(digest, size_bytes)
        if blob is None:
            raise BadBundle(reason=f"the file of {digest[:16]} was taken away meanwhile: try again")
        try:
            for at in range(0, size_bytes, READ_BYTES):
                yield await blob.read(at, READ_BYTES)
        finally:
            await blob.close()
