"""Real clients check signatures: of a mirrored package, and of one that was published here.

`npm audit signatures` and `pnpm audit signatures` end with 1 if anything is missing or wrong. npm
since 9 also asks the internet for a root of trust before it looks at any key: trust.cjs answers in
its place.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from proxy.npm import names, signing
from tests.clients.clients import TRUST, Client, Npm, Outcome, Pnpm
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Home, a_publish, home
from tests.registry import Clock

THEIRS = signing.new_key()
PLAIN = "plain"
VERIFIED = "verified registry signature"
ALONE = {
    **TRUST,
    # An answer that is no answer is told at once, not after a minute of asking again.
    "npm_config_fetch_retries": "0",
    "pnpm_config_fetch_retries": "0",
}


@dataclass(frozen=True)
class Project:
    """A project in a home of its own, whose packages are installed."""

    client: Client
    here: Home
    folder: Path

    async def install(self, *packages: str) -> None:
        """Write down what it depends on, each at 1.0.0, and install that."""
        at, url = self.folder / "project", self.here.registry.url
        at.mkdir(parents=True)
        manifest = {
            "name": "p",
            "version": "1.0.0",
            "dependencies": dict.fromkeys(packages, "1.0.0"),
        }
        (at / "package.json").write_text(json.dumps(manifest))
        (self.folder / "home").mkdir()
        self.client.settle(self.folder / "home", url, self.here.tokens["ann"])
        done = await asyncio.to_thread(self.client.install, at, url, self.folder, frozen=False)
        assert done.exit_code == 0, done

    async def audit(self) -> Outcome:
        """Check the signatures of what is installed."""
        at, home_ = self.folder / "project", self.folder / "home"
        words = ["audit", "signatures"]
        return await asyncio.to_thread(self.client.run, words, at=at, home=home_, env=ALONE)


@pytest.fixture
async def here(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Home]:
    """A registry with @acme/ui of its own, and `plain` of an uplink that signs."""
    uplink.keys = [dict(signing.key_document(THEIRS))]
    uplink.publish(PLAIN, "1.0.0")
    async with home(tmp_path / "data", uplink, clock) as running:
        assert (await running.put(a_publish())).status == 201
        yield running


@pytest.fixture(params=[Npm("11"), Pnpm("12")], ids=lambda client: client.name)
def project(request: pytest.FixtureRequest, here: Home, tmp_path: Path) -> Project:
    """A project of each client."""
    return Project(request.param, here, tmp_path / "client")


def sign(uplink: FakeUplink, pem: bytes = THEIRS) -> None:
    """Sign what the uplink has of `plain`."""
    entry: dict[str, Any] = uplink.packages[PLAIN]["versions"]["1.0.0"]
    integrity = entry["dist"]["integrity"]
    entry["dist"]["signatures"] = [signing.sign(pem, names.parse(PLAIN), "1.0.0", integrity)]


async def test_94_both_are_verified(here: Home, project: Project) -> None:
    """The one list of keys verifies a mirrored and a published package."""
    sign(here.uplink)
    await project.install(PLAIN, UI)

    outcome = await project.audit()

    assert outcome.exit_code == 0, outcome
    assert "2 packages have verified registry signatures" in outcome.output


async def test_94_a_forged_signature_is_seen(here: Home, project: Project) -> None:
    """What another key has signed is not verified: the check above can fail."""
    sign(here.uplink, signing.new_key())
    signatures = here.uplink.packages[PLAIN]["versions"]["1.0.0"]["dist"]["signatures"]
    signatures[0]["keyid"] = here.uplink.keys[0]["keyid"]
    await project.install(PLAIN, UI)

    outcome = await project.audit()

    assert outcome.exit_code != 0, outcome
    assert PLAIN in outcome.output
    assert f"1 package has a {VERIFIED}" in outcome.output


async def test_an_uplink_without_keys_leaves_ours(here: Home, project: Project) -> None:
    """Where the uplink has no keys, what was published here is verified with ours."""
    here.uplink.keys = []
    await project.install(UI)

    outcome = await project.audit()

    assert outcome.exit_code == 0, outcome
    assert f"1 package has a {VERIFIED}" in outcome.output


async def test_what_nobody_signed_is_missing_its_signature(here: Home, project: Project) -> None:
    """Where the uplink has no keys, its packages are told apart from ours, which are verified."""
    here.uplink.keys = []
    await project.install(PLAIN, UI)

    outcome = await project.audit()

    assert outcome.exit_code == 1, outcome
    assert f"1 package has a {VERIFIED}" in outcome.output
    assert "missing registry signature" in outcome.output
    assert f"{PLAIN}@1.0.0" in outcome.output
    assert f"{UI}@1.0.0" not in outcome.output


async def test_keys_are_remembered_while_the_uplink_is_away(here: Home, project: Project) -> None:
    """Keys that were had once verify everything when the uplink is away, hours later."""
    sign(here.uplink)
    await project.install(PLAIN, UI)
    assert (await project.audit()).exit_code == 0
    here.registry.clock.advance(hours=3)
    await here.uplink.stop()

    outcome = await project.audit()

    assert outcome.exit_code == 0, outcome
    assert "2 packages have verified registry signatures" in outcome.output


async def test_no_package_is_a_fake_because_the_uplink_is_away(
    here: Home, project: Project
) -> None:
    """While the keys of the uplink cannot be had, the check fails and accuses no package."""
    sign(here.uplink)
    await project.install(PLAIN, UI)
    await here.uplink.stop()

    outcome = await project.audit()

    assert outcome.exit_code != 0, outcome
    assert "uplink npm" in outcome.output
    assert "tampered" not in outcome.output
    assert "invalid" not in outcome.output
    assert "missing" not in outcome.output
