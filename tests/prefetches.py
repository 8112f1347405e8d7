"""Prefetches: lockfiles of what a fake uplink has, and the command on a data folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli import main
from tests.fakes.uplink import FakeUplink


def locked(uplink: FakeUplink, **changes: Mapping[str, Any]) -> bytes:
    """A package-lock.json of all that the uplink has; `changes` are to entries, by name."""
    packages: dict[str, Any] = {"": {"name": "project"}}
    for name, document in uplink.packages.items():
        for number, (version, manifest) in enumerate(document["versions"].items()):
            place = f"node_modules/{name}" if not number else f"node_modules/x{number}/node_modules"
            entry = {"version": version, "integrity": manifest["dist"]["integrity"]}
            packages[place if not number else f"{place}/{name}"] = entry | {**changes.get(name, {})}
    return json.dumps({"lockfileVersion": 3, "packages": packages}).encode()


def written(folder: Path, data: bytes | str, name: str = "package-lock.json") -> Path:
    """A file of the project."""
    file = folder / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file


async def prefetch(
    folder: Path, *arguments: object, uplink: str | None = None, **settings: str
) -> Result:
    """The command on `folder`/data, in this process; `settings` are PACKHOUSE_... variables."""
    given = ["prefetch", *map(str, arguments), "--data", str(folder / "data")]
    given += [] if uplink is None else ["--uplink", uplink]
    ours = {"CACHE_MIN_FREE": "0B", **settings}
    environ = {f"PACKHOUSE_{key}": text for key, text in ours.items()} | {"HOME": str(folder)}
    invoke = partial(CliRunner().invoke, main, given, env=environ)
    result = await asyncio.to_thread(invoke)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def bodies(uplink: FakeUplink) -> dict[str, int]:
    """How often each address was asked for without validators, so that a body was sent."""
    counts: dict[str, int] = {}
    for seen in uplink.requests:
        if "if-none-match" not in {key.lower() for key in seen.headers}:
            counts[seen.decoded_path] = counts.get(seen.decoded_path, 0) + 1
    return counts
