"""The packuments that are held of an uplink, whole and in memory: for who unites or trims them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from proxy.npm import names
from proxy.npm.forms import Form
from proxy.npm.packument import Packument
from proxy.storage import pressing
from proxy.storage.base import Blobs, Index, PackumentRecord


class Copies:
    """Reads them. What is lost or damaged counts as not held."""

    def __init__(self, *, index: Index, blobs: Blobs) -> None:
        self._index = index
        self._blobs = blobs

    async def all(self, uplink: str, name: str) -> Mapping[Form, tuple[PackumentRecord, Packument]]:
        """The copies of both forms, as far as they are held."""
        held = {}
        for form in Form:
            record = await self._index.packument(uplink, name, form)
            read = None if record is None else await self._read(record)
            if record is not None and read is not None:
                held[form] = (record, read)
        return held

    async def listing_most(
        self, uplink: str, name: str, versions: Collection[str]
    ) -> Packument | None:
        """The copy with most of these versions, the full one if both have as many."""
        copies = [read for _, read in (await self.all(uplink, name)).values()]
        return max(copies, key=lambda each: len(each.versions.keys() & set(versions)), default=None)

    async def _read(self, record: PackumentRecord) -> Packument | None:
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            return None
        try:
            gzipped = await blob.read(0, record.size_bytes)
        finally:
            await blob.close()
        name = names.parse(record.name)
        try:
            return await asyncio.to_thread(
                lambda: pressing.parse(pressing.unpack(gzipped), name, record.modified_at)
            )
        except pressing.Lost:
            return None
