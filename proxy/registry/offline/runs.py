"""One run of a mirror rule: what it names is made fresh, and what is new of it is brought.

1. Packages come first, those that were checked longest ago before the others. So a run that stops
   at its budget is continued by the next one, and no package waits for ever.
2. Of a package the full packument is revalidated, and the tarballs are brought of the versions that
   its dist-tags lead to, and that the range of the rule means. What those need is not: a lockfile
   says that.
3. Of lockfiles everything is brought that a prefetch of them would bring (prefetching.py).
4. What the uplink said since `due_at` is not asked again: a run that was killed goes on where it
   was. Mirrors and downloads are of the same kind as those that answer clients, under the same
   leases (prefetching.py, rules 1 and 3); they ask through a MeteredUplink, a few at a time.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from typing import Protocol

from proxy import errors
from proxy.npm import names, selectors
from proxy.npm.forms import Form
from proxy.npm.lockfiles import Lockfile, Wanted
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.selectors import Selector
from proxy.registry.mirroring.mirror import Mirror
from proxy.registry.offline import settling
from proxy.registry.offline.bringing import Bringing
from proxy.registry.offline.errands import Errand, Outcome, Progress, Report
from proxy.registry.offline.pacing import End, Halted, Pace
from proxy.registry.offline.prefetching import Prefetching, Where
from proxy.storage.base import PackumentRecord
from proxy.upstream.base import Uplink

AT_ONCE = 4
"""How many packages a run is about at a time: clients have the rest of the connections."""

_TRIES = 3  # of a package while its uplink is away
_GIVE_WAY_EVERY = 200  # names that are looked up before the loop gets a turn
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MirrorRule:
    """What is kept fresh, when, and at what cost.

    `lockfiles` reads those of the rule, and tells of each file that cannot be read why not.
    """

    name: str
    packages: Sequence[Selector]
    lockfiles: Callable[[], Awaitable[tuple[Sequence[Lockfile], Sequence[str]]]]
    times: Sequence[time]
    fit: Sequence[Platform]
    max_requests: int
    max_bytes_per_second: int


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to."""

    end: End
    counts: Mapping[Outcome, int]
    requests: int
    fetched_bytes: int

    def __str__(self) -> str:
        parts = [f"{count} {each.counted}" for each in Outcome if (count := self.counts.get(each))]
        asked = f"requests: {self.requests}, bytes: {self.fetched_bytes}"
        return f"{self.end.value}: {', '.join(parts) or 'nothing to bring'}; {asked}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What one run asks with; it closes with the run."""

    mirrors: Mapping[str, Mirror]
    bringing: Bringing
    prefetching: Prefetching


class Held(Protocol):
    """The part of the Index that tells what is held."""

    async def names(self, prefix: str = "") -> Sequence[str]: ...

    async def packument(self, uplink: str, name: str, form: Form) -> PackumentRecord | None: ...


class Runs:
    """Does runs. `parts` makes what one asks with, at its pace."""

    def __init__(
        self,
        *,
        uplinks: Sequence[Uplink],
        index: Held,
        parts: Callable[[Pace], AbstractAsyncContextManager[Parts]],
        where: Where,
        monotonic: Callable[[], float],
    ) -> None:
        self._uplinks = uplinks
        self._index = index
        self._parts = parts
        self._where = where
        self._monotonic = monotonic

    @property
    def is_offline(self) -> bool:
        """Whether no uplink may be asked."""
        absences = [uplink.absence for uplink in self._uplinks]
        return all(each is not None and each.is_offline for each in absences)

    async def run(self, rule: MirrorRule, due_at: datetime, report: Report) -> Result:
        """Do one run; `report` is told of every single thing."""
        pace = Pace(
            max_requests=rule.max_requests,
            max_bytes_per_second=rule.max_bytes_per_second,
            monotonic=self._monotonic,
        )
        tally = _Tally(pace, report)
        try:
            async with self._parts(pace) as parts:
                await self._packages(rule, due_at, parts, tally)
                await self._lockfiles(rule, parts, tally)
        except Halted as halted:
            return tally.result(halted.end)
        except errors.StorageAway as fault:
            tally.take(Progress(rule.name, Outcome.FAILED, str(fault), 0, 0, 0))
            return tally.result(End.NO_ROOM)
        return tally.result(End.INCOMPLETE if tally.has_failed else End.COMPLETE)

    async def _packages(
        self, rule: MirrorRule, due_at: datetime, parts: Parts, tally: _Tally
    ) -> None:
        held = await self._index.names() if any(not each.is_name for each in rule.packages) else ()
        wanted = selectors.select(rule.packages, held)
        found = [each async for each in self._located(wanted, tally)]
        found.sort(key=lambda each: each.checked_at)
        jobs = deque(found)
        errand = Errand(fit=rule.fit, report=tally.take)
        work = _Work(parts, errand, jobs, due_at)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work.go_on())
        if work.fault is not None:
            raise work.fault

    async def _located(
        self, wanted: Mapping[str, Sequence[str]], tally: _Tally
    ) -> AsyncIterator[_Job]:
        """The packages that an uplink has; the others are told of, and asked of nobody."""
        for number, (name, specs) in enumerate(wanted.items()):
            if number % _GIVE_WAY_EVERY == 0:
                await asyncio.sleep(0)
            try:
                origin = await self._where(names.parse(name))
            except errors.RegistryError as fault:
                tally.take(Progress(name, Outcome.MISSING, str(fault), 0, 0, 0))
                continue
            if origin.uplink is None:
                tally.take(Progress(name, Outcome.LIVES_HERE, "", 0, 0, 0))
                continue
            record = await self._index.packument(origin.uplink, name, Form.FULL)
            yield _Job(name, specs, origin.uplink, _NEVER if record is None else record.checked_at)

    async def _lockfiles(self, rule: MirrorRule, parts: Parts, tally: _Tally) -> None:
        files, problems = await rule.lockfiles()
        for problem in problems:
            tally.take(Progress("lockfile", Outcome.FAILED, problem, 0, 0, 0))
        if files:
            await parts.prefetching.run(files, rule.fit, self._where, tally.take)
        if tally.is_cut_short:
            raise Halted(End.BUDGET)


@dataclass(slots=True)
class _Job:
    """One package. `checked_at` is when its uplink last said anything of it."""

    name: str
    specs: Sequence[str]
    uplink: str
    checked_at: datetime
    tries: int = 0


@dataclass(slots=True)
class _Work:
    """What the workers of one run share. After a `fault` that ends it they only stop."""

    parts: Parts
    errand: Errand
    jobs: deque[_Job]
    due_at: datetime
    fault: errors.StorageAway | Halted | None = None

    async def go_on(self) -> None:
        """Do one job after the other, until there is none."""
        while self.jobs and self.fault is None:
            job = self.jobs.popleft()
            try:
                await self._do(job)
            except (errors.StorageAway, Halted) as fault:
                self.fault = self.fault or fault
            except errors.UplinkAway as fault:
                self._again(job, fault)
            except errors.RegistryError as fault:
                is_gone = isinstance(fault, errors.NotFound)
                outcome = Outcome.MISSING if is_gone else Outcome.FAILED
                self.errand.settle(job.name, outcome, str(fault))

    def _again(self, job: _Job, fault: errors.UplinkAway) -> None:
        """Try once more at the end, after the breaker's pause."""
        job.tries += 1
        if job.tries < _TRIES:
            self.jobs.append(job)
        else:
            self.errand.settle(job.name, Outcome.FAILED, str(fault))

    async def _do(self, job: _Job) -> None:
        name, mirror = names.parse(job.name), self.parts.mirrors[job.uplink]
        chosen = await self.parts.bringing.lead(
            mirror, name, specs=job.specs, not_before=self.due_at
        )
        for spec in chosen.missing:
            self.errand.settle(f"{job.name}@{spec}", Outcome.MISSING, "there is no such version")
        for choice in chosen.choices:
            wanted = Wanted(name.full, choice.version, is_optional=True)
            await settling.tarball(
                self.parts.bringing, self.errand, (name, mirror.uplink, choice), wanted
            )


@dataclass(slots=True)
class _Tally:
    """Counts what is told, and tells it on; a failure for want of budget is none."""

    pace: Pace
    report: Report
    counts: Counter[Outcome] = field(default_factory=Counter)
    is_cut_short: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether anything is not as it should be."""
        return any(not outcome.is_good for outcome in self.counts)

    def take(self, progress: Progress) -> None:
        """Take note of one thing."""
        if progress.outcome is Outcome.FAILED and self.pace.is_spent:
            self.is_cut_short = True
            return
        self.counts[progress.outcome] += 1
        done = sum(self.counts.values())
        self.report(replace(progress, done=done, known=max(done, progress.known)))

    def result(self, end: End) -> Result:
        """What it came to."""
        is_short = self.is_cut_short and end in {End.COMPLETE, End.INCOMPLETE}
        end = End.BUDGET if is_short else end
        return Result(end, dict(self.counts), self.pace.requests, self.pace.fetched_bytes)
