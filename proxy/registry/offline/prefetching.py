"""Bring what lockfiles name here before anybody asks for it.

Theory. A prefetch is a queue of jobs, each about one package, and a few workers. A job of a
lockfile names versions; a job of a range chooses them (npm/choosing.py) and adds a job for
everything they need, so that a whole tree is brought without a resolver's back-tracking: rather a
version too many than one too few.

1. Everything goes through the mirrors and downloads that answer clients: their leases, their
   checks, their records. So a prefetch may be killed at any point, and the next one fetches nothing
   that this one has stored; and it works beside a server on the same folder.
2. A packument is asked for in its full form, which serves the abbreviated one too.
3. A name that lives here is never asked for elsewhere (routing.py says which do).
4. What the lockfile promises of a tarball is compared with what the packument promises, and where
   those two cannot be compared, with the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from proxy import errors
from proxy.npm import choosing, names
from proxy.npm.choosing import Choice
from proxy.npm.lockfiles import Lockfile, Wanted
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.names import PackageName
from proxy.npm.policy import Origin
from proxy.registry.mirroring.mirror import Mirror
from proxy.registry.offline import settling
from proxy.registry.offline.bringing import Bringing
from proxy.registry.offline.errands import Errand, Job, Outcome, Report
from proxy.registry.offline.pacing import Halted
from proxy.storage.hosting import HostedPackage

_AT_ONCE = 24
_NO_VERSION = "there is no such version"

Where = Callable[[PackageName], Awaitable[Origin]]
"""Where a name lives, for whoever asks. Raises PackageNotFound if they may not know."""


class Hosted(Protocol):
    """The part of HostedIndex that tells what is published here."""

    async def package(self, name: str) -> HostedPackage | None: ...


class Prefetching:
    """Brings packages here, whoever asks for them."""

    def __init__(
        self,
        *,
        mirrors: Mapping[str, Mirror],
        bringing: Bringing,
        hosted: Hosted,
        at_once: int = _AT_ONCE,
    ) -> None:
        self._mirrors = mirrors
        self._bringing = bringing
        self._hosted = hosted
        self._at_once = at_once

    async def run(
        self,
        files: Sequence[Lockfile],
        fit: Sequence[Platform] | None,
        where: Where,
        report: Report,
        request_id: str = "",
    ) -> None:
        """Bring what these files name; `report` is told of every single thing.

        Optional packages for no platform of `fit` are passed over; None is every platform. Raises
        StorageAway if nothing can be stored any more, and Halted where its pace ends it; whatever
        else goes wrong is reported.
        """
        errand = Errand(fit=fit, report=report)
        errand.take(files)
        async with asyncio.TaskGroup() as group:
            work = _Work(self._mirrors, self._bringing, self._hosted, where, errand, request_id)
            workers = [group.create_task(work.go_on()) for _ in range(self._at_once)]
            await errand.jobs.join()
            for worker in workers:
                worker.cancel()
        if work.fault is not None:
            raise work.fault


class _Work:
    """What the workers of one prefetch share. After a `fault` that ends it they only clear up."""

    def __init__(
        self,
        mirrors: Mapping[str, Mirror],
        bringing: Bringing,
        hosted: Hosted,
        where: Where,
        errand: Errand,
        request_id: str,
    ) -> None:
        self._mirrors = mirrors
        self._bringing = bringing
        self._hosted = hosted
        self._where = where
        self._errand = errand
        self._request_id = request_id
        self.fault: errors.StorageAway | Halted | None = None

    async def go_on(self) -> None:
        """Do one job after the other, until cancelled."""
        while True:
            job = await self._errand.jobs.get()
            try:
                if self.fault is None:
                    await self._do(job)
            except (errors.StorageAway, Halted) as fault:
                self.fault = fault
            except errors.RegistryError as fault:
                self._give_up(job, fault)
            finally:
                self._errand.jobs.task_done()

    def _give_up(self, job: Job, fault: errors.RegistryError) -> None:
        if isinstance(fault, errors.NotFound):
            self._errand.miss(job, [*job.versions, *job.ranges], str(fault))
        else:
            self._errand.fail(job, str(fault))

    async def _do(self, job: Job) -> None:
        name = names.parse(job.name)
        origin = await self._where(name)
        if origin.takes_versions:
            job = await self._here(job, is_all=origin.is_hosted)
        if origin.uplink is not None:
            await self._there(job, name, self._mirrors[origin.uplink])

    async def _here(self, job: Job, *, is_all: bool) -> Job:
        """Settle what is published here; returns what an uplink may have."""
        package = await self._hosted.package(job.name)
        if package is None and is_all:
            # The very words for what may not be read: nobody learns which of both it is.
            raise errors.PackageNotFound(name=job.name)
        versions = {} if package is None else {v.version: v.manifest for v in package.versions}
        tags = {} if package is None else package.tags
        chosen = choosing.choose(versions, tags, exact=job.versions, specs=job.ranges)
        for version in versions.keys() & set(job.versions):
            self._errand.settle(f"{job.name}@{version}", Outcome.LIVES_HERE)
        for choice in self._errand.newly(job, chosen):
            self._errand.glance(choice)
            self._errand.settle(f"{job.name}@{choice.version}", Outcome.LIVES_HERE)
        if is_all:
            self._errand.miss(job, chosen.missing, f"{job.name} lives here, and {_NO_VERSION}")
            return job
        rest = tuple(each for each in job.wanted if each.version not in versions)
        # What is here already need not be at the uplink as well.
        asked = tuple(
            replace(each, is_optional=each.is_optional or each.range not in chosen.missing)
            for each in job.asked
        )
        return Job(job.name, rest, asked)

    async def _there(self, job: Job, name: PackageName, mirror: Mirror) -> None:
        """Settle what comes from an uplink.

        Of a package for another platform the packument is brought: without a lockfile clients ask
        for it, and wait long for one of which nothing is known.
        """
        due = self._errand.fitting(job)
        try:
            chosen = await self._bringing.choose(
                mirror, name, exact=job.versions, specs=job.ranges, request_id=self._request_id
            )
        except errors.StorageAway:
            raise
        except errors.RegistryError as fault:
            self._give_up(due, fault)
            return
        self._errand.miss(
            due, chosen.missing, f"{mirror.uplink.name} knows {name.full}, but {_NO_VERSION}"
        )
        found = {choice.version: choice for choice in chosen.choices}
        for wanted in due.wanted:
            if wanted.version in found:
                self._errand.glance(found[wanted.version])
                await self._tarball(name, mirror, found[wanted.version], wanted)
        for choice in self._errand.newly(due, chosen):
            self._errand.glance(choice)
            wanted = Wanted(name.full, choice.version, is_optional=job.is_optional)
            await self._tarball(name, mirror, choice, wanted)

    async def _tarball(
        self, name: PackageName, mirror: Mirror, choice: Choice, wanted: Wanted
    ) -> None:
        await settling.tarball(
            self._bringing,
            self._errand,
            (name, mirror.uplink, choice),
            wanted,
            request_id=self._request_id,
        )
