"""`packhouse mirror`: rules run by hand, and how they stand."""

from __future__ import annotations

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.registry.offline.timetable import LEASE
from tests.fakes.uplink import FakeUplink

RULES = [
    {"name": "first", "packages": ["a", "gone"], "at": ["02:00"]},
    {"name": "second", "packages": ["b"], "at": ["02:00"]},
]


async def mirror(folder: Path, uplink: FakeUplink, *words: str, rules: object = RULES) -> Result:
    """The command on `folder`/data, in this process."""
    given = ["mirror", *words, "--data", str(folder / "data"), "--uplink", uplink.url]
    environ = {
        "PACKHOUSE_MIRROR": json.dumps(rules),
        "PACKHOUSE_CACHE_MIN_FREE": "0B",
        "HOME": str(folder),
    }
    result = await asyncio.to_thread(partial(CliRunner().invoke, main, given, env=environ))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


async def test_all_rules_or_some(tmp_path: Path, uplink: FakeUplink) -> None:
    """Rules that are named are run, all without a name; an incomplete one is status 1."""
    for name in ("a", "b"):
        uplink.publish(name, "1.0.0")

    second = await mirror(tmp_path, uplink, "run", "second")
    assert second.exit_code == 0, second.output
    assert "fetched  b@1.0.0" in second.output
    assert second.output.splitlines()[-1].startswith("second: complete: 1 fetched; requests: 2, ")
    assert uplink.count("/a") == 0

    every = await mirror(tmp_path, uplink, "run")
    assert every.exit_code == 1
    assert "missing  gone" in every.output
    first, again = every.output.splitlines()[-2:]
    assert first.startswith("first: incomplete: 1 fetched, 1 missing; requests: 3, ")
    assert again.startswith("second: complete: 1 here already; requests: 1, ")


async def test_status(tmp_path: Path, uplink: FakeUplink) -> None:
    """Each rule is told with its last run, what that came to, and its next time with the zone."""
    uplink.publish("b", "1.0.0")
    before = await mirror(tmp_path, uplink, "status")
    await mirror(tmp_path, uplink, "run", "second")
    after = await mirror(tmp_path, uplink, "status")

    assert [line.partition(";")[0] for line in before.output.splitlines()] == [
        "first: has not run yet",
        "second: has not run yet",
    ]
    assert "second: last run at 20" in after.output
    assert ", complete: 1 fetched; requests: 2, " in after.output
    assert all("; next at 20" in line and " 02:00 " in line for line in after.output.splitlines())


async def test_a_rule_that_does_not_exist(tmp_path: Path, uplink: FakeUplink) -> None:
    """A name that no rule has is told with those there are, and nothing is run."""
    result = await mirror(tmp_path, uplink, "run", "third")

    assert result.exit_code == 1
    assert "there is no mirror rule third; there are first, second" in result.output
    assert uplink.count() == 0


async def test_without_rules(tmp_path: Path, uplink: FakeUplink) -> None:
    """Without any rule both commands say what to write."""
    for words in ("run", "status"):
        result = await mirror(tmp_path, uplink, words, rules=[])
        assert "the configuration has no mirror rule: write [[mirror]]" in result.output


async def test_while_another_process_runs_rules(tmp_path: Path, uplink: FakeUplink) -> None:
    """While rules are being run elsewhere on this folder, the command says so and ends."""
    (tmp_path / "data").mkdir()
    leases = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HOLDER, str(tmp_path / "data" / "leases.lock"), LEASE),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert leases.stdout is not None
    await leases.stdout.readline()
    result = await mirror(tmp_path, uplink, "run")
    await leases.communicate(b"")

    assert result.exit_code == 1
    assert "mirror rules are being run by another process" in result.output


_HOLDER = """
import asyncio, sys
from pathlib import Path
from proxy.storage.leases import FileLeases
async def hold():
    async with FileLeases(Path(sys.argv[1])) as leases, leases.hold(sys.argv[2]):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(hold())
"""
