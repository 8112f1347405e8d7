"""Rows 5 to 7 of the fault matrix: the uplink is slow, or falls silent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.web import keys
from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry

SILENT = {
    "row_05_slow_headers": faults.slow_headers,
    "row_05_no_answer": faults.black_hole,
    "row_06_slow_body": faults.drip(seconds=0.1),
    "row_07_stall_mid_body": faults.stall_mid_body,
}


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry with little patience, so that the tests need none."""
    hasty = Registry(tmp_path / "data", uplink.url, clock=clock)
    second = timedelta(seconds=1)
    hasty.set("uplink", timeout=second / 3, connect_timeout=second / 3, deadline=second)
    hasty.set("cache", soft_deadline=second / 2)
    async with hasty:
        yield hasty


@pytest.fixture(params=SILENT.values(), ids=SILENT.keys())
def silent(request: pytest.FixtureRequest) -> Script:
    """Every way to make us wait."""
    fault: Script = request.param
    return fault


async def test_rows_05_to_07_warm(registry: Registry, uplink: FakeUplink, silent: Script) -> None:
    """While the uplink makes us wait the copy is sent, marked as stale."""
    await expect.stale_while(registry, uplink, silent)


async def test_rows_05_to_07_cold(registry: Registry, uplink: FakeUplink, silent: Script) -> None:
    """Without a copy a packument that does not come is a 504."""
    await expect.refused_while(registry, uplink, silent, 504)


async def test_row_05_slow_headers_tarball_cold(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball whose headers do not come is a 504."""
    await expect.tarball_broken_while(registry, uplink, faults.slow_headers, 504)


async def test_row_06_slow_body_tarball_cold(registry: Registry, uplink: FakeUplink) -> None:
    """Nobody waits longer for the first byte than our patience, though the download goes on."""
    assert registry.app is not None
    registry.app[keys.READING]._tarballs._patience = timedelta(seconds=0.1)
    data = expect.publish(uplink)
    uplink.script(expect.TARBALL, faults.drip(seconds=0.01, size=2000))

    refused = await expect.fetch(registry, expect.TARBALL)
    got = await _once_it_came(registry)

    assert (refused.status, refused.is_complete) == (504, True)
    assert got == data
    assert uplink.count(expect.TARBALL) == 1


async def test_row_07_stall_mid_body_tarball_cold(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball that stalls for good is cut, and nothing of it is kept."""
    await expect.tarball_broken_while(registry, uplink, faults.stall_mid_body, 200)


async def test_row_07_stall_mid_body_is_resumed(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball that stalls once is asked for from where it stalled, and comes whole."""
    asked = await expect.tarball_whole_after(registry, uplink, faults.stall_mid_body)

    assert asked == 2
    assert "range" in uplink.seen(expect.TARBALL)[1].headers


async def test_soft_deadline_waits_once(registry: Registry, uplink: FakeUplink) -> None:
    """When one request has waited in vain, the next ones get their copies without waiting."""
    for name in ("a", "b"):
        uplink.publish(name, "1.0.0")
        await registry.packument(name)
    registry.clock.advance(minutes=6)
    uplink.pause()

    first = await registry.packument("a")
    others = [await registry.packument("b") for _ in range(20)]
    uplink.resume()

    assert expect.is_stale(first)
    assert all(expect.is_stale(answer) for answer in others)
    assert "slow" in others[-1].headers["Cache-Status"]
    assert uplink.count("/b") == 2


async def test_slowness_is_forgiven(registry: Registry, uplink: FakeUplink) -> None:
    """However many ask while the uplink is slow, it is given its time again ten seconds later."""
    uplink.publish("a", "1.0.0")
    await registry.packument("a")
    registry.clock.advance(minutes=6)
    uplink.pause()
    await registry.packument("a")
    registry.clock.advance(seconds=9)
    await registry.packument("a")
    await uplink.drop_connections()
    uplink.resume()
    registry.clock.advance(seconds=2)

    answer = await registry.packument("a")

    assert not expect.is_stale(answer), answer.headers


async def _once_it_came(registry: Registry) -> bytes:
    got = await registry.get(expect.TARBALL)
    while got.status == 504:
        got = await registry.get(expect.TARBALL)
    assert got.status == 200
    return got.body
