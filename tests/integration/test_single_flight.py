"""One request to the uplink however many clients ask, and what becomes of it when they leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Clock, Registry

CLIENTS = 200


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry in which nothing times out."""
    async with expect.patient(tmp_path / "data", uplink, clock) as running:
        yield running


async def test_200_clients_one_cold_packument(registry: Registry, uplink: FakeUplink) -> None:
    """200 clients who ask for one cold packument at once cost one request to the uplink."""
    expect.publish(uplink)

    answers = await asyncio.gather(*[registry.packument("ui") for _ in range(CLIENTS)])

    assert {answer.status for answer in answers} == {200}
    assert len({(answer.body, answer.headers["ETag"]) for answer in answers}) == 1
    assert uplink.count() == 1


async def test_200_clients_one_cold_tarball(registry: Registry, uplink: FakeUplink) -> None:
    """200 clients who ask for one cold tarball cost one request for it and one for its name."""
    data = expect.publish(uplink)

    answers = await asyncio.gather(*[registry.get(expect.TARBALL) for _ in range(CLIENTS)])

    assert {answer.status for answer in answers} == {200}
    assert all(answer.body == data for answer in answers)
    assert uplink.count(expect.TARBALL) == 1
    assert uplink.count() == 2


async def test_two_forms_are_two_questions(registry: Registry, uplink: FakeUplink) -> None:
    """The full and the abbreviated form of a packument are asked for once each."""
    expect.publish(uplink)

    answers = await asyncio.gather(
        *[registry.packument("ui", accept=accept) for accept in [FULL, ABBREVIATED] * 20]
    )

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 2
    assert uplink.count() == 2


async def test_one_revalidation_for_all(registry: Registry, uplink: FakeUplink) -> None:
    """100 clients who ask for one stale packument at once cost one conditional request."""
    expect.publish(uplink)
    await registry.packument("ui")
    registry.clock.advance(minutes=6)

    answers = await asyncio.gather(*[registry.packument("ui") for _ in range(100)])

    assert {answer.status for answer in answers} == {200}
    assert not any(expect.is_stale(answer) for answer in answers)
    assert uplink.count() == 2


async def test_one_404_for_all(registry: Registry, uplink: FakeUplink) -> None:
    """100 clients who ask for a package that does not exist cost one request."""
    answers = await asyncio.gather(*[registry.packument("ui") for _ in range(100)])

    assert {answer.status for answer in answers} == {404}
    assert uplink.count() == 1


async def test_a_client_that_leaves_cancels_nobodys_download(
    registry: Registry, uplink: FakeUplink
) -> None:
    """When the client that began a download hangs up in its middle, the other gets all of it."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.drip(seconds=0.01, size=8000))
    first = asyncio.create_task(_first_bytes(registry))
    second = asyncio.create_task(registry.get(expect.TARBALL))

    left_with = await first
    got = await second

    assert 0 < len(left_with) < len(data)
    assert (got.status, got.body == data) == (200, True)
    assert uplink.count(expect.TARBALL) == 1


async def test_a_download_ends_though_everybody_has_left(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A tarball whose only reader has left is kept for the next one."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.drip(seconds=0.01, size=8000))

    await _first_bytes(registry)
    await expect.until(lambda: _is_kept(registry, data))
    got = await registry.get(expect.TARBALL)

    assert got.body == data
    assert uplink.count(expect.TARBALL) == 1


async def test_readers_join_at_any_moment(registry: Registry, uplink: FakeUplink) -> None:
    """Whoever comes while a tarball arrives reads it from its start, at its own pace."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.drip(seconds=0.01, size=4000))
    readers = []
    for _ in range(20):
        readers.append(asyncio.create_task(registry.get(expect.TARBALL)))
        await asyncio.sleep(0.03)

    answers = await asyncio.gather(*readers)

    assert all(answer.body == data for answer in answers)
    assert uplink.count(expect.TARBALL) == 1


async def test_a_range_of_an_arriving_tarball(registry: Registry, uplink: FakeUplink) -> None:
    """A range of a tarball that is not held yet is sent as 206, and costs one request."""
    data = expect.publish(uplink)

    got = await registry.get(expect.TARBALL, range="bytes=150000-150099")

    assert (got.status, got.body) == (206, data[150_000:150_100])
    assert got.headers["Content-Range"] == f"bytes 150000-150099/{len(data)}"
    assert uplink.count(expect.TARBALL) == 1


async def test_stopping_ends_what_is_in_the_air(registry: Registry, uplink: FakeUplink) -> None:
    """A stop in the middle of a download and of a question leaves nothing half-done behind."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.stall_mid_body)
    reading = asyncio.create_task(expect.fetch(registry, expect.TARBALL))
    await uplink.wait_for(1, expect.TARBALL)
    uplink.pause()
    asking = asyncio.create_task(expect.fetch(registry, "/other"))
    await uplink.wait_for(1, "/other")

    await registry.stop()
    got, refused = await asyncio.gather(reading, asking, return_exceptions=True)
    uplink.resume()

    assert isinstance(refused, AssertionError) or refused.status == 503  # cut, or told
    assert isinstance(got, AssertionError) or not (got.status == 200 and got.is_complete)
    assert expect.unfinished(registry) == []
    assert not expect.has(registry, data)


async def _first_bytes(registry: Registry) -> bytes:
    """Read a little of the tarball on a connection of its own, then hang up."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(registry.url + expect.TARBALL) as reply,
    ):
        return await reply.content.readany()


async def _is_kept(registry: Registry, data: bytes) -> bool:
    return expect.has(registry, data)
