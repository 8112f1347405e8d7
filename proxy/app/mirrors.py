"""Mirror rules, put together: for the server, and for a command on the same data folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path

from proxy import errors
from proxy.app import uplinks
from proxy.app.prefetch import this_machine
from proxy.app.storage import Storage, utcnow
from proxy.app.stories import Mirroring
from proxy.config.settings import Config
from proxy.config.settings import MirrorRule as RuleConfig
from proxy.npm import lockfiles
from proxy.npm.lockfiles import Lockfile
from proxy.npm.names import PackageName
from proxy.npm.policy import Origin
from proxy.registry.mirroring.downloads import Downloads
from proxy.registry.mirroring.hashing import Hashing
from proxy.registry.mirroring.mirror import Mirror
from proxy.registry.offline.bringing import Bringing
from proxy.registry.offline.pacing import Pace
from proxy.registry.offline.prefetching import Prefetching
from proxy.registry.offline.runs import AT_ONCE, MirrorRule, Parts, Runs
from proxy.registry.offline.timetable import Timetable
from proxy.storage.mirror_runs import SqliteMirrorRuns
from proxy.upstream.metered import MeteredUplink
from proxy.web.metrics import Metrics

# What a lockfile's name ends with; people put the project's before it: web.package-lock.json.
_ENDINGS = (
    *("package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock"),
    *(".cdx.json", ".spdx.json"),
)
_PASSED_OVER = "node_modules"


class LocalTime(tzinfo):
    """The local time of the machine, with the changes of its clocks."""

    def utcoffset(self, dt: datetime | None) -> timedelta:
        naive = datetime.now() if dt is None else dt.replace(tzinfo=None)  # noqa: DTZ005
        # astimezone() would take a time that clocks pass over for an earlier one, not a later one.
        instant = datetime.fromtimestamp(naive.timestamp(), UTC)
        return naive.replace(tzinfo=UTC) - instant

    def dst(self, dt: datetime | None) -> None:  # noqa: ARG002  # tzinfo's signature
        return None

    def tzname(self, dt: datetime | None) -> str:
        naive = datetime.now() if dt is None else dt.replace(tzinfo=None)  # noqa: DTZ005
        return naive.astimezone().tzname() or ""

    def fromutc(self, dt: datetime) -> datetime:
        return dt.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)


def timetable(
    config: Config,
    storage: Storage,
    mirroring: Mirroring,
    metrics: Metrics,
    *,
    clock: Callable[[], datetime] = utcnow,
    monotonic: Callable[[], float] = time.monotonic,
) -> Timetable:
    """The story, on these parts."""

    async def where(name: PackageName) -> Origin:
        return (await mirroring.routing.guard()).origin_of(name.full)

    return Timetable(
        rules=[_rule(each) for each in config.mirror],
        runs=Runs(
            uplinks=[mirror.uplink for mirror in mirroring.mirrors.values()],
            index=storage.index,
            parts=partial(_parts, config, storage, mirroring, clock, monotonic),
            where=where,
            monotonic=monotonic,
        ),
        kept=SqliteMirrorRuns(storage.index.database),
        leases=storage.leases,
        clock=clock,
        zone=LocalTime(),
        on_end=lambda rule, result: metrics.mirrored(rule, result.end.value, result.fetched_bytes),
    )


@asynccontextmanager
async def _parts(
    config: Config,
    storage: Storage,
    mirroring: Mirroring,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
    pace: Pace,
) -> AsyncIterator[Parts]:
    """What one run asks with: as what answers clients, but counted."""
    downloads = Downloads(
        index=storage.index, blobs=storage.blobs, leases=storage.leases, clock=clock
    )
    has_room = storage.upkeep.has_room
    mirrors = {
        each.name: Mirror(
            uplink=uplink,
            index=storage.index,
            press=storage.press,
            leases=storage.leases,
            hashing=Hashing(
                uplink=uplink,
                index=storage.index,
                blobs=storage.blobs,
                downloads=downloads,
                has_room=has_room,
            ),
            ages=uplinks.ages(config, each),
            clock=clock,
            monotonic=monotonic,
        )
        for each in config.uplinks
        for uplink in [MeteredUplink(mirroring.mirrors[each.name].uplink, pace)]
    }
    bringing = Bringing(
        index=storage.index,
        blobs=storage.blobs,
        press=storage.press,
        downloads=downloads,
        has_room=has_room,
        clock=clock,
        before_asking=pace.wait,
    )
    prefetching = Prefetching(
        mirrors=mirrors, bringing=bringing, hosted=storage.hosted, at_once=AT_ONCE
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(downloads.close)
        for mirror in mirrors.values():
            stack.push_async_callback(mirror.close)
        yield Parts(mirrors, bringing, prefetching)


def _rule(rule: RuleConfig) -> MirrorRule:
    return MirrorRule(
        name=rule.name,
        packages=rule.packages,
        lockfiles=partial(asyncio.to_thread, _read_folder, rule.lockfiles),
        times=rule.at,
        fit=rule.platforms or (this_machine(),),
        max_requests=rule.max_requests,
        max_bytes_per_second=rule.max_bytes_per_second,
    )


# --- lockfiles ------------------------------------------------------------------------------------


def _read_folder(folder: Path | None) -> tuple[Sequence[Lockfile], Sequence[str]]:
    """Every lockfile in a folder, and why the others cannot be read."""
    found: list[Lockfile] = []
    problems: list[str] = []
    if folder is None:
        return found, problems
    if not folder.is_dir():
        return found, [f"there is no folder {folder}"]
    for file in sorted(_lockfiles(folder)):
        try:
            found.append(lockfiles.read(str(file), _bytes(file)))
        except OSError as error:
            problems.append(f"{file} cannot be read: {error.strerror}")
        except errors.InvalidRequest as error:
            problems.append(str(error))
    return found, problems


def _lockfiles(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        inside = file.relative_to(folder).parts
        is_passed_over = _PASSED_OVER in inside or any(part.startswith(".") for part in inside)
        if file.name.endswith(_ENDINGS) and not is_passed_over and file.is_file():
            yield file


def _bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(lockfiles.LARGEST_BYTES + 1)


# --- the command ----------------------------------------------------------------------------------


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Timetable]:
    """The story with everything it needs open, beside a server or without one."""
    config.storage.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage, metrics = Storage.of(config), Metrics()
    mirroring = Mirroring.of(config, storage, metrics, clock=utcnow, monotonic=time.monotonic)
    async with AsyncExitStack() as stack:
        await storage.open(stack)
        await mirroring.open(stack)
        yield timetable(config, storage, mirroring, metrics)
