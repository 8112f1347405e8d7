"""What is still to be brought, and what became of the rest: the state of one prefetch.

A job is about one package: versions, from a lockfile, or ranges. What a range brings needs more
packages, which become jobs in turn; nothing is asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from proxy.npm.choosing import Choice, Chosen, Need
from proxy.npm.lockfiles import Asked, Lockfile, Wanted, platforms, sources, united
from proxy.npm.lockfiles.platforms import Platform


class Outcome(Enum):
    """What became of one version, in the word that people read."""

    FETCHED = "fetched"
    HELD = "held"
    LIVES_HERE = "lives here"
    OTHER_PLATFORM = "for another platform"
    LEFT_OUT = "left out"
    MISSING = "missing"
    WRONG = "wrong integrity"
    FAILED = "failed"

    @property
    def is_good(self) -> bool:
        """Whether the build has what it needs."""
        return self not in {Outcome.MISSING, Outcome.WRONG, Outcome.FAILED}

    @property
    def counted(self) -> str:
        """The word behind a number of them."""
        return "here already" if self is Outcome.HELD else self.value


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that is settled, the so manieth of so many that are known of by now.

    `what` is `name@version`, or `name@range` where no version was found.
    """

    what: str
    outcome: Outcome
    reason: str
    size_bytes: int
    done: int
    known: int


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Job:
    """Versions and ranges of one package; with neither, its packument alone."""

    name: str
    wanted: tuple[Wanted, ...] = ()
    asked: tuple[Asked, ...] = ()

    @property
    def is_optional(self) -> bool:
        """Whether its ranges may be done without."""
        return all(each.is_optional for each in self.asked)

    @property
    def versions(self) -> list[str]:
        return [each.version for each in self.wanted]

    @property
    def ranges(self) -> list[str]:
        return [each.range for each in self.asked]


class Errand:
    """The jobs of one prefetch, and the count. `fit` None is every platform."""

    def __init__(self, *, fit: Sequence[Platform] | None, report: Report) -> None:
        self.jobs: asyncio.Queue[Job] = asyncio.Queue()
        self._fit = fit
        self._report = report
        self._names: set[str] = set()
        self._asked: set[Asked] = set()
        self._chosen: set[tuple[str, str, bool]] = set()
        self._done = 0
        self._known = 0

    def take(self, files: Sequence[Lockfile]) -> None:
        """Queue what files name, one job for the versions of a package."""
        by_name: dict[str, list[Wanted]] = {}
        for wanted in united(files):
            by_name.setdefault(wanted.name, []).append(wanted)
            self._known += 1
        self._names.update(by_name)
        for name, versions in by_name.items():
            self.jobs.put_nowait(Job(name, wanted=tuple(versions)))
        for asked in (each for file in files for each in file.asked):
            self.ask(asked)
        left_out = dict.fromkeys(each for file in files for each in file.left_out)
        self._known += len(left_out)
        for left in left_out:
            self.settle(left.what, Outcome.LEFT_OUT, left.why)

    def ask(self, asked: Asked) -> None:
        """Queue a range, unless it was queued before."""
        if asked not in self._asked:
            self._asked.add(asked)
            self._names.add(asked.name)
            self._known += 1
            self.jobs.put_nowait(Job(asked.name, asked=(asked,)))

    def newly(self, job: Job, chosen: Chosen) -> Iterator[Choice]:
        """What a range has brought and none before, each once; what that needs is queued."""
        self._known -= len(set(job.ranges).difference(chosen.missing))
        for choice in chosen.choices if job.asked else ():
            key = (job.name, choice.version, job.is_optional)
            if key in self._chosen:
                continue
            self._chosen.add(key)
            self._known += 1
            if not job.is_optional or self._fits(choice.os, choice.cpu, choice.libc):
                for need in choice.needs:
                    self._need(f"{job.name}@{choice.version}", need)
            yield choice

    def glance(self, choice: Choice) -> None:
        """Queue the packuments of what a version names, if nothing else brings them.

        Without a lockfile clients ask for each, be it installed or not, and npm tries for more than
        a minute where it gets no answer.
        """
        for need in (*choice.needs, *choice.spare):
            found = sources.asked(need.name, need.spec)
            if not isinstance(found, str) and found[0] not in self._names:
                self._names.add(found[0])
                self.jobs.put_nowait(Job(found[0]))

    def _need(self, whose: str, need: Need) -> None:
        found = sources.asked(need.name, need.spec)
        if isinstance(found, str):
            self._known += 1
            what = f"{need.name}@{need.spec}"
            self.settle(what, Outcome.LEFT_OUT, f"{found} ({whose} needs it)")
        else:
            self.ask(Asked(*found, need.is_optional))

    def fitting(self, job: Job) -> Job:
        """The job without what its lockfile says is for other platforms, which is settled."""
        for wanted in job.wanted:
            if not self.is_fit(wanted):
                self.settle(f"{job.name}@{wanted.version}", Outcome.OTHER_PLATFORM)
        return replace(job, wanted=tuple(each for each in job.wanted if self.is_fit(each)))

    def is_fit(self, wanted: Wanted, choice: Choice | None = None) -> bool:
        """Whether a version is for one of our platforms.

        A lockfile may say less of that than the manifest.
        """
        if not wanted.is_optional:
            return True
        mine = self._fits(wanted.os, wanted.cpu, wanted.libc)
        return mine and (choice is None or self._fits(choice.os, choice.cpu, choice.libc))

    def _fits(self, os: Sequence[str], cpu: Sequence[str], libc: Sequence[str]) -> bool:
        return self._fit is None or platforms.fits(os, cpu, libc, self._fit)

    def miss(self, job: Job, missing: Sequence[str], reason: str) -> None:
        """Settle what of a job was not found. What is optional may be missing."""
        for version in set(missing).intersection((*job.versions, *job.ranges)):
            is_spare = version in job.ranges and job.is_optional
            outcome = Outcome.LEFT_OUT if is_spare else Outcome.MISSING
            self.settle(f"{job.name}@{version}", outcome, reason)

    def fail(self, job: Job, reason: str) -> None:
        """Settle all of a job as failed."""
        for version in (*job.versions, *job.ranges):
            self.settle(f"{job.name}@{version}", Outcome.FAILED, reason)

    def settle(self, what: str, outcome: Outcome, reason: str = "", size_bytes: int = 0) -> None:
        """Report one thing."""
        self._done += 1
        self._known = max(self._known, self._done)
        self._report(Progress(what, outcome, reason, size_bytes, self._done, self._known))
