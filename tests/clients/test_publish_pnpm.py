"""pnpm 10, 11 and 12 against a registry of one's own.

pnpm 10 has npm on the PATH do all but installing: login, publish and what follows here.

| command | pnpm 10 (npm 10) | pnpm 11 | pnpm 12 |
|---|---|---|---|
| login | in the terminal or on the page | on the page | on the page |
| undeprecate | no such command | yes | yes |
| token, profile | by npm | not implemented | yes |
| star, unstar, stars | by npm | yes | yes |
| owner add | user, package (npm) | package, user | package, user |
| access list collaborators | by npm | wants a list, any registry sends a map | the same |
| access list packages, without a name | by npm | asks for a user without a name | the same |
| publish --batch | no such option | registries of its own only | the same |
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.clients.clients import Client, Pnpm
from tests.clients.house import NOT_HOSTED, TAKEN, UPSTREAM, House, allow, password
from tests.clients.seats import Seat

pytestmark = [pytest.mark.timeout(400)]

ALL = [Pnpm("10"), Pnpm("11"), Pnpm("12")]
# What the setup says: else pnpm 11 and newer pass over what is younger than a day.
EXEMPT = 'minimumReleaseAgeExclude:\n  - "@acme/*"\n  - "acme-*"\n'
PUBLISH = ("publish", "--no-git-checks")


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


def only(*versions: str) -> pytest.MarkDecorator:
    """Run a test with these, as the table says."""
    return pytest.mark.parametrize("client", [Pnpm(version) for version in versions], ids=named)


@pytest.fixture(params=ALL, ids=named)
def client(request: pytest.FixtureRequest) -> Client:
    """Each pnpm."""
    found: Client = request.param
    return found


@pytest.fixture
def ann(house: House, client: Client) -> Seat:
    """Somebody who publishes."""
    return house.seat(client, "ann")


@pytest.fixture
def bob(house: House, client: Client) -> Seat:
    """Somebody else, who is logged in as well."""
    return house.seat(client, "bob")


def published(seat: Seat, name: str, *versions: str, **fields: Any) -> str:
    """Publish a package; its name."""
    for version in versions or ("1.0.0",):
        seat.done(*PUBLISH, at=seat.package(name, version, **fields))
    return name


# --- who somebody is ------------------------------------------------------------------------------


def test_login(house: House, client: Client, ann: Seat) -> None:
    """The page logs in; a logout ends the token, and with it what it showed."""
    name = published(ann, f"@acme/login-{client.name}")
    seat = house.stranger(client)

    seat.done(
        "login",
        answers=[("/-/login/", lambda said: allow(said, name="ann", password=password("ann")))],
    )
    assert seat.done("whoami").split()[-1] == "ann"
    assert "1.0.0" in seat.done("view", name, "version")
    seat.done("logout")

    seat.refused("whoami")
    assert "404" in seat.refused("view", name)


@only("10")
def test_login_in_the_terminal(house: House, client: Client) -> None:
    """A password at the terminal logs in."""
    seat = house.stranger(client)

    seat.done(
        "login", "--auth-type=legacy",
        answers=[("Username:", "ann"), ("Password:", password("ann"))],
    )  # fmt: skip

    assert seat.done("whoami").split()[-1] == "ann"


@only("10", "12")
def test_tokens(house: House, client: Client, ann: Seat) -> None:
    """A token is made with the password, listed, and good until it is revoked."""
    made = ann.done("token", "create", "--read-only", answers=[("assword", password("ann"))])
    text = re.findall(r"phs_\w{30,}", made)[0]
    seat = house.stranger(client)
    client.settle(seat.home, house.url, text)
    listed = json.loads(ann.done("token", "list", "--json"))
    (key,) = [each["key"] for each in listed if text.startswith(each["token"].rstrip("…"))]

    assert seat.done("whoami").split()[-1] == "ann"
    ann.done("token", "revoke", key)
    seat.refused("whoami")


# --- publishing -----------------------------------------------------------------------------------


def test_publish(client: Client, ann: Seat, bob: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = f"@acme/ui-{client.name}", f"acme-lib-{client.name}"
    published(ann, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    ann.done(*PUBLISH, "--tag", "next", at=ann.package(ui, "1.1.0"))
    published(ann, lib, "1.0.0", "1.0.1")
    app = bob.app("app", **{ui: "latest", lib: "^1.0.0"})
    (app / "pnpm-workspace.yaml").write_text(EXEMPT)

    bob.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert any((app / "node_modules" / ".pnpm").glob(f"{UPSTREAM}@1.0.0"))
    shown = json.loads(bob.done("view", ui, "version", "description", "dist-tags", "--json"))
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert shown["dist-tags"] == {"latest": "1.0.0", "next": "1.1.0"}
    assert bob.done("view", f"{ui}@next", "version").split()[-1] == "1.1.0"


def test_the_same_version_twice(client: Client, ann: Seat) -> None:
    """Other bytes under a version that is there are refused, in the registry's words."""
    name = published(ann, f"@acme/twice-{client.name}")

    assert TAKEN in ann.refused(*PUBLISH, at=ann.package(name, description="other bytes"))


def test_what_an_uplink_has(ann: Seat) -> None:
    """A name that comes from the uplink is not published here; pnpm prints why."""
    assert NOT_HOSTED in ann.refused(*PUBLISH, at=ann.package(UPSTREAM, "9.0.0"))


def test_workspace(client: Client, ann: Seat, bob: Seat) -> None:
    """`pnpm -r publish` publishes what is new of a workspace, and nothing the second time."""
    root = workspace(ann, client.name)

    ann.done("install", at=root)
    ann.done("-r", *PUBLISH, at=root)
    again = ann.done("-r", *PUBLISH, at=root)

    two = f"@acme/two-{client.name}"
    assert "no new packages" in again
    dependencies = json.loads(bob.done("view", two, "dependencies", "--json"))
    assert dependencies == {f"@acme/one-{client.name}": "^1.0.0"}


def workspace(seat: Seat, name: str) -> Path:
    """Two packages, of which one depends on the other."""
    root = seat.project("workspace", {"name": "root", "version": "1.0.0", "private": True})
    (root / "pnpm-workspace.yaml").write_text("packages:\n  - packages/*\n")
    one: dict[str, Any] = {"name": f"@acme/one-{name}", "version": "1.0.0"}
    needs = {one["name"]: "workspace:^"}
    two = {"name": f"@acme/two-{name}", "version": "1.0.0", "dependencies": needs}
    for number, manifest in enumerate((one, two)):
        at = root / "packages" / str(number)
        at.mkdir(parents=True)
        (at / "package.json").write_text(json.dumps(manifest))
    return root


def test_dist_tags(client: Client, ann: Seat, bob: Seat) -> None:
    """A tag is added, listed and removed by an owner; others are told that they are none."""
    name = published(ann, f"@acme/tags-{client.name}")

    ann.done("dist-tag", "add", f"{name}@1.0.0", "stable")
    listed = ann.done("dist-tag", "ls", name)
    told = bob.refused("dist-tag", "add", f"{name}@1.0.0", "mine")
    ann.done("dist-tag", "rm", name, "stable")

    assert listed.split() == ["latest:", "1.0.0", "stable:", "1.0.0"]
    assert "bob is no owner of" in told
    assert "stable" not in ann.done("dist-tag", "ls", name)


def test_deprecate(client: Client, ann: Seat, bob: Seat) -> None:
    """A deprecation is seen by whoever installs."""
    name = published(ann, f"@acme/old-{client.name}", "1.0.0", "1.1.0")

    ann.done("deprecate", f"{name}@1.0.0", "use 1.1.0")

    assert "deprecated" in bob.done("install", at=bob.app("old", **{name: "1.0.0"}))
    assert "use 1.1.0" in bob.done("view", f"{name}@1.0.0", "deprecated")


@only("11", "12")
def test_undeprecate(client: Client, ann: Seat, bob: Seat) -> None:
    """A deprecation is taken back."""
    name = published(ann, f"@acme/new-{client.name}")

    ann.done("deprecate", name, "not good")
    ann.done("undeprecate", name)

    assert "not good" not in bob.done("view", name, "deprecated")


def test_unpublish(client: Client, ann: Seat, bob: Seat) -> None:
    """A version goes, then all; a version that was there is never published again."""
    name = published(ann, f"@acme/gone-{client.name}", "1.0.0", "1.1.0")

    ann.done("unpublish", f"{name}@1.1.0")
    left = json.loads(bob.done("view", name, "versions", "dist-tags", "--json"))
    again = ann.refused(*PUBLISH, at=ann.package(name, "1.1.0"))
    ann.done("unpublish", name, "--force")

    assert left == {"versions": ["1.0.0"], "dist-tags": {"latest": "1.0.0"}}
    assert TAKEN in again
    assert "404" in bob.refused("view", name)


def test_search(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """What was published is found by a word of it; by nobody who may not read it."""
    word = f"rhubarb{client.name}"
    name = published(ann, f"@acme/{word}", keywords=[word])

    assert name in bob.done("search", word)
    assert name not in house.stranger(client).done("search", word)


# --- what is not for everybody --------------------------------------------------------------------


def test_private_names(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """Who may not read a package is told that there is none, on view and install alike."""
    secret = published(ann, f"@acme/secret-{client.name}")
    plain = published(ann, f"acme-plain-{client.name}")
    nobody = house.stranger(client)

    assert "404" in bob.refused("view", secret)
    assert "404" in bob.refused("install", at=bob.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert "404" in nobody.refused("view", name)
        assert "404" in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
    assert "1.0.0" in ann.done("view", secret, "version")


@only("12")
def test_owners(client: Client, ann: Seat, bob: Seat) -> None:
    """An owner makes another one, who then may what owners may, and takes it back."""
    name = published(ann, f"@acme/owned-{client.name}")

    assert "is no owner" in bob.refused(*PUBLISH, at=bob.package(name, "1.1.0"))
    ann.done("owner", "add", name, "bob")
    published(bob, name, "1.1.0")
    listed = ann.done("owner", "ls", name)
    ann.done("owner", "rm", name, "bob")

    assert listed.split() == ["ann", "<ann@registry.example>", "bob", "<bob@registry.example>"]
    assert "is no owner" in bob.refused(*PUBLISH, at=bob.package(name, "1.2.0"))


@only("11", "12")
def test_stars(client: Client, ann: Seat, bob: Seat) -> None:
    """A star is given, listed and taken back, by somebody who only reads."""
    name = published(ann, f"@acme/star-{client.name}")

    bob.done("star", name)
    assert name in bob.done("stars")
    bob.done("unstar", name)
    assert name not in bob.done("stars")


@only("12")
def test_access_by_team(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A package that was made private is read by a team that was granted it."""
    name, org = published(ann, f"@acme/team-{client.name}"), f"of-{client.name}"
    team = f"@{org}:core"
    house.start(org, "ann", "bob")
    ann.done("team", "create", team)
    ann.done("team", "add", team, "bob")
    ann.done("access", "set", "status=private", name)

    assert "restricted" in ann.done("access", "get", "status", name)
    assert "404" in bob.refused("view", name)
    ann.done("access", "grant", "read-only", team, name)
    assert "1.0.0" in bob.done("view", name, "version")
    assert "bob" in ann.done("team", "ls", team)
    ann.done("access", "revoke", team, name)
    assert "404" in bob.refused("view", name)


@only("11", "12")
def test_audit_signatures(client: Client, ann: Seat, bob: Seat) -> None:
    """The keys that we name verify what was published here, and what comes from the uplink."""
    name = published(ann, f"@acme/signed-{client.name}")
    app = bob.app("signed", **{name: "1.0.0", UPSTREAM: "1.0.0"})
    (app / "pnpm-workspace.yaml").write_text(EXEMPT)
    bob.done("install", at=app)

    told = bob.done("audit", "signatures", at=app)

    assert re.search(r"\b2 packages have verified registry signatures", told)


@only("12")
def test_second_factor(house: House, client: Client) -> None:
    """Once it is asked for, a write needs a code."""
    user = "two-pnpm"
    house.packhouse("user", "add", user, "--password-stdin", typed=password(user))
    token = house.packhouse("token", "create", "--user", user, "--expires", "1d").strip()
    seat, name = house.stranger(client), f"@acme/two-{client.name}"
    client.settle(seat.home, house.url, token)
    secrets: list[str] = []

    def code(said: str = "", *, steps: int = 0) -> str:
        secrets.extend(re.findall(r"\b[A-Z2-7]{32}\b", said))
        return pyotp.TOTP(secrets[0]).at(int(time.time()) + 30 * steps)

    seat.done(
        "profile", "enable-2fa", "auth-and-writes",
        answers=[("assword", password(user)), ("code from", code)],
    )  # fmt: skip

    seat.refused(*PUBLISH, at=seat.package(name))
    seat.done(*PUBLISH, "--otp", code(steps=1), at=seat.package(name))
    assert "auth-and-writes" in seat.done("profile", "get")


# --- after all of it ------------------------------------------------------------------------------


def test_the_uplink_heard_of_none(house: House) -> None:
    """Nothing above has told the uplink a name that lives here."""
    heard = house.heard()

    assert any(UPSTREAM in line for line in heard)
    assert [line for line in heard if "acme" in line] == []
