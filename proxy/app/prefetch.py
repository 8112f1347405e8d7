"""Prefetching, put together: for the server, and for a command on the same data folder."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from proxy.app.storage import Storage, utcnow
from proxy.app.stories import Mirroring
from proxy.config.settings import Config
from proxy.npm.lockfiles import Lockfile
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.names import PackageName
from proxy.npm.policy import Origin
from proxy.registry.offline.bringing import Bringing
from proxy.registry.offline.errands import Report
from proxy.registry.offline.prefetching import Prefetching
from proxy.registry.offline.warming import Warming
from proxy.registry.people.permissions import Permissions
from proxy.web.metrics import Metrics

# Node.js's words for what Python calls otherwise.
_CPUS = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "i686": "ia32", "i386": "ia32"}


def warming(
    storage: Storage,
    mirroring: Mirroring,
    permissions: Permissions,
    *,
    clock: Callable[[], datetime],
) -> Warming:
    """What a running server does of it."""
    story = prefetching(storage, mirroring, clock=clock)
    return Warming(prefetching=story, permissions=permissions, here=this_machine())


def prefetching(
    storage: Storage, mirroring: Mirroring, *, clock: Callable[[], datetime] = utcnow
) -> Prefetching:
    """The story, on these parts."""
    return Prefetching(
        mirrors=mirroring.mirrors,
        hosted=storage.hosted,
        bringing=Bringing(
            index=storage.index,
            blobs=storage.blobs,
            press=storage.press,
            downloads=mirroring.downloads,
            has_room=storage.upkeep.has_room,
            clock=clock,
        ),
    )


async def prefetch(
    config: Config, files: Sequence[Lockfile], fit: Sequence[Platform] | None, report: Report
) -> None:
    """Bring what the files name into this configuration's data folder, which is made if need be.

    A server may run on it. Raises what Prefetching.run raises.
    """
    config.storage.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    storage = Storage.of(config)
    mirroring = Mirroring.of(config, storage, Metrics(), clock=utcnow, monotonic=time.monotonic)

    async def where(name: PackageName) -> Origin:
        return (await mirroring.routing.guard()).origin_of(name.full)

    async with AsyncExitStack() as stack:
        await storage.open(stack)
        await mirroring.open(stack)
        await prefetching(storage, mirroring).run(files, fit, where, report)


def this_machine() -> Platform:
    """The platform we run on, in Node.js's words."""
    machine = platform.machine().lower()
    libc = "glibc" if platform.libc_ver()[0] == "glibc" else "musl"
    is_linux = sys.platform.startswith("linux")
    return Platform(sys.platform, _CPUS.get(machine, machine), libc if is_linux else None)
