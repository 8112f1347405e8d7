"""What was asked for in vain and is not held to this day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from proxy.storage.base import Index
from proxy.storage.offline import Missing


class Kept(Protocol):
    """Where it is kept (storage/offline.py)."""

    async def missing(self) -> Sequence[Missing]: ...


async def wanting(kept: Kept, index: Index) -> Sequence[Missing]:
    """What is missing, without what has been brought here since.

    A version goes when its tarball is here, a package when any of its tarballs is. A dist-tag stays
    until all is cleared: where it led, nobody here knows.
    """
    held: dict[str, frozenset[str]] = {}
    found = []
    for each in await kept.missing():
        if each.name not in held:
            records = await index.tarballs(each.name)
            held[each.name] = frozenset(record.version for record in records)
        if not _is_here(each.version, held[each.name]):
            found.append(each)
    return found


def _is_here(version: str, held: frozenset[str]) -> bool:
    if not version:
        return bool(held)
    return version in held
