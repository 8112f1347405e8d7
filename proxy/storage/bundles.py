"""Bundles as archives: manifest, signature and blobs in one tar, of which every byte is known.

docs/bundle-format.md. A reader of archives would have to be taught what to refuse: links, devices,
paths that climb out, names that occur twice. So there is none here. The manifest says which blobs
come, in which order and how large, and there is one way to write that down: each header is compared
with the one that has to be there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from proxy.npm import bundles, signing, wire
from proxy.npm.bundles import BadBundle, Manifest
from proxy.storage.base import Damaged
from proxy.storage.volumes import Volumes, VolumesWriter

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
READ_BYTES = 1024 * 1024

_BLOCK_BYTES = 512
_END = bytes(2 * _BLOCK_BYTES)
_LARGEST_MANIFEST_BYTES = 512 * 1024 * 1024
_LARGEST_SIGNATURE_BYTES = 64 * 1024
_SIZE = re.compile(rb"[0-7]{11}\0")
_KINDS = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device"}


class _Signature(wire.Struct):
    key: str
    signature: str


_SIGNATURES = wire.Reader(_Signature)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before the blobs: the manifest, and by whom it says it is signed."""

    manifest: Manifest
    written: bytes
    key: str
    signature: str

    @property
    def identity(self) -> str:
        """The name of the bundle."""
        return bundles.identity(self.written)


def size_of(head: Head) -> int:
    """How many bytes the whole bundle has."""
    sizes = [len(head.written), len(_signature(head)), *head.manifest.blobs().values()]
    return sum(_BLOCK_BYTES + size + _padding(size) for size in sizes) + len(_END)


class BundleWriter:
    """Writes a bundle: `begin`, then each blob in the order of the manifest, then `finish`."""

    def __init__(self, volumes: VolumesWriter, head: Head) -> None:
        self._volumes = volumes
        self._head = head
        self._left = list(head.manifest.blobs().items())[::-1]

    def begin(self) -> None:
        """Write what stands before the blobs."""
        for name, data in ((MANIFEST, self._head.written), (SIGNATURE, _signature(self._head))):
            self._volumes.write(_header(name, len(data)) + data + bytes(_padding(len(data))))

    async def blob(self, pieces: AsyncIterator[bytes]) -> None:
        """Write the next blob of the manifest. Raises Damaged if the bytes are not that one's."""
        digest, size_bytes = self._left.pop()
        self._volumes.write(_header(path_of(digest), size_bytes))
        found = hashlib.sha512()
        async for piece in pieces:
            found.update(piece)
            self._volumes.write(piece)
        if found.hexdigest() != digest:
            raise Damaged(digest)
        self._volumes.write(bytes(_padding(size_bytes)))

    def finish(self) -> None:
        """Write the end, and have it all synced and named."""
        self._volumes.write(_END)
        self._volumes.finish()


class BundleReader:
    """Reads a bundle from start to end, as often as one likes. A context manager.

    What is not exactly as it has to be raises BadBundle.
    """

    def __init__(self, path: Path) -> None:
        self._volumes = Volumes(path)

    def __enter__(self) -> Self:
        self._volumes.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._volumes.__exit__()

    @property
    def size_bytes(self) -> int:
        """How large it is."""
        return self._volumes.size_bytes

    def head(self) -> Head:
        """Begin at the start; read what stands before the blobs. No signature is judged here."""
        self._volumes.rewind()
        written = self._small(MANIFEST, _LARGEST_MANIFEST_BYTES)
        manifest = bundles.read(written)
        data = self._small(SIGNATURE, _LARGEST_SIGNATURE_BYTES)
        try:
            said = _SIGNATURES.read(data)
        except wire.Undecodable as error:
            raise BadBundle(reason=f"{SIGNATURE} cannot be read: {error}") from error
        head = Head(manifest, written, said.key, said.signature)
        if not signing.is_bundle_key(said.key):
            raise BadBundle(reason=f"{SIGNATURE} has no key that this packhouse reads")
        if _signature(head) != data:
            raise BadBundle(reason=f"{SIGNATURE} is not written as packhouse writes it")
        return head

    def blobs(self, manifest: Manifest) -> Iterator[tuple[str, Iterator[bytes]]]:
        """After the head: each blob's digest and its bytes, which are to be read to their end.

        Raises BadBundle at the end of a blob that is not what its digest says, and at the end of
        all if anything follows.
        """
        what = {entry.sha512: str(entry) for entry in reversed(manifest.entries)}
        sizes = manifest.blobs()
        for digest, size_bytes in sizes.items():
            self._expect_header(digest, size_bytes, what)
            yield digest, self._pieces(digest, size_bytes, what[digest])
        self._expect_end()

    def _small(self, name: str, limit_bytes: int) -> bytes:
        block = self._volumes.read(_BLOCK_BYTES)
        size = int(block[124:135], 8) if _SIZE.fullmatch(block[124:136]) else -1
        if size < 0 or block != _header(name, size):
            raise BadBundle(reason=f"this is no bundle: it has no {name} where that should be")
        if size > limit_bytes:
            raise BadBundle(reason=f"{name} has more than {limit_bytes} bytes")
        data = self._volumes.read(size + _padding(size))
        if len(data) < size + _padding(size):
            raise BadBundle(reason=f"the bundle is cut short within {name}")
        if any(data[size:]):
            raise BadBundle(reason=f"there is something behind {name} that does not belong there")
        return data[:size]

    def _expect_header(self, digest: str, size_bytes: int, what: Mapping[str, str]) -> None:
        block = self._volumes.read(_BLOCK_BYTES)
        if block != _header(path_of(digest), size_bytes):
            raise BadBundle(reason=_difference(block, digest, what))

    def _pieces(self, digest: str, size_bytes: int, what: str) -> Iterator[bytes]:
        found = hashlib.sha512()
        left = size_bytes
        while left:
            piece = self._volumes.read(min(READ_BYTES, left))
            if not piece:
                raise BadBundle(reason=f"the bundle is cut short within {what}")
            found.update(piece)
            left -= len(piece)
            yield piece
        if found.hexdigest() != digest:
            raise BadBundle(
                reason=f"{what} is not what the manifest says: sha512 {found.hexdigest()} instead "
                f"of {digest}; the file was damaged or changed on its way"
            )
        padding = self._volumes.read(_padding(size_bytes))
        if any(padding) or len(padding) < _padding(size_bytes):
            raise BadBundle(reason=f"{what} is not followed by what has to follow")

    def _expect_end(self) -> None:
        end = self._volumes.read(len(_END) + 1)
        if end == _END:
            return
        if len(end) < len(_END) and not any(end):
            raise BadBundle(reason="the bundle is cut short at its end")
        name = _name_in(end[:_BLOCK_BYTES])
        extra = f"a file that is not in the manifest: {name!r}" if name else "bytes after its end"
        raise BadBundle(reason=f"the bundle has {extra}")


def path_of(digest: str) -> str:
    """Where a blob stands in the archive: its digest in halves, for a header to have room."""
    return f"blobs/{digest[:64]}/{digest[64:]}"


def _signature(head: Head) -> bytes:
    return wire.dumps({"key": head.key, "signature": head.signature})


def _header(path: str, size_bytes: int) -> bytes:
    """The ustar header of a plain file, as it is written here and nowhere read in another way."""
    prefix, _, name = path.rpartition("/")
    mode, zero = b"0000644\0", b"0000000\0"
    fields = (
        name.encode().ljust(100, b"\0"),
        *(mode, zero, zero),  # of nobody in particular
        b"%011o\0" % size_bytes,
        b"%011o\0" % 0,  # no time
        b" " * 8,  # its own sum, for now
        b"0".ljust(101, b"\0"),  # a plain file, and no link to anything
        b"ustar\x0000".ljust(72, b"\0"),
        *(zero, zero),
        prefix.encode().ljust(167, b"\0"),
    )
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _padding(size_bytes: int) -> int:
    return -size_bytes % _BLOCK_BYTES


def _difference(block: bytes, digest: str, what: Mapping[str, str]) -> str:
    """Why a header is not the one that has to be there, for a person."""
    name, wanted = _name_in(block), what[digest]
    if len(block) < _BLOCK_BYTES:
        return f"the bundle is cut short before {wanted}"
    if not any(block):
        return f"{wanted} is missing: the bundle ends before it"
    if name == path_of(digest):
        kind = _KINDS.get(block[156:157], "not the plain file that the manifest describes")
        return f"{wanted} is {kind} in this bundle"
    if name in map(path_of, what):
        return f"{wanted} is missing, or not in its place"
    return f"the bundle has a file that is not in the manifest: {name[:200]!r}"


def _name_in(block: bytes) -> str:
    """What a header says it is the header of."""
    name, prefix = (part.partition(b"\0")[0] for part in (block[:100], block[345:500]))
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "replace")
