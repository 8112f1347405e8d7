"""Faults of our own machine, met by what lives here: rows 45, 57 and 58."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from pathlib import Path

import pytest

from tests.fakes.uplink import FakeUplink
from tests.injection import injected
from tests.process import FULL, Process
from tests.publishing import Publisher, a_publish, hosting

TARBALL = "/@acme/ui/-/ui-1.0.0.tgz"
BIG = "/big/-/big-1.0.0.tgz"
LARGE = 400_000  # a tarball of that size is not kept in memory
EIO = ("-e", "trace=pread64", "-e", "inject=pread64:error=EIO")


def blob(folder: Path, data: bytes) -> Path:
    digest = hashlib.sha512(data).hexdigest()
    return folder / "blobs" / digest[:2] / digest


def overwrite(file: Path, start: int = 4096) -> None:
    """Write 8 KiB of noise over it, as the fault matrix has it."""
    with file.open("r+b") as damaged:
        for at in range(start, file.stat().st_size, 4096):
            damaged.seek(at)
            damaged.write(b"\xa5" * 4096)


async def test_row_45_a_mirrored_tarball_that_cannot_be_read(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A disk that fails to read a mirrored tarball costs a fetch: 200, and the right bytes."""
    data = uplink.publish("big", "1.0.0", files={"x": os.urandom(LARGE)})
    async with Process(tmp_path, uplink.url) as process:
        await process.held(BIG)
        await process.stop()
        await process.start()
        uplink.pause()
        async with injected(process.pid, *EIO, "-P", str(blob(process.data, data))):
            asking = asyncio.create_task(process.get(BIG))
            await uplink.wait_for(2, BIG)
        uplink.resume()
        found, again = await asking, await process.held(BIG)

    assert (found.status, found.body) == (200, data)
    assert again.body == data


async def test_row_45_a_published_tarball_that_cannot_be_read(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A disk that fails to read a published tarball is a 500 and an alarm; it is never removed."""
    publish = a_publish(files={"x": os.urandom(LARGE)})
    async with hosting(tmp_path, uplink.url) as (process, tokens):
        async with Publisher(process, tokens["ann"]) as ann:
            assert (await ann.put(publish.body))[0] == 201
            file = blob(process.data / "hosted", publish.tarball)
            async with injected(process.pid, *EIO, "-P", str(file)):
                failed, _ = await ann.get(TARBALL)
            status, body = await ann.get(TARBALL)

        assert failed == 500
        assert process.events("published tarball damaged")
        assert (status, body) == (200, publish.tarball)


async def test_row_57_a_damaged_database_at_the_start(tmp_path: Path, uplink: FakeUplink) -> None:
    """The database of what was published is not replaced: no start, and how to restore it."""
    async with hosting(tmp_path, uplink.url) as (process, tokens):
        async with Publisher(process, tokens["ann"]) as ann:
            assert (await ann.put(a_publish().body))[0] == 201
        await process.stop()
        file = process.data / "hosted.sqlite"
        sound = file.read_bytes()
        overwrite(file)
        damaged = file.read_bytes()

        status = await process.run()
        said = process.err.read_text()

        assert status != 0
        assert "restore it from your latest backup" in said
        assert file.read_bytes() == damaged
        file.write_bytes(sound)
        await process.start()
        async with Publisher(process, tokens["ann"]) as ann:
            assert list(await ann.versions()) == ["1.0.0"]


async def test_row_57_a_database_that_is_gone_at_the_start(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """An empty database never takes the place of the one with packages and users."""
    async with hosting(tmp_path, uplink.url) as (process, tokens):
        async with Publisher(process, tokens["ann"]) as ann:
            assert (await ann.put(a_publish().body))[0] == 201
        await process.stop()
        file = process.data / "hosted.sqlite"
        sound = file.read_bytes()
        file.unlink()

        status = await process.run()
        said = process.err.read_text()

        assert status != 0
        assert "put it back from your latest backup" in said
        assert not file.exists()
        file.write_bytes(sound)
        await process.start()
        async with Publisher(process, tokens["ann"]) as ann:
            assert list(await ann.versions()) == ["1.0.0"]


@pytest.mark.parametrize("lost", ["index.sqlite", "cache/cache.db"])
async def test_row_57_a_damaged_cache_at_the_start(
    tmp_path: Path, uplink: FakeUplink, lost: str
) -> None:
    """What is only a cache is thrown away and made anew; what was published is untouched."""
    uplink.publish("plain", "1.0.0")
    async with hosting(tmp_path, uplink.url) as (process, tokens):
        async with Publisher(process, tokens["ann"]) as ann:
            assert (await ann.put(a_publish().body))[0] == 201
            await process.held("/plain")
        await process.stop()
        overwrite(process.data / lost, start=0)

        await process.start()

        async with Publisher(process, tokens["ann"]) as ann:
            assert list(await ann.versions()) == ["1.0.0"]
            assert (await ann.get("/plain"))[0] == 200


async def test_row_58_a_database_that_is_damaged_while_it_runs(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """Private packages are errors, never absent; public ones come from the cache."""
    uplink.publish("plain", "1.0.0")
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as ann,
    ):
        for number in range(40):
            await ann.put(a_publish(f"1.0.{number}", readme="x" * 5000).body)
        await process.stop()
        await process.start()
        await process.held("/plain")
        overwrite(process.data / "hosted.sqlite")
        await uplink.stop()

        private = [await ann.get(path) for path in ("/@acme%2fui", TARBALL)]
        refused, said = await ann.put(a_publish("2.0.0").body)
        public = await process.get("/plain", FULL)
        named = await process.get("/plain", FULL, f"Authorization: Bearer {tokens['ann']}")
        async with asyncio.timeout(20):
            while (await process.get("/-/ready")).status != 503:
                await asyncio.sleep(0.1)

    assert [(status, json.loads(body)["code"]) for status, body in private] == [
        (500, "E_CORRUPT")
    ] * 2
    assert (refused, said["code"]) == (500, "E_CORRUPT")
    assert (public.status, named.status) == (200, 200)
