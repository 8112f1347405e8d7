"""Every client installs, without any uplink, what was carried across in a bundle."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from tests.bundles import Side, side
from tests.clients.clients import Berry, Bun, Client, Npm, Pnpm, Yarn1
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Registry

pytestmark = [pytest.mark.timeout(400)]

NEWEST = [Npm("11"), Pnpm("11"), Yarn1(), Berry(), Bun()]
WANTED = {"tool": "^1.0.0", "@s/next": "latest"}
INSTALLED = {"tool": "1.0.0", "lib": "2.0.0", "@s/next": "3.1.0"}


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


def publish(uplink: FakeUplink) -> None:
    """A tool that has a dependency, and an optional one for a platform that nobody has."""
    needs = {"dependencies": {"lib": ">=2"}, "optionalDependencies": {"tool-haiku": "1.0.0"}}
    uplink.publish("tool", "1.0.0", **needs)
    uplink.publish("lib", "1.0.0")
    uplink.publish("lib", "2.0.0")
    uplink.publish("tool-haiku", "1.0.0", os=["haiku"])
    uplink.publish("@s/next", "3.0.0")
    uplink.publish("@s/next", "3.1.0")


def installed(app: Path) -> dict[str, str]:
    """The versions in node_modules, pnpm's store among them."""
    found = {}
    for path in app.glob("node_modules/**/package.json"):
        manifest = json.loads(path.read_text())
        if manifest.get("name") in {*INSTALLED, "tool-haiku"}:
            found[manifest["name"]] = manifest["version"]
    return found


async def install(
    client: Client, app: Path, registry: Registry, cache: Path, *, frozen: bool
) -> None:
    """Install with an empty cache, and look at what was installed."""
    shutil.rmtree(app / "node_modules", ignore_errors=True)
    outcome = await asyncio.to_thread(client.install, app, registry.url, cache, frozen=frozen)
    assert outcome.exit_code == 0, str(outcome)
    assert installed(app) == INSTALLED


@pytest.mark.parametrize("client", NEWEST, ids=named)
@pytest.mark.parametrize("by_lockfile", [True, False], ids=["lockfile", "all"])
async def test_an_install_across_the_gap(
    client: Client, uplink: FakeUplink, tmp_path: Path, by_lockfile: bool
) -> None:
    """What a client has installed outside, or what its lockfile names, is installed inside.

    From package.json alone, and from the lockfile where the client wrote one.
    """
    publish(uplink)
    app = tmp_path / "app"
    app.mkdir()
    manifest = {"name": "app", "version": "1.0.0", "dependencies": WANTED}
    (app / "package.json").write_text(json.dumps(manifest))
    outside, inside = Side(tmp_path / "outside" / "data", uplink.url), side(tmp_path / "in", uplink)
    outside.folder.mkdir()
    async with Registry(outside.data, uplink.url) as registry:
        await install(client, app, registry, tmp_path / "cache", frozen=False)
        for accept in (FULL, ABBREVIATED):
            await registry.packument("tool-haiku", accept=accept)
    locks = ("package-lock.json", "pnpm-lock.yaml", "yarn.lock", "bun.lock")
    lock = next(path for name in locks if (path := app / name).exists())
    what = ("--lockfile", lock) if by_lockfile else ("--all",)
    (tmp_path / "key").write_text(outside.key)

    await inside.take(
        await outside.create(tmp_path / "a.bundle", *what), "--trust", tmp_path / "key"
    )
    await uplink.stop()
    async with Registry(inside.data, uplink.url) as registry:
        # Yarn 1 fetches the packages of all platforms from a lockfile; bun's has the addresses of
        # tarballs, which are those of the outer registry.
        if not isinstance(client, Yarn1 | Bun):
            await install(client, app, registry, tmp_path / "cache1", frozen=True)
        lock.unlink()
        await install(client, app, registry, tmp_path / "cache2", frozen=False)
