"""Several processes on one port: one registry to everybody outside."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import process as processes
from tests.fakes.uplink import FakeUplink
from tests.process import ABBREVIATED, FULL, Process, until

CONFIG = """
[uplinks.npm]
url = "{url}"
[[rules]]
match = ["{hosted}"]
from = "hosted"
"""


@pytest.fixture
async def pair(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Process]:
    """Two workers in front of `uplink`."""
    async with Process(tmp_path, uplink.url, workers=2) as process:
        yield process


@pytest.mark.parametrize("workers", [1, 2])
async def test_many_clients_of_one_cold_package_cost_one_request(
    tmp_path: Path, uplink: FakeUplink, workers: int
) -> None:
    """200 clients get one cold packument, and then one cold tarball, for one request each."""
    data = uplink.publish("cold", "1.0.0", files={"index.js": b"a" * 300_000})
    async with Process(tmp_path, uplink.url, workers=workers) as process:
        packuments = await asyncio.gather(
            *(process.get("/cold", ABBREVIATED, timeout=60) for _ in range(200))
        )
        tarballs = await asyncio.gather(
            *(process.get("/cold/-/cold-1.0.0.tgz", timeout=60) for _ in range(200))
        )

    assert {reply.status for reply in packuments} == {200}
    assert {(reply.status, reply.is_complete) for reply in tarballs} == {(200, True)}
    assert all(reply.body == data for reply in tarballs)
    assert len([seen for seen in uplink.requests if seen.decoded_path == "/cold"]) == 1
    assert uplink.count("/cold/-/cold-1.0.0.tgz") == 1


async def test_the_parent_has_one_thread(pair: Process) -> None:
    """Workers are forked from a process without threads, whose locks nobody else can hold."""
    assert processes.threads(pair.pid) == 1


async def test_a_killed_worker_is_replaced_and_the_numbers_still_add_up(
    pair: Process, uplink: FakeUplink
) -> None:
    """Kill -9 of a worker costs a worker for a moment, and no request that was counted."""
    uplink.publish("a", "1.0.0")
    for _ in range(20):
        await pair.get("/a", FULL)
    await until(lambda: len(pair.workers()) == 2)
    before = pair.workers()
    # A reply is counted once it is sent: the last one may not be yet.
    await _until_counted(pair, "/{package}", 20)

    processes.kill(before[0])
    await until(lambda: len(set(pair.workers()) - set(before)) == 1)
    replies = [await pair.get("/a", FULL) for _ in range(20)]

    assert [reply.status for reply in replies] == [200] * 20
    assert before[1] in pair.workers()
    assert len(pair.events("worker died")) == 1
    await _until_counted(pair, "/{package}", 40)


async def test_workers_outlive_their_parent(pair: Process, uplink: FakeUplink) -> None:
    """Kill -9 of the parent stops no request, and its workers end when they are told to."""
    uplink.publish("a", "1.0.0")
    await until(lambda: len(pair.workers()) == 2)
    left = pair.workers()

    processes.kill(pair.pid)
    await pair.ended()
    await until(lambda: len(pair.events("the supervisor has died")) == 2)
    reply = await pair.get("/a", FULL)
    for pid in left:
        processes.kill(pid, signal.SIGTERM)
    await until(lambda: not any(map(processes.is_alive, left)))

    assert reply.status == 200


async def test_changed_rules_hold_in_every_worker_and_in_the_next_one(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """SIGHUP changes the rules of workers to come too; a broken file changes nothing."""
    uplink.publish("a", "1.0.0")
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(url=uplink.url, hosted="other"))
    options = ("--config", str(file))
    async with Process(tmp_path, None, workers=2, options=options) as process:
        before = {(await process.get("/a", FULL)).status for _ in range(10)}

        file.write_text(CONFIG.format(url=uplink.url, hosted="a"))
        processes.kill(process.pid, signal.SIGHUP)
        await until(lambda: len(process.events("rules reloaded")) == 3)
        hosted = {(await process.get("/a", FULL)).status for _ in range(10)}

        file.write_text("[[rules]]\nmatch = 7\n")
        processes.kill(process.pid, signal.SIGHUP)
        await until(lambda: process.events("the old one stays in force"))
        old = process.workers()
        for pid in old:
            processes.kill(pid)
        await until(lambda: len(process.workers()) == 2 and not {*process.workers()} & {*old})
        kept = {(await process.get("/a", FULL)).status for _ in range(10)}

    assert before == {200}
    assert hosted == {404}
    assert kept == {404}
    assert len(process.events("the old one stays in force")) == 1
    assert "match" in process.events("the old one stays in force")[0]["problems"]


async def test_rules_that_name_a_new_uplink_wait_for_a_restart(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A reload that would lead to an uplink nobody has started is refused as a whole."""
    uplink.publish("a", "1.0.0")
    file = tmp_path / "config.toml"
    text = CONFIG.format(url=uplink.url, hosted="other")
    file.write_text(text)
    async with Process(tmp_path, None, options=("--config", str(file))) as process:
        more = f'[uplinks.more]\nurl = "{uplink.url}"\n[[rules]]\nmatch = "a"\nfrom = "more"\n'
        catch_all = '[[rules]]\nmatch = "*"\nfrom = "npm"\n'
        file.write_text(text + more + catch_all)
        processes.kill(process.pid, signal.SIGHUP)
        await until(lambda: process.events("the old one stays in force"))
        reply = await process.get("/a", FULL)

    assert reply.status == 200
    assert "more" in process.events("the old one stays in force")[0]["problems"]


async def test_two_instances_share_a_data_folder(tmp_path: Path, uplink: FakeUplink) -> None:
    """Two servers on one folder ask once for both, and each keeps its own numbers."""
    data = uplink.publish("a", "1.0.0", files={"x": b"b" * 200_000})
    async with (
        Process(tmp_path, uplink.url, workers=2, name="one") as one,
        Process(tmp_path, uplink.url, workers=2, name="two") as two,
    ):
        replies = await asyncio.gather(
            *(each.get("/a/-/a-1.0.0.tgz") for each in (one, two) for _ in range(20))
        )
        for each in (one, two):
            await _until_counted(each, "/{package}/-/{file}", 20)
        status = await two.stop()

    assert all(reply.body == data for reply in replies)
    assert uplink.count("/a/-/") == 1
    assert status == 0


async def test_a_taken_port_is_one_clear_line(pair: Process, uplink: FakeUplink) -> None:
    """A second server on the same port says so in a line, and does the first no harm."""
    second = Process(
        pair.data.parent, uplink.url, workers=2, listen=f"127.0.0.1:{pair.port}", name="second"
    )
    status = await second.run()
    reply = await pair.get("/-/ping")

    assert status == 1
    (line,) = second.err.read_text().splitlines()
    assert line.startswith(
        f"Error: cannot listen on 127.0.0.1:{pair.port}: Address already in use;"
    )
    assert reply.status == 200


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_folder_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, uplink: FakeUplink, workers: int
) -> None:
    """Without a place for its data the server does not start, and says why in a line."""
    (tmp_path / "data").write_text("in the way")
    process = Process(tmp_path, uplink.url, workers=workers)
    status = await process.run()

    (line,) = process.err.read_text().splitlines()
    assert status == 1
    assert line.startswith(f"Error: the data folder {process.data} cannot be written to:")


@pytest.mark.parametrize("workers", [1, 2])
async def test_storage_that_cannot_be_opened_is_told_without_a_traceback(
    tmp_path: Path, uplink: FakeUplink, workers: int
) -> None:
    """A data folder whose index cannot be opened ends the start with its reason."""
    (tmp_path / "data" / "index.sqlite").mkdir(parents=True)
    process = Process(tmp_path, uplink.url, workers=workers)
    status = await process.run()

    said = process.err.read_text()
    assert status == 1
    assert "cannot start" in said
    assert "index.sqlite" in said
    assert "Traceback" not in said


async def test_it_says_where_it_is_before_anything_else(tmp_path: Path, uplink: FakeUplink) -> None:
    """The first lines are its real address, its data, and the line that points npm at it."""
    async with Process(tmp_path, uplink.url) as process:
        lines = process.err.read_text().splitlines()
        out = process.out.read_text()

    assert lines[0].endswith(f" listens on {process.url}/")
    assert lines[1] == f"  data     {process.data}"
    assert lines[3] == f"  use it   npm config set registry {process.url}/"
    assert "listens" not in out


async def _counted(process: Process, route: str) -> int:
    """How many requests to a route all workers have counted."""
    text = (await process.get("/-/metrics")).body.decode()
    rows = [line for line in text.splitlines() if line.startswith("packhouse_requests_total{")]
    return int(sum(float(row.rpartition(" ")[2]) for row in rows if f'route="{route}"' in row))


async def _until_counted(process: Process, route: str, count: int) -> None:
    """Wait for the last request to be counted, which happens after its reply is sent."""
    async with asyncio.timeout(20):
        while (seen := await _counted(process, route)) < count:
            await asyncio.sleep(0.02)
    assert seen == count
