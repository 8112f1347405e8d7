"""Kill -9 while things are published: what was acknowledged is there, nothing half is seen.

Row 51 of the fault matrix.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests import process as processes
from tests.fakes.uplink import FakeUplink
from tests.injection import injected
from tests.process import Process, until
from tests.publishing import Publish, Publisher, a_publish, blobs, hosting

KILLS = 100
PUBLISHERS = 4
# A new instance before its workers have died so often that it would give up.
RESTART_EVERY = 8


@dataclass
class Work:
    """Publishes one version after the other, each until it is acknowledged, as clients do."""

    publisher: Publisher
    name: str
    sizes: Iterator[int]
    acknowledged: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    is_over: bool = False

    async def run(self) -> None:
        while not self.is_over:
            version = f"1.{len(self.acknowledged)}.0"
            files = {"data": os.urandom(next(self.sizes))}
            publish = a_publish(version, self.name, files=files)
            await self._publish(publish)
            self.acknowledged[version] = hashlib.sha512(publish.tarball).hexdigest()

    async def _publish(self, publish: Publish) -> None:
        while True:
            with suppress(aiohttp.ClientError):
                status, said = await self.publisher.put(publish.body, self.name)
                if status == 201:
                    return
                self.wrong.append(f"{status} {said}")
            await asyncio.sleep(0.02)

    async def served(self) -> dict[str, str]:
        """The digest of every version that is seen, by what is sent for it."""
        found = {}
        for version, manifest in (await self.publisher.versions(self.name)).items():
            address = manifest["dist"]["tarball"].removeprefix(self.publisher.url)
            status, body = await self.publisher.get(address)
            found[version] = hashlib.sha512(body).hexdigest() if status == 200 else str(status)
        return found


async def test_a_hundred_kills_while_publishing(tmp_path: Path, uplink: FakeUplink) -> None:
    """Workers are killed over and over: no acknowledged version is lost, none is half there."""
    random_ = random.Random(51)
    sizes = iter(lambda: random_.randrange(100, 400_000), None)
    async with AsyncExitStack() as stack:
        process, tokens = await stack.enter_async_context(hosting(tmp_path, uplink.url, workers=2))
        publishers = [
            await stack.enter_async_context(Publisher(process, tokens["ann"]))
            for _ in range(PUBLISHERS)
        ]
        works = [Work(each, f"@acme/p{at}", sizes) for at, each in enumerate(publishers)]
        running = [asyncio.create_task(work.run()) for work in works]
        for number in range(1, KILLS + 1):
            await asyncio.sleep(random_.random() * 0.1)
            if number % RESTART_EVERY == 0:
                await process.end()
                await process.start()
            else:
                processes.kill(random_.choice(process.workers()))
                await until(process.workers)
        for work in works:
            work.is_over = True
        await asyncio.gather(*running)
        seen = {work.name: await work.served() for work in works}
        left = await _reclaimed(process)

    assert [work.wrong for work in works] == [[]] * PUBLISHERS
    assert seen == {work.name: work.acknowledged for work in works}
    assert sum(map(len, seen.values())) > KILLS
    assert left == {digest for digests in seen.values() for digest in digests.values()}


@pytest.mark.parametrize(
    ("call", "number", "path"),
    [
        ("fsync", 1, None),
        ("rename", 1, None),
        ("fsync", 2, None),
        ("pwrite64", 1, "hosted.sqlite-wal"),
        ("fdatasync", 1, "hosted.sqlite-wal"),
    ],
    ids=["sync of the blob", "its name", "sync of its name", "commit", "sync of the commit"],
)
async def test_a_kill_at_a_system_call(
    tmp_path: Path, uplink: FakeUplink, call: str, number: int, path: str | None
) -> None:
    """Killed at any step of a publish, it has the version whole or not; a repeat is a success."""
    publish, before = a_publish("1.1.0"), a_publish("1.0.0")
    async with hosting(tmp_path, uplink.url) as (process, tokens):
        async with Publisher(process, tokens["ann"]) as publisher:
            await publisher.put(before.body)
            where = () if path is None else ("-P", str(process.data / path))
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            async with injected(process.pid, *where, "-e", inject, is_fatal=True):
                with pytest.raises(aiohttp.ClientError):
                    await publisher.put(publish.body)
            await process.ended()
        await process.end()
        await process.start()
        async with Publisher(process, tokens["ann"]) as publisher:
            seen = await publisher.versions()
            again, _ = await publisher.put(publish.body)
            tarballs = [
                (await publisher.get(f"/@acme/ui/-/ui-{version}.tgz"))[1]
                for version in ("1.0.0", "1.1.0")
            ]
        left = await _reclaimed(process)

    assert set(seen) in ({"1.0.0"}, {"1.0.0", "1.1.0"})
    assert again == 201
    assert tarballs == [before.tarball, publish.tarball]
    assert left == {hashlib.sha512(data).hexdigest() for data in tarballs}


async def _reclaimed(process: Process) -> set[str]:
    """What is stored once the server has removed, after a start, what is old and nobody's."""
    await process.end()
    last = process.data / "hosted" / "blobs" / "ff" / ("f" * 128)
    last.parent.mkdir(exist_ok=True)
    last.touch()
    for path in (process.data / "hosted").rglob("*"):
        then = path.stat().st_mtime - 3600
        os.utime(path, (then, then))
    await process.start()
    await until(lambda: not last.exists())
    return blobs(process)
