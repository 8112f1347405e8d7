"""What it tells of itself: access log, event log, health, readiness, metrics."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import serve
from proxy.config.settings import Config, Storage
from proxy.serving import counts, workers
from tests import process as processes
from tests.fakes.uplink import FakeUplink
from tests.process import ABBREVIATED, FULL, Process, until


async def test_a_request_has_one_id_here_and_upstream(tmp_path: Path, uplink: FakeUplink) -> None:
    """The id in the reply is the one in the access log and the one the uplink got."""
    uplink.publish("a", "1.0.0")
    async with Process(tmp_path, uplink.url) as process:
        reply = await process.get("/a?write=true", FULL, "User-Agent: npm/10")
        status = await process.stop()
    (line,) = [line for line in process.requests() if line["path"] == "/a"]

    assert status == 0
    assert line["request_id"] == reply.headers["x-request-id"]
    assert uplink.seen("/a")[0].headers["x-request-id"] == line["request_id"]
    assert (line["method"], line["status"], line["cache"]) == ("GET", 200, "miss")
    assert (line["uplink"], line["client"], line["user_agent"]) == ("npm", "127.0.0.1", "npm/10")
    assert line["bytes"] >= len(reply.body)


async def test_every_line_of_every_worker_is_whole(tmp_path: Path, uplink: FakeUplink) -> None:
    """Two workers write thousands of lines to one pipe, and none is torn or lost at the exit."""
    read_end, write_end = os.pipe()
    process = Process(tmp_path, uplink.url, workers=2)
    agent = "User-Agent: " + "a" * 200
    try:
        await process.start(stdout=write_end)
        os.close(write_end)
        reading = asyncio.create_task(asyncio.to_thread(_read_all, read_end))
        for _ in range(10):
            await asyncio.gather(*(process.get("/-/ping", agent) for _ in range(100)))
        status = await process.stop()
        lines = (await reading).splitlines()
    finally:
        await process.end()

    pings = [line for line in map(json.loads, lines) if line["path"] == "/-/ping"]
    assert status == 0
    assert len(pings) == 1_000


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_full_log_disk_stops_no_request(
    tmp_path: Path, uplink: FakeUplink, workers: int
) -> None:
    """With an access log that cannot be written requests go on, and the end is as clean as ever."""
    uplink.publish("a", "1.0.0")
    full = os.open("/dev/full", os.O_WRONLY)
    process = Process(tmp_path, uplink.url, workers=workers)
    try:
        await process.start(stdout=full)
        replies = [await process.get("/a", FULL) for _ in range(5)]
        await until(lambda: process.events("the access log cannot be written"))
        status = await process.stop()
    finally:
        os.close(full)
        await process.end()

    said = process.err.read_text()
    assert {reply.status for reply in replies} == {200}
    assert status == 0
    assert "Traceback" not in said
    assert "Exception ignored" not in said


async def test_a_reader_of_the_log_that_hangs_does_not_hold_the_end_up(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A pipe nobody reads stops neither requests nor, for longer than some seconds, the exit."""
    read_end, write_end = os.pipe()
    process = Process(tmp_path, uplink.url)
    agent = "User-Agent: " + "a" * 250
    try:
        await process.start(stdout=write_end)
        for _ in range(6):
            replies = await asyncio.gather(*(process.get("/-/ping", agent) for _ in range(50)))
        await process.stop()
    finally:
        os.close(read_end)
        os.close(write_end)
        await process.end()

    assert {reply.status for reply in replies} == {200}


async def test_metrics_of_all_workers(tmp_path: Path, uplink: FakeUplink) -> None:
    """Requests, hits by form, upstream latency, breaker, bytes, flights and disk are all there."""
    uplink.publish("a", "1.0.0")
    async with Process(tmp_path, uplink.url, workers=2) as process:
        for _ in range(3):
            await process.get("/a", FULL)
            await process.get("/a", ABBREVIATED)
        misses = 0
        while not await _is_hit(process, "/a/-/a-1.0.0.tgz"):
            misses += 1  # a miss does not wait for the disk, so there may be more than one
        text = b""
        async with asyncio.timeout(20):  # a reply is counted after it has been sent
            while _sum(text, "packhouse_tarballs_total") < misses + 1:
                text = (await process.get("/-/metrics")).body

    assert _sum(text, "packhouse_packuments_total", 'form="full"', 'state="miss"') == 1
    assert _sum(text, "packhouse_packuments_total", 'form="full"') == 3
    assert _sum(text, "packhouse_packuments_total", 'form="abbreviated"') == 3
    assert _sum(text, "packhouse_tarballs_total", 'state="hit"') == 1
    assert _sum(text, "packhouse_tarballs_total", 'state="miss"') == misses >= 1
    assert _sum(text, "packhouse_upstream_seconds_count", 'uplink="npm"') == len(uplink.requests)
    assert _sum(text, "packhouse_sent_bytes_total") > 0
    assert b'packhouse_breaker_open{uplink="npm"} 0.0' in text
    assert b"packhouse_flights 0.0" in text
    assert b'packhouse_disk_bytes{kind="free"}' in text
    assert b'packhouse_disk_bytes{kind="rendered"}' in text


async def _is_hit(process: Process, path: str) -> bool:
    return (await process.get(path)).headers["cache-status"].endswith("; hit")


async def test_readiness_tells_of_storage_and_uplinks(tmp_path: Path, uplink: FakeUplink) -> None:
    """Ready while storage works, whatever the uplink does; not ready while it does not."""
    async with Process(tmp_path, uplink.url) as process:
        ready = await process.get("/-/ready")
        alive = await process.get("/-/health")
        shutil.rmtree(process.data / "incoming")
        (process.data / "incoming").write_text("in the way")
        async with asyncio.timeout(20):
            while (broken := await process.get("/-/ready")).status == 200:
                await asyncio.sleep(0.1)
        still_alive = await process.get("/-/health")
        (process.data / "incoming").unlink()
        async with asyncio.timeout(20):
            while (await process.get("/-/ready")).status != 200:
                await asyncio.sleep(0.1)

    assert json.loads(ready.body)["uplinks"] == {"npm": "closed"}
    assert json.loads(alive.body)["status"] == "alive"
    assert broken.status == 503
    assert "blobs" in json.loads(broken.body)["faults"]
    assert still_alive.status == 200


async def test_settings_that_cannot_be_used_are_told_line_by_line(tmp_path: Path) -> None:
    """A broken configuration ends the start with status 2 and a line for each problem."""
    file = tmp_path / "config.toml"
    file.write_text('[cache]\nmax_age = "soon"\n[log]\nlevel = "loud"\n')
    process = Process(tmp_path, "http://127.0.0.1:9", options=("--config", str(file)))
    status = await process.run()

    assert status == 2
    assert "Traceback" not in process.err.read_text()
    assert [line.split()[0] for line in process.err.read_text().splitlines()] == ["error:"] * 2


def test_numbers_of_dead_instances_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    """A folder for numbers lasts as long as the last process of its instance."""
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "counter_1.db").write_bytes(b"")
    mine = counts.claim(tmp_path)
    script = (
        f"from proxy.serving import counts; import pathlib; p = pathlib.Path({str(tmp_path)!r})"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", f"{script}; print(counts.claim(p), flush=True); input()"],
        cwd=processes.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        counts.claim(tmp_path)
        while_alive = mine.is_dir() and theirs.is_dir()
        other.kill()
    counts.claim(tmp_path)

    assert while_alive
    assert mine.is_dir()
    assert not theirs.exists()
    assert not (tmp_path / "left").exists()


def test_numbers_are_in_memory_unless_somebody_else_was_there_first(tmp_path: Path) -> None:
    """A folder of another user, or open to others, is not trusted; without memory, disk will do."""
    memory, data = tmp_path / "memory", tmp_path / "data"
    memory.mkdir()

    ours = counts.place(data, memory=memory)
    ours.chmod(0o777)
    opened = counts.place(data, memory=memory)
    ours.rmdir()
    ours.symlink_to(tmp_path)
    planted = counts.place(data, memory=memory)
    absent = counts.place(data, memory=tmp_path / "absent")

    assert ours.parent == memory
    assert opened == planted == absent == data / "metrics"


def test_brackets_in_a_path_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What looks like markup in a folder's name is printed as it is."""
    settings = Config(storage=Storage(path=tmp_path / "[bold]x"))
    with workers.bind("127.0.0.1", 0) as listener:
        serve._greet(settings, listener)

    assert f"  data     {tmp_path}/[bold]x\n" in capsys.readouterr().err


def _read_all(fd: int) -> bytes:
    with os.fdopen(fd, "rb") as file:
        return file.read()


def _sum(text: bytes, name: str, *labels: str) -> float:
    rows = [row for row in text.decode().splitlines() if row.startswith((f"{name}{{", f"{name} "))]
    fitting = [row for row in rows if all(label in row for label in labels)]
    return sum(float(row.rpartition(" ")[2]) for row in fitting)
