"""The switch with real processes: all workers go by it, it outlives them, and nothing leaves."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.uplink import FakeUplink
from tests.injection import injected
from tests.process import FULL, Process, command

# New connections, so that every worker takes some of them.
MANY = 24
ROUTES = (
    *("/n", "/n/2.0.0", "/n/-/n-2.0.0.tgz", "/m", "/m/-/m-1.0.0.tgz", "/-/v1/search?text=n"),
    *("/-/npm/v1/keys", "/-/npm/v1/attestations/n@1.0.0", "/downloads/point/last-week/n"),
)


@pytest.fixture
async def stocked(uplink: FakeUplink) -> FakeUplink:
    """An uplink with 1.0.0 and 2.0.0 of n."""
    uplink.publish("n", "1.0.0")
    uplink.publish("n", "2.0.0")
    return uplink


@pytest.fixture
async def pair(tmp_path: Path, stocked: FakeUplink) -> AsyncIterator[Process]:
    """Two workers that hold 1.0.0, and have 2.0.0 in their memory as well."""
    async with Process(tmp_path, stocked.url, workers=2) as process:
        await process.held("/n/-/n-1.0.0.tgz")
        assert await versions(process) == {("1.0.0", "2.0.0")}
        yield process


async def versions(process: Process) -> set[tuple[str, ...]]:
    """What the workers show, asked on many connections."""
    replies = [await process.get("/n", FULL) for _ in range(MANY)]
    return {tuple(json.loads(reply.body)["versions"]) for reply in replies}


async def offline(process: Process, word: str) -> str:
    """`packhouse offline`, beside the running server."""
    status, printed = await command(
        "offline", word, "--data", str(process.data), folder=process.data.parent
    )
    assert status == 0, printed
    return printed


async def test_every_worker_goes_by_it_at_once(pair: Process, stocked: FakeUplink) -> None:
    """After the command has ended no worker shows more than is held, nor less when it is undone."""
    said = await offline(pair, "on")
    while_on, asked = await versions(pair), stocked.count()
    back = await offline(pair, "off")

    assert said.startswith("npm: offline since ")
    assert while_on == {("1.0.0",)}
    assert back == "npm: asked\n"
    assert await versions(pair) == {("1.0.0", "2.0.0")}
    assert stocked.count() == asked


async def test_it_outlives_the_processes(pair: Process, stocked: FakeUplink) -> None:
    """Switched off and killed at once, it is offline when it starts again."""
    await offline(pair, "on")
    await pair.stop(signal.SIGKILL)
    await pair.end()
    asked = stocked.count()

    await pair.start()

    assert await versions(pair) == {("1.0.0",)}
    assert stocked.count() == asked


@pytest.mark.parametrize("how", ["--offline", "switched"])
async def test_no_connection_is_opened(tmp_path: Path, stocked: FakeUplink, how: str) -> None:
    """The system sees not one connect() of an offline server, whatever it is asked for."""
    async with Process(tmp_path, stocked.url) as process:
        await process.held("/n/-/n-1.0.0.tgz")
        if how == "switched":
            await offline(process, "on")
        else:
            await process.stop()
    options = (how,) if how == "--offline" else ()
    async with Process(tmp_path, stocked.url, options=options) as process:
        trace = tmp_path / "trace"
        await stocked.drop_connections()
        async with injected(process.pid, "-o", str(trace), "-e", "trace=connect"):
            replies = [await process.get(route) for route in ROUTES]
        silent = trace.read_text()
        if how == "switched":
            await offline(process, "off")
            async with injected(process.pid, "-o", str(trace), "-e", "trace=connect"):
                await process.get("/m")

    assert [reply.status for reply in replies] == [200, *[503] * (len(ROUTES) - 1)]
    assert "connect(" not in silent
    assert how == "--offline" or f"htons({stocked.port})" in trace.read_text()
