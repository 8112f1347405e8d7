"""The rest of the read protocol, passed on and remembered.

That is search, signing keys, attestations and download counts.

What is remembered is sent again for its age without asking, and beyond it when the uplink is away.
Signing keys and attestations are on disk as well (documents.py), so that what is held can be
verified while no uplink is there.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import parse_qsl, unquote

from proxy import errors
from proxy.npm import names, wire
from proxy.npm import search as searches
from proxy.npm.forms import JSON_TYPE
from proxy.npm.names import PackageName
from proxy.registry.answers import CacheState, Document, Freshness, plain
from proxy.registry.flights import Flights
from proxy.registry.mirroring import services
from proxy.registry.mirroring.documents import KEYS, Documents, attestations_path
from proxy.registry.routing import Guard, Routing
from proxy.upstream import base as upstream

_DEADLINE = timedelta(seconds=15)
# Who can be given what we remember does not wait longer for something newer.
_PATIENCE = timedelta(seconds=1)
_LARGEST_ANSWER_BYTES = 16 * 1024 * 1024
_MOST_BYTES = 32 * 1024 * 1024
_KEYS_AGE = timedelta(hours=1)
_ATTESTATIONS_AGE = timedelta(hours=1)
_SEARCH_AGE = timedelta(minutes=1)
_DOWNLOADS_AGE = timedelta(hours=1)
_PERIOD = re.compile(r"[a-z0-9]+(?:[-:][a-z0-9]+)*")
# What an entry costs besides its bytes, so that many small ones are bounded too.
_ENTRY_BYTES = 512


@dataclass(frozen=True, slots=True)
class _Remembered:
    key: str
    body: bytes
    at: float

    @property
    def cost_bytes(self) -> int:
        return len(self.key) + len(self.body) + _ENTRY_BYTES


class Relay:
    """Asks uplinks for what is neither packument nor tarball, and remembers it in memory."""

    def __init__(
        self, *, routing: Routing, documents: Documents, monotonic: Callable[[], float]
    ) -> None:
        self._routing = routing
        self._documents = documents
        self._monotonic = monotonic
        self._memory: OrderedDict[str, _Remembered] = OrderedDict()
        self._held_bytes = 0
        self._flights: Flights[str, _Remembered] = Flights()

    async def close(self) -> None:
        """End what is in the air."""
        await self._flights.close()

    async def keys(self, request_id: str = "") -> Document:
        """The signing keys of all uplinks together.

        NotFound if none has any: npm then skips the check.
        """
        return await self._remembered(
            KEYS, _KEYS_AGE, lambda: self._all_keys(request_id), self._kept_keys
        )

    async def attestations(self, name: PackageName, version: str, request_id: str = "") -> Document:
        """The attestations of one version, as its uplink has them, byte for byte."""
        uplink = (await self._routing.mirror(name)).uplink
        path = attestations_path(name, version)
        return await self._remembered(
            f"{uplink.name} {path}",
            _ATTESTATIONS_AGE,
            lambda: self._documents.ask(uplink, path, "attestations", request_id),
            lambda: self._documents.kept(uplink.name, path),
        )

    async def search(self, query: str, request_id: str = "") -> Document:
        """An uplink's answer to a search, as it came; its `freshness` says which uplink's.

        `query` is the raw query string. NotFound if it asks for what no uplink may hear of.
        """
        text = " ".join(value for key, value in parse_qsl(query) if key == "text")
        uplink = self._searched(text, await self._routing.guard())
        path = f"-/v1/search?{query}"

        async def ask() -> bytes:
            found = await self._get(uplink, path, "search", request_id)
            try:
                searches.read(found)
            except wire.Undecodable as fault:
                raise errors.UplinkBroken(uplink=uplink.name, reason=f"search: {fault}") from fault
            return found

        answer = await self._remembered(f"{uplink.name} {path}", _SEARCH_AGE, ask)
        return replace(answer, freshness=replace(answer.freshness, uplink=uplink.name))

    async def downloads(self, path: str, request_id: str = "") -> Document:
        """Download counts, if the uplink has them.

        `path` is the target without its leading slash, `downloads/{kind}/{period}/{names}`, with
        up to 128 names between commas. Raises PackageNotFound if one of them is not the uplink's.
        """
        guard = await self._routing.guard()
        uplink = self._rest(guard, "download counts")
        _, kind, period, listed = unquote(path).split("/", 3)
        if not _PERIOD.fullmatch(period):
            # Put together anew below, so that no dot or slash in it leads anywhere else.
            raise errors.NotFound(reason="a period is last-week, or a date, or two: date:date")
        asked = [names.parse(name) for name in listed.split(",")]
        for name in asked:
            if guard.origin_of(name.full).uplink != uplink.name:
                raise errors.PackageNotFound(name=name.full)
        goal = f"downloads/{kind}/{period}/{','.join(name.path for name in asked)}"
        return await self._passed_on(uplink, goal, _DOWNLOADS_AGE, "download counts", request_id)

    def _searched(self, text: str, guard: Guard) -> upstream.Uplink:
        """The uplink that may hear this text: the one that its words come from."""
        rest = self._rest(guard, "searches")
        origins = {guard.origin_of(word).uplink for word in searches.names(text)} - {rest.name}
        if not origins:
            return rest
        if len(origins) == 1 and (origin := origins.pop()) is not None:
            return self._routing.mirrors[origin].uplink
        raise errors.NotFound(
            reason="this search names what is not asked for elsewhere; search for other words alone"
        )

    def _rest(self, guard: Guard, what: str) -> upstream.Uplink:
        rest = guard.rest
        if rest is None:
            raise errors.NotFound(reason=f"no uplink answers {what} here")
        return self._routing.mirrors[rest].uplink

    async def _all_keys(self, request_id: str) -> bytes:
        uplinks = await self._asked_for_keys()
        return _all_of(
            await asyncio.gather(*(self._documents.ask_keys(each, request_id) for each in uplinks))
        )

    async def _kept_keys(self) -> bytes | None:
        """What all uplinks have said last; nothing if one of them never was asked."""
        uplinks = await self._asked_for_keys()
        kept = [await self._documents.kept(uplink.name, KEYS) for uplink in uplinks]
        known = [body for body in kept if body is not None]
        return _all_of(known) if len(known) == len(kept) else None

    async def _asked_for_keys(self) -> list[upstream.Uplink]:
        named = (await self._routing.guard()).uplinks
        return [each.uplink for key, each in self._routing.mirrors.items() if key in named]

    async def _passed_on(
        self, uplink: upstream.Uplink, path: str, age: timedelta, what: str, request_id: str
    ) -> Document:
        return await self._remembered(
            f"{uplink.name} {path}", age, lambda: self._get(uplink, path, what, request_id)
        )

    async def _get(self, uplink: upstream.Uplink, path: str, what: str, request_id: str) -> bytes:
        body = await services.ask(
            uplink,
            "GET",
            path,
            what=what,
            headers={"accept": JSON_TYPE},
            timeout=_DEADLINE,
            limit_bytes=_LARGEST_ANSWER_BYTES,
            request_id=request_id,
        )
        try:
            wire.check_text(body)
            wire.envelope(body)
        except wire.Undecodable as fault:
            # A web page, say, must not be remembered for an hour.
            raise errors.UplinkBroken(uplink=uplink.name, reason=f"{what}: {fault}") from fault
        return body

    async def _remembered(
        self,
        key: str,
        age: timedelta,
        ask: Callable[[], Coroutine[object, object, bytes]],
        kept: Callable[[], Awaitable[bytes | None]] | None = None,
    ) -> Document:
        """From memory while it is fresh; else asked for. `kept` is what a disk has in its place."""
        held = self._memory.get(key)
        if held is not None and self._monotonic() - held.at < age.total_seconds():
            return self._document(held, CacheState.HIT)

        async def fly() -> _Remembered:
            # Remembered by the flight: it may land after everybody has stopped waiting.
            landed = _Remembered(key, await ask(), self._monotonic())
            self._remember(landed)
            return landed

        flight = self._flights.join(key, fly)
        patience = None if held is None else _PATIENCE.total_seconds()
        done, _ = await asyncio.wait({flight}, timeout=patience)
        if held is None:
            return await self._landed(flight, kept)
        if not done:
            return self._document(held, CacheState.STALE, "the uplink is slow")
        try:
            return self._document(flight.result(), CacheState.MISS)
        except errors.UplinkError as fault:
            return self._document(held, CacheState.STALE, str(fault))

    async def _landed(
        self,
        flight: asyncio.Task[_Remembered],
        kept: Callable[[], Awaitable[bytes | None]] | None,
    ) -> Document:
        try:
            return self._document(flight.result(), CacheState.MISS)
        except errors.UplinkError as fault:
            body = None if kept is None else await kept()
            if body is None:
                raise
            return plain(body, Freshness(CacheState.STALE, reason=str(fault)))

    def _remember(self, held: _Remembered) -> None:
        before = self._memory.pop(held.key, None)
        self._held_bytes += held.cost_bytes - (before.cost_bytes if before else 0)
        self._memory[held.key] = held
        while self._held_bytes > _MOST_BYTES:
            _, oldest = self._memory.popitem(last=False)
            self._held_bytes -= oldest.cost_bytes

    def _document(
        self, held: _Remembered, state: CacheState, reason: str | None = None
    ) -> Document:
        age = timedelta(seconds=max(self._monotonic() - held.at, 0))
        return plain(held.body, Freshness(state, age, reason=reason))


def _all_of(answers: Iterable[bytes]) -> bytes:
    """The keys of all answers. NotFound if there are none."""
    found = [wire.loads(answer).get("keys") for answer in answers]
    listed = [key for keys in found if isinstance(keys, list) for key in keys]
    # Two mirrors of one registry give the same keys.
    unique = {wire.dumps(key): key for key in listed}
    if not unique:
        raise errors.NotFound(reason="no uplink has signing keys")
    return wire.dumps({"keys": list(unique.values())})
