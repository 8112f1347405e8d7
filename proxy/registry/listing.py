"""Every package that lives here, in memory, as search needs it.

The rows are read when the change log of hosted packages has named one since the last time; other
commits (a token was used) change nothing of them. One reading serves all who wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy import errors
from proxy.npm import wire
from proxy.npm.ranking import Entry
from proxy.registry.flights import Flights
from proxy.storage.hosting import HostedIndex, SearchRow


@dataclass(frozen=True, slots=True)
class Listed:
    """One package: what is searched of it, and the row it is made of."""

    entry: Entry
    row: SearchRow


Listing = dict[str, Listed]
"""Packages by name, in the order of their names."""


class Listings:
    """The packages of now, by name."""

    def __init__(self, *, hosted: HostedIndex) -> None:
        self._hosted = hosted
        self._revision: int | None = None
        self._sequence = -1
        self._listing: Listing | None = None
        self._reading: Flights[None, None] = Flights()

    async def close(self) -> None:
        """End what is being read."""
        await self._reading.close()

    async def all(self) -> Listing:
        """Every package. While the database cannot be read, those of the last time that it could.

        Raises StorageAway, StorageCorrupt if there is no such time.
        """
        try:
            if self._listing is None or self._hosted.revision() != self._revision:
                await asyncio.shield(self._reading.join(None, self._catch_up))
        except (errors.StorageAway, errors.StorageCorrupt):
            if self._listing is None:
                raise
        assert self._listing is not None  # noqa: S101  # it was read, or we are not here
        return self._listing

    async def _catch_up(self) -> None:
        # The counter is read before the log, and the log before the rows: a commit in between is
        # seen again next time, never missed.
        revision = self._hosted.revision()
        sequence, changed = await self._hosted.changes(self._sequence)
        if self._listing is None or changed:
            rows = await self._hosted.search_rows()
            self._listing = await asyncio.to_thread(_listed, rows)
        self._revision, self._sequence = revision, sequence


def _listed(rows: Sequence[SearchRow]) -> Listing:
    return {row.name: Listed(_entry(row), row) for row in rows}


def _entry(row: SearchRow) -> Entry:
    return Entry(
        name=row.name,
        version=row.version,
        description=row.description,
        keywords=row.keywords,
        author=_author(wire.loads(row.excerpt).get("author")),
        people=row.owners,
    )


def _author(said: Any) -> tuple[str, ...]:
    """What an author may be searched by: `Ann <ann@x>` and `{name, email}` by name and address."""
    if isinstance(said, str):
        name, _, rest = said.partition("<")
        said = {"name": name.partition("(")[0].strip(), "email": rest.partition(">")[0]}
    if not isinstance(said, dict):
        return ()
    return tuple(text for key in ("name", "email") if isinstance(text := said.get(key), str))
