"""A database of published packages that is sound and lacks what was acknowledged: row 59.

Its log was removed after a crash, or an older copy was put in its place. Also a log that grew very
large, and the database that two servers share (row 62).
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from proxy.errors import StorageCorrupt
from proxy.storage.database import Connection, ask
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.watermark import Watermark
from tests.fakes.uplink import FakeUplink
from tests.hosting import ANN, a_version
from tests.injection import injected
from tests.process import Process, command
from tests.publishing import HOSTED_RULES, Publisher, a_publish, hosting

FILE = "hosted.sqlite"
NEWEST = f"{FILE}.newest"
WAL = f"{FILE}-wal"
LARGEST_LOG = 16 * 1024 * 1024  # what database.py leaves of one


async def publish(folder: Path, *versions: str) -> None:
    async with open_database(folder / FILE) as database:
        for version in versions:
            await SqliteHosted(database).publish(a_version(version), ANN)


async def versions(folder: Path) -> list[str]:
    """What is there after a start. Raises StorageCorrupt."""
    async with open_database(folder / FILE) as database:
        package = await SqliteHosted(database).package("@acme/ui")
    return [each.version for each in package.versions] if package else []


def entries(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as db:
        (newest,) = db.execute("SELECT max(number) FROM audit").fetchone()
    return int(newest)


def marked(folder: Path) -> int:
    mark = Watermark(folder / FILE).read()
    assert mark is not None
    return mark.number


async def test_row_59_the_log_is_removed_after_a_crash(tmp_path: Path, uplink: FakeUplink) -> None:
    """Without the log that held an acknowledged publish there is no start; with it there is."""
    async with hosting(tmp_path, uplink.url) as (process, tokens):
        async with Publisher(process, tokens["ann"]) as ann:
            assert (await ann.put(a_publish("1.0.0").body))[0] == 201
        await process.end()
        away = (process.data / WAL).rename(tmp_path / "away")

        status = await process.run()
        said = process.err.read_text()

        assert status != 0
        assert f"Was {WAL} removed, or an older {FILE} restored?" in said
        assert f"remove {NEWEST}" in said
        away.rename(process.data / WAL)
        await process.start()
        async with Publisher(process, tokens["ann"]) as ann:
            assert list(await ann.versions()) == ["1.0.0"]


async def test_row_59_an_older_copy_is_restored(tmp_path: Path, uplink: FakeUplink) -> None:
    """An older copy is refused, by the commands too, until somebody accepts it."""
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        await ann.put(a_publish("1.0.0").body)
        await process.stop()
        shutil.copy(process.data / FILE, tmp_path / "older")
        await process.start()
        await ann.put(a_publish("2.0.0").body)
        await process.stop()
        shutil.copy(tmp_path / "older", process.data / FILE)

        status = await process.run()
        listing = ("user", "list", "--data", str(process.data))
        refused, told = await command(*listing, folder=tmp_path)
        (process.data / NEWEST).unlink()
        accepted, _ = await command(*listing, folder=tmp_path)
        await process.start()
        found = list(await ann.versions())
        again, _ = await ann.put(a_publish("2.0.0").body)

    assert status != 0
    assert (refused, accepted) == (1, 0)
    assert f"To go on without what is missing, remove {NEWEST}" in told
    assert (found, again) == (["1.0.0"], 201)


async def test_row_59_an_older_copy_under_a_running_server(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """An older copy that is put in place while it runs takes no writes, and it is not ready."""
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        await ann.put(a_publish("1.0.0").body)
        with closing(sqlite3.connect(process.data / FILE)) as db:
            db.execute("VACUUM INTO ?", (str(tmp_path / "older"),))
        await ann.put(a_publish("2.0.0").body)
        for name in (WAL, f"{FILE}-shm"):
            (process.data / name).unlink()
        (tmp_path / "older").rename(process.data / FILE)

        refused = [await ann.put(a_publish(f"3.0.{number}").body) for number in range(2)]
        async with asyncio.timeout(20):  # what it found is told for a few seconds
            while (await process.get("/-/ready")).status != 503:
                await asyncio.sleep(0.1)
        (process.data / NEWEST).unlink()
        accepted, _ = await ann.put(a_publish("4.0.0").body)
        found = list(await ann.versions())

    assert [(status, said["code"]) for status, said in refused] == [(500, "E_CORRUPT")] * 2
    assert (accepted, found) == (201, ["1.0.0", "4.0.0"])


async def test_row_59_a_log_that_a_reader_keeps_long(tmp_path: Path) -> None:
    """A log that grew because somebody read for long is cut once they have ended."""
    manifest = b'{"x":"' + b"x" * 1024 * 1024 + b'"}'
    async with open_database(tmp_path / FILE) as database:
        hosted, has_begun, may_end = SqliteHosted(database), threading.Event(), threading.Event()

        def read(db: Connection) -> bool:
            ask(db, "SELECT count(*) FROM audit")
            has_begun.set()
            return may_end.wait(60)

        reading = asyncio.create_task(database.look_aside(read))
        await asyncio.to_thread(has_begun.wait)
        for number in range(24):
            await hosted.publish(a_version(f"1.{number}.0", manifest=manifest), ANN)
        grown = (tmp_path / WAL).stat().st_size
        may_end.set()
        await reading
        for number in range(3):
            await hosted.publish(a_version(f"2.{number}.0"), ANN)
        left = (tmp_path / WAL).stat().st_size

    assert grown > LARGEST_LOG >= left
    assert len(await versions(tmp_path)) == 27


async def test_row_62_two_servers_on_one_data_folder(tmp_path: Path, uplink: FakeUplink) -> None:
    """Two servers that share a data folder lose nothing, and each sees what the other takes."""
    async with (
        hosting(tmp_path, uplink.url, name="one") as (one, tokens),
        Process(tmp_path, uplink.url, settings={"RULES": HOSTED_RULES}, name="two") as two,
        Publisher(one, tokens["ann"]) as here,
        Publisher(two, tokens["ann"]) as there,
    ):
        told = await asyncio.gather(
            *(here.put(a_publish(f"1.{number}.0").body) for number in range(12)),
            *(there.put(a_publish(f"2.{number}.0").body) for number in range(12)),
            *(each.put(a_publish("3.0.0").body) for each in (here, there)),
        )
        seen = [set(await each.versions()) for each in (here, there)]

    assert [status for status, _ in told[:24]] == [201] * 24
    assert {status for status, _ in told[24:]} == {201}
    assert seen == [{f"{major}.{n}.0" for major in (1, 2) for n in range(12)} | {"3.0.0"}] * 2


async def test_the_mark_is_of_all_who_write(tmp_path: Path, uplink: FakeUplink) -> None:
    """Workers and commands that write at once leave the mark at the newest of their rows."""
    async with (
        hosting(tmp_path, uplink.url, workers=2) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        told = await asyncio.gather(
            *(ann.put(a_publish(f"1.0.{number}").body) for number in range(30)),
            *(
                command("user", action, "ann", "--data", str(process.data), folder=tmp_path)
                for action in ("disable", "enable")
            ),
        )
        await process.end()

    assert any(status == 201 for status, _ in told)
    assert marked(process.data) == entries(process.data)


async def test_killed_between_the_commit_and_the_mark(tmp_path: Path, uplink: FakeUplink) -> None:
    """A mark that is behind the database says nothing: it starts, with what was committed."""
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        await ann.put(a_publish("1.0.0").body)
        mark = str(process.data / NEWEST)
        kill = ("-e", "trace=openat", "-P", mark, "-e", "inject=openat:signal=SIGKILL")
        async with injected(process.pid, *kill, is_fatal=True):
            publishing = asyncio.create_task(ann.put(a_publish("2.0.0").body))
            status = await process.ended()
        await asyncio.gather(publishing, return_exceptions=True)
        behind = marked(process.data) < entries(process.data)
        await process.start()
        found = list(await ann.versions())

    assert (status, behind) == (-signal.SIGKILL, True)
    assert found == ["1.0.0", "2.0.0"]
    assert marked(process.data) == entries(process.data)


async def test_a_copy_of_now_is_taken(tmp_path: Path) -> None:
    """A backup that lacks nothing is opened without a word, whatever has made it."""
    await publish(tmp_path, "1.0.0", "2.0.0")
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        db.execute("VACUUM INTO ?", (str(tmp_path / "copy"),))

    (tmp_path / "copy").rename(tmp_path / FILE)

    assert await versions(tmp_path) == ["1.0.0", "2.0.0"]


async def test_beginning_anew_forgets_the_mark(tmp_path: Path) -> None:
    """Who removes the database and its lock file begins with nothing, whatever the mark says."""
    await publish(tmp_path, "1.0.0", "2.0.0")
    (tmp_path / FILE).unlink()
    (tmp_path / f"{FILE}.lock").unlink()

    await publish(tmp_path, "3.0.0")

    assert (await versions(tmp_path), marked(tmp_path)) == (["3.0.0"], 1)


async def test_a_refused_copy_is_not_touched(tmp_path: Path) -> None:
    """A refused copy is left as it is, to the byte: its log still fits when it is put back."""
    await publish(tmp_path, "1.0.0")
    shutil.copy(tmp_path / FILE, tmp_path / "older")
    await publish(tmp_path, "2.0.0")
    shutil.copy(tmp_path / "older", tmp_path / FILE)

    with pytest.raises(StorageCorrupt, match=r"ends with entry 1 of .*, but entry 2 of"):
        await versions(tmp_path)

    assert (tmp_path / FILE).read_bytes() == (tmp_path / "older").read_bytes()


@pytest.mark.parametrize("harm", ["a folder", "nonsense", "empty"])
async def test_a_mark_that_cannot_be_used(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It stops nobody: publishes go on, the log says so once, a sound one takes its place."""
    await publish(tmp_path, "1.0.0")
    mark = tmp_path / NEWEST
    mark.unlink()
    if harm == "a folder":
        mark.mkdir()
    else:
        mark.write_bytes(b"" if harm == "empty" else b"\xffnonsense" * 20)

    await publish(tmp_path, "2.0.0", "3.0.0")

    said = [each for each in caplog.records if "lost rows would not be noticed" in each.message]
    assert await versions(tmp_path) == ["1.0.0", "2.0.0", "3.0.0"]
    assert len(said) == 1
    assert mark.is_dir() == (harm == "a folder")
    if harm != "a folder":
        assert marked(tmp_path) == 3
