"""How it ends: nobody is cut off, nothing is left, and not later than it says."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests import process as processes
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.process import FULL, ROOT, Connection, Process, until

# Large enough that it is pressed in a process of its own.
BIG = "x" * 5_000_000


class Load:
    """Clients that ask without a pause, and everything that went wrong for them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answered = 0
        self.refused = 0
        self.failures: list[str] = []
        self.is_over = False

    @asynccontextmanager
    async def running(self, *, kept_alive: int, new: int) -> AsyncIterator[None]:
        """So many clients that keep their connection, and so many that never do."""
        headers = [()] * kept_alive + [("Connection: close",)] * new
        tasks = [asyncio.create_task(self._client(*each)) for each in headers]
        try:
            await until(lambda: self.answered > 10 * len(tasks))
            yield
        finally:
            self.is_over = True
            await asyncio.gather(*tasks)

    async def answers(self, more: int) -> None:
        """Wait for some more answers."""
        enough = self.answered + more
        await until(lambda: self.answered >= enough)

    async def _client(self, *headers: str) -> None:
        connection = Connection(self.port)
        while not self.is_over:
            try:
                reply = await connection.get("/a", FULL, *headers)
            except ConnectionRefusedError:
                self.refused += 1
                return
            except (ConnectionError, TimeoutError) as error:
                self.failures.append(repr(error))
                return
            self.answered += 1
            if reply.status != 200:
                self.failures.append(str(reply.status))
        await connection.close()


async def test_no_kept_alive_request_fails_when_it_stops(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """SIGTERM under load: every request on a kept-alive connection is answered."""
    uplink.publish("a", "1.0.0")
    async with Process(tmp_path, uplink.url) as process:
        load = Load(process.port)
        async with load.running(kept_alive=8, new=0):
            status = await process.stop()

    assert load.failures == []
    assert load.refused == 8
    assert status == 0


async def test_a_rolling_restart_fails_nobody(tmp_path: Path, uplink: FakeUplink) -> None:
    """Workers replaced one by one under load: no request fails, on old connections or new."""
    uplink.publish("a", "1.0.0")
    async with Process(tmp_path, uplink.url, workers=2) as process:
        load = Load(process.port)
        async with load.running(kept_alive=8, new=4):
            for _ in range(6):
                first = process.workers()[0]
                ended = len(process.events("worker ended"))
                processes.kill(first, signal.SIGTERM)
                await until(
                    lambda ended=ended: (
                        len(process.events("worker ended")) > ended and len(process.workers()) == 2
                    )
                )
                await load.answers(100)
        died = process.events("worker died")

    assert load.failures == []
    assert load.refused == 0
    assert died == []


async def test_what_has_begun_is_finished_and_nothing_new_begins(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """After SIGTERM a slow tarball still arrives whole, while new connections are refused."""
    data = uplink.publish("a", "1.0.0", files={"x": os.urandom(400_000)})
    uplink.script("/a/-/a-1.0.0.tgz", faults.drip(0.05, 20_000))
    async with Process(tmp_path, uplink.url) as process:
        slow = asyncio.create_task(process.get("/a/-/a-1.0.0.tgz"))
        await uplink.wait_for(1, "/a/-/")
        stopped = asyncio.create_task(process.stop())
        await until(lambda: process.events("draining"))
        with pytest.raises(ConnectionRefusedError):
            await _until_refused(process)
        is_unfinished = not slow.done()
        reply = await slow
        status = await stopped

    assert is_unfinished
    assert reply.body == data
    assert status == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_ctrl_c_ends_everything_quietly(
    tmp_path: Path, uplink: FakeUplink, workers: int
) -> None:
    """SIGINT for the whole group, as a terminal sends it: no traceback, no process left."""
    uplink.publish("big", "1.0.0", readme=BIG)
    async with Process(tmp_path, uplink.url, workers=workers) as process:
        await process.get("/big", FULL)
        family = processes.descendants(process.pid)
        os.killpg(process.pid, signal.SIGINT)
        status = await process.ended()
        await until(lambda: not any(map(processes.is_alive, family)))

    assert family
    assert status == 0
    assert "Traceback" not in process.err.read_text()
    assert "Error" not in process.err.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_worker_leaves_no_process_behind(
    tmp_path: Path, uplink: FakeUplink, number: signal.Signals
) -> None:
    """The pressing process ends with its worker, however that ends."""
    uplink.publish("big", "1.0.0", readme=BIG)
    async with Process(tmp_path, uplink.url) as process:
        await process.get("/big", FULL)
        (pressing,) = processes.children(process.pid)
        processes.kill(process.pid, number)
        await process.ended()
        await until(lambda: not processes.is_alive(pressing))


async def test_it_stops_as_soon_as_it_has_greeted(tmp_path: Path, uplink: FakeUplink) -> None:
    """A signal that comes while it still starts is heeded and not deadly."""
    async with Process(tmp_path, uplink.url, workers=2) as process:
        await process.end()
        greeted = len(process.greetings())
        await process.launch()
        await until(lambda: len(process.greetings()) > greeted)
        processes.kill(process.pid, signal.SIGHUP)
        status = await process.stop()

    assert status == 0
    assert "Traceback" not in process.err.read_text()


# --- what hangs -----------------------------------------------------------------------------------

_STUCK = """
import asyncio, sys, time
from datetime import timedelta
from aiohttp import web
from proxy.config.settings import Config, Server
from proxy.serving import worker, workers
from proxy.serving.current import Current
from proxy.web import keys

async def stuck(request):
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            pass

async def blocked(request):
    print("begun", flush=True)
    time.sleep(600)

def build(config):
    app = web.Application()
    app[keys.DRAIN] = keys.Drain()
    app.add_routes([web.get("/stuck", stuck), web.get("/blocked", blocked)])
    return app

config = Config(server=Server(drain=timedelta(0)))
second = timedelta(seconds=1)
listener = workers.bind("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)

def run(inherited):
    worker.run(inherited, Current(config, lambda: config), build, grace=second)
"""
_ALONE = "run(listener)"
_SUPERVISED = """
sys.exit(workers.Supervisor(
    listener=listener, count=1, run_worker=run, mourn=lambda pid: None,
    reload=lambda: True, patience=second,
).run())
"""


@pytest.mark.parametrize(("path", "last"), [("/stuck", _ALONE), ("/blocked", _SUPERVISED)])
async def test_what_hangs_ends_all_the_same(tmp_path: Path, path: str, last: str) -> None:
    """A handler that heeds no cancellation, or holds the loop, does not keep a process alive."""
    script = tmp_path / "stuck.py"
    script.write_text(textwrap.dedent(_STUCK) + last)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(script)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    connection = Connection(int(await process.stdout.readline()))
    hanging = asyncio.create_task(connection.get(path))
    await process.stdout.readline()

    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(15):
        status = await process.wait()

    assert status == 1
    with pytest.raises(ConnectionError):
        await hanging


async def _until_refused(process: Process) -> None:
    """Raises ConnectionRefusedError as soon as the port is closed."""
    while not process.has_ended():
        _, writer = await asyncio.open_connection("127.0.0.1", process.port)
        writer.close()
        await asyncio.sleep(0.02)
