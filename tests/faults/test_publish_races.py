"""Many publish at once, to two workers: of one version one wins, of many versions none is lost.

Threat 34 and rows 81 and 82 of the fault matrix, on one node.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.fakes.uplink import FakeUplink
from tests.process import Process
from tests.publishing import UI, Publish, Publisher, a_publish, blobs, hosting

PUBLISHERS = 8
SAME_VERSION_ROUNDS = 200
DIFFERENT_VERSIONS_ROUNDS = 100


@asynccontextmanager
async def crowd(folder: Path, uplink: FakeUplink) -> AsyncIterator[tuple[Process, list[Publisher]]]:
    """Two workers, and publishers with connections of their own."""
    async with (
        hosting(folder, uplink.url, workers=2) as (process, tokens),
        AsyncExitStack() as all_,
    ):
        found = [Publisher(process, tokens["ann"]) for _ in range(PUBLISHERS)]
        yield process, [await all_.enter_async_context(each) for each in found]


async def race(publishers: Sequence[Publisher], publishes: Sequence[Publish]) -> list[int]:
    """The statuses of publishes that are sent at the same moment."""
    pairs = zip(publishers, publishes, strict=True)
    told = await asyncio.gather(*(each.put(publish.body) for each, publish in pairs))
    return [status for status, _ in told]


async def test_one_version_has_one_winner(tmp_path: Path, uplink: FakeUplink) -> None:
    """Of eight different publishes of one version one is told 201, and its bytes are served."""
    winners = {}
    async with crowd(tmp_path, uplink) as (process, publishers):
        for number in range(SAME_VERSION_ROUNDS):
            version = f"1.{number}.0"
            each = [a_publish(version, files={"x": os.urandom(9)}) for _ in publishers]
            statuses = await race(publishers, each)
            assert sorted(statuses) == [201] + [403] * (PUBLISHERS - 1)
            winners[version] = each[statuses.index(201)].tarball
        versions = await publishers[0].versions()
        served = {
            version: (await publishers[0].get(f"/{UI}/-/ui-{version}.tgz"))[1]
            for version in list(winners)[::10]
        }
        stored = blobs(process)

    assert versions.keys() == winners.keys()
    assert served == {version: winners[version] for version in served}
    assert stored == {hashlib.sha512(data).hexdigest() for data in winners.values()}


async def test_no_version_is_lost(tmp_path: Path, uplink: FakeUplink) -> None:
    """Eight publishers of eight versions of one package at once: all are there, each time."""
    async with crowd(tmp_path, uplink) as (_, publishers):
        for number in range(DIFFERENT_VERSIONS_ROUNDS):
            each = [a_publish(f"{number}.{who}.0") for who in range(PUBLISHERS)]
            assert await race(publishers, each) == [201] * PUBLISHERS
        versions = await publishers[0].versions()

    assert len(versions) == DIFFERENT_VERSIONS_ROUNDS * PUBLISHERS
