"""The power fails while people publish: rows 54 and 55 of the fault matrix."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.sqlite import SqliteIndex
from tests import powercut
from tests.fakes.uplink import FakeUplink
from tests.process import Process, descendants, until
from tests.publishing import HOSTED_RULES, UI, Publisher, a_publish, add_users, hosting

MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
MOUNT = {"ext4": "loop", "xfs": "loop,nouuid"}  # of xfs the copy would be refused as a double
SIZE_MIB = {"ext4": 64, "xfs": 320}  # xfs is not made smaller
DATABASE = "hosted.sqlite"
CUTS = 100
PUBLISHES = 16
README = "x" * 300_000  # so much that the log is written back to the database on the way


# --- row 54: what a real file system has ----------------------------------------------------------


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@asynccontextmanager
async def image(folder: Path, name: str, kind: str) -> AsyncIterator[Path]:
    """A file system in a file, mounted."""
    file, place = folder / f"{name}.img", folder / name
    place.mkdir()
    if not file.exists():
        with file.open("wb") as sparse:
            sparse.truncate(SIZE_MIB[kind] * 1024 * 1024)
        await asyncio.to_thread(subprocess.run, [*MAKE[kind], str(file)], check=True)
    with mounted(place, "-t", kind, "-o", MOUNT[kind], str(file)):
        yield place


@pytest.mark.parametrize("kind", ["ext4", "xfs"])
async def test_row_54_the_power_fails(tmp_path: Path, uplink: FakeUplink, kind: str) -> None:
    """Every publish that was acknowledged is on what the disk has when the power goes, whole."""
    told: dict[str, bytes] = {}
    async with (
        image(tmp_path, "disk", kind) as place,
        hosting(place, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        publishing = asyncio.create_task(_publish_on(ann, told))
        await until(lambda: len(told) >= 15)
        family = [process.pid, *descendants(process.pid)]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        acknowledged = dict(told)
        await asyncio.to_thread(_copy, tmp_path / "disk.img", tmp_path / "copy.img")
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
    async with (
        image(tmp_path, "copy", kind) as place,
        hosting(place, uplink.url, "bob") as (process, tokens),
        Publisher(process, tokens["bob"]) as bob,
    ):
        versions = await bob.versions()
        bodies = {
            version: (await bob.get(f"/{UI}/-/ui-{version}.tgz"))[1] for version in acknowledged
        }

    assert set(acknowledged) <= set(versions)
    assert bodies == acknowledged


async def _publish_on(ann: Publisher, told: dict[str, bytes]) -> None:
    for minor in range(10_000):
        publish = a_publish(f"1.{minor}.0")
        status, _ = await ann.put(publish.body)
        assert status == 201
        told[f"1.{minor}.0"] = publish.tarball


def _copy(source: Path, target: Path) -> None:
    # What the file of a loop device holds is what the disk would; who copies it must not ask the
    # mounted file system for anything, which would write what it still owes.
    subprocess.run(["cp", "--sparse=always", str(source), str(target)], check=True)


# --- row 55: what any file system may have --------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What a server did from its start to its end, and what it was told to keep."""

    data: Path
    before: dict[str, bytes]
    events: list[powercut.Event]
    published: list[bytes]

    def moments(self) -> Iterator[tuple[powercut.Event, int]]:
        """Every call, and how many publishes were acknowledged before it."""
        acknowledged = 0
        for event in self.events:
            yield event, acknowledged
            acknowledged += event.call == "send" and event.data.startswith(b"HTTP/1.1 201 ")


async def recorded(folder: Path, uplink_url: str) -> Run:
    """A server that publishes until its log is written back to the database, and stops."""
    traces = folder / "traces"
    settings, prefix = {"RULES": HOSTED_RULES}, powercut.recorder(traces)
    process = Process(folder, uplink_url, settings=settings, prefix=prefix)
    tokens = await add_users(process.data, "ann")
    before = powercut.files(process.data)
    files = {"index.js": b"1", "README.md": README.encode()}
    publishes = [a_publish(f"1.{minor}.0", files=files) for minor in range(PUBLISHES)]
    async with process, Publisher(process, tokens["ann"]) as ann:
        for publish in publishes:
            assert (await ann.put(publish.body))[0] == 201
        await process.stop()
        await until(lambda: powercut.has_ended(traces))  # before the end of all that is left of it
    published = [publish.tarball for publish in publishes]
    return Run(process.data, before, powercut.events(traces), published)


async def test_row_55_writes_come_to_the_disk_in_any_order(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """Whatever unsynced writes are lost, nothing is corrupt, nothing acknowledged is missing."""
    run, chance = await recorded(tmp_path, uplink.url), random.Random(55)
    cuts = set(chance.sample(range(len(run.events)), CUTS))
    disk, counts = powercut.Disk(run.before), []

    for number, (event, acknowledged) in enumerate(run.moments()):
        if number in cuts:
            powercut.rebuild(tmp_path / "left", run.data, disk.after(chance))
            await _is_whole(tmp_path / "left", run.published[:acknowledged])
            shutil.rmtree(tmp_path / "left")
            counts.append(acknowledged)
        disk.do(event)

    assert (len(counts), max(counts)) == (CUTS, PUBLISHES)
    assert any(event.call == "write" and event.path.endswith(DATABASE) for event in run.events)


async def _is_whole(data: Path, acknowledged: list[bytes]) -> None:
    """Open what a start opens, and read what was acknowledged."""
    async with (
        SqliteIndex(data / "index.sqlite"),
        open_database(data / DATABASE) as database,
        FileBlobs(data / "hosted") as blobs,
    ):
        hosted = SqliteHosted(database)
        package = await hosted.package(UI)
        found = {each.version: each for each in package.versions} if package else {}
        for minor, tarball in enumerate(acknowledged):
            digest = hashlib.sha512(tarball).hexdigest()
            assert found[f"1.{minor}.0"].digest == digest
            blob = await blobs.open(digest, len(tarball))
            assert blob is not None
            assert await blob.read(0, len(tarball)) == tarball
            await blob.close()
