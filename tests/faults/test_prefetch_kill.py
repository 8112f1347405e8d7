"""A prefetch that is killed: the same command completes it, and fetches nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

from proxy.npm.forms import Form
from proxy.storage.sqlite import SqliteIndex
from tests import process as processes
from tests.fakes.uplink import FakeUplink
from tests.prefetches import locked, prefetch, written
from tests.process import until
from tests.registry import Registry

PACKAGES = [f"p{number}" for number in range(100)]
KILLS = 3
# Twenty-four packages are asked for at once: with a thirtieth request six of those have been kept.
ASKED = (30, 40)


async def killed(folder: Path, file: Path, uplink: FakeUplink, after: int) -> None:
    """Run the command until the uplink was asked `after` times more, and kill it there."""
    before = uplink.count()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "prefetch", str(file)),
        *("--data", str(folder / "data"), "--uplink", uplink.url),
        env=processes._environment(folder, {}),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        await until(lambda: process.returncode is not None or uplink.count() >= before + after)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def held(folder: Path) -> set[str]:
    """The addresses of all that is kept."""
    async with SqliteIndex(folder / "data" / "index.sqlite") as index:
        found = set()
        for name in PACKAGES:
            if await index.packument("npm", name, Form.FULL) is not None:
                found.add(f"/{name}")
            found |= {f"/{name}/-/{each.file}" for each in await index.tarballs(name)}
        return found


async def test_kills_while_prefetching(tmp_path: Path, uplink: FakeUplink) -> None:
    """Killed over and over: what was kept is never asked for again, and in the end all is there."""
    random_, files = random.Random(57), {"x": os.urandom(20_000)}
    data = {name: uplink.publish(name, "1.0.0", files=files) for name in PACKAGES}
    file = written(tmp_path, locked(uplink))
    kept: set[str] = set()
    twice: list[str] = []

    def note(since: int) -> None:
        paths = [seen.decoded_path for seen in uplink.requests[since:]]
        twice.extend(path for path in paths if path in kept)

    for _ in range(KILLS):
        since = uplink.count()
        await killed(tmp_path, file, uplink, after=random_.randrange(*ASKED))
        note(since)
        kept |= await held(tmp_path)
    since = uplink.count()
    result = await prefetch(tmp_path, file, uplink=uplink.url)
    note(since)

    assert len(kept) >= KILLS
    assert twice == []
    assert result.exit_code == 0, result.output
    registry = Registry(tmp_path / "data", uplink.url)
    registry.set("server", offline=True)
    async with registry:
        for name, body in data.items():
            assert (await registry.get(f"/{name}/-/{name}-1.0.0.tgz")).body == body
