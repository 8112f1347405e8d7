"""proxy.registry.mirroring.hashing: how much it asks for at a time, and when it stops waiting."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from proxy.npm.names import PackageName
from proxy.npm.packument import Dist
from proxy.registry.mirroring.downloads import Downloads
from proxy.registry.mirroring.hashing import Hashed, Hashing
from tests.fakes.memory import MemoryBlobs, MemoryIndex, MemoryLeases

NAME = PackageName("n")
SOON, LATE = timedelta(seconds=0.05), timedelta(seconds=10)


@dataclass
class Stream:
    """One tarball, sent whole."""

    data: bytes
    status: int = 200
    offset: int = 0
    etag: str | None = None

    @property
    def total_bytes(self) -> int:
        return len(self.data)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.data


class Uplink:
    """Sends the address as the tarball once it may; counts how many wait for it at a time."""

    name = "main"

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.waiting = self.most = self.asked = 0
        self.bug: Exception | None = None

    def tarball_url(self, dist_tarball: str, *_: object) -> str:
        return dist_tarball

    @asynccontextmanager
    async def tarball(self, url: str, **_: object) -> AsyncIterator[Stream]:
        if self.bug is not None:
            raise self.bug
        self.asked += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.go_on.wait()
        self.waiting -= 1
        yield Stream(url.encode())


class Node:
    """An uplink, storage, and the part under test between them."""

    def __init__(self) -> None:
        self.uplink, self.index, self.blobs = Uplink(), MemoryIndex(), MemoryBlobs()
        parts: Any = {"index": self.index, "blobs": self.blobs}
        self.downloads = Downloads(**parts, leases=MemoryLeases(), clock=lambda: datetime.now(UTC))
        self.hashing = Hashing(
            **parts, uplink=self.uplink, downloads=self.downloads, has_room=self.has_room
        )

    async def has_room(self) -> bool:
        return True

    async def shasums(self, count: int, within: timedelta = LATE) -> Hashed:
        wanted = [Dist(f"1.0.{each}", f"{each}", None, None) for each in range(count)]
        return await self.hashing.shasums(NAME, wanted, within=within)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    async with made.index, made.blobs:
        yield made
        await made.downloads.close()


def sums(count: int) -> dict[str, str]:
    return {
        f"1.0.{each}": hashlib.sha1(f"{each}".encode(), usedforsecurity=False).hexdigest()
        for each in range(count)
    }


async def test_four_at_a_time(node: Node) -> None:
    """However many are wanted, four tarballs are on their way at a time, and all are hashed."""
    asking = asyncio.create_task(node.shasums(20))
    while node.uplink.waiting < 4:
        await asyncio.sleep(0)
    node.uplink.go_on.set()

    assert await asking == Hashed(sums(20), is_final=True)
    assert (node.uplink.most, node.uplink.asked) == (4, 20)


async def test_what_is_late_is_here_the_next_time(node: Node) -> None:
    """When the time is over nothing more is begun; what is under way is fetched to its end."""
    late = await node.shasums(6, SOON)
    asked = node.uplink.asked
    node.uplink.go_on.set()
    while len(node.downloads):
        await asyncio.sleep(0.001)
    again = await node.shasums(6)

    assert (late, asked) == (Hashed({}, is_final=False), 4)
    assert (again, node.uplink.asked) == (Hashed(sums(6), is_final=True), 6)


async def test_no_time_is_no_hash(node: Node) -> None:
    """Where the time was over before, the answer comes at once and empty."""
    assert await node.shasums(3, timedelta(seconds=-5)) == Hashed({}, is_final=False)


async def test_who_leaves_takes_their_waiting_along(node: Node) -> None:
    """A cancelled caller leaves nobody waiting behind, and the downloads go on."""
    before = asyncio.all_tasks()
    asking = asyncio.create_task(node.shasums(6))
    while node.uplink.waiting < 4:
        await asyncio.sleep(0)

    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)

    assert len(asyncio.all_tasks() - before) == len(node.downloads) == 4


async def test_an_index_that_is_away_is_survived(node: Node) -> None:
    """Without an index nothing is hashed, and nothing is raised."""
    node.uplink.go_on.set()
    node.index.is_away = True

    assert await node.shasums(2) == Hashed({}, is_final=False)


async def test_a_bug_is_survived(node: Node) -> None:
    """Whatever goes wrong with a tarball is not its packument's end."""
    node.uplink.bug = ZeroDivisionError("oops")

    assert await node.shasums(2) == Hashed({}, is_final=False)
