"""The blobs of a bundle as they come, and what an entry is called where it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator

from proxy.npm import names
from proxy.npm.bundles import Entry, Kind, Manifest
from proxy.npm.policy import Rules
from proxy.registry.mirroring.documents import KEYS, attestations_path
from proxy.registry.offline.verifying import OnBytes
from proxy.storage.base import Blobs


class Intake:
    """Takes the blobs of a bundle as they come: tarballs that are wanted to disk, others by hand.

    Small documents stay in memory until the last entry that names them has been asked for.
    """

    def __init__(
        self,
        blobs: Blobs,
        stream: Iterator[tuple[str, Iterator[bytes]]],
        manifest: Manifest,
        wanted: Collection[str],
        on_bytes: OnBytes,
    ) -> None:
        self._blobs = blobs
        self._stream = stream
        self._sizes = manifest.blobs()
        self._tarballs = {each.sha512 for each in manifest.entries if each.kind is Kind.TARBALL}
        self._uses = Counter(each.sha512 for each in manifest.entries)
        self._wanted = wanted
        self._on_bytes = on_bytes
        self._bodies: dict[str, bytes] = {}
        self._seen: set[str] = set()
        self._total_bytes, self._done_bytes = sum(self._sizes.values()), 0

    async def until(self, entry: Entry) -> None:
        """Take blobs until that of `entry` has come."""
        while entry.sha512 not in self._seen:
            await self._take(*next(self._stream))

    def body(self, entry: Entry) -> bytes:
        """The document of an entry, asked for once for each entry."""
        self._uses[entry.sha512] -= 1
        is_last = not self._uses[entry.sha512]
        return self._bodies.pop(entry.sha512) if is_last else self._bodies[entry.sha512]

    async def finish(self) -> None:
        """See that nothing follows."""
        for digest, pieces in self._stream:
            await self._take(digest, pieces)

    async def _take(self, digest: str, pieces: Iterator[bytes]) -> None:
        if digest not in self._tarballs:
            self._bodies[digest] = b"".join(pieces)
        elif digest in self._wanted and await self._blobs.open(digest, self._sizes[digest]) is None:
            await self._store(digest, pieces)
        else:
            for _ in pieces:
                pass
        self._seen.add(digest)
        self._done_bytes += self._sizes[digest]
        self._on_bytes(self._done_bytes, self._total_bytes)

    async def _store(self, digest: str, pieces: Iterator[bytes]) -> None:
        incoming = await self._blobs.create(f"bundle {digest}", self._sizes[digest])
        try:
            for piece in pieces:
                await incoming.write(piece)
            await incoming.commit(digest)
        finally:
            await incoming.discard()


def is_taken(rules: Rules, entry: Entry) -> bool:
    """Whether the name of an entry is one that comes from that uplink here."""
    return not entry.name or rules.origin_of(entry.name).uplink == entry.uplink


def tarball_file(entry: Entry) -> str:
    """The name of its file."""
    return names.tarball_file(names.parse(entry.name), entry.version)


def document_path(entry: Entry) -> str:
    """Where an uplink has such a document."""
    if entry.kind is Kind.KEYS:
        return KEYS
    return attestations_path(names.parse(entry.name), entry.version)
