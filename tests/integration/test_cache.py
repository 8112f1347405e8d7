"""The cache of rendered replies: whatever is done to its folder is a miss, and nothing worse."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from proxy.npm import encoding
from proxy.storage.cache import Cache

SMALL = b"small value"
LARGE = bytes(range(256)) * 1024  # 256 KiB: in a file of its own
HUGE = bytes(range(256)) * 8192  # 2 MiB: too large to be given as bytes


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[Cache]:
    async with Cache(tmp_path / "cache", size_limit_bytes=64 * 1024 * 1024) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.val"))


def rewrite(folder: Path, sql: str, *values: object) -> int:
    """Change rows behind the cache's back; returns how many."""
    with closing(sqlite3.connect(folder / "cache.db")) as db, db:
        return db.execute(sql, values).rowcount


@pytest.mark.parametrize("data", [b"", SMALL, LARGE])
async def test_value_comes_back(cache: Cache, data: bytes) -> None:
    """What was put is what is got, in a row or in a file; another key is a miss."""
    await cache.put("a", data)

    assert await cache.get("a") == data
    assert await cache.get("b") is None


async def test_value_survives_the_process(folder: Path) -> None:
    """What was put is there for whoever opens the folder next, or has it open too."""
    async with (
        Cache(folder, size_limit_bytes=10**8) as ours,
        Cache(folder, size_limit_bytes=10**8) as theirs,
    ):
        await ours.put("a", LARGE)
        seen = await theirs.get("a")

    async with Cache(folder, size_limit_bytes=10**8) as later:
        assert (seen, await later.get("a")) == (LARGE, LARGE)


async def test_huge_value_is_read_in_pieces(cache: Cache) -> None:
    """A value of more than a megabyte is not given as bytes, but opened and read in pieces."""
    await cache.put("a", HUGE)

    file = await cache.open("a")

    assert await cache.get("a") is None
    assert file is not None
    assert file.size_bytes == len(HUGE)
    assert await file.read(1000, 20) == HUGE[1000:1020]
    assert await file.read(len(HUGE) - 3, 20) == HUGE[-3:]
    assert await file.read(len(HUGE), 20) == b""
    await file.close()


async def test_small_value_is_opened_too(cache: Cache) -> None:
    """A value that lies in a row is opened and read like one in a file."""
    await cache.put("a", SMALL)

    file = await cache.open("a")

    assert file is not None
    assert (file.size_bytes, await file.read(6, 100)) == (len(SMALL), b"value")
    await file.close()


async def test_identity_size_of_a_gzip_value(cache: Cache) -> None:
    """An opened gzip value tells how large it is when decompressed."""
    await cache.put("a", encoding.gzip(HUGE))

    file = await cache.open("a")

    assert file is not None
    assert file.identity_bytes == len(HUGE)
    await file.close()


async def test_file_is_taken_in(cache: Cache, tmp_path: Path) -> None:
    """A file's content becomes a value; the file itself stays."""
    path = tmp_path / "rendered"
    path.write_bytes(HUGE)

    await cache.put_file("a", path)

    file = await cache.open("a")
    assert file is not None
    assert await file.read(0, len(HUGE)) == HUGE
    assert path.read_bytes() == HUGE
    await file.close()


async def test_dropped_value_is_a_miss(cache: Cache, folder: Path) -> None:
    """A dropped value is a miss and its file is gone; who has it open reads on."""
    await cache.put("a", HUGE)
    file = await cache.open("a")
    assert file is not None

    await cache.drop("a")

    assert await cache.open("a") is None
    assert files(folder) == []
    assert await file.read(0, 10) == HUGE[:10]
    await file.close()


async def test_too_large_a_value_is_not_kept(folder: Path, tmp_path: Path) -> None:
    """A value of more than a tenth of the whole is not kept, and what is there stays."""
    path = tmp_path / "rendered"
    path.write_bytes(b"x" * 200_001)
    async with Cache(folder, size_limit_bytes=2_000_000) as cache:
        await cache.put("kept", b"y" * 200_000)

        await cache.put("bytes", b"x" * 200_001)
        await cache.put_file("file", path)

        assert await cache.open("bytes") is None
        assert await cache.open("file") is None
        assert await cache.get("kept") is not None


async def test_limit_is_kept(folder: Path) -> None:
    """However much is put, the volume stays near the limit, and the oldest values go first."""
    async with Cache(folder, size_limit_bytes=2_000_000) as cache:
        for number in range(60):
            await cache.put(f"k{number}", os.urandom(100_000))

        volume = await cache.volume()
        assert 1_000_000 < volume < 2_200_000
        assert await cache.get("k0") is None
        assert await cache.get("k59") is not None


async def test_limit_is_what_we_say(folder: Path) -> None:
    """The limit of this opening counts, not the one an earlier opening left in the folder."""
    async with Cache(folder, size_limit_bytes=10**9):
        pass
    async with Cache(folder, size_limit_bytes=2_000_000) as cache:
        for number in range(60):
            await cache.put(f"k{number}", os.urandom(100_000))

        assert await cache.volume() < 2_200_000


# --- damage ---


def _truncate(path: Path) -> None:
    os.truncate(path, 1000)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("damage", [_truncate, _empty, _flip, _append, _remove])
@pytest.mark.parametrize("value", [LARGE, HUGE])
async def test_damaged_file_is_a_miss(
    cache: Cache, folder: Path, damage: Callable[[Path], None], value: bytes
) -> None:
    """A file that was cut, emptied, changed or lengthened is a miss; it can be put again."""
    await cache.put("a", value)
    damage(files(folder)[0])

    got, opened = await cache.get("a"), await cache.open("a")

    await cache.put("a", SMALL)
    assert (got, opened) == (None, None)
    assert await cache.get("a") == SMALL


@pytest.mark.parametrize("suffix", ["", "-wal"])
async def test_damaged_database_is_thrown_away(folder: Path, suffix: str) -> None:
    """A database full of junk is thrown away with its files at the next opening."""
    async with Cache(folder, size_limit_bytes=10**8) as cache:
        await cache.put("a", LARGE)
    (folder / ("cache.db" + suffix)).write_bytes(b"junk" * 10_000)

    async with Cache(folder, size_limit_bytes=10**8) as cache:
        await cache.put("b", LARGE)

        assert await cache.get("b") == LARGE


async def test_database_damaged_while_open(cache: Cache, folder: Path) -> None:
    """A database that is overwritten under us costs its values at most; new ones are kept again."""
    await cache.put("a", LARGE)
    size_bytes = (folder / "cache.db").stat().st_size
    with (folder / "cache.db").open("r+b") as file:
        file.write(b"\xa5" * size_bytes)
    (folder / "cache.db-wal").unlink()

    # A thread goes on with the pages it has; when it finds out depends on which of them is asked.
    for _ in range(50):
        await cache.get("a")
        await cache.put("b", SMALL)
        if (kept := await cache.get("b")) == SMALL:
            break

    assert kept == SMALL


async def test_foreign_tables_are_thrown_away(cache: Cache, folder: Path) -> None:
    """A database whose tables are not diskcache's is replaced by one that works."""
    await cache.put("a", SMALL)
    rewrite(folder, "DROP TABLE Cache")

    missed = await cache.get("a")
    await cache.put("a", SMALL)

    assert (missed, await cache.get("a")) == (None, SMALL)


async def test_removed_folder_is_made_again(cache: Cache, folder: Path) -> None:
    """When the folder is removed while we run, a put goes into a new one and is found later."""
    await cache.put("a", LARGE)
    shutil.rmtree(folder)

    missed = await cache.get("a")
    await cache.put("b", LARGE)

    async with Cache(folder, size_limit_bytes=10**8) as other:
        assert (missed, await other.get("b")) == (None, LARGE)


async def test_folder_that_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With a file where the folder should be everything is a miss, and the log says so once."""
    (tmp_path / "cache").write_text("in the way")

    with caplog.at_level(logging.WARNING):
        async with Cache(tmp_path / "cache", size_limit_bytes=10**8) as cache:
            await cache.put("a", SMALL)
            found = (await cache.get("a"), await cache.open("a"), await cache.volume())

    assert found == (None, None, 0)
    assert len(caplog.records) == 1


async def test_locked_database_is_a_miss(cache: Cache, folder: Path) -> None:
    """While another program holds the write lock, reading goes on and writing is given up soon."""
    await cache.put("a", SMALL)
    with closing(sqlite3.connect(folder / "cache.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        during = await cache.get("a")
        await cache.put("b", SMALL)
        other.execute("ROLLBACK")

    assert during == SMALL
    assert await cache.get("b") is None


# --- rows that somebody has written by hand ---


class _Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (self._path, "code ran"))


async def test_no_value_is_unpickled(cache: Cache, folder: Path, tmp_path: Path) -> None:
    """A row that claims to be a pickled object is a miss; nothing of it runs."""
    import pickle

    trap = pickle.dumps(_Trap(tmp_path / "sprung"))
    await cache.put("a", SMALL)
    await cache.put("b", LARGE)
    rewrite(folder, "UPDATE Cache SET mode = 4, value = ? WHERE key = 'a'", trap)
    files(folder)[0].write_bytes(trap)
    rewrite(folder, "UPDATE Cache SET mode = 4 WHERE key = 'b'")

    found = [await cache.get("a"), await cache.open("a"), await cache.get("b")]

    assert found == [None, None, None]
    assert not (tmp_path / "sprung").exists()


async def test_no_key_is_unpickled(cache: Cache, folder: Path, tmp_path: Path) -> None:
    """A row whose key claims to be a pickled object is never looked into, not even to make room."""
    import pickle

    trap = pickle.dumps(_Trap(tmp_path / "sprung"))
    await cache.put("a", SMALL)
    rewrite(folder, "UPDATE Cache SET key = ?, raw = 0", trap)

    await cache.get("a")
    await cache.put("a", LARGE)
    await cache.drop("a")

    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", ["{outside}", "../secret", "aa/../../secret", "cache.db"])
async def test_no_file_outside_is_read_or_removed(
    cache: Cache, folder: Path, tmp_path: Path, name: str
) -> None:
    """A row that names a file elsewhere is a miss; dropping or replacing it removes nothing."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    await cache.put("a", LARGE)
    rewrite(folder, "UPDATE Cache SET filename = ?", name.format(outside=secret))

    found = (await cache.get("a"), await cache.open("a"))
    await cache.put("a", LARGE)
    rewrite(folder, "UPDATE Cache SET filename = ?", name.format(outside=secret))
    await cache.drop("a")

    assert found == (None, None)
    assert secret.read_bytes() == b"secret"
    assert (folder / "cache.db").exists()


@pytest.mark.parametrize("value", ["text", 7, 1.5, None, b"\x80\x04N."])
async def test_strange_value_in_a_row_is_a_miss(cache: Cache, folder: Path, value: object) -> None:
    """A row whose value is not framed bytes is a miss, whatever it is."""
    await cache.put("a", SMALL)
    rewrite(folder, "UPDATE Cache SET value = ?", value)

    assert (await cache.get("a"), await cache.open("a")) == (None, None)


async def test_strange_settings_do_not_count(folder: Path) -> None:
    """Settings that somebody wrote into the database neither count nor break the opening."""
    async with Cache(folder, size_limit_bytes=2_000_000):
        pass
    rewrite(folder, "UPDATE Settings SET value = 10000000000 WHERE key = 'size_limit'")
    rewrite(folder, "INSERT INTO Settings VALUES ('disk_surprise', 1), ('sqlite_nonsense', 1)")

    async with Cache(folder, size_limit_bytes=2_000_000) as cache:
        for number in range(60):
            await cache.put(f"k{number}", os.urandom(100_000))

        assert await cache.get("k59") is not None
        assert await cache.volume() < 2_200_000


# --- orphans ---


async def test_orphans_are_swept(cache: Cache, folder: Path) -> None:
    """Old files without a row are removed; values, young files and foreign ones stay."""
    await cache.put("a", LARGE)
    old, young = folder / "ab/cd" / ("e" * 28 + ".val"), folder / "ab/cd" / ("f" * 28 + ".val")
    old.parent.mkdir(parents=True)
    for path in (old, young, folder / "README"):
        path.write_bytes(b"left")
    for path in (old, folder / "README", *files(folder)[:0]):
        os.utime(path, (0, 0))

    swept = await cache.sweep()

    assert (swept, old.exists(), young.exists()) == (1, False, True)
    assert (folder / "README").exists()
    assert await cache.get("a") == LARGE
