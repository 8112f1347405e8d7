"""Reading back what is kept, and comparing it with what was stored."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxy import errors
from proxy.storage.base import Blob, Blobs
from proxy.storage.hosting import HostedIndex

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found of one thing. `damage` is None if its bytes are those that were stored."""

    what: str
    damage: str | None


async def hosted(index: HostedIndex, blobs: Blobs) -> AsyncIterator[Verdict]:
    """Read the tarball of every version published here. Nothing is removed: there is no other."""
    seen: dict[str, str | None] = {}
    for name in await index.names():
        package = await index.package(name)
        for each in package.versions if package is not None else ():
            if each.digest not in seen:
                seen[each.digest] = await damage(blobs, each.digest, each.size_bytes)
            yield Verdict(f"{name}@{each.version}", seen[each.digest])


async def damage(blobs: Blobs, digest: str, size_bytes: int) -> str | None:
    """What is wrong with a blob, in words; None if nothing is."""
    try:
        blob = await blobs.open(digest)
        if blob is None:
            return "the file is missing"
        try:
            if blob.size_bytes != size_bytes:
                return f"{blob.size_bytes} bytes instead of {size_bytes}"
            return None if await _sha512(blob) == digest else "its bytes have changed"
        finally:
            await blob.close()
    except errors.StorageAway as fault:
        return str(fault)


async def _sha512(blob: Blob) -> str:
    digest = hashlib.sha512()
    for offset in range(0, blob.size_bytes, _READ_BYTES):
        digest.update(await blob.read(offset, _READ_BYTES))
    return digest.hexdigest()
