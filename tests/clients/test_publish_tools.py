"""Tools that publish many packages at once: changesets as it is, lerna by its requests.

Lerna would bring several hundred packages with it. What it sends is known (its own copy of npm's
fetch): who am I, what may I publish, what is there, then a publish and a dist-tag for each package.
"""

from __future__ import annotations

import json

import pytest

from tests.clients.clients import Changesets
from tests.clients.house import House
from tests.publishing import a_publish

pytestmark = [pytest.mark.timeout(400)]


def test_changesets(house: House) -> None:
    """Changesets publishes what npm does not know of a workspace, and nothing the second time."""
    seat = house.seat(Changesets(), "ann")
    root = seat.project(
        "root", {"name": "root", "private": True, "version": "1.0.0", "workspaces": ["packages/*"]}
    )
    for name in ("one", "two"):
        at = root / "packages" / name
        at.mkdir(parents=True)
        (at / "package.json").write_text(
            json.dumps({"name": f"@acme/{name}-changesets", "version": "1.0.0"})
        )
    (root / ".changeset").mkdir()
    (root / ".changeset" / "config.json").write_text(
        json.dumps({"access": "public", "baseBranch": "main"})
    )
    (root / "package-lock.json").write_text("{}")
    # As npm sets it for what it runs; changesets looks nowhere else.
    env = {"npm_config_registry": f"{house.url}/"}

    first = seat.done("publish", "--no-git-tag", at=root, env=env)
    again = seat.done("publish", "--no-git-tag", at=root, env=env)

    assert "packages published successfully" in first
    assert "No unpublished projects to publish" in again
    for name in ("one", "two"):
        status, packument = house.ask("GET", f"/@acme%2f{name}-changesets", user="bob")
        assert (status, packument["dist-tags"]) == (200, {"latest": "1.0.0"})


def test_lerna(house: House) -> None:
    """What lerna asks before a release lets it go on, and each of its writes is taken."""
    name, quoted = "@acme/lerna", "@acme%2flerna"
    assert house.ask("GET", f"/{quoted}")[0] == 404
    assert house.ask("GET", "/-/npm/v1/user")[1]["tfa"] in {None, False}
    assert house.ask("GET", "/-/whoami") == (200, {"username": "ann"})
    status, before = house.ask("GET", "/-/user/ann/package?format=cli")
    assert (status, name in before) == (200, False)

    assert house.ask("PUT", f"/{quoted}", a_publish(name=name, tag="lerna-temp").document)[0] == 201
    tags = f"/-/package/{quoted}/dist-tags"
    assert house.ask("PUT", f"{tags}/next", "1.0.0")[0] in {200, 201, 204}
    assert house.ask("DELETE", f"{tags}/lerna-temp")[0] in {200, 204}

    assert house.ask("GET", tags)[1] == {"latest": "1.0.0", "next": "1.0.0"}
    assert house.ask("GET", "/-/user/ann/package?format=cli")[1][name] == "write"
