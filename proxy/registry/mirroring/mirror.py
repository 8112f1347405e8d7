"""Our copy of what one uplink says: fresh, revalidated, or stale while the uplink is away.

States of a name and form, by what the Index holds:

    unknown --ask--> held (200) | absent (404, kept in memory for `negative_age`)
    held, fresh      younger than `max_age`: sent without asking
    held, stale      asked again: 304 touches the record, 200 replaces body then record,
                     and a fault changes nothing
    held, doubted    the uplink said 404 once: still sent, asked again after `negative_age`
    held -> absent   it said 404 twice, `negative_age` apart: the copy is forgotten

Invariants:
1. What the uplink says now replaces what it said before; two answers are never merged. (A copy that
   is carried here in a bundle is united with what is held, under the leases of rule 3, until the
   uplink's next answer: registry/offline/importing.py.)
2. Only the uplink's own 404 makes a 404. Every fault is an UplinkError, or the stale copy if there
   is one.
3. One question per (name, form) is in the air at a time: in this process by a flight, between
   processes by a lease.
4. The body is stored before the record that names it, and the old body outlives its record (upkeep
   collects it), so that a reader finds either the old document or the new. A crash in between
   leaves a body without a record. On a disk that takes nothing there is no record either: the
   answer is sent from memory, and the next who wants it asks again.
5. What is stored is what the uplink sent, to the byte, but for the `dist.shasum` of versions that
   came without any hash: it is worked out from their tarballs within the same flight, while there
   is time before `deadline`, and only the finished body gets a record. So a revision has one
   content. A version that could not be hashed stays as it came, and if it may be next time the
   validators are dropped, so that the next answer is whole. A flight never waits for a download
   that waits for a flight: downloads ask for no packument.
6. While the uplink is away by its last word (upstream/presence.py) it is asked even if the copy is
   fresh, as often as breaker and pause let us: so the first answer ends the outage. A copy that is
   sent meanwhile says so (`absence`), and is narrowed to what is held (narrowing.py). One that is
   sent because an answer takes longer than the soft deadline is not: its tarballs can be fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from proxy import errors
from proxy.npm import names, packument
from proxy.npm.forms import Form
from proxy.registry.answers import CacheState, Freshness
from proxy.registry.flights import Flights
from proxy.registry.mirroring.hashing import Hashing
from proxy.registry.mirroring.holdings import Holdings
from proxy.registry.mirroring.negatives import Negatives
from proxy.storage.base import Index, Leases, PackumentRecord
from proxy.storage.press import Intake, Press, Settled
from proxy.upstream import base as upstream
from proxy.upstream.presence import Absence, Presence

_log = logging.getLogger(__name__)

# What is left of the deadline when hashing ends: the body has to be stored and sent.
_TO_STORE = timedelta(seconds=1)
# What a copy that is held stands in for. A disk that takes no new copy is no reason to hide it.
_FAULTS = (errors.UplinkError, errors.StorageAway, errors.StorageCorrupt)


@dataclass(frozen=True, slots=True)
class Ages:
    """How long what an uplink said may be used. `stale_if_error` None means for ever."""

    max_age: timedelta
    negative_age: timedelta
    soft_deadline: timedelta
    deadline: timedelta
    stale_if_error: timedelta | None
    # After a failed refresh the stale copy is sent for this long without asking again.
    pause_after_fault: timedelta = timedelta(seconds=2)
    # After an uplink has missed the soft deadline, nobody else waits for it for this long.
    slow_for: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Copy:
    """A record to serve from, until when it is fresh, and how it was come by.

    `absence` says why no tarball can be fetched now; `presence` tells of it from now on.
    """

    record: PackumentRecord
    fresh_until: datetime
    freshness: Freshness
    presence: Presence
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class _Question:
    """What a flight is about. `seen` is what was held when it began.

    `until` is the monotonic second by which there should be an answer, or nobody waits for it.
    """

    name: names.PackageName
    form: Form
    seen: PackumentRecord | None
    request_id: str
    until: float

    @property
    def key(self) -> tuple[str, Form]:
        return self.name.full, self.form


class Mirror:
    """One uplink's packuments, as this registry holds them."""

    def __init__(
        self,
        *,
        uplink: upstream.Uplink,
        index: Index,
        press: Press,
        leases: Leases,
        hashing: Hashing,
        ages: Ages,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._uplink = uplink
        self._holdings = Holdings(
            uplink=uplink.name, index=index, press=press, negative_age=ages.negative_age
        )
        self._press = press
        self._leases = leases
        self._hashing = hashing
        self._ages = ages
        self._clock = clock
        self._monotonic = monotonic
        self._flights: Flights[tuple[str, Form], tuple[PackumentRecord, CacheState]] = Flights()
        self._absent = Negatives(age=ages.negative_age, monotonic=monotonic)
        self._paused = Negatives(age=ages.pause_after_fault, monotonic=monotonic)
        self._gone = Negatives(age=ages.negative_age, monotonic=monotonic)
        self._slow_until = float("-inf")
        self._amending: set[tuple[str, Form]] = set()

    @property
    def uplink(self) -> upstream.Uplink:
        """The uplink this mirrors."""
        return self._uplink

    @property
    def in_flight(self) -> int:
        """How many questions are in the air."""
        return len(self._flights)

    @property
    def gone(self) -> Negatives:
        """Addresses of tarballs that the uplink has lately said it has not."""
        return self._gone

    async def close(self) -> None:
        """End what is in the air."""
        await self._flights.close()

    async def packument(
        self,
        name: names.PackageName,
        form: Form,
        *,
        request_id: str = "",
        not_before: datetime | None = None,
    ) -> Copy:
        """The copy to serve `form` of `name` from.

        Asks the uplink if there is none, or none that is fresh.

        `not_before` demands an answer the uplink gave at or after that instant (a wanted version
        was missing): an older copy is none then. Raises PackageNotFound if the uplink says so, an
        UplinkError if it cannot be asked and nothing is held.
        """
        held = await self._holdings.best(name, form)
        if held is not None and self._is_good(held, not_before):
            return self._copy(held, CacheState.HIT)
        if held is None and not_before is None and self._absent.has(name.full):
            raise errors.PackageNotFound(name=name.full)
        fallback = held if held is not None and self._may_stand_in(held, not_before) else None
        absence = self._uplink.absence
        if fallback is not None and absence is not None and absence.is_offline:
            return self._copy(fallback, CacheState.STALE, absence.reason)
        if fallback is not None and (reason := self._paused.get((name.full, form))) is not None:
            return self._stale(fallback, reason)
        until = self._monotonic() + (self._ages.deadline - _TO_STORE).total_seconds()
        question = _Question(name, form, held, request_id, until)
        flight = self._flights.join(question.key, lambda: self._refresh(question))
        try:
            return await self._await(question, flight, fallback)
        except errors.UplinkError as fault:
            # Who wants the full form and cannot have it installs from the abbreviated one, too.
            poorer = await self._holdings.best(name, Form.ABBREVIATED)
            is_away = held is None and self._uplink.absence is not None
            if not is_away or poorer is None or not self._may_stand_in(poorer, not_before):
                raise
            return self._stale(poorer, str(fault))

    async def forget(self, lost: PackumentRecord) -> None:
        """Drop a record whose body turned out to be lost: the next request asks again."""
        await self._holdings.forget(lost)

    async def reread(self, name: names.PackageName, request_id: str = "") -> None:
        """Ask again for every form that is held, and have it sent whole.

        For when our copy promises what the uplink says it has not: public registries have taken
        tarballs away without changing the packument's validators (RELIABILITY 2.1).
        """
        not_before = self._clock()
        for form in await self._holdings.distrust(name):
            await self.packument(name, form, request_id=request_id, not_before=not_before)

    # --- what may be sent -------------------------------------------------------------------------

    def _fresh_until(self, record: PackumentRecord) -> datetime:
        if record.missing_since is not None:
            return record.missing_since + self._ages.negative_age
        return record.checked_at + self._ages.max_age

    def _is_good(self, record: PackumentRecord, not_before: datetime | None) -> bool:
        """Whether a copy is sent without asking."""
        absence = self._uplink.absence
        is_away = absence is not None and not absence.is_offline
        return not is_away and self._is_fresh(record, not_before)

    def _is_fresh(self, record: PackumentRecord, not_before: datetime | None) -> bool:
        now, heard_at = self._clock(), _heard_at(record)
        if not_before is not None and heard_at < not_before:
            return False
        # A record from the future means that the clock was set back: its age is unknown, so ask.
        return heard_at <= now + self._ages.max_age and now < self._fresh_until(record)

    def _may_stand_in(self, record: PackumentRecord, not_before: datetime | None) -> bool:
        """Whether a copy that is not fresh may be sent if the uplink fails us."""
        if not_before is not None and _heard_at(record) < not_before:
            return False
        limit = self._ages.stale_if_error
        return limit is None or self._clock() - record.checked_at <= limit

    def _copy(self, record: PackumentRecord, state: CacheState, reason: str | None = None) -> Copy:
        if record.missing_since is not None:
            state, reason = CacheState.STALE, reason or "the uplink says it is missing"
        age = max(self._clock() - record.checked_at, timedelta(0))
        return Copy(
            record=record,
            fresh_until=self._fresh_until(record),
            freshness=Freshness(state=state, age=age, uplink=self._uplink.name, reason=reason),
            presence=self._uplink.presence,
            absence=self._uplink.absence,
        )

    def _stale(self, record: PackumentRecord, reason: str) -> Copy:
        _log.warning(
            "stale packument sent",
            extra={"package": record.name, "uplink": self._uplink.name, "reason": reason},
        )
        state = CacheState.HIT if self._is_fresh(record, None) else CacheState.STALE
        return self._copy(record, state, reason)

    # --- waiting for an answer --------------------------------------------------------------------

    async def _await(
        self,
        question: _Question,
        flight: asyncio.Task[tuple[PackumentRecord, CacheState]],
        fallback: PackumentRecord | None,
    ) -> Copy:
        patience = self._patience(fallback)
        done, _ = await asyncio.wait({flight}, timeout=patience.total_seconds())
        if not done:
            return self._too_slow(question, fallback, patience)
        if flight.cancelled():
            raise errors.UplinkAway(uplink=self._uplink.name, reason="we are shutting down")
        try:
            record, state = flight.result()
        except _FAULTS as fault:
            if fallback is None:
                raise
            return self._stale(fallback, str(fault))
        return self._copy(record, state)

    def _patience(self, fallback: PackumentRecord | None) -> timedelta:
        if fallback is None:
            return self._ages.deadline
        return timedelta(0) if self._monotonic() < self._slow_until else self._ages.soft_deadline

    def _too_slow(
        self, question: _Question, fallback: PackumentRecord | None, patience: timedelta
    ) -> Copy:
        if fallback is None:
            raise errors.UplinkTimeout(
                uplink=self._uplink.name,
                reason=f"no answer within {self._ages.deadline.total_seconds():g} s",
            )
        # Who has not waited has learnt nothing, nor has who waits for us after its answer.
        if patience and question.key not in self._amending:
            self._slow_until = self._monotonic() + self._ages.slow_for.total_seconds()
        return self._stale(fallback, "the uplink is slow; refreshing behind this answer")

    # --- asking -----------------------------------------------------------------------------------

    async def _refresh(self, question: _Question) -> tuple[PackumentRecord, CacheState]:
        try:
            answer = await self._ask_once(question)
        except _FAULTS as fault:
            # Noted here and not by who waits: they may all have left with a stale copy.
            self._paused.put(question.key, str(fault))
            raise
        self._paused.forget(question.key)
        return answer

    async def _ask_once(self, question: _Question) -> tuple[PackumentRecord, CacheState]:
        name, form, seen = question.name, question.form, question.seen
        key = f"packument {self._uplink.name} {form.value} {name.full}"
        async with self._leases.hold(key):
            # Another process of this node may have asked since we looked, whether we waited for it
            # or it had just ended: its answer is ours, unless it failed.
            held = await self._holdings.best(name, form)
            if held is not None and (seen is None or _heard_at(held) > _heard_at(seen)):
                self._uplink.presence.answered()
                return held, CacheState.HIT
            return await self._ask(question)

    async def _ask(self, question: _Question) -> tuple[PackumentRecord, CacheState]:
        name, form = question.name, question.form
        held = await self._holdings.revalidatable(name, form)
        async with self._press.intake() as intake:
            answer = await self._uplink.packument(
                name,
                form,
                etag=held.etag if held else None,
                last_modified=held.last_modified if held else None,
                sink=intake,
                request_id=question.request_id,
            )
            match answer:
                case upstream.NotModified() if held is not None:
                    touched = await self._holdings.touch(held, answer, self._clock())
                    return touched, CacheState.REVALIDATED
                case upstream.Document():
                    return await self._settled(intake, answer, question)
                case upstream.Missing():
                    return await self._missing(name, form), CacheState.STALE
                case _:
                    raise self._broken("304 although nothing was asked conditionally")

    async def _settled(
        self,
        intake: Intake,
        answer: upstream.Document,
        question: _Question,
    ) -> tuple[PackumentRecord, CacheState]:
        name, form, now = question.name, question.form, self._clock()
        try:
            settled = await self._press.settle(intake, name=name, fetched_at=now)
        except packument.Empty:
            return await self._missing(name, form), CacheState.STALE
        except packument.Malformed as fault:
            raise self._broken(f"not a packument of {name.full}: {fault}") from fault
        if settled.unhashed:
            settled, answer = await self._amended(intake, settled, answer, question)
        record = PackumentRecord(
            uplink=self._uplink.name,
            name=name.full,
            form=form,
            body_form=settled.body_form,
            digest=settled.digest,
            revision=settled.revision,
            size_bytes=settled.size_bytes,
            etag=answer.etag,
            last_modified=answer.last_modified,
            modified_at=settled.modified_at,
            fetched_at=now,
            checked_at=now,
        )
        await self._keep(record, name, is_stored=settled.is_stored)
        self._absent.forget(name.full)
        return record, CacheState.MISS

    async def _keep(
        self, record: PackumentRecord, name: names.PackageName, *, is_stored: bool
    ) -> None:
        """Write down what came; on a disk that takes nothing it is sent all the same."""
        reason = "its body was not stored"
        if is_stored:
            try:
                await self._holdings.keep(record, name)
            except errors.StorageAway as fault:
                reason = str(fault)
            else:
                return
        _log.warning(
            "packument sent without being kept",
            extra={"package": name.full, "uplink": self._uplink.name, "reason": reason},
        )

    async def _amended(
        self, intake: Intake, settled: Settled, answer: upstream.Document, question: _Question
    ) -> tuple[Settled, upstream.Document]:
        """The body with what its tarballs' hashes are, as far as can be found out in time."""
        name = question.name
        self._amending.add(question.key)
        try:
            hashed = await self._hashing.shasums(
                name,
                settled.unhashed,
                within=timedelta(seconds=question.until - self._monotonic()),
                request_id=question.request_id,
            )
            if not hashed.is_final:
                answer = replace(answer, etag=None, last_modified=None)
            if hashed.shasums:
                settled = await self._press.settle(
                    intake, name=name, fetched_at=settled.modified_at, shasums=hashed.shasums
                )
        except (errors.StorageAway, errors.StorageCorrupt) as fault:
            _log.warning(
                "versions without a hash stay so",
                extra={"package": name.full, "uplink": self._uplink.name, "reason": str(fault)},
            )
        finally:
            self._amending.discard(question.key)
        return settled, answer

    async def _missing(self, name: names.PackageName, form: Form) -> PackumentRecord:
        """The uplink's 404: believed at once if nothing is held, else when it has come twice."""
        held = await self._holdings.best(name, form)
        doubted = None if held is None else await self._holdings.doubt(held, self._clock())
        if doubted is not None:
            return doubted
        self._absent.put(name.full)
        raise errors.PackageNotFound(name=name.full)

    def _broken(self, reason: str) -> errors.UplinkBroken:
        return errors.UplinkBroken(uplink=self._uplink.name, reason=reason)


def _heard_at(record: PackumentRecord) -> datetime:
    """When the uplink last said anything of this package, be it that it is missing."""
    return max(record.checked_at, record.missing_since or record.checked_at)
