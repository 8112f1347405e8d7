"""The files of signing keys: made once, followed by others, never changed, never passed over."""

from __future__ import annotations

import asyncio
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy import errors
from proxy.npm import signing
from proxy.storage.keyring import FileKeyring

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


class Now:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


def keyring(folder: Path, clock: Now | None = None) -> FileKeyring:
    return FileKeyring(folder / "keys", clock=clock or Now())


async def test_the_first_start_makes_a_key(tmp_path: Path) -> None:
    """The first start makes one key, which the next one finds."""
    async with keyring(tmp_path) as first:
        made = first.listed()
    async with keyring(tmp_path) as second:
        found = second.listed()

    assert len(made) == 1
    assert made == found
    assert (made[0].made_at, made[0].expires_at) == (NOON, None)


async def test_keys_are_nobody_elses_to_read(tmp_path: Path) -> None:
    """Folder and files can be read by their owner only, whatever the umask and the folder were."""
    (tmp_path / "keys").mkdir(mode=0o755)
    before = os.umask(0)
    try:
        async with keyring(tmp_path) as keys:
            await keys.rotate()
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "keys").iterdir()}
    assert modes == {"0001.pem": 0o600, "0002.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


async def test_a_key_is_not_shown(tmp_path: Path) -> None:
    """What a log shows of a key does not hold the secret."""
    async with keyring(tmp_path) as keys:
        (key,) = keys.listed()

    assert b"PRIVATE KEY" in key.pem
    assert "PRIVATE" not in repr(key)


async def test_of_many_first_starts_one_makes_the_key(tmp_path: Path) -> None:
    """Workers that start at once on an empty folder end with the same key."""

    async def start() -> bytes:
        async with keyring(tmp_path) as keys:
            return keys.listed()[-1].pem

    found = await asyncio.gather(*(start() for _ in range(16)))

    assert len(set(found)) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["0001.pem"]


async def test_a_rotation_is_seen_by_every_worker(tmp_path: Path) -> None:
    """Another worker signs with the new key at once; the old one expires when it was made."""
    clock = Now()
    async with keyring(tmp_path) as one, keyring(tmp_path, clock) as other:
        (old,) = one.listed()
        clock.at = NOON + timedelta(days=3)
        new = await other.rotate()

        seen = one.listed()

    assert [key.number for key in seen] == [1, 2]
    assert seen[1] == new
    assert seen[0].pem == old.pem
    assert seen[0].expires_at is not None
    assert clock.at <= seen[0].expires_at <= clock.at + timedelta(minutes=1)


async def test_rotations_at_once_are_all_kept(tmp_path: Path) -> None:
    """Two who rotate at the same moment make two keys; the numbers have no gap."""
    async with keyring(tmp_path) as one, keyring(tmp_path) as other:
        await asyncio.gather(*(each.rotate() for each in (one, other) for _ in range(4)))

        assert [key.number for key in one.listed()] == list(range(1, 10))
        assert one.listed() == other.listed()


@pytest.mark.parametrize(
    "damage",
    [b"", b"Made: 2026-05-04T12:00:00+00:00\n", b"Made: yesterday\n", b"\xff\x00" * 50],
    ids=["empty", "no-key", "no-time", "noise"],
)
async def test_a_damaged_key_refuses_to_start(tmp_path: Path, damage: bytes) -> None:
    """A key that cannot be read is not replaced: the start says which, and what to do."""
    async with keyring(tmp_path):
        pass
    file = tmp_path / "keys" / "0001.pem"
    file.write_bytes(damage)

    with pytest.raises(errors.StorageCorrupt, match=r"0001\.pem is damaged.*backup"):
        async with keyring(tmp_path):
            pass
    assert file.read_bytes() == damage


async def test_a_bit_in_the_key(tmp_path: Path) -> None:
    """A key of which a letter is wrong is damaged, not another key."""
    async with keyring(tmp_path):
        pass
    file = tmp_path / "keys" / "0001.pem"
    text = bytearray(file.read_bytes())
    at = text.index(b"KEY-----\n") + 60
    text[at] = ord("A") if text[at] != ord("A") else ord("B")
    file.write_bytes(text)

    with pytest.raises(errors.StorageCorrupt, match="damaged"):
        async with keyring(tmp_path):
            pass


async def test_a_link_is_no_key(tmp_path: Path) -> None:
    """A planted link in the place of a key is not followed."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"Made: now\n" + signing.new_key())
    (tmp_path / "keys" / "0001.pem").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(errors.StorageCorrupt, match="no plain file"):
        async with keyring(tmp_path):
            pass


async def test_keys_that_are_taken_away(tmp_path: Path) -> None:
    """Whoever signs after the keys were removed is told so; no new key is made in silence."""
    async with keyring(tmp_path) as keys:
        (tmp_path / "keys" / "0001.pem").unlink()

        with pytest.raises(errors.StorageCorrupt, match="gone"):
            keys.listed()


async def test_what_a_crash_leaves_is_no_key(tmp_path: Path) -> None:
    """A file that was not finished before a crash counts for nothing."""
    async with keyring(tmp_path) as keys:
        (tmp_path / "keys" / ".new-0123").write_bytes(b"Made: 20")

        assert [key.number for key in keys.listed()] == [1]
        assert (await keys.rotate()).number == 2
