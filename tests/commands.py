"""Commands about people, run in this process on a data folder."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli import main

PASSWORD = "correct horse battery"
OTHER = "battery staple correct"


def empty(folder: Path) -> Path:
    """A data folder without a server."""
    data = folder / "data"
    data.mkdir()
    (data / "index.sqlite").touch()
    return data


async def run(data: Path, *arguments: str, given: str = "") -> Result:
    """A command on a data folder, in this process; `given` is on its standard input."""
    invoke = partial(CliRunner().invoke, main, [*arguments, "--data", str(data)], input=given)
    return await asyncio.to_thread(invoke)


async def done(data: Path, *arguments: str, given: str = "") -> str:
    """What a command prints that has to succeed."""
    result = await run(data, *arguments, given=given)
    assert result.exit_code == 0, result.output
    return result.stdout


async def refused(data: Path, *arguments: str, given: str = "") -> str:
    """What a command says that has to fail."""
    result = await run(data, *arguments, given=given)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    return result.stderr


async def add(data: Path, name: str, *options: str) -> None:
    await done(data, "user", "add", name, "--password-stdin", *options, given=f"{PASSWORD}\n")


async def rows(data: Path, *options: str) -> list[dict[str, Any]]:
    """The audit log, oldest first."""
    lines = (await done(data, "audit", "--json", *options)).splitlines()
    return [json.loads(line) for line in reversed(lines)]
