"""Real clients check signatures: of a mirrored package, and of one that was published here.

pnpm 12 is the one that needs nothing but the registry; npm since 9 also asks the internet for a
root of trust before it looks at any key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.npm import names, signing
from tests.clients.clients import Outcome, Pnpm
from tests.fakes.uplink import FakeUplink
from tests.publishing import Home, a_publish, home
from tests.registry import Clock

THEIRS = signing.new_key()
DEPENDENCIES = {"plain": "1.0.0", "@acme/ui": "1.0.0"}


def sign(uplink: FakeUplink, pem: bytes = THEIRS) -> None:
    """Sign what the uplink has of `plain`."""
    entry: dict[str, Any] = uplink.packages["plain"]["versions"]["1.0.0"]
    integrity = entry["dist"]["integrity"]
    signature = signing.sign(pem, names.parse("plain"), "1.0.0", integrity)
    entry["dist"]["signatures"] = [signature]


@pytest.fixture
async def here(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Home]:
    """A registry with @acme/ui of its own, and `plain` of an uplink that signs."""
    uplink.keys = [dict(signing.key_document(THEIRS))]
    uplink.publish("plain", "1.0.0")
    async with home(tmp_path / "data", uplink, clock) as running:
        assert (await running.put(a_publish())).status == 201
        yield running


async def audit(here: Home, folder: Path) -> Outcome:
    """Install both packages with pnpm 12, then check their signatures."""
    client, project, url = Pnpm("12"), folder / "project", here.registry.url
    project.mkdir(parents=True)
    (project / "package.json").write_text(
        json.dumps({"name": "project", "version": "1.0.0", "dependencies": DEPENDENCIES})
    )
    cache = folder / "cache"
    (cache / "home").mkdir(parents=True)
    client.settle(cache / "home", url, here.tokens["ann"])
    installed = await asyncio.to_thread(client.install, project, url, cache, frozen=False)
    assert installed.exit_code == 0, installed
    arguments = ["audit", "signatures"]
    return await asyncio.to_thread(client.run, arguments, at=project, home=cache / "home", env={})


async def test_94_both_are_verified(here: Home, tmp_path: Path) -> None:
    """The one list of keys verifies a mirrored and a published package, as pnpm sees it."""
    sign(here.uplink)

    outcome = await audit(here, tmp_path / "pnpm")

    assert outcome.exit_code == 0, outcome
    assert "2" in outcome.output
    assert "verified" in outcome.output


async def test_94_a_forged_signature_is_seen(here: Home, tmp_path: Path) -> None:
    """What another key has signed is not verified: the check above can fail."""
    other = signing.new_key()
    sign(here.uplink, other)
    signatures = here.uplink.packages["plain"]["versions"]["1.0.0"]["dist"]["signatures"]
    signatures[0]["keyid"] = here.uplink.keys[0]["keyid"]

    outcome = await audit(here, tmp_path / "pnpm")

    assert outcome.exit_code != 0, outcome
    assert "plain" in outcome.output
