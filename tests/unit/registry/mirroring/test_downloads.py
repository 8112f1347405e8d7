"""Two processes and one tarball: what a reader gets when the one that downloads fails."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self

import pytest

from proxy import errors
from proxy.npm.integrity import Expected
from proxy.registry.mirroring.downloads import Downloads, Promise, Reader
from tests.fakes.memory import MemoryBlobs, MemoryIndex, MemoryLeases

DATA = random.Random(5).randbytes(400_000)
WRONG = DATA[:1000] + b"?" + DATA[1001:]
PIECE = 10_000


@dataclass
class Stream:
    """Sends `data` up to `stops_at`, then waits for `go_on`, then sends the rest or breaks off."""

    data: bytes
    go_on: asyncio.Event
    stops_at: int
    breaks: bool
    status: int = 200
    offset: int = 0
    etag: str | None = None

    @property
    def total_bytes(self) -> int:
        return len(self.data)

    async def chunks(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.data), PIECE):
            if start == self.stops_at:
                await self.go_on.wait()
                if self.breaks:
                    raise errors.UplinkBroken(uplink="main", reason="the body broke off")
            yield self.data[start : start + PIECE]
            await asyncio.sleep(0)


@dataclass
class Uplink:
    """Gives its streams one after the other; what else can be asked is refused."""

    streams: list[Stream]
    name: str = "main"
    state: str = "closed"
    asked: int = field(default=0)

    @asynccontextmanager
    async def tarball(
        self, url: str, *, offset: int = 0, etag: str | None = None, request_id: str = ""
    ) -> AsyncIterator[Stream]:
        self.asked += 1
        if not self.streams:
            raise errors.UplinkAway(uplink="main", reason="no more streams")
        yield self.streams.pop(0)

    def tarball_url(self, *_: object) -> NoReturn:
        raise AssertionError

    async def packument(self, *_: object, **__: object) -> NoReturn:
        raise AssertionError

    async def forward(
        self, *_: object, headers: Mapping[str, str], timeout: timedelta, **__: object
    ) -> NoReturn:
        raise AssertionError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing was opened."""


class Node:
    """The storage that two processes of a node share."""

    def __init__(self) -> None:
        self.index, self.blobs, self.leases = MemoryIndex(), MemoryBlobs(), MemoryLeases()
        self.processes = [self.process(), self.process()]

    def process(self) -> Downloads:
        parts: Any = {"index": self.index, "blobs": self.blobs, "leases": self.leases}
        return Downloads(**parts, clock=lambda: datetime.now(UTC))


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    shared = Node()
    async with shared.index, shared.blobs:
        yield shared
        for process in shared.processes:
            await process.close()


def promise(*streams: Stream) -> Promise:
    expected = Expected("sha512", (hashlib.sha512(DATA).digest(),))
    uplink = Uplink(list(streams))
    return Promise(uplink, "ui", "ui-1.0.0.tgz", "1.0.0", "https://registry.example/ui", expected)


async def read(reader: Reader, most: int) -> bytes:
    """What the reader gives, up to `most` bytes or the end."""
    got = b""
    while len(got) < most and (piece := await reader.read(len(got), most - len(got))):
        got += piece
    return got


async def rest(reader: Reader, got: bytes) -> bytes:
    while piece := await reader.read(len(got), 50_000):
        got += piece
    return got


async def test_a_follower_reads_what_another_process_downloads(node: Node) -> None:
    """The process that came second asks nobody, and its reader gets every byte."""
    go_on = asyncio.Event()
    ours, theirs = promise(Stream(DATA, go_on, 200_000, breaks=False)), promise()
    leading = node.processes[0].join(ours)
    assert await leading.ready() == len(DATA)
    following = node.processes[1].join(theirs)
    assert await following.ready() == len(DATA)
    begun = await read(following, 100_000)

    go_on.set()
    got = await rest(following, begun)

    assert begun == DATA[:100_000]
    assert got == DATA
    assert theirs.uplink.asked == 0  # type: ignore[attr-defined]


async def test_a_follower_takes_over(node: Node) -> None:
    """When the process that downloads gives up, the other begins anew and its reader goes on."""
    go_on, at_once = asyncio.Event(), asyncio.Event()
    at_once.set()
    broken = promise(Stream(DATA, go_on, 200_000, breaks=True))
    leading = node.processes[0].join(broken)
    await leading.ready()
    following = node.processes[1].join(promise(Stream(DATA, at_once, 0, breaks=False)))
    await following.ready()
    begun = await read(following, 100_000)

    go_on.set()
    got = await rest(following, begun)

    assert got == DATA


@pytest.mark.parametrize("first", [WRONG, WRONG + b"longer"])
async def test_wrong_bytes_of_another_process_never_end_cleanly(node: Node, first: bytes) -> None:
    """A reader that was given bytes of a file that turned out wrong gets an error, not the rest."""
    go_on, at_once = asyncio.Event(), asyncio.Event()
    at_once.set()
    wrong = promise(Stream(first, go_on, 200_000, breaks=False))
    leading = node.processes[0].join(wrong)
    await leading.ready()
    following = node.processes[1].join(promise(Stream(DATA, at_once, 0, breaks=False)))
    await following.ready()
    begun = await read(following, 100_000)

    go_on.set()
    with pytest.raises(errors.UplinkBroken):
        await rest(following, begun)
    with pytest.raises(errors.UplinkError):
        await rest(leading, b"")

    assert begun == WRONG[:100_000]


async def test_wrong_bytes_are_noticed_though_a_third_process_mends_them(node: Node) -> None:
    """The right file may come from elsewhere: a reader of the wrong one is told all the same."""
    go_on = asyncio.Event()
    leading = node.processes[0].join(promise(Stream(WRONG, go_on, 200_000, breaks=False)))
    await leading.ready()
    following = node.processes[1].join(promise())
    await following.ready()
    begun = await read(following, 100_000)
    mending = asyncio.Event()
    mending.set()

    go_on.set()
    with pytest.raises(errors.UplinkError):
        await rest(leading, b"")
    while len(node.processes[0]):
        await asyncio.sleep(0)
    third = node.processes[0].join(promise(Stream(DATA, mending, 0, breaks=False)))
    await third.ready()
    with pytest.raises(errors.UplinkError):
        await rest(following, begun)

    assert await rest(third, b"") == DATA


async def test_closing_tells_the_readers(node: Node) -> None:
    """A shutdown ends every reader's waiting, also of a download that has not had a turn yet."""
    reader = node.processes[0].join(promise())

    await node.processes[0].close()

    with pytest.raises(errors.UplinkAway):
        await reader.ready()
