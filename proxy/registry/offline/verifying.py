"""Judge a bundle by itself: who signed it, and whether every byte of it is what it has to be.

Nothing is stored here, and what is checked is bounded before it grows: a packument by its size, a
tarball by what it unpacks to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Iterator
from datetime import UTC, datetime

from proxy.npm import encoding, integrity, names, packument, signing, wire
from proxy.npm.bundles import BadBundle, Entry, Kind, Manifest
from proxy.npm.packument import Packument
from proxy.storage.bundles import BundleReader, Head

LARGEST_DOCUMENT_BYTES = 256 * 1024 * 1024
_UNPACKED_BYTES = 8 * 1024**3
_MOST_RATIO = 200  # past 32 MiB; deflate can reach 1,032, and what people publish stays far below
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

OnBytes = Callable[[int, int], None]
OnPackument = Callable[[Entry, Packument], Awaitable[None]]
OnKeys = Callable[[Entry, bytes], None]


def signed(reader: BundleReader, trusted: Collection[str]) -> Head:
    """What stands before the blobs. Raises BadBundle unless a trusted key has signed it."""
    head = reader.head()
    if not signing.has_signed_bundle(head.key, head.written, head.signature):
        raise BadBundle(
            reason=f"the signature is wrong: the manifest is not what {head.key} has signed"
        )
    if head.key not in trusted:
        raise BadBundle(
            reason=f"the bundle is signed with {head.key}, which is not trusted here. If that is "
            "what `packhouse keys bundle` shows where it was made, put it into "
            "bundles.trusted_keys, or into a file for --trust"
        )
    return head


async def verify(
    reader: BundleReader,
    head: Head,
    *,
    on_bytes: OnBytes,
    on_packument: OnPackument | None = None,
    on_keys: OnKeys | None = None,
) -> None:
    """Read every blob after the head and judge it. Raises BadBundle for the first that is wrong."""
    await _Verification(head.manifest, on_bytes, on_packument, on_keys).run(reader)


def read(entry: Entry, body: bytes) -> Packument:
    """Read a packument that is carried. Raises BadBundle."""
    try:
        return packument.read(body, name=names.parse(entry.name), fetched_at=_NEVER)
    except packument.Malformed as error:
        raise BadBundle(reason=f"{entry} is refused: {error}") from error


class _Verification:
    """What is known of a bundle while it goes by."""

    def __init__(
        self,
        manifest: Manifest,
        on_bytes: OnBytes,
        on_packument: OnPackument | None,
        on_keys: OnKeys | None,
    ) -> None:
        self._manifest = manifest
        self._on_bytes = on_bytes
        self._on_packument = on_packument
        self._on_keys = on_keys
        self._entries: dict[str, list[Entry]] = {}
        self._promises: dict[tuple[str, str], packument.Dist] = {}
        self._hashes: dict[str, dict[str, bytes]] = {}
        self._versions: dict[str, set[str]] = {}
        for entry in manifest.entries:
            self._entries.setdefault(entry.sha512, []).append(entry)
            if entry.kind is Kind.TARBALL:
                self._versions.setdefault(entry.name, set()).add(entry.version)

    async def run(self, reader: BundleReader) -> None:
        total, done = sum(self._manifest.blobs().values()), 0
        for digest, pieces in reader.blobs(self._manifest):
            entries = self._entries[digest]
            if all(entry.kind is Kind.TARBALL for entry in entries):
                self._tarball(entries[0], pieces)
            else:
                await self._document(entries, _whole(entries[0], pieces))
            done += entries[0].size_bytes
            self._on_bytes(done, total)
        self._check_promises()

    def _tarball(self, entry: Entry, pieces: Iterator[bytes]) -> None:
        """Unpack it without keeping anything, to see how large it grows."""
        unpacking = encoding.Gunzip(limit_bytes=_UNPACKED_BYTES, max_ratio=_MOST_RATIO)
        sha1 = hashlib.sha1(usedforsecurity=False)
        try:
            for piece in pieces:
                sha1.update(piece)
                for _ in unpacking.feed(piece):
                    pass
            unpacking.finish()
        except (encoding.BadEncoding, encoding.TooBig) as error:
            for _ in pieces:  # bytes that are not those that were signed are the better reason
                pass
            raise BadBundle(reason=f"the tarball of {entry} is refused: {error}") from error
        hashes = {"sha1": sha1.digest(), "sha512": bytes.fromhex(entry.sha512)}
        self._hashes[entry.sha512] = hashes

    async def _document(self, entries: list[Entry], body: bytes) -> None:
        for entry in entries:
            if entry.kind is Kind.TARBALL:
                raise BadBundle(reason=f"{entry} is no tarball, but another thing of this bundle")
            if entry.kind is Kind.PACKUMENT:
                await self._packument(entry, body)
            else:
                _check_object(entry, body)
            if entry.kind is Kind.KEYS and self._on_keys is not None:
                self._on_keys(entry, body)

    async def _packument(self, entry: Entry, body: bytes) -> None:
        carried = read(entry, body)
        self._check_versions(entry, carried)
        if self._on_packument is not None:
            await self._on_packument(entry, carried)

    def _check_versions(self, entry: Entry, listing: Packument) -> None:
        """Every tarball is listed, and every version is carried.

        It may have been so in an earlier bundle, or the package is one that is only known.
        """
        carried = self._versions.get(entry.name, set())
        for version in sorted(carried):
            dist = packument.dist(listing, version)
            if dist is None:
                raise BadBundle(reason=f"{entry} does not list {version}, whose tarball is here")
            self._promises[entry.name, version] = dist
        is_whole = not carried or listing.versions.keys() == carried
        if self._manifest.predecessor is None and not is_whole:
            absent = sorted(listing.versions.keys() - carried)
            raise BadBundle(reason=f"{entry} lists {absent[0]}, whose tarball is not here")

    def _check_promises(self) -> None:
        for entry in self._manifest.entries:
            if entry.kind is Kind.TARBALL:
                dist = self._promises[entry.name, entry.version]
                expected = integrity.parse(dist.integrity, dist.shasum)
                got = self._hashes[entry.sha512]
                if expected is not None and expected.algorithm in got:
                    _require_promised(entry, expected, got[expected.algorithm])


def _require_promised(entry: Entry, expected: integrity.Expected, got: bytes) -> None:
    if got not in expected.digests:
        raise BadBundle(
            reason=f"{entry}: its packument promises {expected.sri}, and the tarball is "
            f"{integrity.Expected(expected.algorithm, (got,)).sri}"
        )


def _whole(entry: Entry, pieces: Iterator[bytes]) -> bytes:
    if entry.size_bytes > LARGEST_DOCUMENT_BYTES:
        raise BadBundle(reason=f"{entry} has more than {LARGEST_DOCUMENT_BYTES} bytes")
    return b"".join(pieces)


def _check_object(entry: Entry, body: bytes) -> None:
    try:
        wire.check_text(body)
        wire.envelope(body)
    except wire.Undecodable as error:
        raise BadBundle(reason=f"{entry} cannot be read: {error}") from error
