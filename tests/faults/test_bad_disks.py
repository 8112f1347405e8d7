"""A disk that is full, cannot be read, or takes no writes; and too little memory.

Rows 43, 45, 48 and 50 of the fault matrix, through the product as people run it. (45 of what is
published, 57, 58: test_hosted_local.)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.fakes.uplink import FakeUplink
from tests.injection import injected
from tests.process import ABBREVIATED, FULL, Process
from tests.publishing import Publisher, a_publish, hosting

LARGE = "/large/-/large-1.0.0.tgz"
SMALL = "/small/-/small-1.0.0.tgz"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MiB, really mounted: needs root, as `scripts/test` has in CI."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "size=8m", "tmpfs"):
        yield folder


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(autouse=True)
def published(uplink: FakeUplink) -> None:
    """Tarballs that are kept in memory and that are not, and packuments of three sizes."""
    uplink.publish("large", "1.0.0", files={"data": os.urandom(1_000_000)})
    uplink.publish("small", "1.0.0", files={"data": b"x"})
    uplink.publish("medium", "1.0.0", contributors=["x" * 300_000])
    uplink.publish("big", "1.0.0", contributors=["x" * 6_000_000])


# --- full -----------------------------------------------------------------------------------------


async def test_row_43_cold_packuments_on_a_full_disk(disk: Path, uplink: FakeUplink) -> None:
    """What the disk does not take is sent all the same, of any size; with room again it is kept."""
    names = ("/small", "/medium", "/big")
    async with Process(disk, uplink.url) as process:
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        full = [await process.get(name, FULL) for name in names]
        short = [await process.get(name, ABBREVIATED) for name in names]
        manifest = await process.get("/small/1.0.0")
        tarball = await process.get(SMALL)
        left = list((process.data / "incoming").iterdir())
        ballast.unlink()
        await process.get("/-/ready")
        later = [await process.get("/large", FULL), await process.get("/large/1.0.0", FULL)]
        await uplink.stop()
        kept = await process.get("/large/1.0.0", FULL)

    assert [reply.status for reply in full + short] == [200] * 6
    assert [json.loads(reply.body)["name"] for reply in full + short] == [
        "small",
        "medium",
        "big",
    ] * 2
    assert (manifest.status, tarball.status) == (200, 200)
    assert tarball.body == uplink.tarballs[SMALL]
    assert left == []
    assert [reply.status for reply in (*later, kept)] == [200, 200, 200]


async def test_row_43_what_no_memory_takes_either(disk: Path, uplink: FakeUplink) -> None:
    """A packument of more than 16 MiB is refused on a full disk, with a reason to try again."""
    uplink.publish("huge", "1.0.0", contributors=["x" * 17_000_000])
    async with Process(disk, uplink.url) as process:
        refused = await process.get("/huge", FULL)
        after = await process.get("/small", FULL)

    assert (refused.status, json.loads(refused.body)["code"]) == (507, "E_STORAGE_FULL")
    assert after.status == 200


# --- cannot be read -------------------------------------------------------------------------------


# Once in each thread: the file that takes the place of the bad one has the same path.
EIO_ONCE = "inject=pread64:error=EIO:when=1"


async def test_row_45_a_tarball_that_cannot_be_read(tmp_path: Path, uplink: FakeUplink) -> None:
    """A cached tarball that the disk cannot read is dropped and fetched again, within the reply."""
    data = uplink.tarballs[SMALL]
    async with Process(tmp_path, uplink.url) as process:
        await process.held(SMALL)
        await process.stop()
        await process.start()
        async with injected(process.pid, "-P", str(_blob(process, data)), "-e", EIO_ONCE):
            during = await process.get(SMALL)
        after = await process.held(SMALL)
        lost = process.events("tarball lost")

    assert [reply.status for reply in (during, after)] == [200, 200]
    assert [reply.body == data for reply in (during, after)] == [True, True]
    assert (uplink.count(SMALL), len(lost)) == (2, 1)


async def test_row_45_a_tarball_that_could_be_read_before(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A tarball that was found sound and cannot be read any more is fetched within the reply."""
    data = uplink.tarballs[LARGE]
    async with Process(tmp_path, uplink.url) as process:
        await process.held(LARGE)
        async with injected(process.pid, "-P", str(_blob(process, data)), "-e", EIO_ONCE):
            during = await process.get(LARGE)
        after = await process.held(LARGE)
        lost = process.events("tarball lost")

    assert [(each.status, each.body == data) for each in (during, after)] == [(200, True)] * 2
    assert (uplink.count(LARGE), len(lost)) == (2, 1)


async def test_row_45_a_tarball_that_cannot_be_read_to_its_end(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """Once bytes of it were sent, a tarball that cannot be read is cut; then it is fetched."""
    data = uplink.tarballs[LARGE]
    later = "inject=pread64:error=EIO:when=3"
    async with Process(tmp_path, uplink.url) as process:
        await process.held(LARGE)
        async with injected(process.pid, "-P", str(_blob(process, data)), "-e", later):
            cut = await process.get(LARGE)
        after = await process.held(LARGE)

    assert (cut.status, cut.is_complete) == (200, False)
    assert after.body == data
    assert uplink.count(LARGE) == 2


async def test_row_45_a_tarball_that_cannot_be_read_while_the_uplink_is_away(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A tarball that can neither be read nor fetched is an error that clients try again."""
    data = uplink.tarballs[LARGE]
    async with Process(tmp_path, uplink.url) as process:
        await process.held(LARGE)
        await uplink.stop()
        async with injected(process.pid, "-P", str(_blob(process, data)), "-e", EIO_ONCE):
            failed = await process.get(LARGE)

    assert (failed.status, json.loads(failed.body)["code"]) == (500, "E_CORRUPT")


async def test_row_45_a_packument_that_cannot_be_read(tmp_path: Path, uplink: FakeUplink) -> None:
    """A packument's body that the disk cannot read is fetched again, and the client sees 200."""
    async with Process(tmp_path, uplink.url) as process:
        await process.get("/medium", FULL)
        await process.stop()
        bodies = [path for path in (process.data / "blobs").rglob("*") if path.is_file()]
        await process.start()
        where = [word for path in bodies for word in ("-P", str(path))]
        async with injected(process.pid, *where, "-e", EIO_ONCE):
            during = await process.get("/medium/1.0.0", FULL)
        after = await process.get("/medium", FULL)

    assert (during.status, after.status) == (200, 200)
    assert json.loads(during.body)["version"] == "1.0.0"
    assert uplink.count("/medium") == 2


def _blob(process: Process, data: bytes) -> Path:
    digest = hashlib.sha512(data).hexdigest()
    return process.data / "blobs" / digest[:2] / digest


# --- takes no writes ------------------------------------------------------------------------------


async def test_row_48_a_disk_that_has_become_read_only(tmp_path: Path, uplink: FakeUplink) -> None:
    """Reads of all kinds are 200, a publish is 503; when it takes writes again, all is well."""
    writes = "pwrite64,ftruncate,rename,unlink,mkdir,fsync,fdatasync,link"
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        await ann.put(a_publish("1.0.0").body)
        await process.held(LARGE)
        reads = ["/large", LARGE, "/medium", SMALL, "/small/1.0.0"]
        async with injected(process.pid, "-e", f"inject={writes}:error=EROFS"):
            during = [await process.get(path, FULL) for path in reads]
            hosted = await ann.versions()
            refused, said = await ann.put(a_publish("1.1.0").body)
        again, _ = await ann.put(a_publish("1.1.0").body)
        kept = await process.held(SMALL)

    assert [reply.status for reply in during] == [200] * 5
    assert [during[n].body for n in (1, 3)] == [uplink.tarballs[LARGE], uplink.tarballs[SMALL]]
    assert list(hosted) == ["1.0.0"]
    assert (refused, said["code"]) == (503, "E_STORAGE")
    assert (again, kept.status) == (201, 200)


# --- too little memory ----------------------------------------------------------------------------


async def test_row_50_in_half_a_gigabyte_of_addresses(tmp_path: Path, uplink: FakeUplink) -> None:
    """With 512 MiB to address big work may fail; all else goes on, and nobody dies."""
    uplink.publish("huge", "1.0.0", contributors=["x" * 30_000_000])
    prefix = ("prlimit", "--as=536870912")
    async with Process(tmp_path, uplink.url, prefix=prefix) as process:
        big = await asyncio.gather(*(process.get("/huge", FULL) for _ in range(8)))
        others = [await process.get(path, FULL) for path in ("/small", "/medium", LARGE)]
        still = not process.has_ended()

    assert {reply.status for reply in big} <= {200, 503, 507, 500}
    assert [reply.status for reply in others] == [200] * 3
    assert still
