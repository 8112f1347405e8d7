"""Asking ahead: when a cold client got a packument, ask for what it will ask next.

A client learns from a packument which others it needs, asks for those, and so on down the tree; npm
does so a few at a time, and fetches tarballs only when it knows them all. We can work out the same
tree from the same documents (npm/choosing.py, npm/ahead.py), and an uplink far away answers many as
fast as one.

    a client got a packument that the uplink had to be asked for
      -> choose versions, for the ranges we know it is wanted in
      -> their dependencies' packuments, in the same form  -> choose versions -> ...
      -> their tarballs, once a client asks for their packuments: until then it is a guess that this
         branch is the client's, because nobody knows which versions a project itself wants

Invariants:
1. A client's question never waits for one of ours: we begin nothing while a quarter of an uplink's
   slots is taken, by whomever, so clients that ask much by themselves are left alone. One that asks
   for what waits here asks by itself; for what is under way, it joins it as another client's.
2. Ours go the way of any question: one flight, one lease, the same checks, the same records. A name
   that does not live at an uplink is asked of nobody. A crash leaves what it leaves of a flight.
3. It ends: at what was held fresh before, at what was asked lately, when so many answers wait for
   somebody to want them, when the uplink is not well or the disk is short of room. So whoever
   publishes a manifest with a million dependencies has `unclaimed` of them asked for, no more.
4. Nothing here is known to be wanted. What no client has asked for within `wasted_after` is counted
   as wasted; it is evicted like all that is mirrored.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from proxy import errors
from proxy.npm import ahead, integrity, names
from proxy.npm.ahead import Want
from proxy.npm.choosing import Choice
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.registry.answers import CacheState, Freshness
from proxy.registry.mirroring.arriving import Promise
from proxy.registry.mirroring.downloads import Downloads
from proxy.registry.mirroring.mirror import Mirror
from proxy.registry.mirroring.negatives import Negatives
from proxy.registry.routing import Routing
from proxy.storage.base import Index, PackumentRecord
from proxy.storage.press import Press
from proxy.upstream.base import Uplink

_log = logging.getLogger(__name__)

# The range of who has not said which: what a project itself wants, we never see.
_UNKNOWN = "*"
USED, WASTED = "used", "wasted"
_ASKED = frozenset({CacheState.MISS, CacheState.REVALIDATED})
# A client that asked for something while ours was about to begin: it is the client's then.
_LATELY = timedelta(seconds=10)

# (name, form) of a packument, or (name, file) of a tarball.
Key = tuple[str, Form | str]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far ahead is asked.

    `at_once` by the name of the uplink, and nothing of one that is not in it; `unclaimed` answers
    and `unclaimed_bytes` of tarballs that no client has asked for yet; `waiting` questions that are
    still to be asked. What was asked within `remembered` is not asked again.
    """

    at_once: dict[str, int]
    unclaimed: int = 4096
    unclaimed_bytes: int = 256 * 1024 * 1024
    waiting: int = 8192
    remembered: timedelta = timedelta(minutes=5)
    wasted_after: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class _Tarball:
    """A tarball to fetch."""

    promise: Promise

    @property
    def key(self) -> Key:
        return self.promise.name, self.promise.file


@dataclass(frozen=True, slots=True)
class _Packument:
    """A packument to ask for; the ranges it is wanted in gather meanwhile."""

    name: PackageName
    form: Form

    @property
    def key(self) -> Key:
        return self.name.full, self.form


@dataclass(slots=True)
class _Lane:
    """What is to be asked of one uplink, and how much of it is under way."""

    mirror: Mirror
    at_once: int
    packuments: deque[_Packument]
    tarballs: deque[_Tarball]
    under_way: int = 0

    def __len__(self) -> int:
        return len(self.packuments) + len(self.tarballs)

    def next(self) -> _Packument | _Tarball | None:
        """Packuments first: what they lead to is asked sooner, and tarballs want them anyway."""
        if self.packuments:
            return self.packuments.popleft()
        return self.tarballs.popleft() if self.tarballs else None


@dataclass(slots=True)
class _Unclaimed:
    """An answer that nobody has asked for yet."""

    until: float
    size_bytes: int = 0
    tarballs: list[Promise] = field(default_factory=list)


class Ahead:
    """What cold clients will ask next, asked for now. Limits of None: nothing is."""

    def __init__(
        self,
        *,
        limits: Limits | None,
        routing: Routing,
        index: Index,
        press: Press,
        downloads: Downloads,
        has_room: Callable[[], Awaitable[bool]],
        monotonic: Callable[[], float],
        on_outcome: Callable[[str], None],
    ) -> None:
        self._is_on = limits is not None
        self._limits = limits or Limits({})
        self._routing = routing
        self._index = index
        self._press = press
        self._downloads = downloads
        self._has_room = has_room
        self._monotonic = monotonic
        self._on_outcome = on_outcome
        self._lanes: dict[str, _Lane] = {}
        self._wanted: dict[Key, dict[str, None]] = {}
        self._unclaimed: OrderedDict[Key, _Unclaimed] = OrderedDict()
        self._unclaimed_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        remembered = self._limits.remembered
        self._lately = Negatives(age=_LATELY, monotonic=monotonic)
        self._brought = Negatives(age=remembered, monotonic=monotonic)
        self._followed = Negatives(age=remembered, monotonic=monotonic)

    def __len__(self) -> int:
        return len(self._tasks)

    async def close(self) -> None:
        """End it all; flights and downloads that were begun are ended by whom they belong to."""
        self._is_on = False
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what clients do --------------------------------------------------------------------------

    def asked(self, name: PackageName, what: Form | str) -> None:
        """A client asks for a packument's form, or for a tarball by its file."""
        if not self._is_on:
            return
        key = (name.full, what)
        self._lately.put(key)
        found = self._unclaimed.pop(key, None)
        if found is not None:
            self._unclaimed_bytes -= found.size_bytes
            self._on_outcome(USED)
            self._add_tarballs(found.tarballs)
            self._pump()

    def follow(self, name: PackageName, form: Form, freshness: Freshness) -> None:
        """A client got this packument; if an uplink was asked for it, it is cold."""
        if not self._is_on or freshness.state not in _ASKED:
            return
        self._brought.put((name.full, form))
        wanted = self._wanted.pop((name.full, form), {})
        self._start(self._follow(name, form, list(wanted) or [_UNKNOWN]))

    async def expire(self) -> None:
        """Count as wasted what nobody wanted in time."""
        now = self._monotonic()
        while self._unclaimed:
            key, found = next(iter(self._unclaimed.items()))
            if found.until > now:
                break
            del self._unclaimed[key]
            self._unclaimed_bytes -= found.size_bytes
            self._on_outcome(USED if await self._was_used(key) else WASTED)
        self._pump()

    async def _was_used(self, key: Key) -> bool:
        """Whether another worker has handed it out, as far as the Index tells.

        It notes the use of tarballs alone: a packument was used if a tarball of its package was.
        """
        name, what = key
        held = await self._index.tarballs(name)
        return any(
            each.used_at > each.stored_at
            for each in held
            if isinstance(what, Form) or each.file == what
        )

    # --- following one packument ------------------------------------------------------------------

    async def _follow(self, name: PackageName, form: Form, wanted: list[str]) -> None:
        mirror = await self._mirror(name)
        if mirror is None:
            return
        uplink = mirror.uplink.name
        held = await self._index.packument(uplink, name.full, form)
        held = held or await self._index.packument(uplink, name.full, Form.FULL)
        if held is not None:
            await self._expand(mirror, held, name, form, wanted)

    async def _expand(
        self,
        mirror: Mirror,
        record: PackumentRecord,
        name: PackageName,
        form: Form,
        wanted: list[str],
    ) -> None:
        """Have asked for what the versions need that are taken for these ranges."""
        is_certain = wanted != [_UNKNOWN]
        chosen = await self._press.choose(record, name, likely=wanted)
        for choice in chosen.choices:
            key = (name.full, choice.version, form, is_certain)
            if self._followed.has(key):
                continue
            self._followed.put(key)
            if is_certain:
                self._prepare_tarball(mirror, name, form, choice)
            await self._add_packuments(ahead.wants(choice), form)
        self._pump()

    def _prepare_tarball(
        self, mirror: Mirror, name: PackageName, form: Form, choice: Choice
    ) -> None:
        """Have a tarball fetched as soon as a client has asked for its packument."""
        if choice.dist is None or not ahead.is_for_all(choice):
            return
        promise = Promise(
            uplink=mirror.uplink,
            name=name.full,
            file=names.tarball_file(name, choice.version),
            version=choice.version,
            url=mirror.uplink.tarball_url(choice.dist.tarball, name, choice.version),
            expected=integrity.parse(choice.dist.integrity, choice.dist.shasum),
        )
        if mirror.gone.has(promise.url):
            return
        key = (name.full, form)
        if key in self._unclaimed:
            self._unclaimed[key].tarballs.append(promise)
        else:
            self._add_tarballs([promise])

    def _add_tarballs(self, promises: Iterable[Promise]) -> None:
        for promise in promises:
            lane = self._lanes.get(promise.uplink.name)
            if lane is not None and len(lane) < self._limits.waiting:
                lane.tarballs.append(_Tarball(promise))

    async def _add_packuments(self, wants: Iterable[Want], form: Form) -> None:
        for want in wants:
            key, place = (want.name.full, form), (want.name.full, form, want.spec)
            mirror = await self._mirror(want.name)
            if mirror is None or self._followed.has(place):
                continue
            lane = self._lane(mirror)
            if key not in self._wanted and len(lane) >= self._limits.waiting:
                continue
            self._followed.put(place)
            if key not in self._wanted:
                self._wanted[key] = {}
                lane.packuments.append(_Packument(want.name, form))
            self._wanted[key][want.spec] = None

    async def _mirror(self, name: PackageName) -> Mirror | None:
        """The mirror of a name that lives at an uplink we ask ahead, and nowhere else."""
        origin = (await self._routing.guard()).origin_of(name.full)
        if origin.uplink not in self._limits.at_once or origin.is_merged:
            return None
        return self._routing.mirrors[origin.uplink]

    def _lane(self, mirror: Mirror) -> _Lane:
        name = mirror.uplink.name
        if name not in self._lanes:
            self._lanes[name] = _Lane(mirror, self._limits.at_once[name], deque(), deque())
        return self._lanes[name]

    # --- asking -----------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Begin as much as may be under way."""
        for lane in self._lanes.values():
            while self._may_begin(lane):
                job = lane.next()
                if job is None:
                    break
                lane.under_way += 1
                self._start(self._run(lane, job))

    def _may_begin(self, lane: _Lane) -> bool:
        limits = self._limits
        is_within = (
            len(self._unclaimed) + lane.under_way < limits.unclaimed
            and self._unclaimed_bytes < limits.unclaimed_bytes
        )
        # All that is asked counts, clients' questions too: where they keep an uplink busy by
        # themselves there is nothing to gain, and what we did would only be in their way.
        busy = max(lane.under_way, lane.mirror.in_flight + len(self._downloads))
        return self._is_on and is_within and busy < lane.at_once

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if fault is not None and not isinstance(fault, errors.RegistryError):
            _log.error("asking ahead failed", exc_info=fault)  # no client waits for it

    async def _run(self, lane: _Lane, job: _Packument | _Tarball) -> None:
        try:
            if isinstance(job, _Tarball):
                await self._fetch(job)
            else:
                await self._ask(job)
        finally:
            lane.under_way -= 1
            self._wanted.pop(job.key, None)
            self._pump()

    async def _ask(self, job: _Packument) -> None:
        mirror = await self._mirror(job.name)
        if mirror is None or not await self._is_well(mirror.uplink):
            return
        is_ours = self._note(job.key)
        state = None
        try:
            copy = await mirror.packument(job.name, job.form)
            state = copy.freshness.state
        finally:
            if is_ours and state not in _ASKED:
                self._unclaimed.pop(job.key, None)
        wanted = list(self._wanted.pop(job.key, {}))
        # What was held fresh before has been followed then, or its reader was not a cold client.
        if state in _ASKED:
            self._brought.put(job.key)
        if wanted and self._brought.has(job.key):
            await self._expand(mirror, copy.record, job.name, job.form, wanted)

    async def _fetch(self, job: _Tarball) -> None:
        promise = job.promise
        is_held = await self._index.tarball(promise.name, promise.file) is not None
        if is_held or not await self._is_well(promise.uplink):
            return
        download = self._downloads.begin(promise)
        if download is None:
            return
        self._note(job.key)
        await asyncio.wait({download})
        record = await self._index.tarball(promise.name, promise.file)
        found = self._unclaimed.get(job.key)
        if found is not None and record is not None:
            found.size_bytes = record.size_bytes
            self._unclaimed_bytes += record.size_bytes
        elif found is not None:
            del self._unclaimed[job.key]

    async def _is_well(self, uplink: Uplink) -> bool:
        return uplink.state == "closed" and await self._has_room()

    def _note(self, key: Key) -> bool:
        """Note that something is asked ahead, unless a client has asked for it just now."""
        if self._lately.has(key) or key in self._unclaimed:
            return False
        until = self._monotonic() + self._limits.wasted_after.total_seconds()
        self._unclaimed[key] = _Unclaimed(until)
        return True
