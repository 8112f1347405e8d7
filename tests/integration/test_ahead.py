"""Asking ahead: what a cold client will ask is asked for now, within bounds, where it lives."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from proxy.npm.policy import EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.registry.mirroring.ahead import Ahead
from proxy.upstream import breaker
from proxy.web import keys
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, Registry


def ahead(registry: Registry) -> Ahead:
    assert registry.app is not None
    found = registry.app[keys.AHEAD]
    assert isinstance(found, Ahead)
    return found


async def quiet(registry: Registry) -> None:
    """Wait until nothing more is asked ahead."""
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
        while len(ahead(registry)):
            await asyncio.sleep(0.005)


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.005)


async def cold(registry: Registry, name: str, **headers: str) -> None:
    """A client that has nothing asks for a packument; then all that follows from it."""
    assert (await registry.packument(name, **headers)).status == 200
    await quiet(registry)


def packuments(uplink: FakeUplink, prefix: str) -> int:
    """How many packuments were asked for whose names begin so."""
    return sum("/-/" not in seen.decoded_path for seen in uplink.seen(prefix))


async def counted(registry: Registry, outcome: str) -> float:
    text = (await registry.get("/-/metrics")).body.decode()
    line = re.search(
        rf'^packhouse_ahead_requests_total{{outcome="{outcome}"}} (\S+)$', text, re.MULTILINE
    )
    return float(line[1]) if line else 0


@pytest.fixture
def chain(uplink: FakeUplink) -> None:
    """Publish a, which needs b, which needs c."""
    uplink.publish("a", "1.0.0", dependencies={"b": "^1.0.0"})
    uplink.publish("b", "1.0.0", dependencies={"c": "~1.0.0"})
    uplink.publish("b", "2.0.0")
    uplink.publish("c", "1.0.0")


@pytest.mark.usefixtures("chain")
async def test_the_whole_tree(registry: Registry, uplink: FakeUplink) -> None:
    """One cold packument has the packuments of all that it needs asked for, down to the leaves."""
    await cold(registry, "a")
    assert [uplink.count(f"/{name}") for name in "abc"] == [1, 1, 1]


@pytest.mark.usefixtures("chain")
async def test_then_they_are_hits(registry: Registry, uplink: FakeUplink) -> None:
    """What was asked ahead is answered without asking again."""
    await cold(registry, "a")
    reply = await registry.packument("c")
    assert reply.headers["cache-status"].endswith("; hit")
    assert packuments(uplink, "/c") == 1


@pytest.mark.usefixtures("chain")
async def test_in_the_form_the_client_asks_for(registry: Registry, uplink: FakeUplink) -> None:
    """A client that wants abbreviated packuments has abbreviated ones asked for."""
    await cold(registry, "a", accept=ABBREVIATED)
    [asked] = uplink.seen("/c")
    assert "install-v1" in asked.headers["accept"]


@pytest.mark.usefixtures("chain")
async def test_tarballs_of_what_clients_ask_for(registry: Registry, uplink: FakeUplink) -> None:
    """The tarball that a range takes is fetched when a client asks for its packument."""
    await cold(registry, "a")
    assert uplink.count("/b/-/") == 0
    await registry.packument("b")
    await quiet(registry)
    assert [seen.decoded_path for seen in uplink.seen("/b/-/")] == ["/b/-/b-1.0.0.tgz"]
    assert uplink.count("/c/-/") == 0
    reply = await registry.get("/b/-/b-1.0.0.tgz")
    assert reply.body == uplink.tarballs["/b/-/b-1.0.0.tgz"]
    assert uplink.count("/b/-/") == 1


async def test_the_projects_own_versions_are_not_guessed(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Of a package that nothing we know of needs no tarball is fetched."""
    uplink.publish("a", "1.0.0")
    await cold(registry, "a")
    assert uplink.count("/a/-/") == 0


async def test_a_circle_ends(registry: Registry, uplink: FakeUplink) -> None:
    """Packages that need each other are asked for once each."""
    uplink.publish("a", "1.0.0", dependencies={"b": "*"})
    uplink.publish("b", "1.0.0", dependencies={"a": "*"})
    await cold(registry, "a")
    assert (packuments(uplink, "/a"), packuments(uplink, "/b")) == (1, 1)


async def test_claimed_names_are_asked_of_nobody(registry: Registry, uplink: FakeUplink) -> None:
    """A dependency whose name lives here is not asked of the uplink, whatever it has."""
    claimed = Rule(("@acme/*",), HOSTED)
    everything = Rule((EVERYTHING,), Origin("npm"))
    rules = Rules((claimed, everything))
    registry.config = replace(registry.config, rules=rules)
    await registry.restart()
    uplink.publish("a", "1.0.0", dependencies={"@acme/secret": "*", "alias": "npm:@acme/other@1"})
    uplink.publish("@acme/secret", "1.0.0")
    await cold(registry, "a")
    assert uplink.count("/@acme") == 0


@pytest.mark.usefixtures("chain")
async def test_off(registry: Registry, uplink: FakeUplink) -> None:
    """With cache.ahead off, nothing is asked for but what clients ask for."""
    registry.set("cache", ahead=False)
    await registry.restart()
    await cold(registry, "a")
    assert uplink.count() == 1


@pytest.mark.usefixtures("chain")
async def test_a_look_starts_nothing(registry: Registry, uplink: FakeUplink) -> None:
    """A HEAD of a cold packument has nothing asked ahead."""
    reply = await registry.get("/a", method="HEAD", accept="application/json")
    assert reply.status == 200
    await quiet(registry)
    assert uplink.count("/b") == 0


@pytest.mark.usefixtures("chain")
async def test_a_client_that_has_it_starts_nothing(registry: Registry, uplink: FakeUplink) -> None:
    """A client that is answered 304 after a revalidation has the rest too."""
    registry.set("server", public_url="http://npm.example")
    registry.set("cache", ahead=False)
    await registry.restart()
    etag = (await registry.packument("a")).headers["etag"]
    registry.set("cache", ahead=True)
    await registry.restart()
    registry.clock.advance(minutes=6)
    reply = await registry.packument("a", if_none_match=etag)
    await quiet(registry)
    assert (reply.status, uplink.count("/a"), uplink.count("/b")) == (304, 2, 0)


@pytest.mark.usefixtures("chain")
async def test_a_hit_starts_nothing(registry: Registry, uplink: FakeUplink) -> None:
    """What is held fresh is sent, and nothing follows from it."""
    registry.set("cache", ahead=False)
    await registry.restart()
    await registry.packument("a")
    registry.set("cache", ahead=True)
    await registry.restart()
    await cold(registry, "a")
    await cold(registry, "a")
    assert uplink.count() == 1


async def test_a_manifest_that_needs_too_much(registry: Registry, uplink: FakeUplink) -> None:
    """A version with ten thousand dependencies has two hundred of them asked for."""
    uplink.publish("a", "1.0.0", dependencies={f"d{n}": "*" for n in range(10_000)})
    await cold(registry, "a")
    assert uplink.count("/d") == 200


async def test_so_much_waits_for_a_client(registry: Registry, uplink: FakeUplink) -> None:
    """While so many answers wait for a client nothing more is asked, until one is claimed."""
    uplink.publish("a", "1.0.0", dependencies={f"d{n}": "*" for n in range(20)})
    for n in range(20):
        uplink.publish(f"d{n}", "1.0.0")
    story = ahead(registry)
    story._limits = replace(story._limits, unclaimed=5)
    await cold(registry, "a")
    assert uplink.count("/d") == 5
    name = uplink.seen("/d")[0].decoded_path.removeprefix("/")
    await cold(registry, name)
    assert uplink.count("/d") == 6


async def test_clients_go_first(registry: Registry, uplink: FakeUplink) -> None:
    """While all that may be asked ahead hangs, a client's question goes out at once."""
    registry.set("uplink", concurrency=8)
    await registry.restart()
    uplink.publish("a", "1.0.0", dependencies={f"d{n}": "*" for n in range(20)})
    uplink.publish("z", "1.0.0")
    uplink.script(lambda seen: seen.target.startswith("/d"), faults.black_hole, forever=True)
    await registry.packument("a")
    await uplink.wait_for(2, "/d")
    reply = await registry.packument("z")
    assert (reply.status, uplink.count("/z"), uplink.count("/d")) == (200, 1, 2)


@pytest.mark.usefixtures("chain")
async def test_no_room(registry: Registry, uplink: FakeUplink) -> None:
    """While the disk is short of room nothing is asked ahead."""
    registry.set("cache", min_free_bytes=1 << 62)
    await registry.restart()
    await cold(registry, "a")
    assert uplink.count() == 1


async def test_an_uplink_that_is_not_well(registry: Registry, uplink: FakeUplink) -> None:
    """When what is asked ahead fails, an uplink is left alone as soon as its breaker opens."""
    registry.set("uplink", concurrency=4, retries=0)
    await registry.restart()
    uplink.publish("a", "1.0.0", dependencies={f"d{n}": "*" for n in range(20)})
    uplink.script(lambda seen: seen.target.startswith("/d"), faults.status(500), forever=True)
    await cold(registry, "a")
    assert uplink.count("/d") == breaker.THRESHOLD


async def test_a_dependency_that_is_missing(
    registry: Registry, uplink: FakeUplink, caplog: pytest.LogCaptureFixture
) -> None:
    """What the uplink does not have ends there; the client that asks is told of it as ever."""
    uplink.publish("a", "1.0.0", dependencies={"gone": "*"})
    await cold(registry, "a")
    assert (await registry.packument("gone")).status == 404
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.usefixtures("chain")
async def test_what_was_of_use_is_counted(registry: Registry) -> None:
    """An answer that a client asks for later counts as used, once."""
    await cold(registry, "a")
    await registry.packument("b")
    await registry.packument("b")
    assert await counted(registry, "used") == 1


@pytest.mark.usefixtures("chain")
async def test_what_nobody_wanted_is_counted(registry: Registry) -> None:
    """What no client has asked for within ten minutes counts as wasted."""
    await cold(registry, "a")
    registry.clock.advance(minutes=11)
    await ahead(registry).expire()
    assert await counted(registry, "wasted") == 2
    assert await counted(registry, "used") == 0
