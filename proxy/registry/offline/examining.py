"""What the import of a bundle would do: all of it is judged and compared, and nothing stored.

A bundle is taken as a whole or not at all: a wrong signature, a byte that differs, a predecessor
that is not here or a version with other bytes refuses it, with the reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from proxy import errors
from proxy.npm import carrying
from proxy.npm.bundles import BadBundle, Entry, Kind, Manifest
from proxy.npm.forms import Form
from proxy.npm.packument import Packument
from proxy.npm.policy import Rules
from proxy.registry.mirroring.upkeep import Bounds
from proxy.registry.offline import verifying
from proxy.registry.offline.copies import Copies
from proxy.registry.offline.intake import document_path, is_taken, tarball_file
from proxy.storage.base import Blobs, Damaged, Index
from proxy.storage.bundles import BundleReader, Head

_SHOWN = 20
# What the Index and a packument's stored body take beside the blobs.
_SPARE_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class Findings:
    """What an import of a bundle does, or would do.

    `new` are the tarballs that are not held, `changed` the packages of which anything has to be
    written, `left_out` those that live here and are not taken from a bundle. `keys` are the
    documents of signing keys by uplink. What `is_known` was imported before.
    """

    head: Head
    new: list[Entry] = field(default_factory=list)
    known: int = 0
    changed: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    keys: dict[str, bytes] = field(default_factory=dict)
    is_known: bool = False


class Examining:
    """Compares bundles with what one registry holds."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        copies: Copies,
        rules: Rules,
        uplinks: Collection[str],
        bounds: Bounds,
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._copies = copies
        self._rules = rules
        self._uplinks = uplinks
        self._bounds = bounds

    async def examine(
        self, reader: BundleReader, trusted: Collection[str], on_bytes: verifying.OnBytes
    ) -> Findings:
        """Judge a bundle, and what it would change here. Raises BadBundle; stores nothing."""
        head = verifying.signed(reader, trusted)
        findings = Findings(head)
        await self._check_chain(findings)
        self._check_uplinks(head.manifest)
        await self._compare_tarballs(findings)
        await self._check_room(findings)

        async def compare(entry: Entry, carried: Packument) -> None:
            await self._compare(findings, entry, carried)

        def keep(entry: Entry, body: bytes) -> None:
            findings.keys[entry.uplink] = body

        await verifying.verify(reader, head, on_bytes=on_bytes, on_packument=compare, on_keys=keep)
        await self._compare_documents(findings)
        return findings

    async def _check_chain(self, findings: Findings) -> None:
        imported = list(await self._index.imported())
        predecessor = findings.head.manifest.predecessor
        findings.is_known = findings.head.identity in imported
        if findings.is_known or predecessor is None or [predecessor] == imported[-1:]:
            return
        if predecessor not in imported:
            raise BadBundle(
                reason=f"this bundle goes with bundle {predecessor}, which was not imported here: "
                "import that one first, or have one made without --since"
            )
        raise BadBundle(
            reason=f"this bundle is older than what is here: it follows {predecessor}, and "
            f"{imported[-1]} was imported since. Have one made with the receipt of that one"
        )

    def _check_uplinks(self, manifest: Manifest) -> None:
        for uplink, url in manifest.uplinks.items():
            if uplink not in self._uplinks:
                raise BadBundle(
                    reason=f'this bundle has packages of the uplink "{uplink}" ({url}), and none '
                    f"is called so here: packages are found again by that name, so give it one"
                )

    async def _compare_tarballs(self, findings: Findings) -> None:
        conflicts = []
        for entry in findings.head.manifest.entries:
            if entry.kind is Kind.PACKUMENT and not is_taken(self._rules, entry):
                findings.left_out.append(entry.name)
            if entry.kind is not Kind.TARBALL or not is_taken(self._rules, entry):
                continue
            held = await self._index.tarball(entry.name, tarball_file(entry))
            if held is not None and held.digest != entry.sha512:
                conflicts.append(
                    f"{entry} is sha512 {held.digest} here and sha512 {entry.sha512} there"
                )
            elif held is None or held.uplink != entry.uplink or not await self._is_whole(entry):
                findings.new.append(entry)
                findings.changed.add(entry.name)
            else:
                findings.known += 1
        _require_agreement(conflicts)

    async def _compare(self, findings: Findings, entry: Entry, carried: Packument) -> None:
        if not is_taken(self._rules, entry):
            return
        copies = await self._copies.all(entry.uplink, entry.name)
        for _, held in copies.values():
            found = carrying.disagreement(held, carried)
            if found is not None:
                version, one, other = found
                _require_agreement([f"{entry.name}@{version} is {one} here and {other} there"])
        if Form.FULL not in copies or any(
            carrying.united(held, carried) is not None for _, held in copies.values()
        ):
            findings.changed.add(entry.name)

    async def _compare_documents(self, findings: Findings) -> None:
        for entry in findings.head.manifest.entries:
            if entry.kind is Kind.ATTESTATIONS and is_taken(self._rules, entry):
                held = await self._index.document(entry.uplink, document_path(entry))
                if held is None or held.digest != entry.sha512:
                    findings.changed.add(entry.name)

    async def _check_room(self, findings: Findings) -> None:
        """The disk, and what the cache may take: what is evicted in a gap is not fetched again."""
        sizes = {entry.sha512: entry.size_bytes for entry in findings.new}
        needed_bytes = sum(sizes.values())
        free_bytes = await self._blobs.free_bytes() - self._bounds.min_free_bytes
        if needed_bytes and needed_bytes + _SPARE_BYTES > free_bytes:
            raise errors.StorageFull(
                reason=f"this bundle needs {needed_bytes} bytes more, and {max(free_bytes, 0)} are "
                "free above cache.min_free; nothing was imported"
            )
        usage = await self._index.usage()
        held_bytes = usage.packument_bytes + usage.tarball_bytes
        if needed_bytes and held_bytes + needed_bytes > self._bounds.max_bytes:
            raise errors.StorageFull(
                reason=f"with this bundle {held_bytes + needed_bytes} bytes would be held, and "
                f"cache.max_size is {self._bounds.max_bytes}: raise it, because what it evicts "
                "cannot be fetched again where there is no uplink; nothing was imported"
            )

    async def _is_whole(self, entry: Entry) -> bool:
        try:
            blob = await self._blobs.open_sound(entry.sha512, entry.size_bytes)
        except Damaged:
            await self._blobs.delete(entry.sha512)
            return False
        if blob is not None:
            await blob.close()
        return blob is not None


def _require_agreement(conflicts: Sequence[str]) -> None:
    if conflicts:
        more = f"; and {len(conflicts) - _SHOWN} more" if conflicts[_SHOWN:] else ""
        raise BadBundle(
            reason="a version has one content for ever, and nothing is imported: "
            + "; ".join(conflicts[:_SHOWN])
            + more
        )
