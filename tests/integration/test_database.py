"""How a Database uses SQLite."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.storage import changes
from proxy.storage.database import Connection, Database, ask

ASKED = ("synchronous", "journal_mode", "journal_size_limit", "foreign_keys", "cache_size")


def a_database(folder: Path, *, is_precious: bool) -> Database:
    return Database(folder / "a.sqlite", migrations=[changes.TABLES], is_precious=is_precious)


def settings(db: Connection) -> list[object]:
    return [ask(db, f"PRAGMA {name}")[0][0] for name in ASKED]


@pytest.mark.parametrize(("is_precious", "synchronous"), [(True, 2), (False, 1)])
async def test_how_a_file_is_written(tmp_path: Path, is_precious: bool, synchronous: int) -> None:
    """A precious file is synced at every commit (FULL, 2), another at checkpoints (NORMAL, 1)."""
    async with a_database(tmp_path, is_precious=is_precious) as database:
        found = await database.write(settings)

    assert found == [synchronous, "wal", 16 * 1024 * 1024, 1, -8192]


async def test_how_a_file_is_read(tmp_path: Path) -> None:
    """Nothing is written through a connection that reads, and none maps the file into memory."""
    async with a_database(tmp_path, is_precious=False) as database:
        reading = database.look(lambda db: ask(db, "PRAGMA query_only"))
        mapped = [
            database.look(lambda db: ask(db, "PRAGMA mmap_size")),
            await database.look_aside(lambda db: ask(db, "PRAGMA mmap_size")),
            await database.write(lambda db: ask(db, "PRAGMA mmap_size")),
        ]
        cached = database.look(lambda db: ask(db, "PRAGMA cache_size"))

    assert (reading, mapped, cached) == ([(1,)], [[(0,)]] * 3, [(-8192,)])


async def test_answers_are_of_one_moment(tmp_path: Path) -> None:
    """What is committed between two questions of one look is in neither answer."""
    async with (
        a_database(tmp_path, is_precious=False) as database,
        a_database(tmp_path, is_precious=False) as other,
    ):

        def twice(db: Connection) -> list[object]:
            before = ask(db, "SELECT count(*) FROM changes")
            ask(other._writing, changes.LOG_CHANGE, ("a",))
            return [before, ask(db, "SELECT count(*) FROM changes")]

        during = database.look(twice)
        after = database.read("SELECT count(*) FROM changes")

    assert (during, after) == ([[(0,)], [(0,)]], [(1,)])


async def test_precious_files_are_ours_alone(tmp_path: Path) -> None:
    """Nobody else on the machine may read a precious file or its log."""
    async with a_database(tmp_path, is_precious=True) as database:
        await database.check()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("a.sqlite*")}

    modes.pop("a.sqlite.lock")
    assert modes == dict.fromkeys(("a.sqlite", "a.sqlite-wal", "a.sqlite-shm"), 0o600)
