"""Kill -9 and full disks while bundles are made and taken: the same command again completes."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.storage.volumes import Volumes, VolumesWriter
from tests.bundles import SETTINGS, Side, filled
from tests.fakes.uplink import FakeUplink
from tests.process import ROOT

NAMES = ("a", "b", "c")
CREATING = [
    *(("pwrite64", at) for at in (1, 4, 6, 11)),
    *(("fsync", at) for at in (1, 2)),
    *(("rename", at) for at in (1, 2, 3)),
]
IMPORTING = [
    *(("pwrite64", at) for at in (1, 4, 8, 16, 32)),
    # strace counts for each thread, and these are spread over several.
    *(("fsync", at) for at in (1, 2)),
    *(("rename", at) for at in (1, 2)),
]


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Side]:
    """A side that holds three packages, each of 100 KB; its uplink is away."""
    async with FakeUplink() as uplink:
        for name in NAMES:
            uplink.publish(name, "1.0.0", files={"x": os.urandom(100_000)})
        made = await filled(tmp_path / "outside", uplink, *(f"{name}@1.0.0" for name in NAMES))
        made.key  # noqa: B018  # made before anything is killed
    return made


async def _killed(where: Side, call: str, at: int, *arguments: str | Path) -> bool:
    """Whether a command was killed by the `at`th `call` of one of its threads."""
    status, said = await _injected(where, f"{call}:signal=SIGKILL:when={at}", *arguments)
    assert status in {0, -signal.SIGKILL, 128 + signal.SIGKILL}, said
    return status != 0


async def _injected(where: Side, fault: str, *arguments: str | Path) -> tuple[int, str]:
    """How a command ends in a process of its own, in which system calls fail, and what it says."""
    trace = ("-e", f"trace={fault.partition(':')[0]}", "-e", f"inject={fault}")
    command = (sys.executable, "-m", "proxy", *map(str, arguments))
    process = await asyncio.create_subprocess_exec(
        *("strace", "-f", "-qq", "-o", "/dev/null", *trace, *command),
        *("--data", str(where.data), "--uplink", where.uplink_url),
        env={**os.environ, **SETTINGS, "PYTHONPATH": str(ROOT)},
        cwd=where.folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


@pytest.mark.parametrize(("call", "at"), CREATING)
async def test_a_kill_while_a_bundle_is_made(
    tmp_path: Path, outside: Side, call: str, at: int
) -> None:
    """Killed at a system call, the same command completes, and leaves nothing but the bundle."""
    what = ("bundle", "create", "--all", "--volume-size", "120000", "-o")
    for folder in ("right", "made"):
        (tmp_path / folder).mkdir()

    is_killed = await _killed(outside, call, at, *what, tmp_path / "made" / "b")
    before = {path.name for path in (tmp_path / "made").iterdir()}
    await outside.done(*what, tmp_path / "made" / "b")
    await outside.done(*what, tmp_path / "right" / "b")

    assert is_killed
    assert before != {"b.001", "b.002", "b.003"}
    assert _contents(tmp_path / "made") == _contents(tmp_path / "right")
    assert len(_contents(tmp_path / "made")) == 3


@pytest.mark.parametrize(("call", "at"), IMPORTING)
async def test_a_kill_while_a_bundle_is_taken(
    tmp_path: Path, outside: Side, call: str, at: int
) -> None:
    """Killed at a system call, packages are there as a whole or not at all; then all are there."""
    file, key = await outside.create(tmp_path / "a.bundle"), tmp_path / "key"
    key.write_text(outside.key)
    inside = Side(tmp_path / "inside" / "data", outside.uplink_url)
    inside.folder.mkdir()
    import_ = ("bundle", "import", "--trust", key, file)

    is_killed = await _killed(inside, call, at, *import_)
    before = inside.files() if inside.data.exists() else {}
    shown = (await inside.listed()).splitlines()
    said = await inside.done(*import_)
    after = inside.files()

    assert is_killed
    assert set(shown) <= {f"{name}  1.0.0" for name in NAMES}
    assert before.items() <= after.items(), "a blob was written twice"
    assert (await inside.listed()).splitlines() == [f"{name}  1.0.0" for name in NAMES]
    assert "known" in said
    assert (await inside.run("cache", "verify")).exit_code == 0


@pytest.mark.parametrize("at", [1, 3, 6, 12, 24])
async def test_a_disk_that_fills_up_while_a_bundle_is_taken(
    tmp_path: Path, outside: Side, at: int
) -> None:
    """At whatever write the disk is full, it is said, and packages are there as a whole or not."""
    file, key = await outside.create(tmp_path / "a.bundle"), tmp_path / "key"
    key.write_text(outside.key)
    inside = Side(tmp_path / "inside" / "data", outside.uplink_url)
    inside.folder.mkdir()
    import_ = ("bundle", "import", "--trust", key, file)
    await inside.done("bundle", "import", "--dry-run", *import_[2:])

    status, said = await _injected(inside, f"pwrite64:error=ENOSPC:when={at}+", *import_)
    shown = (await inside.listed()).splitlines()
    await inside.done(*import_)

    assert status == 1, said
    assert "Error: storage: " in said
    assert set(shown) <= {f"{name}  1.0.0" for name in NAMES}
    assert (await inside.listed()).splitlines() == [f"{name}  1.0.0" for name in NAMES]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(min_size=1, max_size=200),
    old=st.binary(max_size=200),
    cut=st.integers(0, 200),
    flip=st.none() | st.integers(0, 199),
    volume_bytes=st.none() | st.integers(20, 120),
    chunk=st.integers(1, 64),
    is_finished=st.booleans(),
)
def test_what_is_there_is_gone_on_with(
    tmp_path: Path,
    data: bytes,
    old: bytes,
    cut: int,
    flip: int | None,
    volume_bytes: int | None,
    chunk: int,
    is_finished: bool,
) -> None:
    """Whatever an earlier run has left, the file is right, and no right byte is written again."""
    folder = tmp_path / "volumes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    left = bytearray(data[:cut] or old)
    if flip is not None and flip < len(left):
        left[flip] ^= 1
    _write(folder / "f", bytes(left), volume_bytes, chunk, is_finished=is_finished)
    _clear_strangers(folder, len(data), volume_bytes)

    reused_bytes = _write(folder / "f", data, volume_bytes, chunk, is_finished=True)

    with Volumes(folder / "f") as volumes:
        assert volumes.read(1000) == data
    if flip is None and cut and not is_finished:
        assert reused_bytes == min(cut, len(data))
    assert not list(folder.glob("*.part"))


def _write(
    path: Path, data: bytes, volume_bytes: int | None, chunk: int, *, is_finished: bool
) -> int:
    if not data:
        return 0
    with VolumesWriter(path, len(data), volume_bytes) as volumes:
        for at in range(0, len(data), chunk):
            volumes.write(data[at : at + chunk])
        if is_finished:
            volumes.finish()
        return volumes.reused_bytes


def _clear_strangers(folder: Path, size_bytes: int, volume_bytes: int | None) -> None:
    """Remove what a run with another number of volumes has left: that one is refused, or stays."""
    count = -(-size_bytes // (volume_bytes or size_bytes))
    names = {"f"} if count == 1 else {f"f.{number:03}" for number in range(1, count + 1)}
    for path in folder.iterdir():
        if path.name.removesuffix(".part") not in names:
            path.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 4 MB, really mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


async def test_no_room_for_a_bundle(outside: Side, small_disk: Path) -> None:
    """A bundle that does not fit is not begun; with more room the same command completes."""
    (small_disk / "full").write_bytes(bytes(3_500_000))

    said = await outside.refused("bundle", "create", "--all", "-o", small_disk / "b")
    left = [path.name for path in small_disk.iterdir()]
    (small_disk / "full").unlink()
    await outside.done("bundle", "create", "--all", "-o", small_disk / "b")

    assert "bytes, 0 of which are there, and " in said
    assert left == ["full"]


async def test_no_room_for_what_is_in_a_bundle(
    tmp_path: Path, outside: Side, small_disk: Path
) -> None:
    """A bundle that does not fit on the disk shows nothing inside, and says what it needs."""
    file, key = await outside.create(tmp_path / "a.bundle"), tmp_path / "key"
    key.write_text(outside.key)
    inside = Side(small_disk / "inside" / "data", outside.uplink_url)
    inside.folder.mkdir()

    said = await inside.refused("bundle", "import", "--trust", key, file)

    assert "this bundle needs 3" in said
    assert "nothing was imported" in said
    assert inside.files() == {}
    assert await inside.listed() == ""


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
