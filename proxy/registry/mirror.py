"""Our copy of what one uplink says: fresh, revalidated, or stale while the uplink is away.

States of a name and form, by what the Index holds:

    unknown --ask--> held (200) | absent (404, kept in memory for `negative_age`)
    held, fresh      younger than `max_age`: sent without asking
    held, stale      asked again: 304 touches the record, 200 replaces body then record,
                     and a fault changes nothing
    held, doubted    the uplink said 404 once: still sent, asked again after `negative_age`
    held -> absent   it said 404 twice, `negative_age` apart: the copy is forgotten

Invariants:
1. What the uplink says now replaces what it said before; two answers are never merged.
2. Only the uplink's own 404 makes a 404. Every fault is an UplinkError, or the stale copy if there
   is one.
3. One question per (name, form) is in the air at a time: in this process by a flight, between
   processes by a lease.
4. The body is stored before the record that names it, and the old body outlives its record (upkeep
   collects it), so that a reader finds either the old document or the new. A crash in between
   leaves a body without a record.
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
from proxy.registry.negatives import Negatives
from proxy.storage.base import Index, Leases, PackumentRecord
from proxy.storage.press import Intake, Press
from proxy.upstream import base as upstream

_log = logging.getLogger(__name__)


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
    """A record to serve from, until when it is fresh, and how it was come by."""

    record: PackumentRecord
    fresh_until: datetime
    freshness: Freshness


class Mirror:
    """One uplink's packuments, as this registry holds them."""

    def __init__(
        self,
        *,
        uplink: upstream.Uplink,
        index: Index,
        press: Press,
        leases: Leases,
        ages: Ages,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._uplink = uplink
        self._index = index
        self._press = press
        self._leases = leases
        self._ages = ages
        self._clock = clock
        self._monotonic = monotonic
        self._flights: Flights[tuple[str, Form], tuple[PackumentRecord, CacheState]] = Flights()
        self._absent = Negatives(age=ages.negative_age, monotonic=monotonic)
        self._paused = Negatives(age=ages.pause_after_fault, monotonic=monotonic)
        self._slow_until = float("-inf")

    @property
    def uplink(self) -> upstream.Uplink:
        """The uplink this mirrors."""
        return self._uplink

    @property
    def in_flight(self) -> int:
        """How many questions are in the air."""
        return len(self._flights)

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
        was missing). Raises PackageNotFound if the uplink says so, an UplinkError if it cannot be
        asked and nothing is held.
        """
        held = await self._held(name, form)
        if held is not None and self._is_fresh(held, not_before):
            return self._copy(held, CacheState.HIT)
        if held is None and not_before is None and self._absent.has(name.full):
            raise errors.PackageNotFound(name=name.full)
        if held is not None and (reason := self._paused.get((name.full, form))) is not None:
            return self._stale(held, reason)
        flight = self._flights.join(
            (name.full, form), lambda: self._refresh(name, form, request_id)
        )
        return await self._await(flight, held, name, form)

    async def forget(self, name: names.PackageName) -> None:
        """Drop what is held of `name`, because its body turned out to be lost.

        The next request asks again.
        """
        _log.warning(
            "body lost, asking again", extra={"package": name.full, "uplink": self._uplink.name}
        )
        await self._index.drop_packuments(name.full, self._uplink.name)

    # --- what is held -----------------------------------------------------------------------------

    async def _held(self, name: names.PackageName, form: Form) -> PackumentRecord | None:
        """The best record for `form`.

        A full copy serves the abbreviated form too, if it is the younger one.
        """
        full = await self._index.packument(self._uplink.name, name.full, Form.FULL)
        if form is Form.FULL:
            return full
        abbreviated = await self._index.packument(self._uplink.name, name.full, Form.ABBREVIATED)
        if full is None or abbreviated is None:
            return abbreviated or full
        return full if full.checked_at >= abbreviated.checked_at else abbreviated

    def _fresh_until(self, record: PackumentRecord) -> datetime:
        doubted = record.missing_since is not None
        return record.checked_at + (self._ages.negative_age if doubted else self._ages.max_age)

    def _is_fresh(self, record: PackumentRecord, not_before: datetime | None) -> bool:
        now = self._clock()
        if not_before is not None and record.checked_at < not_before:
            return False
        # A record from the future means that the clock was set back: its age is unknown, so ask.
        return record.checked_at <= now + self._ages.max_age and now < self._fresh_until(record)

    def _copy(self, record: PackumentRecord, state: CacheState, reason: str | None = None) -> Copy:
        age = max(self._clock() - record.checked_at, timedelta(0))
        return Copy(
            record=record,
            fresh_until=self._fresh_until(record),
            freshness=Freshness(state=state, age=age, uplink=self._uplink.name, reason=reason),
        )

    def _stale(self, record: PackumentRecord, reason: str) -> Copy:
        limit = self._ages.stale_if_error
        if limit is not None and self._clock() - record.checked_at > limit:
            raise errors.UplinkAway(
                uplink=self._uplink.name, reason=f"{reason}; our copy is too old to send"
            )
        _log.warning(
            "stale packument sent",
            extra={"package": record.name, "uplink": self._uplink.name, "reason": reason},
        )
        return self._copy(record, CacheState.STALE, reason)

    # --- waiting for an answer --------------------------------------------------------------------

    async def _await(
        self,
        flight: asyncio.Task[tuple[PackumentRecord, CacheState]],
        held: PackumentRecord | None,
        name: names.PackageName,
        form: Form,
    ) -> Copy:
        patience = self._patience(held)
        done, _ = await asyncio.wait({flight}, timeout=patience.total_seconds())
        if not done:
            return self._too_slow(held)
        try:
            record, state = flight.result()
        except errors.UplinkError as fault:
            if held is None:
                raise
            self._paused.put((name.full, form), str(fault))
            return self._stale(held, str(fault))
        return self._copy(record, state)

    def _patience(self, held: PackumentRecord | None) -> timedelta:
        if held is None:
            return self._ages.deadline
        return timedelta(0) if self._monotonic() < self._slow_until else self._ages.soft_deadline

    def _too_slow(self, held: PackumentRecord | None) -> Copy:
        if held is None:
            raise errors.UplinkTimeout(
                uplink=self._uplink.name,
                reason=f"no answer within {self._ages.deadline.total_seconds():g} s",
            )
        self._slow_until = self._monotonic() + self._ages.slow_for.total_seconds()
        return self._stale(held, "the uplink is slow; refreshing behind this answer")

    # --- asking -----------------------------------------------------------------------------------

    async def _refresh(
        self, name: names.PackageName, form: Form, request_id: str
    ) -> tuple[PackumentRecord, CacheState]:
        asked_at = self._clock()
        key = f"packument {self._uplink.name} {form.value} {name.full}"
        async with self._leases.hold(key) as was_free:
            if not was_free:
                # Another process of this node has just asked; its answer is ours, unless it failed.
                held = await self._held(name, form)
                if held is not None and held.checked_at >= asked_at:
                    return held, CacheState.HIT
            return await self._ask(name, form, request_id)

    async def _ask(
        self, name: names.PackageName, form: Form, request_id: str
    ) -> tuple[PackumentRecord, CacheState]:
        held = await self._revalidatable(name, form)
        async with self._press.intake() as intake:
            answer = await self._uplink.packument(
                name,
                form,
                etag=held.etag if held else None,
                last_modified=held.last_modified if held else None,
                sink=intake,
                request_id=request_id,
            )
            match answer:
                case upstream.NotModified() if held is not None:
                    return await self._touched(held), CacheState.REVALIDATED
                case upstream.Document():
                    return await self._settled(intake, answer, name, form)
                case upstream.Missing():
                    return await self._missing(name, form), CacheState.STALE
                case _:
                    raise self._broken("304 although nothing was asked conditionally")

    async def _revalidatable(self, name: names.PackageName, form: Form) -> PackumentRecord | None:
        """The record whose validators may be sent.

        Without its body, a 304 would leave us with nothing.
        """
        held = await self._index.packument(self._uplink.name, name.full, form)
        return held if held is not None and await self._press.has(held) else None

    async def _settled(
        self,
        intake: Intake,
        answer: upstream.Document,
        name: names.PackageName,
        form: Form,
    ) -> tuple[PackumentRecord, CacheState]:
        now = self._clock()
        try:
            settled = await self._press.settle(intake, name=name, fetched_at=now)
        except packument.Empty:
            return await self._missing(name, form), CacheState.STALE
        except packument.Malformed as fault:
            raise self._broken(f"not a packument of {name.full}: {fault}") from fault
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
        await self._keep(record, name)
        return record, CacheState.MISS

    async def _keep(self, record: PackumentRecord, name: names.PackageName) -> None:
        before = await self._index.packument(record.uplink, record.name, record.form)
        await self._index.put_packument(record)
        if record.form is Form.ABBREVIATED and record.body_form is Form.FULL:
            # The uplink knows no abbreviated form: what came is as good as an answer to the full
            # question.
            await self._index.put_packument(replace(record, form=Form.FULL))
        self._absent.forget(name.full)
        self._paused.forget((name.full, record.form))
        if before is not None and before.revision != record.revision:
            await self._withdraw(record, before, name)

    async def _withdraw(
        self, record: PackumentRecord, before: PackumentRecord, name: names.PackageName
    ) -> None:
        """Let go of tarballs whose version the uplink no longer lists: it may have been malware."""
        if record.modified_at < before.modified_at:
            _log.warning(
                "uplink went back in time",
                extra={"package": name.full, "uplink": record.uplink},
            )
        for tarball in await self._index.tarballs(name.full):
            if tarball.uplink != record.uplink:
                continue
            if await self._press.dist(record, name, tarball.file) is None:
                await self._index.drop_tarball(name.full, tarball.file)
                _log.warning(
                    "version withdrawn by the uplink",
                    extra={"package": name.full, "version": tarball.version},
                )

    async def _touched(self, held: PackumentRecord) -> PackumentRecord:
        touched = replace(held, checked_at=self._clock(), missing_since=None)
        await self._index.put_packument(touched)
        if touched.form is Form.ABBREVIATED and touched.body_form is Form.FULL:
            full = await self._index.packument(held.uplink, held.name, Form.FULL)
            if full is not None and full.revision == held.revision:
                await self._index.put_packument(replace(full, checked_at=touched.checked_at))
        return touched

    async def _missing(self, name: names.PackageName, form: Form) -> PackumentRecord:
        """The uplink's 404: believed at once if nothing is held, else when it has come twice."""
        now = self._clock()
        held = await self._held(name, form)
        if held is not None:
            since = held.missing_since or now
            if now - since < self._ages.negative_age:
                doubted = replace(held, checked_at=now, missing_since=since)
                await self._index.put_packument(doubted)
                return doubted
            await self._index.drop_packuments(name.full, self._uplink.name)
            for tarball in await self._index.tarballs(name.full):
                await self._index.drop_tarball(name.full, tarball.file)
            _log.warning(
                "package withdrawn by the uplink",
                extra={"package": name.full, "uplink": self._uplink.name},
            )
        self._absent.put(name.full)
        raise errors.PackageNotFound(name=name.full)

    def _broken(self, reason: str) -> errors.UplinkBroken:
        return errors.UplinkBroken(uplink=self._uplink.name, reason=reason)
