"""Every client installs what is held while the uplink is away, where ranges would take more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.clients import Berry, Bun, Client, Npm, Pnpm, Yarn1
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Registry

pytestmark = [pytest.mark.timeout(400)]

NEWEST = [Npm("11"), Pnpm("11"), Yarn1(), Berry(), Bun()]
WANTED = {"tool": "^1.0.0", "next": "latest", "only-rc": "^2.0.0-rc.1"}
HELD = {"tool": "1.0.0", "lib": "2.0.0", "next": "3.0.0", "only-rc": "2.0.0-rc.1"}


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


def publish(uplink: FakeUplink) -> None:
    """Packages whose newest versions nobody has fetched; `tool` has them among its dependencies."""
    needs = {"dependencies": {"lib": ">=2"}, "optionalDependencies": {"tool-haiku": "1.0.0"}}
    uplink.publish("tool", "1.0.0", **needs)
    uplink.publish("tool", "1.1.0", **needs)
    uplink.publish("lib", "2.0.0")
    uplink.publish("lib", "2.5.0")
    uplink.publish("tool-haiku", "1.0.0", os=["haiku"])
    uplink.publish("next", "3.0.0")
    uplink.publish("next", "4.0.0-beta.1", tag="next")
    uplink.publish("next", "3.1.0")
    uplink.publish("only-rc", "2.0.0-rc.1")
    uplink.publish("only-rc", "2.0.0-rc.2")


async def away(registry: Registry, uplink: FakeUplink) -> None:
    """Hold all packuments in both forms and the tarballs of HELD; then the uplink is gone."""
    await registry.stop()
    registry.set("cache", ahead=False)  # it would bring the newest of `lib`
    await registry.start()
    publish(uplink)
    for name in uplink.packages:
        for accept in (FULL, ABBREVIATED):
            await registry.packument(name, accept=accept)
    for name, version in HELD.items():
        assert (await registry.get(f"/{name}/-/{name}-{version}.tgz")).status == 200
    await uplink.stop()
    registry.clock.advance(minutes=6)


def project(folder: Path, wanted: dict[str, str]) -> Path:
    app = folder / "app"
    app.mkdir()
    manifest = {"name": "app", "version": "1.0.0", "dependencies": wanted}
    (app / "package.json").write_text(json.dumps(manifest))
    return app


def installed(app: Path) -> dict[str, str]:
    """The versions in node_modules, pnpm's store among them."""
    found = {}
    for path in app.glob("node_modules/**/package.json"):
        manifest = json.loads(path.read_text())
        if manifest.get("name") in {*HELD, "tool-haiku"}:
            found[manifest["name"]] = manifest["version"]
    return found


@pytest.mark.parametrize("client", NEWEST, ids=named)
async def test_ranges_mean_what_is_held(
    client: Client, registry: Registry, uplink: FakeUplink, tmp_path: Path
) -> None:
    """From package.json alone the held versions are installed; then the same from the lockfile.

    An optional package for another platform, of which nothing is held, stands in nobody's way.
    """
    await away(registry, uplink)
    app = project(tmp_path, WANTED)
    # Yarn classic with a lockfile fetches what is for other platforms, too.
    rounds = [False] if isinstance(client, Yarn1) else [False, True]

    for number, frozen in enumerate(rounds):
        cache = tmp_path / f"cache{number}"
        outcome = await asyncio.to_thread(client.install, app, registry.url, cache, frozen=frozen)

        assert outcome.exit_code == 0, str(outcome)
        assert installed(app) == HELD
        (app / "node_modules").rename(tmp_path / f"modules{number}")


@pytest.mark.parametrize("client", NEWEST, ids=named)
async def test_a_range_that_nothing_fits(
    client: Client, registry: Registry, uplink: FakeUplink, tmp_path: Path
) -> None:
    """A range of which nothing is held fails at once, and not after all the client's retries."""
    await away(registry, uplink)
    app = project(tmp_path, {"tool": "^1.1.0"})

    outcome = await asyncio.to_thread(
        client.install, app, registry.url, tmp_path / "cache", frozen=False
    )

    assert outcome.exit_code != 0, str(outcome)
    assert "tool" in outcome.output


async def _json(client: Npm, app: Path, *arguments: str) -> Any:
    outcome = await asyncio.to_thread(
        client.run, [*arguments, "--json"], at=app, home=app.parent / "home", env={}
    )
    return json.loads(outcome.output)


@pytest.mark.parametrize("client", [Npm("10"), Npm("11"), Npm("12")], ids=named)
async def test_npm_view_and_outdated_agree(
    client: Npm, registry: Registry, uplink: FakeUplink, tmp_path: Path
) -> None:
    """`npm view` tells of what is held; `npm outdated` finds nothing newer than is installed."""
    await away(registry, uplink)
    app = project(tmp_path, WANTED)
    home = tmp_path / "home"
    home.mkdir()
    client.settle(home, registry.url)
    outcome = await asyncio.to_thread(
        client.run, ["install", "--no-audit"], at=app, home=home, env={}
    )
    assert outcome.exit_code == 0, str(outcome)

    view = await _json(client, app, "view", "tool", "versions", "dist-tags", "time")
    outdated = await _json(client, app, "outdated")

    view = view[0] if isinstance(view, list) else view
    assert view["versions"] in (["1.0.0"], "1.0.0")
    assert view["dist-tags"] == {"latest": "1.0.0"}
    assert set(view["time"]) == {"created", "modified", "1.0.0"}
    assert outdated == {}
