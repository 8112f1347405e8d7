"""Every client installs a package whose versions came without any hash."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.clients.clients import CLIENTS, Client
from tests.fakes.uplink import FakeUplink
from tests.registry import Registry

pytestmark = [pytest.mark.timeout(400)]


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


@pytest.mark.parametrize("client", CLIENTS, ids=named)
async def test_no_hash(
    client: Client, registry: Registry, uplink: FakeUplink, tmp_path: Path
) -> None:
    """A client resolves and installs it, then again by its lockfile while the uplink is away."""
    uplink.publish("n", "1.0.0", files={"index.js": b"module.exports = 7\n"})
    dist = uplink.packages["n"]["versions"]["1.0.0"]["dist"]
    del dist["integrity"], dist["shasum"]
    app = tmp_path / "app"
    app.mkdir()
    manifest = {"name": "app", "version": "1.0.0", "dependencies": {"n": "^1.0.0"}}
    (app / "package.json").write_text(json.dumps(manifest))

    await succeed(client, app, registry.url, tmp_path / "first")
    await uplink.stop()
    shutil.rmtree(app / "node_modules")
    await succeed(client, app, registry.url, tmp_path / "second", frozen=True)


async def succeed(
    client: Client, app: Path, registry: str, cache: Path, *, frozen: bool = False
) -> None:
    """Install with empty caches, and find the package's file where Node.js looks for it."""
    outcome = await asyncio.to_thread(client.install, app, registry, cache, frozen=frozen)
    assert outcome.exit_code == 0, str(outcome)
    assert (app / "node_modules" / "n" / "index.js").read_bytes() == b"module.exports = 7\n"
