"""Readiness: what is looked at, how often, and what counts as a fault."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from proxy import errors
from proxy.web.ops import Probe

AT = datetime(2026, 5, 4, tzinfo=UTC)


class Part:
    """A part that can be looked at; `fault` is what it raises."""

    def __init__(self) -> None:
        self.looks = 0
        self.fault: Exception | None = None

    async def check(self) -> None:
        self.looks += 1
        if self.fault is not None:
            raise self.fault


class Clock:
    """A clock to be moved."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now


def probe(part: Part, clock: Clock, uplinks: dict[str, str] | None = None) -> Probe:
    return Probe(
        version="1", checks={"index": part.check}, uplinks=lambda: uplinks or {}, clock=clock
    )


async def test_storage_that_works_is_ready() -> None:
    """Without a fault the worker is ready."""
    seen = await probe(Part(), Clock()).readiness()

    assert seen.is_ready
    assert seen.faults == {}


async def test_storage_that_fails_is_not_ready() -> None:
    """A part that cannot be used is named with its reason."""
    part = Part()
    part.fault = errors.StorageAway(reason="disk gone")

    seen = await probe(part, Clock()).readiness()

    assert not seen.is_ready
    assert seen.faults == {"index": "storage: disk gone"}


async def test_an_uplink_that_is_away_is_told_and_still_ready() -> None:
    """What is held can be served without uplinks, so they are no fault."""
    seen = await probe(Part(), Clock(), {"main": "open"}).readiness()

    assert seen.is_ready
    assert seen.uplinks == {"main": "open"}


async def test_many_probes_look_once_a_second() -> None:
    """However many ask at once, storage is written to once; a second later again."""
    part, clock = Part(), Clock()
    probed = probe(part, clock)

    await asyncio.gather(*(probed.readiness() for _ in range(20)))
    clock.now += timedelta(seconds=0.5)
    await probed.readiness()
    first = part.looks
    clock.now += timedelta(seconds=1)
    await probed.readiness()

    assert (first, part.looks) == (1, 2)


async def test_a_clock_that_goes_back_does_not_stop_the_looking() -> None:
    """After a jump of the clock into the past the next probe looks again."""
    part, clock = Part(), Clock()
    probed = probe(part, clock)
    await probed.readiness()

    clock.now -= timedelta(days=1)
    await probed.readiness()

    assert part.looks == 2
