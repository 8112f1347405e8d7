"""A database of published packages that is sound and lacks what was acknowledged: row 59.

Its log was removed after a crash, or an older copy was put in its place.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from proxy.errors import StorageCorrupt
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.watermark import Watermark
from tests.fakes.uplink import FakeUplink
from tests.hosting import ANN, a_version
from tests.injection import injected
from tests.process import command
from tests.publishing import Publisher, a_publish, hosting

FILE = "hosted.sqlite"
NEWEST = f"{FILE}.newest"
WAL = f"{FILE}-wal"


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
