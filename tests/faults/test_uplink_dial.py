"""Rows 1 to 4 of the fault matrix: the uplink cannot be reached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.certificates import Authority
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry


@pytest.fixture
def swallowed() -> Iterator[str]:
    """The URL of an address whose dial is never answered."""
    with faults.unreachable() as url:
        yield url


@asynccontextmanager
async def moved(registry: Registry, uplink_url: str) -> AsyncIterator[Registry]:
    """The same data folder, asking another address."""
    await registry.stop()
    registry.set(
        "uplink",
        url=uplink_url,
        connect_timeout=timedelta(seconds=0.5),
        timeout=timedelta(seconds=0.5),
    )
    await registry.start()
    yield registry


async def warm(registry: Registry, uplink: FakeUplink) -> None:
    expect.publish(uplink)
    assert (await registry.packument(expect.NAME)).status == 200
    registry.clock.advance(minutes=6)


async def test_row_01_connect_refused_warm(registry: Registry, uplink: FakeUplink) -> None:
    """While the uplink refuses connections the copy is sent, marked as stale."""
    await expect.stale_while(registry, uplink, None)


async def test_row_01_connect_refused_cold(registry: Registry, uplink: FakeUplink) -> None:
    """Without a copy a refused connection is a 502 that says when to try again."""
    await expect.refused_while(registry, uplink, None, 502)


async def test_row_01_connect_refused_tarball_cold(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball that is not held is a 502 while connections are refused, and nothing is kept."""
    await expect.tarball_broken_while(registry, uplink, None, 502)


async def test_row_01_connect_refused_tarball_warm(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball that is held is sent whole, whatever has become of the uplink."""
    data = expect.publish(uplink)
    await expect.fetch(registry, expect.TARBALL)
    await uplink.stop()
    registry.clock.advance(days=400)
    await registry.restart()

    got = await expect.fetch(registry, expect.TARBALL)

    assert (got.status, got.body == data) == (200, True)


async def test_row_01_the_breaker_opens_after_five_failures(
    registry: Registry, uplink: FakeUplink
) -> None:
    """After five failures in a row the uplink is not asked at all, and again half a minute on."""
    uplink.script(lambda _: True, faults.refuse, forever=True)
    for number in range(8):
        await registry.packument(f"ui-{number}")
    asked = uplink.count()
    refused = await registry.packument("ui-9")
    asked_when_open = uplink.count()
    uplink.clear_scripts()
    uplink.publish("ui-9", "1.0.0")
    registry.clock.advance(seconds=31)

    probed = await registry.packument("ui-9")

    assert (refused.status, asked_when_open) == (503, asked)
    assert probed.status == 200


async def test_row_02_dns_failure_warm(registry: Registry, uplink: FakeUplink) -> None:
    """While the uplink's name does not resolve the copy is sent, marked as stale."""
    await warm(registry, uplink)
    async with moved(registry, "http://registry.invalid"):
        answer = await registry.packument(expect.NAME)

    assert (answer.status, expect.is_stale(answer)) == (200, True)


async def test_row_02_dns_failure_cold(tmp_path: Path, clock: Clock) -> None:
    """Without a copy a name that does not resolve is a 502."""
    async with Registry(tmp_path, "http://registry.invalid", clock=clock) as registry:
        answer = await registry.packument(expect.NAME)

    assert answer.status == 502
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize(
    ("facts", "is_known"),
    [({}, False), ({"days": 0}, True), ({"address": "127.0.0.2"}, True)],
    ids=["unknown authority", "expired", "another host's"],
)
async def test_row_03_tls_that_cannot_be_trusted_cold(
    tmp_path: Path, clock: Clock, facts: dict[str, Any], is_known: bool
) -> None:
    """A certificate that does not prove who the uplink is makes a 502, and no word is said."""
    authority = Authority(tmp_path)
    async with FakeUplink(tls=authority.server(**facts)) as uplink:
        expect.publish(uplink)
        registry = Registry(tmp_path / "data", uplink.url, clock=clock)
        registry.set("uplink", ca_file=authority.ca_file if is_known else None)
        async with registry:
            answer = await registry.packument(expect.NAME)

        assert answer.status == 502
        assert "TLS" in answer.json()["error"]
        assert uplink.requests == []


async def test_row_03_tls_that_cannot_be_trusted_warm(tmp_path: Path, clock: Clock) -> None:
    """When a certificate turns bad the copy is sent, marked as stale."""
    authority = Authority(tmp_path)
    async with FakeUplink(tls=authority.server()) as uplink:
        registry = Registry(tmp_path / "data", uplink.url, clock=clock)
        registry.set("uplink", ca_file=authority.ca_file)
        async with registry:
            await warm(registry, uplink)
        registry.set("uplink", ca_file=None)
        async with registry:
            answer = await registry.packument(expect.NAME)

    assert (answer.status, expect.is_stale(answer)) == (200, True)


async def test_row_04_connect_black_hole_warm(
    registry: Registry, uplink: FakeUplink, swallowed: str
) -> None:
    """While the dial is swallowed the copy is sent, marked as stale."""
    await warm(registry, uplink)
    async with moved(registry, swallowed):
        answer = await registry.packument(expect.NAME)

    assert (answer.status, expect.is_stale(answer)) == (200, True)


async def test_row_04_connect_black_hole_cold(
    registry: Registry, uplink: FakeUplink, swallowed: str
) -> None:
    """Without a copy a swallowed dial is a 504."""
    async with moved(registry, swallowed):
        answer = await registry.packument(expect.NAME)

    assert answer.status == 504
    assert "Retry-After" in answer.headers


async def test_row_04_connect_black_hole_tarball_cold(
    registry: Registry, uplink: FakeUplink, swallowed: str
) -> None:
    """A tarball whose host swallows the dial is a 504, and its packument is still sent."""
    uplink.publish(expect.NAME, "1.0.0", tarball_url=swallowed + expect.TARBALL)
    registry.set("uplink", origins=(swallowed,))
    async with moved(registry, uplink.url):
        answer = await registry.get(expect.TARBALL)
        packument = await registry.packument(expect.NAME)

    assert answer.status == 504
    assert packument.status == 200
