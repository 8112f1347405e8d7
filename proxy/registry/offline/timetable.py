"""Mirror rules at their times of day, in one process of a node at a time.

A rule is due when one of its times has passed since `handled_at`, which is written when a run has
ended. So a run that was missed, because the server was down or offline, is made up for once; one
that was killed is run again, by the next server or by another worker; and several that were missed
are one. A rule that is seen for the first time waits for its next time.

`LEASE` is held by the one process of the node that runs rules, and ends with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Protocol

from proxy import errors
from proxy.npm import schedule
from proxy.registry.offline.errands import Progress, Report
from proxy.registry.offline.pacing import End
from proxy.registry.offline.runs import MirrorRule, Result, Runs
from proxy.storage.base import Leases
from proxy.storage.mirror_runs import MirrorRun

_log = logging.getLogger(__name__)

LEASE = "mirror rules"
_LOOK_SECONDS = 20.0


class Kept(Protocol):
    """Where runs are kept."""

    def last(self, rule: str) -> MirrorRun | None: ...

    async def put(self, run: MirrorRun) -> None: ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How a rule stands: its last run, if there was one, and when the next one is due."""

    rule: str
    last: MirrorRun | None
    next_at: datetime


class Timetable:
    """The mirror rules of this node."""

    def __init__(
        self,
        *,
        rules: Sequence[MirrorRule],
        runs: Runs,
        kept: Kept,
        leases: Leases,
        clock: Callable[[], datetime],
        zone: tzinfo,
        on_end: Callable[[str, Result], object] = lambda *_: None,
    ) -> None:
        self._rules = rules
        self._runs = runs
        self._kept = kept
        self._leases = leases
        self._clock = clock
        self._zone = zone
        self._on_end = on_end

    async def go_on(self, every_seconds: float = _LOOK_SECONDS) -> None:
        """Run what is due, again and again, until cancelled."""
        while self._rules:
            try:
                await self.look()
            except errors.RegistryError as fault:
                _log.warning("mirror rules cannot be run", extra={"reason": str(fault)})
            except Exception:  # noqa: BLE001 -- supervised: the next look may do better
                _log.exception("mirror rules failed")
            await asyncio.sleep(every_seconds)

    async def look(self) -> None:
        """Run each rule that is due, one after the other, unless another process is at it."""
        if self._runs.is_offline:
            return
        if not any([await self._due_at(rule) for rule in self._rules]):
            return
        if not await self._leases.try_acquire(LEASE):
            return
        try:
            for rule in self._rules:
                # Asked again: whoever had the lease before may have run it.
                due_at = await self._due_at(rule)
                if due_at is not None:
                    await self._run(rule, due_at, _tell_log)
        finally:
            await self._leases.release(LEASE)

    async def run_now(self, rules: Sequence[str], report: Report) -> Sequence[tuple[str, Result]]:
        """Run these rules, all if none is named, whatever the time is.

        Raises Busy if another process runs some, InvalidRequest for a name that no rule has.
        """
        unknown = sorted(set(rules) - {rule.name for rule in self._rules})
        if unknown or not self._rules:
            raise errors.InvalidRequest(reason=self._unknown(unknown))
        if not await self._leases.try_acquire(LEASE):
            reason = "mirror rules are being run by another process: wait for its end"
            raise errors.Busy(reason=reason)
        try:
            return [
                (rule.name, await self._run(rule, self._clock(), report))
                for rule in self._rules
                if not rules or rule.name in rules
            ]
        finally:
            await self._leases.release(LEASE)

    def standings(self) -> Sequence[Standing]:
        """How each rule stands."""
        return [
            Standing(
                rule.name,
                self._kept.last(rule.name),
                schedule.next_after(self._clock(), rule.times, self._zone),
            )
            for rule in self._rules
        ]

    def _unknown(self, unknown: Sequence[str]) -> str:
        if not self._rules:
            return "the configuration has no mirror rule: write [[mirror]] (docs/offline.md)"
        known = ", ".join(rule.name for rule in self._rules)
        return f"there is no mirror rule {', '.join(unknown)}; there are {known}"

    async def _due_at(self, rule: MirrorRule) -> datetime | None:
        """The time that has passed since the rule was handled; None if there is none."""
        now, last = self._clock(), self._kept.last(rule.name)
        if last is None or last.handled_at > now:
            # New, or the clock was set back: it begins with the next time.
            await self._kept.put(replace(last or MirrorRun(rule.name, now), handled_at=now))
            return None
        due_at = schedule.last_before(now, rule.times, self._zone)
        return due_at if due_at > last.handled_at else None

    async def _run(self, rule: MirrorRule, due_at: datetime, report: Report) -> Result:
        began_at = self._clock()
        last = self._kept.last(rule.name) or MirrorRun(rule.name, began_at)
        await self._kept.put(replace(last, began_at=began_at, ended_at=None))
        _log.info("mirror rule begins", extra={"rule": rule.name, "due_at": due_at.isoformat()})
        result = await self._runs.run(rule, due_at, report)
        # Cut off by a switch it is still due, and goes on when that is thrown back.
        handled_at = last.handled_at if result.end is End.OFFLINE else began_at
        ended = MirrorRun(rule.name, handled_at, began_at, self._clock(), str(result))
        await self._kept.put(ended)
        level = logging.INFO if result.end in _AS_PLANNED else logging.WARNING
        _log.log(level, _SENTENCES[result.end], extra=_facts(rule, result))
        self._on_end(rule.name, result)
        return result


_SENTENCES = {
    End.COMPLETE: "mirror rule complete",
    End.INCOMPLETE: "mirror rule incomplete: the lines above say what failed",
    End.BUDGET: "mirror rule stopped at its max_requests; the next run goes on from there",
    End.OFFLINE: "mirror rule stopped, because we are offline; it goes on when we are not",
    End.NO_ROOM: "mirror rule stopped: the disk has less free than cache.min_free",
}
_AS_PLANNED = {End.COMPLETE, End.BUDGET, End.OFFLINE}


def _tell_log(progress: Progress) -> None:
    """Write down what is not as it should be."""
    if not progress.outcome.is_good:
        facts = {"what": progress.what, "reason": progress.reason}
        _log.warning("mirror rule: %s", progress.outcome.value, extra=facts)


def _facts(rule: MirrorRule, result: Result) -> dict[str, object]:
    return {"rule": rule.name, "result": str(result)}
