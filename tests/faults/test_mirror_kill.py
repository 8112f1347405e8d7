"""Servers that run mirror rules: once among workers, and again after a kill, nothing twice."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxy.npm.forms import Form
from proxy.storage.mirror_runs import MirrorRun, SqliteMirrorRuns
from proxy.storage.sqlite import SqliteIndex
from tests.fakes.uplink import FakeUplink
from tests.process import Process, until

PACKAGES = [f"p{number}" for number in range(40)]
KILLS = 2
# Four packages are asked for at once: with the tenth request six answers have been kept.
ASKED = (10, 20)


def settings() -> Mapping[str, str]:
    """A rule whose hour was an hour ago."""
    at = (datetime.now(UTC) - timedelta(hours=1)).astimezone()
    rule = {"name": "nightly", "packages": PACKAGES, "at": [f"{at:%H:%M}"]}
    return {"MIRROR": json.dumps([rule]), "CACHE_MIN_FREE": "0B"}


async def missed(folder: Path) -> None:
    """Have a data folder in which the rule was last handled two days ago."""
    (folder / "data").mkdir()
    async with SqliteIndex(folder / "data" / "index.sqlite") as index:
        handled_at = datetime.now(UTC) - timedelta(days=2)
        await SqliteMirrorRuns(index.database).put(MirrorRun("nightly", handled_at))


async def held(folder: Path) -> tuple[MirrorRun, set[str]]:
    """What is known of the rule, and the addresses of all that is kept."""
    async with SqliteIndex(folder / "data" / "index.sqlite") as index:
        run = SqliteMirrorRuns(index.database).last("nightly")
        assert run is not None
        found = set()
        for name in PACKAGES:
            if await index.packument("npm", name, Form.FULL) is not None:
                found.add(f"/{name}")
            found |= {f"/{name}/-/{each.file}" for each in await index.tarballs(name)}
        return run, found


async def ended(folder: Path) -> MirrorRun:
    """Wait for the end of a run."""
    async with SqliteIndex(folder / "data" / "index.sqlite") as index:
        kept = SqliteMirrorRuns(index.database)

        def has_ended() -> bool:
            run = kept.last("nightly")
            return run is not None and run.ended_at is not None

        await until(has_ended)
        run = kept.last("nightly")
        assert run is not None
        return run


async def test_one_worker_runs_a_rule(tmp_path: Path, uplink: FakeUplink) -> None:
    """A run that was missed is made up for at the start, by one of the workers alone."""
    for name in PACKAGES:
        uplink.publish(name, "1.0.0")
    await missed(tmp_path)

    async with Process(tmp_path, uplink.url, workers=3, settings=settings()) as process:
        run = await ended(tmp_path)
        scraped = (await process.get("/-/metrics")).body.decode()

    assert run.result.startswith("complete: 40 fetched; requests: 80, ")
    asked = [seen.decoded_path for seen in uplink.requests]
    assert len(asked) == len(set(asked)) == 80
    assert 'packhouse_mirror_runs_total{end="complete",rule="nightly"} 1.0' in scraped


async def test_kills_while_a_rule_runs(tmp_path: Path, uplink: FakeUplink) -> None:
    """Killed over and over, the next start goes on: what was kept is never asked for again."""
    random_, files = random.Random(58), {"x": os.urandom(20_000)}
    for name in PACKAGES:
        uplink.publish(name, "1.0.0", files=files)
    await missed(tmp_path)
    said, kept, twice = settings(), set[str](), []

    for kill in range(KILLS + 1):
        since = uplink.count()
        async with Process(tmp_path, uplink.url, settings=said, name=f"kill{kill}") as process:
            if kill < KILLS:
                after = since + random_.randrange(*ASKED)
                await until(lambda: uplink.count() >= after)  # noqa: B023  # awaited here
                await process.end()
            else:
                await ended(tmp_path)
        twice += [each for seen in uplink.requests[since:] if (each := seen.decoded_path) in kept]
        run, kept = await held(tmp_path)
        assert (run.ended_at is None) == (kill < KILLS)

    assert twice == []
    assert run.result.startswith("complete: ")
    assert len(kept) == 2 * len(PACKAGES)
