"""Take a bundle in: judge all of it first, then package by package.

Theory. The bundle is read twice. The first time nothing is stored: signature, chain, every byte and
every promise are judged, and compared with what is held. The second time the blobs of one package
are stored, and one transaction shows the package: its packument, its tarballs, its attestations.
What a crash leaves is packages that are there as a whole, and blobs without a record, which the
next import takes as they are, or upkeep sweeps.

1. A version is never given other bytes than it has: that refuses the whole bundle.
2. A package whose copy is changed is held with the leases under which mirror.py asks an uplink: no
   answer is overwritten by an import, or the other way round. (That two answers are never merged is
   said there of what an uplink says. Here two copies of its word are united, and the uplink's next
   answer replaces the union.)
3. What is here already is not written again, so that an import may be repeated.
4. Bundles form a chain: one with a predecessor is taken right after that one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime

from proxy import errors
from proxy.npm import carrying, names, render
from proxy.npm.bundles import BadBundle, Entry, Kind
from proxy.npm.forms import Form
from proxy.npm.policy import Rules
from proxy.npm.receipts import Held, Receipt
from proxy.registry.mirroring.documents import KEYS, Documents
from proxy.registry.mirroring.upkeep import LEASE
from proxy.registry.offline import verifying
from proxy.registry.offline.copies import Copies
from proxy.registry.offline.examining import Findings
from proxy.registry.offline.intake import Intake, document_path, is_taken, tarball_file
from proxy.storage.base import Blobs, Index, Leases, PackumentRecord, TarballRecord
from proxy.storage.bundles import BundleReader
from proxy.storage.press import Press

_log = logging.getLogger(__name__)


class Importing:
    """Takes bundles into what one registry holds."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        leases: Leases,
        press: Press,
        copies: Copies,
        documents: Documents,
        rules: Rules,
        clock: Callable[[], datetime],
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._leases = leases
        self._press = press
        self._copies = copies
        self._documents = documents
        self._rules = rules
        self._clock = clock

    async def take(
        self, reader: BundleReader, findings: Findings, on_bytes: verifying.OnBytes
    ) -> None:
        """Store what `examine` found to be new. Raises StorageFull, StorageAway."""
        async with self._leases.hold(LEASE):
            for uplink, keys in findings.keys.items():
                await self._put_keys(uplink, keys)
            if findings.changed:
                await self._take_packages(reader, findings, on_bytes)
        if not findings.is_known:
            await self._index.note_import(findings.head.identity, self._clock())
        _log.info("bundle imported", extra={"bundle": findings.head.identity})

    async def receipt(self) -> Receipt:
        """All that is held of uplinks now. Raises BadBundle if no bundle was ever imported."""
        imported = await self._index.imported()
        if not imported:
            raise BadBundle(reason="no bundle was imported here, so that there is no receipt")
        packages = {}
        for name in await self._index.names():
            held = await self._held(name)
            if held is not None:
                packages[name] = held
        return Receipt(imported[-1], packages)

    async def _held(self, name: str) -> Held | None:
        uplink = self._rules.origin_of(name).uplink
        if uplink is None:
            return None
        tarballs = [each for each in await self._index.tarballs(name) if each.uplink == uplink]
        records = [await self._index.packument(uplink, name, form) for form in Form]
        modified = max((each.modified_at for each in records if each is not None), default=None)
        if modified is None:
            return None
        return Held(render.iso(modified), {each.version: each.digest for each in tarballs})

    async def _take_packages(
        self, reader: BundleReader, findings: Findings, on_bytes: verifying.OnBytes
    ) -> None:
        manifest = reader.head().manifest
        if manifest != findings.head.manifest:
            raise BadBundle(reason="the bundle was changed while it was read")
        wanted = {entry.sha512 for entry in findings.new}
        intake = Intake(self._blobs, reader.blobs(manifest), manifest, wanted, on_bytes)
        for entries in manifest.groups():
            for entry in entries:
                await intake.until(entry)
            if entries[0].name in findings.changed and is_taken(self._rules, entries[0]):
                await self._put(entries, intake)
        await intake.finish()

    async def _put_keys(self, uplink: str, body: bytes) -> None:
        united = carrying.united_keys(await self._documents.kept(uplink, KEYS), body)
        if united is not None:
            await self._documents.keep(uplink, KEYS, united)

    async def _put(self, entries: Sequence[Entry], intake: Intake) -> None:
        """Show one package, under the leases of whoever would ask its uplink."""
        uplink, name = entries[0].uplink, entries[0].name
        async with AsyncExitStack() as stack:
            for form in Form:
                key = f"packument {uplink} {form.value} {name}"
                await stack.enter_async_context(self._leases.hold(key))
            packuments = await self._packuments(entries[0], intake.body(entries[0]))
            kinds = {kind: [each for each in entries if each.kind is kind] for kind in Kind}
            tarballs = [await self._tarball(entry) for entry in kinds[Kind.TARBALL]]
            documents = [
                await self._documents.stored(uplink, document_path(entry), intake.body(entry))
                for entry in kinds[Kind.ATTESTATIONS]
            ]
            await self._index.put_package(name, packuments, tarballs, documents)

    async def _packuments(self, entry: Entry, body: bytes) -> list[PackumentRecord]:
        """The records that change, once this copy is united with what is held."""
        copies = await self._copies.all(entry.uplink, entry.name)
        carried = verifying.read(entry, body)
        records = {}
        for form, (record, held) in copies.items():
            united = carrying.united(held, carried)
            if united is not None:
                records[form] = await self._settled(entry, united, record)
        if Form.FULL not in copies:
            # Whoever asks for the whole is given what there is, as from a poor uplink.
            held_record = copies[Form.ABBREVIATED][0] if Form.ABBREVIATED in copies else None
            stand_in = records.get(Form.ABBREVIATED, held_record)
            stand_in = stand_in or await self._settled(entry, body, None)
            records[Form.FULL] = replace(stand_in, form=Form.FULL)
        return list(records.values())

    async def _settled(
        self, entry: Entry, body: bytes, before: PackumentRecord | None
    ) -> PackumentRecord:
        """Store a body; its record is as fresh as the copy that it was united with.

        Without validators: no uplink has ever sent this document, and a 304 would confirm it.
        """
        now, name = self._clock(), names.parse(entry.name)
        async with self._press.intake() as intake:
            await intake.write(body)
            settled = await self._press.settle(intake, name=name, fetched_at=now)
        if not settled.is_stored:
            raise errors.StorageFull(reason=f"no room for {entry}")
        return PackumentRecord(
            uplink=entry.uplink,
            name=entry.name,
            form=Form.FULL if before is None else before.form,
            body_form=settled.body_form,
            digest=settled.digest,
            revision=settled.revision,
            size_bytes=settled.size_bytes,
            etag=None,
            last_modified=None,
            modified_at=settled.modified_at,
            fetched_at=now,
            checked_at=now if before is None else before.checked_at,
        )

    async def _tarball(self, entry: Entry) -> TarballRecord:
        """Its record; one that is held keeps the time of its last use."""
        now, held = self._clock(), await self._index.tarball(entry.name, tarball_file(entry))
        if held is not None and (held.uplink, held.digest) == (entry.uplink, entry.sha512):
            return held
        return TarballRecord(
            uplink=entry.uplink,
            name=entry.name,
            file=tarball_file(entry),
            version=entry.version,
            digest=entry.sha512,
            size_bytes=entry.size_bytes,
            stored_at=now,
            used_at=now,
        )
