"""A data folder with one mirror rule, its parts open, and a clock that is moved by hand."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from proxy.app import mirrors
from proxy.app.storage import Storage
from proxy.app.stories import Mirroring
from proxy.config.settings import MirrorRule
from proxy.npm import names, selectors
from proxy.npm.forms import Form
from proxy.registry.offline.timetable import Timetable
from proxy.storage.mirror_runs import MirrorRun
from proxy.web.metrics import Metrics
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry


class Node:
    """What a worker has. The rule's time of day is within the hour; `changes` are to the rule."""

    timetable: Timetable
    storage: Storage
    mirroring: Mirroring

    def __init__(
        self,
        folder: Path,
        uplink: FakeUplink,
        *packages: str,
        clock: Clock | None = None,
        **changes: Any,
    ) -> None:
        registry = Registry(folder / "data", uplink.url, clock=clock)
        self.clock = registry.clock
        at = (self.clock.now() + timedelta(hours=1)).astimezone().time().replace(second=0)
        rule = MirrorRule(
            name="nightly",
            packages=tuple(map(selectors.parse, packages)),
            at=changes.pop("at", (at.replace(microsecond=0),)),
        )
        self.config = replace(registry.config, mirror=(replace(rule, **changes),))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        clocks: dict[str, Any] = {"clock": self.clock.now, "monotonic": self.clock.monotonic}
        metrics = Metrics()
        self.storage = Storage.of(self.config, **clocks)
        self.mirroring = Mirroring.of(self.config, self.storage, metrics, **clocks)
        await self.storage.open(self._stack)
        await self.mirroring.open(self._stack)
        self.timetable = mirrors.timetable(
            self.config, self.storage, self.mirroring, metrics, **clocks
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def hold(self, *packages: str) -> None:
        """Have the packuments of these here, as if clients had asked for them, one by one."""
        for name in packages:
            await self.mirroring.mirrors["npm"].packument(names.parse(name), Form.FULL)

    async def versions(self, name: str) -> list[str]:
        """The versions of which the tarballs are held."""
        return sorted(each.version for each in await self.storage.index.tarballs(name))

    @property
    def last(self) -> MirrorRun:
        """The last run, or what is known of the rule."""
        (standing,) = self.timetable.standings()
        assert standing.last is not None
        return standing.last

    async def pass_its_time(self, hours: float = 2) -> None:
        """See the rule, be two hours later, and look again."""
        await self.timetable.look()
        self.clock.advance(hours=hours)
        await self.timetable.look()
