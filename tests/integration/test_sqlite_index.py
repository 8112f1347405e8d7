"""The index's file: what happens to it, and what it becomes."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import apsw
import pytest

from proxy.errors import StorageAway, StorageCorrupt
from proxy.storage.base import TarballRecord
from proxy.storage.sqlite import SqliteIndex

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def a_tarball(name: str, **changes: object) -> TarballRecord:
    fields = {
        "uplink": "npm",
        "name": name,
        "file": f"{name}-1.0.0.tgz",
        "version": "1.0.0",
        "digest": "ab" * 64,
        "size_bytes": 10,
        "stored_at": NOON,
        "used_at": NOON,
    }
    return TarballRecord(**(fields | changes))  # type: ignore[arg-type]


async def filled(path: Path, count: int = 300) -> None:
    async with SqliteIndex(path) as index:
        await asyncio.gather(*(index.put_tarball(a_tarball(f"p{n:04}")) for n in range(count)))


async def test_what_was_written_is_there_again(tmp_path: Path) -> None:
    """Records survive closing and opening."""
    path = tmp_path / "deep" / "index.sqlite"
    async with SqliteIndex(path) as index:
        await index.put_tarball(a_tarball("a"))

    async with SqliteIndex(path) as index:
        assert await index.tarball("a", "a-1.0.0.tgz") == a_tarball("a")


async def test_two_see_each_other(tmp_path: Path) -> None:
    """What one opening of the file commits, another reads at once and counts as a revision."""
    path = tmp_path / "index.sqlite"
    async with SqliteIndex(path) as ours, SqliteIndex(path) as theirs:
        before, (since, _) = ours.revision(), await ours.changes(-1)

        await theirs.put_tarball(a_tarball("a"))
        await theirs.drop_packuments("b")

        assert ours.revision() != before
        assert await ours.tarball("a", "a-1.0.0.tgz") is not None
        assert (await ours.changes(since))[1] == ["b"]


async def test_many_open_at_once(tmp_path: Path) -> None:
    """Eight who open a file that is not there yet all get the same sound one."""
    path = tmp_path / "index.sqlite"
    indexes = [SqliteIndex(path) for _ in range(8)]

    await asyncio.gather(*(index.__aenter__() for index in indexes))

    await asyncio.gather(*(i.put_tarball(a_tarball(f"p{n}")) for n, i in enumerate(indexes)))
    names = await indexes[0].names()
    for index in indexes:
        await index.__aexit__(None, None, None)
    assert names == [f"p{n}" for n in range(8)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["index.sqlite", "index.sqlite.lock"]


async def test_file_that_is_no_database_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is no database is kept under a name that says so, and an empty index opens."""
    path = tmp_path / "index.sqlite"
    path.write_bytes(b"this is not a database" * 1000)

    with caplog.at_level(logging.WARNING):
        async with SqliteIndex(path, clock=lambda: NOON) as index:
            assert await index.names() == []
            await index.put_tarball(a_tarball("a"))

    aside = tmp_path / "index.sqlite.corrupt-20260504T120000000000Z"
    assert aside.read_bytes().startswith(b"this is not")
    assert [record.__dict__.get("file") for record in caplog.records] == [aside.name]


async def test_damaged_pages_are_found_at_open(tmp_path: Path) -> None:
    """Eight kilobytes of junk in the middle of the file are found before anything is served."""
    path = tmp_path / "index.sqlite"
    await filled(path)
    _overwrite(path)

    async with SqliteIndex(path) as index:
        assert await index.names() == []

    assert len(list(tmp_path.glob("index.sqlite.corrupt-*Z"))) == 1


async def test_damage_while_running_is_mended(tmp_path: Path) -> None:
    """Damage met by a read is StorageCorrupt for it; soon the index is empty and sound."""
    path = tmp_path / "index.sqlite"
    await filled(path)
    async with SqliteIndex(path) as index:
        _overwrite(path, everything=True)

        with pytest.raises(StorageCorrupt):
            for number in range(300):
                await index.tarball(f"p{number:04}", f"p{number:04}-1.0.0.tgz")

        await _eventually(index)
        await index.put_tarball(a_tarball("new"))
        assert await index.names() == ["new"]
    assert len(list(tmp_path.glob("index.sqlite.corrupt-*Z"))) == 1


async def test_removed_file_is_made_anew(tmp_path: Path) -> None:
    """When the file is removed under a running index, the next write begins a new one."""
    path = tmp_path / "index.sqlite"
    async with SqliteIndex(path) as index:
        await index.put_tarball(a_tarball("old"))
        since, _ = await index.changes(-1)
        before = index.revision()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()

        await index.put_tarball(a_tarball("new"))

        assert index.revision() != before
        assert await index.names() == ["new"]
        assert (await index.changes(since))[1] == ["*"]
    async with SqliteIndex(path) as again:
        assert await again.names() == ["new"]


async def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer schema is left alone, and the error says to upgrade."""
    path = tmp_path / "index.sqlite"
    await filled(path, 1)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(StorageAway, match=r"newer packhouse \(schema 99.*upgrade"):
        async with SqliteIndex(path):
            pass

    assert not list(tmp_path.glob("*.corrupt-*"))


async def test_locked_database_makes_writers_wait(tmp_path: Path) -> None:
    """While another program holds the write lock reads go on, and the write is done after it."""
    path = tmp_path / "index.sqlite"
    async with SqliteIndex(path) as index:
        await index.put_tarball(a_tarball("a"))
        other = apsw.Connection(str(path))  # another library's locks would not count in one process
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(index.put_tarball(a_tarball("b")))
        await asyncio.sleep(0.1)

        during = (await index.tarball("a", "a-1.0.0.tgz"), writing.done())
        other.execute("COMMIT")
        other.close()
        await writing

        assert during == (a_tarball("a"), False)
        assert await index.names() == ["a", "b"]


async def test_one_bad_write_fails_alone(tmp_path: Path) -> None:
    """A write that the database refuses fails by itself; those in the same commit are kept."""
    async with SqliteIndex(tmp_path / "index.sqlite") as index:
        bad = a_tarball("bad", size_bytes=None)
        writes = [a_tarball("a"), bad, a_tarball("b")]

        outcomes = await asyncio.gather(*map(index.put_tarball, writes), return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [type(None), StorageCorrupt, type(None)]
        assert await index.names() == ["a", "b"]


async def test_log_is_trimmed(tmp_path: Path) -> None:
    """The change log keeps its last ten thousand rows; who is further behind hears '*'."""
    async with SqliteIndex(tmp_path / "index.sqlite") as index:
        start, _ = await index.changes(-1)
        await asyncio.gather(*(index.drop_packuments(f"p{n % 7}") for n in range(10_001)))

        latest, everything = await index.changes(start)
        _, some = await index.changes(start + 1)

        assert latest == start + 10_001
        assert everything == ["*"]
        assert sorted(some) == [f"p{n}" for n in range(7)]


async def test_use_is_read_from_an_index(tmp_path: Path) -> None:
    """Looking for what to evict does not sort all there is."""
    path = tmp_path / "index.sqlite"
    await filled(path, 1)
    with sqlite3.connect(path) as db:
        from proxy.storage import schema

        plan = db.execute("EXPLAIN QUERY PLAN " + schema.LEAST_RECENTLY_USED, (5,)).fetchall()
    db.close()

    assert [row[3] for row in plan] == ["SCAN tarballs USING INDEX tarballs_by_use"]


async def test_closed_index_refuses_writes(tmp_path: Path) -> None:
    """A write after the end is StorageAway, not a lost write."""
    async with SqliteIndex(tmp_path / "index.sqlite") as index:
        pass

    with pytest.raises(StorageAway):
        await index.put_tarball(a_tarball("a"))


def _overwrite(path: Path, *, everything: bool = False) -> None:
    size_bytes = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 if everything else size_bytes // 2)
        file.write(b"\xa5" * (size_bytes - 4096 if everything else 8192))


async def _eventually(index: SqliteIndex) -> None:
    for _ in range(200):
        try:
            await index.check()
        except StorageCorrupt:
            await asyncio.sleep(0.02)
        else:
            return
    pytest.fail(f"still damaged after {timedelta(seconds=4)}")
