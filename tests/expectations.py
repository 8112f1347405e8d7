"""What RELIABILITY's fault matrix expects of every fault of an uplink, said once.

W is a package that is held with its tarball, C one that is not. Each function plays one fault
through the whole product, and then mends the uplink and sees that nothing of the fault was kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from tests.fakes import rawhttp
from tests.fakes.exchange import Script
from tests.fakes.rawhttp import RawReply
from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Clock, Registry

NAME = "ui"
TARBALL = "/ui/-/ui-1.0.0.tgz"
# More than is held back until the digest is known, so that a reply has begun when a fault strikes.
NOISE = random.Random(7).randbytes(300_000)


def patient(folder: Path, uplink: FakeUplink, clock: Clock) -> Registry:
    """A registry that a slow machine does not drive into a time-out, for tests of other things."""
    registry = Registry(folder, uplink.url, clock=clock)
    long = timedelta(seconds=30)
    registry.set("uplink", timeout=long, connect_timeout=long, deadline=long)
    registry.set("cache", soft_deadline=long)
    return registry


def publish(uplink: FakeUplink, version: str = "1.0.0") -> bytes:
    """A version with a tarball of 300 kB."""
    return uplink.publish(NAME, version, files={"noise": NOISE + version.encode()})


async def fetch(registry: Registry, path: str, *headers: str) -> RawReply:
    """A reply as far as it came: `is_complete` tells whether it ended as it should."""
    port = int(registry.url.rpartition(":")[2])
    reply = await rawhttp.send(port, rawhttp.get(path, *headers), timeout=30)
    assert reply is not None
    await registry.idle()
    return reply


def is_stale(answer: Answer) -> bool:
    """Whether the answer is marked as a stale one."""
    return "stale-" in answer.headers["Cache-Status"]


def has(registry: Registry, data: bytes) -> bool:
    """Whether the data folder holds these bytes as a blob."""
    digest = hashlib.sha512(data).hexdigest()
    return (_folder(registry) / "blobs" / digest[:2] / digest).exists()


async def stored(registry: Registry, data: bytes) -> None:
    """Wait until the data folder holds these bytes: a reply does not wait for the disk."""

    async def is_held() -> bool:
        return has(registry, data)

    await until(is_held)


def unfinished(registry: Registry) -> list[Path]:
    """The files that were begun and neither committed nor removed."""
    return list((_folder(registry) / "incoming").glob("*.part"))


async def until(is_so: Callable[[], Awaitable[bool]], *, seconds: float = 10) -> None:
    """Return as soon as `is_so`; raise TimeoutError if it never is."""
    async with asyncio.timeout(seconds):
        while not await is_so():
            await asyncio.sleep(0.02)


async def stale_while(registry: Registry, uplink: FakeUplink, fault: Script | None) -> None:
    """W: the copy goes on being sent, marked, and the next version is seen after the fault.

    `fault` None is an uplink that refuses connections.
    """
    publish(uplink)
    before = await registry.packument(NAME)
    assert before.status == 200, before.body
    # While the uplink is away, what is shown is what is held.
    assert (await fetch(registry, TARBALL)).status == 200
    publish(uplink, "2.0.0")
    registry.clock.advance(minutes=6)
    await _break(uplink, f"/{NAME}", fault)

    during = await registry.packument(NAME)

    assert (during.status, during.body) == (200, before.body)
    assert is_stale(during), during.headers
    assert int(during.headers["Age"]) >= 360
    await _mend(uplink)
    registry.clock.advance(minutes=6)
    await until(lambda: _lists(registry, "2.0.0"))


async def refused_while(
    registry: Registry, uplink: FakeUplink, fault: Script | None, status: int
) -> Answer:
    """C: an error that asks to try again; nothing of it is remembered, so the next try succeeds."""
    publish(uplink)
    await _break(uplink, f"/{NAME}", fault)

    during = await registry.packument(NAME)

    assert during.status == status, during.body
    assert during.json()["error"].startswith("uplink npm: ")
    assert 1 <= int(during.headers["Retry-After"]) <= 60
    await _mend(uplink)
    assert (await registry.packument(NAME)).status == 200
    return during


async def tarball_broken_while(
    registry: Registry, uplink: FakeUplink, fault: Script | None, status: int
) -> RawReply:
    """C: an error, or a reply that is cut; never a clean end, and nothing is kept."""
    data = publish(uplink)
    assert (await registry.packument(NAME)).status == 200
    await _break(uplink, TARBALL, fault)

    during = await fetch(registry, TARBALL)

    assert during.status == status, during.body
    assert (status == 200) != during.is_complete
    assert status != 200 or data.startswith(during.body)
    assert not has(registry, data)
    await until(lambda: _nothing(registry))
    await _mend(uplink)
    after = await fetch(registry, TARBALL)
    assert (after.status, after.is_complete, after.body == data) == (200, True, True)
    await stored(registry, data)
    return during


async def tarball_whole_after(registry: Registry, uplink: FakeUplink, *faults: Script) -> int:
    """C: each fault strikes once, and the client notices nothing; returns what the uplink saw."""
    data = publish(uplink)
    assert (await registry.packument(NAME)).status == 200
    uplink.script(TARBALL, *faults)

    got = await fetch(registry, TARBALL)

    assert (got.status, got.is_complete, got.body == data) == (200, True, True)
    await stored(registry, data)
    return uplink.count(TARBALL)


async def _break(uplink: FakeUplink, path: str, fault: Script | None) -> None:
    if fault is None:
        await uplink.stop()
    else:
        uplink.script(path, fault, forever=True)


async def _mend(uplink: FakeUplink) -> None:
    uplink.clear_scripts()
    await uplink.stop()
    await uplink.start()


async def _lists(registry: Registry, version: str) -> bool:
    answer = await registry.packument(NAME)
    return version in answer.json()["versions"] and not is_stale(answer)


async def _nothing(registry: Registry) -> bool:
    return not unfinished(registry)


def _folder(registry: Registry) -> Path:
    return registry.config.storage.path
