"""Bun against a registry of one's own.

| command | bun |
|---|---|
| login, logout | no such command: it sends the token of npm's `.npmrc`, or of `bunfig.toml` |
| whoami | `bun pm whoami` |
| view | `bun info`, `bun pm view` |
| dist-tag, deprecate, unpublish, search, token, owner, star, access | no such command |
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.clients import Bun
from tests.clients.house import NOT_HOSTED, TAKEN, UPSTREAM, House, password
from tests.clients.seats import Seat

pytestmark = [pytest.mark.timeout(400)]

BUN = Bun()


@pytest.fixture
def ann(house: House) -> Seat:
    """Somebody who publishes."""
    return house.seat(BUN, "ann")


@pytest.fixture
def bob(house: House) -> Seat:
    """Somebody else, who is logged in as well."""
    return house.seat(BUN, "bob")


def published(seat: Seat, name: str, *versions: str, **fields: Any) -> str:
    """Publish a package; its name."""
    for version in versions or ("1.0.0",):
        seat.done("publish", at=seat.package(name, version, **fields))
    return name


def test_whoami(house: House, ann: Seat) -> None:
    """A token says who somebody is; without one nobody is anybody, and once revoked neither."""
    tokens = "/-/npm/v1/tokens"
    made = house.ask("POST", tokens, {"password": password("ann"), "name": "bun"})[1]
    seat = house.stranger(BUN)
    seat.refused("pm", "whoami")
    BUN.settle(seat.home, house.url, made["token"])

    assert seat.done("pm", "whoami").split()[-1] == "ann"
    house.ask("DELETE", f"{tokens}/token/{made['key']}")
    seat.refused("pm", "whoami")


def test_a_token_of_bunfig(house: House) -> None:
    """A token in bunfig.toml is as good as one in .npmrc."""
    seat = house.stranger(BUN)
    at = seat.package("@acme/fig-bun")
    fig = f'[install]\nregistry = {{ url = "{house.url}/", token = "{house.tokens["ann"]}" }}\n'
    (at / "bunfig.toml").write_text(fig)

    assert "@acme/fig-bun@1.0.0" in seat.done("publish", at=at)


def test_publish(ann: Seat, bob: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = "@acme/ui-bun", "acme-lib-bun"
    published(ann, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    ann.done("publish", "--tag", "next", at=ann.package(ui, "1.1.0"))
    published(ann, lib, "1.0.0", "1.0.1")
    app = bob.app("app", **{ui: "latest", lib: "^1.0.0"})

    bob.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert (app / "node_modules" / UPSTREAM / "index.js").exists()
    shown = json.loads(bob.done("info", ui, "--json"))
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert bob.done("pm", "view", f"{ui}@next", "version").split()[-1] == "1.1.0"


def test_the_same_version_twice(ann: Seat) -> None:
    """Other bytes under a version that is there are refused, in the registry's words."""
    name = published(ann, "@acme/twice-bun")
    other = ann.package(name, description="other bytes")

    assert TAKEN in ann.refused("publish", at=other)
    assert "skipping" in ann.done("publish", "--tolerate-republish", at=other)


def test_what_an_uplink_has(ann: Seat) -> None:
    """A name that comes from the uplink is not published here; bun prints why."""
    assert NOT_HOSTED in ann.refused("publish", at=ann.package(UPSTREAM, "9.0.0"))


def test_private_names(house: House, ann: Seat, bob: Seat) -> None:
    """Who may not read a package is told that there is none, on view and install alike."""
    secret, plain = published(ann, "@acme/secret-bun"), published(ann, "acme-plain-bun")
    nobody = house.stranger(BUN)

    assert "404" in bob.refused("info", secret)
    assert "404" in bob.refused("install", at=bob.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert "404" in nobody.refused("info", name)
        assert "404" in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
