"""Yarn classic and yarn berry against a registry of one's own.

| command | yarn 1 | berry |
|---|---|---|
| login | asked for when it is needed, ended right after | `yarn npm login`, in the terminal or on the page |
| whoami | no such command | `yarn npm whoami` |
| view | `yarn info` | `yarn npm info` |
| dist-tag | `yarn tag` | `yarn npm tag` |
| owner | `list`; `add` and `remove` cannot work, see the test | no such command |
| deprecate, unpublish, search, token, star, access | no such command | no such command |
| team | asks for an address without `/-/`, which is none | no such command |
"""  # noqa: E501

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.clients.clients import Berry, Yarn1
from tests.clients.house import NOT_HOSTED, TAKEN, UPSTREAM, House, allow, password
from tests.clients.seats import Seat

pytestmark = [pytest.mark.timeout(400)]

CLASSIC, BERRY = Yarn1(), Berry()
PUBLISH = ("publish", "--non-interactive", "--no-git-tag-version")


@pytest.fixture
def ann(house: House) -> Seat:
    """Somebody who publishes with yarn 1."""
    return house.seat(CLASSIC, "ann")


@pytest.fixture
def bob(house: House) -> Seat:
    """Somebody else with yarn 1."""
    return house.seat(CLASSIC, "bob")


@pytest.fixture
def eve(house: House) -> Seat:
    """Ann again, with berry."""
    return house.seat(BERRY, "ann")


@pytest.fixture
def dan(house: House) -> Seat:
    """Bob again, with berry."""
    return house.seat(BERRY, "bob")


def published(seat: Seat, name: str, *versions: str, **fields: Any) -> str:
    """Publish a package with yarn 1; its name."""
    for version in versions or ("1.0.0",):
        seat.done(*PUBLISH, at=seat.package(name, version, **fields))
    return name


def put(seat: Seat, name: str, *versions: str, **fields: Any) -> str:
    """Publish a package with berry; its name."""
    for version in versions or ("1.0.0",):
        seat.done("npm", "publish", at=installed(seat, seat.package(name, version, **fields)))
    return name


def installed(seat: Seat, package: Path) -> Path:
    """A package in a state that berry publishes: with a lockfile that knows it."""
    seat.done("install", at=package)
    return package


# --- yarn 1 ---------------------------------------------------------------------------------------


def test_classic_login(house: House) -> None:
    """Yarn 1 asks for the password when it publishes, and ends that login afterwards."""
    seat, name = house.stranger(CLASSIC), "@acme/login-yarn1"
    tokens = "/-/npm/v1/tokens"
    before = house.ask("GET", tokens)[1]["total"]
    mail = [("npm username", "ann"), ("npm email", "ann@registry.example")]
    seat.done("login", answers=mail)

    said = seat.done(
        "publish", "--no-git-tag-version", "--new-version", "1.0.0", at=seat.package(name),
        answers=[("npm password", password("ann"))],
    )  # fmt: skip
    seat.done("logout")

    assert "Revoked login token" in said
    assert house.ask("GET", tokens)[1]["total"] == before
    assert "1.0.0" in house.seat(CLASSIC, "bob").done("info", name, "version")


def test_classic_publish(ann: Seat, bob: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = "@acme/ui-yarn1", "acme-lib-yarn1"
    published(ann, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    ann.done(*PUBLISH, "--tag", "next", at=ann.package(ui, "1.1.0"))
    published(ann, lib, "1.0.0", "1.0.1")
    app = bob.app("app", **{ui: "latest", lib: "^1.0.0"})

    bob.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert (app / "node_modules" / UPSTREAM / "index.js").exists()
    shown = json.loads(bob.done("info", ui, "--json"))["data"]
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert shown["dist-tags"] == {"latest": "1.0.0", "next": "1.1.0"}


def test_classic_refusals(ann: Seat) -> None:
    """A version that is there, and a name of the uplink: yarn 1 prints the registry's words."""
    name = published(ann, "@acme/twice-yarn1")

    assert TAKEN in ann.refused(*PUBLISH, at=ann.package(name, description="other bytes"))
    assert NOT_HOSTED in ann.refused(*PUBLISH, at=ann.package(UPSTREAM, "9.0.0"))


def test_classic_tags(ann: Seat, bob: Seat) -> None:
    """A tag is added, listed and removed by an owner; others are told that they are none."""
    name = published(ann, "@acme/tags-yarn1")

    ann.done("tag", "add", f"{name}@1.0.0", "stable")
    listed = ann.done("tag", "list", name)
    told = bob.refused("tag", "add", f"{name}@1.0.0", "mine")
    ann.done("tag", "remove", name, "stable")

    assert re.findall(r"(\w+): (1\.0\.0)", listed) == [("latest", "1.0.0"), ("stable", "1.0.0")]
    assert f"bob is no owner of {name}" in told
    assert "stable" not in ann.done("tag", "list", name)


def test_classic_owners(ann: Seat) -> None:
    """Owners are listed. None is added: yarn 1 has not read them, and would replace all."""
    name = published(ann, "acme-owned-yarn1")

    assert "ann <ann@registry.example>" in ann.done("owner", "list", name)
    assert "use npm owner" in ann.refused("owner", "add", "bob", name)
    assert "bob" not in ann.done("owner", "list", name)


def test_classic_private_names(house: House, ann: Seat, bob: Seat) -> None:
    """Who may not read a package is told that there is none."""
    secret, plain = published(ann, "@acme/secret-yarn1"), published(ann, "acme-plain-yarn1")
    nobody = house.stranger(CLASSIC)

    bob.done("info", plain)
    assert missing(secret) in bob.refused("install", at=bob.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert missing(name) in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
        assert "1.0.0" not in nobody.run("info", name).output


def missing(name: str) -> str:
    return f"no such package: {name}"


# --- berry ----------------------------------------------------------------------------------------


def test_berry_login(house: House, eve: Seat) -> None:
    """A password at the terminal logs in; after a logout, what it showed is gone."""
    name, seat = put(eve, "@acme/login-berry"), house.stranger(BERRY)

    seat.done(
        "npm", "login", answers=[("Username:", "ann"), ("Password:", password("ann"))],
    )  # fmt: skip
    assert seat.token.startswith("phs_")
    assert "ann" in seat.done("npm", "whoami")
    assert "1.0.0" in seat.done("npm", "info", name, "--fields", "version")
    seat.done("npm", "logout")

    assert not seat.token
    seat.refused("npm", "whoami")
    assert "404" in seat.refused("npm", "info", name)


def test_berry_web_login(house: House) -> None:
    """`--web-login` logs in on the page."""
    seat = house.stranger(BERRY)

    seat.done(
        "npm", "login", "--web-login", "--always-auth",
        answers=[
            ("(Y/n)", "n"),
            ("/-/login/", lambda said: allow(said, name="bob", password=password("bob"))),
        ],
    )  # fmt: skip

    assert "bob" in seat.done("npm", "whoami")


def test_berry_publish(eve: Seat, dan: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = "@acme/ui-berry", "acme-lib-berry"
    put(eve, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    eve.done("npm", "publish", "--tag", "next", at=eve.package(ui, "1.1.0"))
    put(eve, lib, "1.0.0", "1.0.1")
    app = dan.app("app", **{ui: "latest", lib: "^1.0.0"})

    dan.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert (app / "node_modules" / UPSTREAM / "index.js").exists()
    shown = json.loads(dan.done("npm", "info", ui, "--json"))
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert shown["dist-tags"] == {"latest": "1.0.0", "next": "1.1.0"}


def test_berry_makes_scoped_packages_private(house: House, dan: Seat) -> None:
    """Unless npmPublishAccess says otherwise, berry asks for it that only owners read them."""
    seat = house.stranger(BERRY)
    BERRY.settle(seat.home, house.url, house.tokens["ann"])
    rc = seat.home / ".yarnrc.yml"
    rc.write_text(rc.read_text().replace("npmPublishAccess: public\n", ""))

    name = put(seat, "@acme/private-berry")

    assert "1.0.0" in seat.done("npm", "info", name, "--fields", "version")
    assert "404" in dan.refused("npm", "info", name)


def test_berry_refusals(eve: Seat) -> None:
    """A version that is there, and a name of the uplink: berry prints the registry's words."""
    name = put(eve, "@acme/twice-berry")
    other = eve.package(name, description="other bytes")

    assert TAKEN in eve.refused("npm", "publish", at=other)
    assert "skipping" in eve.done("npm", "publish", "--tolerate-republish", at=other)
    theirs = installed(eve, eve.package(UPSTREAM, "9.0.0"))
    assert NOT_HOSTED in eve.refused("npm", "publish", at=theirs)


def test_berry_workspaces(eve: Seat, dan: Seat) -> None:
    """All workspaces are published at once, and none of them a second time."""
    root = eve.project(
        "workspaces", {"name": "root", "private": True, "workspaces": ["packages/*"]}
    )
    for name, needs in (("one", {}), ("two", {"@acme/one-berry": "workspace:^"})):
        manifest = {"name": f"@acme/{name}-berry", "version": "1.0.0", "dependencies": needs}
        at = root / "packages" / name
        at.mkdir(parents=True)
        (at / "package.json").write_text(json.dumps(manifest))
    eve.done("install", at=root)
    each = ("workspaces", "foreach", "--all", "--no-private", "npm", "publish")

    eve.done(*each, at=root)
    again = eve.done(*each, "--tolerate-republish", at=root)

    assert again.count("skipping") == 2
    shown = json.loads(dan.done("npm", "info", "@acme/two-berry", "--json"))
    assert shown["dependencies"] == {"@acme/one-berry": "^1.0.0"}


def test_berry_tags(eve: Seat, dan: Seat) -> None:
    """A tag is added, listed and removed by an owner; others are told that they are none."""
    name = put(eve, "@acme/tags-berry")

    eve.done("npm", "tag", "add", f"{name}@1.0.0", "stable")
    listed = eve.done("npm", "tag", "list", name)
    told = dan.refused("npm", "tag", "add", f"{name}@1.0.0", "mine")
    eve.done("npm", "tag", "remove", name, "stable")

    assert f"{name}@stable → 1.0.0" in listed
    assert f"bob is no owner of {name}" in told
    assert "stable" not in eve.done("npm", "tag", "list", name)


def test_berry_private_names(house: House, eve: Seat, dan: Seat) -> None:
    """Who may not read a package is told that there is none."""
    secret, plain = put(eve, "@acme/secret-berry"), put(eve, "acme-plain-berry")
    nobody = house.stranger(BERRY)

    assert "404" in dan.refused("npm", "info", secret)
    assert "404" in dan.refused("install", at=dan.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert "404" in nobody.refused("npm", "info", name)
        assert "404" in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
