"""Rows 40 to 42 of the fault matrix: many clients, and an uplink that fails all of them at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.npm.forms import Form
from proxy.web import keys
from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry

CLIENTS = 200


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry in which nothing times out."""
    async with expect.patient(tmp_path / "data", uplink, clock) as running:
        yield running


async def test_row_40_slow_start(registry: Registry, uplink: FakeUplink) -> None:
    """200 clients who wait for one slow, cold packument cost the uplink one request."""
    expect.publish(uplink)
    uplink.pause()
    waiting = [asyncio.create_task(registry.packument("ui")) for _ in range(CLIENTS)]
    await uplink.wait_for(1, "/ui")
    await expect.until(lambda: _all_wait(registry))
    uplink.resume()

    answers = await asyncio.gather(*waiting)

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert uplink.count() == 1


async def test_row_40_the_first_client_leaves(registry: Registry, uplink: FakeUplink) -> None:
    """When the client that asked first hangs up, the others still get the one answer."""
    expect.publish(uplink)
    uplink.pause()
    first = asyncio.create_task(registry.packument("ui"))
    await uplink.wait_for(1, "/ui")
    others = [asyncio.create_task(registry.packument("ui")) for _ in range(5)]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    uplink.resume()

    answers = await asyncio.gather(*others)

    assert {answer.status for answer in answers} == {200}
    assert uplink.count() == 1


async def test_row_40_everybody_leaves(registry: Registry, uplink: FakeUplink) -> None:
    """An answer that nobody waits for any more is kept for the next one who asks."""
    expect.publish(uplink)
    uplink.pause()
    only = asyncio.create_task(registry.packument("ui"))
    await uplink.wait_for(1, "/ui")
    only.cancel()
    await asyncio.gather(only, return_exceptions=True)
    uplink.resume()

    answer = await registry.packument("ui")

    assert answer.status == 200
    assert uplink.count() == 1


async def test_row_41_the_answer_all_wait_for_fails_once(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A failure while 200 wait costs one more request, and nobody notices."""
    expect.publish(uplink)
    uplink.script("/ui", faults.status(502))
    uplink.pause()
    waiting = [asyncio.create_task(registry.packument("ui")) for _ in range(CLIENTS)]
    await uplink.wait_for(1, "/ui")
    uplink.resume()

    answers = await asyncio.gather(*waiting)

    assert {answer.status for answer in answers} == {200}
    assert uplink.count() == 2


async def test_row_41_the_answer_all_wait_for_fails_for_good(
    registry: Registry, uplink: FakeUplink, caplog: pytest.LogCaptureFixture
) -> None:
    """When it fails for good all 200 are told so, after two requests; none retries for itself."""
    uplink.script("/ui", faults.status(502), forever=True)
    uplink.pause()
    waiting = [asyncio.create_task(registry.packument("ui")) for _ in range(CLIENTS)]
    await uplink.wait_for(1, "/ui")
    await expect.until(lambda: _all_wait(registry))
    uplink.resume()

    answers = await asyncio.gather(*waiting)

    assert {answer.status for answer in answers} == {502}
    assert uplink.count() == 2
    assert not [line for line in caplog.records if line.levelno >= logging.ERROR]


async def test_row_41_tarball_fails_while_all_wait(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball that is cut while 50 clients read it is resumed once, for all of them."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.truncate_length)
    uplink.pause()
    waiting = [asyncio.create_task(registry.get(expect.TARBALL)) for _ in range(50)]
    await uplink.wait_for(1, expect.TARBALL)
    uplink.resume()

    answers = await asyncio.gather(*waiting)

    assert all(answer.body == data for answer in answers)
    assert uplink.count(expect.TARBALL) == 2


async def test_row_42_an_hour_of_outage(registry: Registry, uplink: FakeUplink) -> None:
    """While an uplink is down for an hour the warm are served, and it is asked now and then."""
    expect.publish(uplink)
    await registry.packument("ui")
    await registry.get(expect.TARBALL)
    uplink.script(lambda _: True, faults.refuse, forever=True)
    before = uplink.count()
    statuses = set()

    for _ in range(60):
        registry.clock.advance(minutes=1)
        for _ in range(10):
            statuses.add((await registry.packument("ui")).status)
            statuses.add((await registry.get(expect.TARBALL)).status)

    assert statuses == {200}
    assert uplink.count() - before <= 60 * 2


async def test_row_42_nobody_pays_for_a_silent_uplink(
    registry: Registry, uplink: FakeUplink
) -> None:
    """When an uplink never answers, of 100 requests for stale copies one waits for it."""
    await registry.stop()
    registry.set("cache", soft_deadline=timedelta(seconds=1))
    await registry.start()
    names = [f"ui-{number}" for number in range(20)]
    for name in names:
        uplink.publish(name, "1.0.0")
        await registry.packument(name)
    registry.clock.advance(minutes=6)
    uplink.script(lambda _: True, faults.black_hole, forever=True)
    await registry.packument(names[0])  # waits for the soft deadline

    async with asyncio.timeout(30):  # a hundred soft deadlines would take a hundred seconds
        answers = [await registry.packument(name) for name in names * 5]

    assert all(expect.is_stale(answer) for answer in answers)


async def _all_wait(registry: Registry) -> bool:
    """Whether all clients have come as far as to wait for the flight."""
    assert registry.app is not None
    flight = (
        registry.app[keys.READING]
        ._packuments._routing.mirrors["npm"]
        ._flights.get(("ui", Form.FULL))
    )
    # Each waiter has a callback at the flight, and Flights has one.
    return flight is not None and len(flight._callbacks or ()) == CLIENTS + 1
