"""Kill -9 at any moment: what was kept is right, and nothing half-written is ever served.

Rows 52 and 53 of the fault matrix.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests import process as processes
from tests.fakes import faults, rawhttp
from tests.fakes.exchange import Seen
from tests.fakes.uplink import FakeUplink
from tests.injection import injected
from tests.process import FULL, Process, command, until

CYCLES = 30
# A new instance before its workers have died so often that it would give up.
RESTART_EVERY = 8
EACH = 5
PACKAGES = [f"p{number}" for number in range(CYCLES * EACH)]


class Clients:
    """Ask for packages, believe whole answers only, and note which of them were wrong."""

    def __init__(self, process: Process, tarballs: dict[str, bytes]) -> None:
        self._process = process
        self._tarballs = tarballs
        self.whole = 0
        self.wrong: list[str] = []

    async def ask(self, name: str) -> None:
        packument = await self._get(f"/{name}", FULL)
        if packument is not None and packument.status != 200:
            self.wrong.append(f"{name}: {packument.status}")
        tarball = await self._get(f"/{name}/-/{name}-1.0.0.tgz")
        if tarball is not None and (tarball.status, tarball.body) != (200, self._tarballs[name]):
            self.wrong.append(f"{name}: {tarball.status}, {len(tarball.body)} bytes")

    async def _get(self, path: str, *headers: str) -> rawhttp.RawReply | None:
        """The answer, or None if it was cut off: a killed worker owes nobody an ending."""
        try:
            reply = await rawhttp.send(self._process.port, rawhttp.get(path, *headers), timeout=30)
        except ConnectionError:
            return None
        if reply is None or not reply.is_complete:
            return None
        self.whole += 1
        return reply


async def test_thirty_kills_during_cold_fills(tmp_path: Path, uplink: FakeUplink) -> None:
    """Workers and whole instances killed as they fill: every whole answer has the right bytes."""
    random_ = random.Random(52)
    data = {name: _publish(uplink, name, random_.randrange(1_000, 400_000)) for name in PACKAGES}
    uplink.script(_is_tarball, faults.drip(0.005, 40_000), forever=True)
    async with Process(tmp_path, uplink.url, workers=2) as process:
        clients = Clients(process, data)
        for cycle in range(1, CYCLES + 1):
            names = [*PACKAGES[(cycle - 1) * EACH : cycle * EACH], random_.choice(PACKAGES)]
            asking = [asyncio.create_task(clients.ask(name)) for name in names]
            await asyncio.sleep(random_.random() * 0.15)
            if cycle % RESTART_EVERY == 0:
                await process.end()
                await asyncio.gather(*asking)
                await process.start()
            else:
                processes.kill(random_.choice(process.workers()))
                await asyncio.gather(*asking)
        await until(lambda: len(process.workers()) == 2)
        served = [await process.get(f"/{name}/-/{name}-1.0.0.tgz") for name in PACKAGES]
        verified = await _cache(process, "verify")
        _age(process.data)
        collected = await _cache(process, "gc")
        again = await process.get(f"/{PACKAGES[0]}/-/{PACKAGES[0]}-1.0.0.tgz")

    assert clients.wrong == []
    assert clients.whole > CYCLES
    assert [reply.body for reply in served] == list(data.values())
    assert verified[0] == 0, verified
    assert collected[0] == 0
    assert list((process.data / "incoming").glob("*.part")) == []
    assert again.body == data[PACKAGES[0]]


@pytest.mark.parametrize("call", ["fsync", "rename"])
@pytest.mark.parametrize("held", [False, True])
async def test_a_kill_at_a_system_call(
    tmp_path: Path, uplink: FakeUplink, call: str, held: bool
) -> None:
    """Killed as it syncs or renames a packument or a tarball, it serves both after a restart."""
    data = _publish(uplink, "a", 300_000)
    dying = Process(tmp_path, uplink.url, name="dying")
    try:
        await dying.start()
        clients = Clients(dying, {"a": data})
        if held:
            await dying.held("/a")
        async with injected(dying.pid, "-e", f"inject={call}:signal=SIGKILL:when=1", is_fatal=True):
            await clients.ask("a")
        await dying.ended()
    finally:
        await dying.end()

    async with Process(tmp_path, uplink.url) as process:
        packument = await process.get("/a", FULL)
        tarball = await process.get("/a/-/a-1.0.0.tgz")
        verified = await _cache(process, "verify")

    assert clients.wrong == []
    assert packument.status == 200
    assert tarball.body == data
    assert verified[0] == 0, verified


async def test_what_a_crash_has_left_is_swept_by_the_server(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """An unfinished file of a killed process goes at the next start, once it is old enough."""
    data = _publish(uplink, "a", 400_000)
    uplink.script("/a/-/a-1.0.0.tgz", faults.stall_mid_body)
    async with Process(tmp_path, uplink.url) as process:
        asking = asyncio.create_task(Clients(process, {"a": data}).ask("a"))
        incoming = process.data / "incoming"
        await until(lambda: any(part.stat().st_size for part in incoming.glob("*.part")))
        await process.end()
        await asking
        left = list(incoming.glob("*.part"))
        _age(process.data)
        await process.start()
        await until(lambda: not any(part.exists() for part in left))
        reply = await process.get("/a/-/a-1.0.0.tgz")

    assert left
    assert reply.body == data


def _publish(uplink: FakeUplink, name: str, size_bytes: int) -> bytes:
    return uplink.publish(name, "1.0.0", files={"data": os.urandom(size_bytes)})


def _is_tarball(seen: Seen) -> bool:
    return seen.path.endswith(".tgz")


def _age(folder: Path) -> None:
    """Make everything an hour old."""
    for path in [*(folder / "blobs").rglob("*"), *(folder / "incoming").iterdir()]:
        then = path.stat().st_mtime - 3600
        os.utime(path, (then, then))


async def _cache(process: Process, what: str) -> tuple[int, str]:
    return await command("cache", what, "--data", str(process.data), folder=process.data.parent)
