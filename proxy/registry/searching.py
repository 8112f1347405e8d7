"""Text search over what lives here and what an uplink has, as one answer.

What lives here comes first, then the uplink's results, paged as one list. A name the caller may not
read is in neither the results nor the total. An uplink hears of a search only if none of its words
may be a name that lives here (relay.py); if it does not hear of it, cannot be asked, or offers no
search, what lives here is the whole answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from proxy import errors
from proxy.npm import names, ranking, wire
from proxy.npm import search as searches
from proxy.npm.ranking import LARGEST_PAGE, Page
from proxy.registry.answers import CacheState, Document, Freshness, plain
from proxy.registry.listing import Listed, Listing, Listings
from proxy.registry.mirroring.relay import Relay
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.registry.results import Results
from proxy.storage.hosting import HostedIndex
from proxy.storage.identity import People

Query = Sequence[tuple[str, str]]
Objects = list[dict[str, Any]]

# Fewer are looked through sooner than a thread is begun.
_FEW = 200
_REFUSED = (errors.NotFound, errors.InvalidRequest, errors.UplinkError)
_OURS = Freshness(CacheState.HIT)


@dataclass(frozen=True, slots=True)
class _Part:
    """The uplink's share of a page, how many it has in all, and how that was come by.

    `more` is what else its answer says.
    """

    objects: Objects
    total: int
    freshness: Freshness
    more: Mapping[str, Any]


class Searching:
    """Answers `/-/v1/search`."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        hosted: HostedIndex,
        people: People,
        relay: Relay,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._listings = Listings(hosted=hosted)
        self._people = people
        self._relay = relay
        self._clock = clock

    async def close(self) -> None:
        """End what is being read."""
        await self._listings.close()

    async def search(
        self, caller: Caller, query: Query, base_url: str, request_id: str = ""
    ) -> Document:
        """`{objects, total, time}` for the pairs of a query string.

        Where nothing lives here it raises what the uplink's search does: an answer of nothing
        would be believed.
        """
        asked = dict(query)
        page = ranking.page(asked.get("from"), asked.get("size"))
        listing = await self._listings.all()
        ours = await self._ours(caller, listing, query)
        here = ours[page.start : page.start + page.size]
        rest = Page(max(0, page.start - len(ours)), page.size - len(here))
        try:
            theirs = await self._theirs(
                caller, query, rest, {each.row.name for each in ours}, request_id
            )
        except _REFUSED as fault:
            if not listing:
                raise
            theirs = _Part([], 0, _without(fault), {})
        shown = await Results(self._people, base_url).of([each.row for each in here])
        answer = {
            "objects": [*shown, *theirs.objects],
            "total": len(ours) + theirs.total,
            "time": format_datetime(self._clock(), usegmt=True),
            **theirs.more,
        }
        return plain(wire.dumps(answer), theirs.freshness)

    async def _ours(self, caller: Caller, listing: Listing, query: Query) -> list[Listed]:
        """What lives here, fits and may be shown to the caller, the best first."""
        wanted = ranking.read(" ".join(value for key, value in query if key == "text"))
        entries = [each.entry for each in listing.values()]
        if len(entries) <= _FEW:
            fitting = ranking.ranked(entries, wanted)
        else:
            fitting = await asyncio.to_thread(ranking.ranked, entries, wanted)
        found = [listing[entry.name] for entry in fitting]
        shown = await self._permissions.readable(caller, [each.row for each in found])
        return [each for each in found if each.row.name in shown]

    async def _theirs(
        self, caller: Caller, query: Query, page: Page, ours: Collection[str], request_id: str
    ) -> _Part:
        """The uplink's share, without what is shown as ours.

        Beside ours it is cut out of its first 250 results, so that the total counts exactly what
        the pages show, whatever was left out on another page; what lies behind them is asked for
        as it is. Alone it is the page that was asked for.
        """
        if not ours:
            return (await self._shown(caller, query, ours, request_id))[0]
        whole = _paged(query, Page(0, LARGEST_PAGE))
        first, raw = await self._shown(caller, whole, ours, request_id)
        found = first.objects[page.start : page.start + page.size]
        missing = page.size - len(found)
        if not missing or first.total <= len(first.objects):
            return replace(first, objects=found)
        further = Page(raw + max(0, page.start - len(first.objects)), missing)
        more, _ = await self._shown(caller, _paged(query, further), ours, request_id)
        return replace(first, objects=[*found, *more.objects])

    async def _shown(
        self, caller: Caller, query: Query, ours: Collection[str], request_id: str
    ) -> tuple[_Part, int]:
        """What of an uplink's answer may be shown, and how many results that answer had."""
        answer = await self._relay.search(urlencode(query), request_id)
        assert isinstance(answer.body, bytes)  # noqa: S101  # what is relayed is in memory
        found = searches.read(answer.body)
        shown = [
            entry
            for name, entry in found.objects
            if name not in ours and await self._may_show(caller, name, answer.freshness.uplink)
        ]
        left_out = len(found.objects) - len(shown)
        part = _Part(shown, found.total - left_out, answer.freshness, found.more)
        return part, len(found.objects)

    async def _may_show(self, caller: Caller, name: str, uplink: str | None) -> bool:
        """Whether the name comes from this uplink, and the caller may read it."""
        try:
            origin = await self._permissions.require_read(caller, names.parse(name))
        except (errors.NotFound, errors.StorageAway, errors.StorageCorrupt):
            return False
        return origin.uplink == uplink


def _paged(query: Query, page: Page) -> Query:
    others = [(key, value) for key, value in query if key not in {"from", "size"}]
    return [*others, ("size", str(page.size)), ("from", str(page.start))]


def _without(fault: errors.RegistryError) -> Freshness:
    """How an answer came about in which the uplink has no part."""
    if isinstance(fault, errors.UplinkError):
        return Freshness(CacheState.STALE, reason=str(fault))
    return _OURS
