"""What a prefetch has brought is enough for every client, offline, with a lockfile or without."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from tests.clients.clients import Berry, Bun, Client, Npm, Pnpm, Yarn1
from tests.fakes.uplink import FakeUplink
from tests.prefetches import prefetch, written
from tests.registry import Registry

pytestmark = [pytest.mark.timeout(300)]

NEWEST = [Npm("11"), Pnpm("11"), Yarn1(), Berry(), Bun()]
STATUS = re.compile(r'status="(\d+)"')
SPARE = {"spare": {"optional": True}}
WANTED = {"tool": "^1.0.0", "other": "npm:lib@^2.0.0"}


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


def publish(uplink: FakeUplink) -> None:
    """`tool` needs lib and has a package for another system.

    Like jest's packages, it and `part` have the same peer, which need not be there: npm looks.
    """
    spare = {"peerDependencies": {"spare": "^1"}, "peerDependenciesMeta": SPARE}
    uplink.publish("lib", "2.0.0")
    uplink.publish("spare", "1.0.0")
    uplink.publish("tool-haiku", "1.0.0", os=["haiku"])
    uplink.publish("part", "1.0.0", **spare)
    needs = {"dependencies": {"lib": ">=1", "part": "1.0.0"}}
    uplink.publish("tool", "1.0.0", optionalDependencies={"tool-haiku": "1.0.0"}, **needs, **spare)


def project(folder: Path) -> Path:
    folder.mkdir()
    written(folder, json.dumps({"name": "app", "dependencies": WANTED}), "package.json")
    return folder


async def install(client: Client, app: Path, registry: Registry, *, frozen: bool) -> None:
    cache = app.parent / f"cache of {app.name}"
    client.prepare(app)
    outcome = await asyncio.to_thread(client.install, app, registry.url, cache, frozen=frozen)
    assert outcome.exit_code == 0, str(outcome)


async def statuses(registry: Registry) -> set[str]:
    """What requests were answered with so far."""
    lines = (await registry.get("/-/metrics")).body.decode().splitlines()
    counted = [line for line in lines if line.startswith("packhouse_requests_total{")]
    return {found[1] for line in counted if (found := STATUS.search(line))}


@pytest.mark.parametrize("client", NEWEST, ids=named)
async def test_a_prefetched_project_installs_offline(
    client: Client, uplink: FakeUplink, tmp_path: Path
) -> None:
    """Its own lockfile is prefetched elsewhere; then it installs with it and without any.

    Nobody asks for what nothing is known of, which is a 503: npm asks again for over a minute.
    """
    publish(uplink)
    outside, inside = Registry(tmp_path / "outside", uplink.url), tmp_path / "inside"
    inside.mkdir()
    locked = project(tmp_path / "locked")
    async with outside:
        await install(client, locked, outside, frozen=False)
        lock = (locked / client.lockfile).read_text()
        result = await prefetch(inside, locked / client.lockfile, uplink=uplink.url)
    assert result.exit_code == 0, result.output
    await uplink.stop()
    uplink.requests.clear()

    registry = Registry(inside / "data", uplink.url)
    registry.set("server", offline=True)
    async with registry:
        frozen, bare = project(tmp_path / "frozen"), project(tmp_path / "bare")
        written(frozen, lock.replace(outside.url, registry.url), client.lockfile)
        await install(client, frozen, registry, frozen=True)
        await install(client, bare, registry, frozen=False)
        answered = await statuses(registry)

    assert "200" in answered
    assert "503" not in answered
    for app in (frozen, bare):
        found = [json.loads(file.read_text()) for file in app.glob("node_modules/*/package.json")]
        assert {"tool", "lib"} <= {each["name"] for each in found}
