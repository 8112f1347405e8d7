"""Clients that connect and say nothing, or say it too slowly: threat 28."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from proxy.web import connections
from tests.fakes.uplink import FakeUplink
from tests.process import Connection, Process
from tests.registry import Registry

FEW = ("prlimit", "--nofile=128")  # so that 46 connections are let in (door.py)
MANY = 150
PART = b"GET /-/ping HTTP/1.1\r\nHost: a\r\nX-"


@asynccontextmanager
async def crowd(port: int, said: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Very many connections of one address that have said this much and no more."""
    streams = [
        await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
        for _ in range(MANY)
    ]
    try:
        for _, writer in streams:
            writer.write(said)
        yield [reader for reader, _ in streams]
    finally:
        for _, writer in streams:
            writer.transport.abort()


@pytest.mark.parametrize("said", [b"", PART], ids=["idle", "slow"])
async def test_others_get_in(tmp_path: Path, uplink: FakeUplink, said: bytes) -> None:
    """However many connections one address holds open, everybody else is answered meanwhile."""
    async with Process(tmp_path, uplink.url, prefix=FEW) as process, crowd(process.port, said):
        async with asyncio.timeout(connections.HEAD_SECONDS):
            statuses = [(await process.get("/-/ping")).status for _ in range(20)]
        told = process.events("idle connections closed to let others in")

    assert statuses == [200] * 20
    assert told


async def test_who_holds_few_keeps_them(tmp_path: Path, uplink: FakeUplink) -> None:
    """Room is made by the address that holds most: an idle connection of another one stays."""
    async with Process(tmp_path, uplink.url, prefix=FEW) as process:
        ours = Connection(process.port)
        await ours.get("/-/ping")
        async with crowd(process.port, b""):
            for _ in range(5):
                await process.get("/-/ping")
            again = await ours.get("/-/ping")
        await ours.close()

    assert again.status == 200


async def test_who_is_served_is_not_closed(tmp_path: Path, uplink: FakeUplink) -> None:
    """Room is made by connections that want nothing: a request under way goes on."""
    uplink.publish("slow", "1.0.0")
    async with Process(tmp_path, uplink.url, prefix=FEW) as process:
        uplink.pause()
        asking = asyncio.create_task(process.get("/slow"))
        await uplink.wait_for(1, "/slow")
        async with crowd(process.port, b""):
            await process.get("/-/ping")
            uplink.resume()
            found = await asking

    assert (found.status, found.is_complete) == (200, True)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head has to come within a third of a second."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)


@pytest.mark.usefixtures("hasty")
async def test_a_head_that_drips(registry: Registry) -> None:
    """A head that drips for too long is closed; one that comes in two pieces is answered."""
    port = int(registry.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /-/ping HT")
    await asyncio.sleep(0.05)
    writer.write(b"TP/1.1\r\nHost: a\r\n\r\n")
    whole = await reader.readuntil(b"\r\n")
    await asyncio.sleep(0.4)
    writer.write(b"GET /-/ping HTTP/1.1\r\nHost: a\r\n")
    began = asyncio.get_running_loop().time()
    with suppress(ConnectionError):
        while not reader.at_eof():
            writer.write(b"X-Drip: 1\r\n")
            await asyncio.sleep(0.05)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await reader.read()
    took = asyncio.get_running_loop().time() - began
    writer.close()

    assert whole == b"HTTP/1.1 200 OK\r\n"
    assert took < 10
