"""`packhouse cache` beside a running server: what it shows, what it takes out, what it mends."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from proxy.cli import main
from tests.fakes.uplink import FakeUplink
from tests.process import FULL, Process, command

LARGE = 400_000  # a tarball of that size is not kept in memory


@pytest.fixture
async def process(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Process]:
    """A server that holds something: a@1.0.0 (large), a@2.0.0 (small) and @s/b@1.0.0 (small)."""
    uplink.publish("a", "1.0.0", files={"x": os.urandom(LARGE)})
    uplink.publish("a", "2.0.0")
    uplink.publish("@s/b", "1.0.0")
    async with Process(tmp_path, uplink.url, workers=2) as running:
        for path in ("/a", "/a/-/a-1.0.0.tgz", "/a/-/a-2.0.0.tgz", "/@s%2fb/-/b-1.0.0.tgz"):
            assert (await running.held(path)).status == 200
        uplink.requests.clear()
        yield running


async def _cache(process: Process, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command in this process, which is another than the server's."""
    given = ["cache", *arguments, "--data", str(process.data)]
    environ = {f"PACKHOUSE_{key}": text for key, text in settings.items()}
    invoke = partial(CliRunner().invoke, main, given, env=environ)
    result = await asyncio.to_thread(invoke)
    return result.exit_code, result.output


def _blob(process: Process, data: bytes) -> Path:
    digest = hashlib.sha512(data).hexdigest()
    return process.data / "blobs" / digest[:2] / digest


def _damage(blob: Path) -> None:
    """Flip one bit in the middle."""
    damaged = bytearray(blob.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    blob.write_bytes(damaged)


async def test_list_and_stats_show_what_is_held(process: Process) -> None:
    """Packages with the versions whose tarballs are held, by prefix or all; and how much it is."""
    listed = await _cache(process, "list")
    scoped = await _cache(process, "list", "@s/")
    stats = await _cache(process, "stats")

    assert listed == (0, "@s/b  1.0.0\na  1.0.0 2.0.0\n")
    assert scoped == (0, "@s/b  1.0.0\n")
    assert stats[0] == 0
    assert stats[1].splitlines()[1].split()[:2] == ["tarballs", "3"]


async def test_a_purged_package_is_asked_for_again_at_once(
    process: Process, uplink: FakeUplink
) -> None:
    """What another process purges, every worker forgets by its next request, in memory too."""
    for _ in range(10):  # so that both workers have it in memory
        await process.get("/@s%2fb", FULL)
        await process.get("/@s%2fb/-/b-1.0.0.tgz")
    asked_before = uplink.count("/@s/b")

    purged = await _cache(process, "purge", "@s/b")
    replies = [await process.get("/@s%2fb/-/b-1.0.0.tgz") for _ in range(10)]
    packuments = [await process.get("/@s%2fb", FULL) for _ in range(10)]

    assert purged == (0, "1 tarballs removed\n")
    assert {reply.status for reply in replies + packuments} == {200}
    assert uplink.count("/@s/b/-/b-1.0.0.tgz") == 1
    assert uplink.count("/@s/b") > asked_before
    assert uplink.count("/a") == 0


async def test_one_version_is_purged_alone(process: Process, uplink: FakeUplink) -> None:
    """NAME@VERSION takes out that tarball and nothing else."""
    purged = await _cache(process, "purge", "a@2.0.0")
    listed = await _cache(process, "list", "a")
    reply = await process.get("/a/-/a-2.0.0.tgz")

    assert purged == (0, "1 tarballs removed\n")
    assert listed == (0, "a  1.0.0\n")
    assert reply.body == uplink.tarballs["/a/-/a-2.0.0.tgz"]
    assert [seen.decoded_path for seen in uplink.requests] == ["/a/-/a-2.0.0.tgz"]


async def test_a_spec_without_its_version_purges_nothing(process: Process) -> None:
    """`a@` is taken for a slip, not for everything of `a`."""
    status, said = await _cache(process, "purge", "a@")
    listed = await _cache(process, "list", "a")

    assert status == 2
    assert "a version is missing" in said
    assert listed == (0, "a  1.0.0 2.0.0\n")


async def test_verify_finds_what_the_disk_has_changed_and_the_next_request_heals(
    process: Process, uplink: FakeUplink
) -> None:
    """One flipped bit in a tarball and one in a packument: found, told, and fetched again."""
    sound = await _cache(process, "verify")
    data = uplink.tarballs["/a/-/a-1.0.0.tgz"]
    _damage(_blob(process, data))
    bodies = [
        path
        for path in (process.data / "blobs").rglob("*")
        if path.is_file() and path.read_bytes() not in uplink.tarballs.values()
    ]
    bodies.remove(_blob(process, data))
    for body in bodies:
        _damage(body)

    status, said = await _cache(process, "verify")
    after = await _cache(process, "verify")
    tarball = await process.get("/a/-/a-1.0.0.tgz")
    manifest = await process.get("/a/1.0.0")

    assert sound[0] == 0
    assert status == 1
    assert "a@1.0.0: its bytes have changed; removed" in said
    assert said.count("; removed") == 1 + len(bodies)
    assert after[0] == 0
    assert tarball.body == data
    assert manifest.status == 200


async def test_gc_removes_what_crashes_leave(process: Process) -> None:
    """An unfinished file and a blob without a record go once they are old; young ones stay."""
    old = time.time() - 3600
    orphan = _blob(process, b"orphan")
    young = _blob(process, b"young")
    part = process.data / "incoming" / f"{'0' * 64}-x-1-abcdef.part"
    for path in (orphan, young, part):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"left")
    for path in (orphan, part):
        os.utime(path, (old, old))

    status, said = await _cache(process, "gc")

    assert status == 0
    assert "unfinished downloads removed  1" in said
    assert "orphans removed               1 (4 bytes)" in said
    assert not orphan.exists()
    assert not part.exists()
    assert young.exists()


async def test_gc_evicts_what_is_above_the_limit(process: Process, uplink: FakeUplink) -> None:
    """With a smaller cache.max_size tarballs go, and what is asked for is fetched again."""
    status, said = await _cache(process, "gc", CACHE_MAX_SIZE="100kB")
    listed = await _cache(process, "list", "a")
    reply = await process.get("/a/-/a-1.0.0.tgz")

    assert status == 0
    assert "evicted                       40" in said
    assert listed[1] in {"a  2.0.0\n", "a\n"}
    assert reply.body == uplink.tarballs["/a/-/a-1.0.0.tgz"]


async def test_a_folder_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    """On a folder without a cache every command says so, and creates nothing there."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    status, said = await command("cache", "gc", "--data", str(folder), folder=tmp_path)

    assert status == 1
    assert said == f"Error: there is nothing of packhouse in {folder}; see --data\n"
    assert list(folder.iterdir()) == []
