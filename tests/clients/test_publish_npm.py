"""npm 10, 11 and 12 against a registry of one's own: everything a person does with their packages.

| command | npm 10 | npm 11 | npm 12 |
|---|---|---|---|
| star, unstar, stars | yes | yes | no such command |
| undeprecate | deprecate with an empty text | yes | yes |
| the rest of this file | yes | yes | yes |

`npm audit signatures` needs Sigstore's root of trust, which is on the internet: trust.cjs answers
in its place; all else is npm's own. Provenance is in test_provenance.py.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pyotp
import pytest

from tests.clients.clients import TRUST, Client, Npm
from tests.clients.house import NOT_HOSTED, TAKEN, UPSTREAM, House, allow, password
from tests.clients.seats import Seat
from tests.publishing import a_publish

pytestmark = [pytest.mark.timeout(400)]

ALL = [Npm("10"), Npm("11"), Npm("12")]


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


def only(*versions: str) -> pytest.MarkDecorator:
    """Run a test with these; what all of them ask alike is not asked by each."""
    return pytest.mark.parametrize("client", [Npm(version) for version in versions], ids=named)


@pytest.fixture(params=ALL, ids=named)
def client(request: pytest.FixtureRequest) -> Client:
    """Each npm."""
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
        seat.done("publish", at=seat.package(name, version, **fields))
    return name


# --- who somebody is ------------------------------------------------------------------------------


def test_login(house: House, client: Client) -> None:
    """A password at the terminal logs in; a logout ends the token, and with it what it showed."""
    name = published(house.seat(client, "ann"), f"@acme/login-{client.name}")
    seat = house.stranger(client)

    seat.done(
        "login", "--auth-type=legacy",
        answers=[("Username:", "ann"), ("Password:", password("ann"))],
    )  # fmt: skip
    token = seat.token
    assert seat.done("whoami").split()[-1] == "ann"
    assert "1.0.0" in seat.done("view", name, "version")
    seat.done("logout")

    assert not seat.token
    assert "ENEEDAUTH" in seat.refused("whoami")
    assert "E404" in seat.refused("view", name)
    again = house.stranger(client)
    client.settle(again.home, house.url, token)
    assert "E401" in again.refused("whoami")
    assert "E404" in again.refused("view", name)


@only("12")
def test_web_login(house: House, client: Client) -> None:
    """Without being told how, npm logs in on the page whose address it prints."""
    seat = house.stranger(client)

    seat.done(
        "login",
        answers=[("/-/login/", lambda said: allow(said, name="bob", password=password("bob")))],
    )

    assert seat.done("whoami").split()[-1] == "bob"


def test_tokens(house: House, client: Client, ann: Seat) -> None:
    """A token is made with the password, listed, good until it is revoked, and for reading only."""
    name = f"@acme/tokens-{client.name}"
    made = ann.done("token", "create", "--read-only", answers=[("assword", password("ann"))])
    text = re.findall(r"phs_\w{30,}", made)[0]
    seat = house.stranger(client)
    client.settle(seat.home, house.url, text)
    listed = json.loads(ann.done("token", "list", "--json"))
    (key,) = [each["key"] for each in listed if text.startswith(each["token"].rstrip("…"))]

    assert seat.done("whoami").split()[-1] == "ann"
    assert "for reading only" in seat.refused("publish", at=seat.package(name))
    ann.done("token", "revoke", key)
    assert "E401" in seat.refused("whoami")


@only("12")
def test_profile(house: House, client: Client) -> None:
    """What somebody says of themselves is kept and shown."""
    seat = house.seat(client, "bob")

    seat.done("profile", "set", "fullname", f"Bob of {client.name}")

    shown = json.loads(seat.done("profile", "get", "--json"))
    assert (shown["name"], shown["fullname"]) == ("bob", f"Bob of {client.name}")
    assert shown["email"] == "bob@registry.example"


@only("12")
def test_second_factor(house: House, client: Client) -> None:
    """Once it is asked for, a write needs a code: from --otp, at the terminal, or a recovery's."""
    user = f"two-{client.name}"
    house.packhouse("user", "add", user, "--password-stdin", typed=password(user))
    token = house.packhouse("token", "create", "--user", user, "--expires", "1d").strip()
    seat, name = house.stranger(client), f"@acme/two-{client.name}"
    client.settle(seat.home, house.url, token)
    secrets: list[str] = []

    def code(said: str = "", *, steps: int = 0) -> str:
        secrets.extend(re.findall(r"\b[A-Z2-7]{32}\b", said))
        return pyotp.TOTP(secrets[0]).at(int(time.time()) + 30 * steps)

    told = seat.done(
        "profile", "enable-2fa", "auth-and-writes",
        answers=[("assword", password(user)), ("OTP code", code)],
    )  # fmt: skip
    recovery = re.findall(r"^\s*(\d{24})$", told, re.MULTILINE)
    legacy = ["publish", "--auth-type=legacy"]
    first, second = seat.package(name), seat.package(f"{name}-b")

    assert "EOTP" in seat.refused(*legacy, at=first)
    assert "EOTP" in seat.refused(*legacy, "--otp=000000", at=first)
    seat.done(*legacy, "--otp", code(steps=1), at=first)
    seat.done(*legacy, at=second, answers=[("Enter OTP", recovery[0])])
    assert "EOTP" in seat.refused(*legacy, "--otp", recovery[0], at=seat.package(name, "1.0.1"))
    shown = json.loads(seat.done("profile", "get", "--json"))
    assert shown["tfa"] == {"mode": "auth-and-writes", "pending": False}


# --- publishing -----------------------------------------------------------------------------------


def test_publish(client: Client, ann: Seat, bob: Seat) -> None:
    """Two versions, a tag, scoped and not: a colleague installs them with what they depend on."""
    ui, lib = f"@acme/ui-{client.name}", f"acme-lib-{client.name}"
    published(ann, ui, "1.0.0", dependencies={UPSTREAM: "^1.0.0"}, description="Buttons")
    ann.done("publish", "--tag", "next", at=ann.package(ui, "1.1.0"))
    published(ann, lib, "1.0.0", "1.0.1")
    app = bob.app("app", **{ui: "latest", lib: "^1.0.0"})

    bob.done("install", at=app)

    assert "1.0.0" in (app / "node_modules" / ui / "index.js").read_text()
    assert "1.0.1" in (app / "node_modules" / lib / "index.js").read_text()
    assert (app / "node_modules" / UPSTREAM / "index.js").exists()
    shown = json.loads(bob.done("view", ui, "--json"))
    shown = shown[0] if isinstance(shown, list) else shown
    assert (shown["version"], shown["description"]) == ("1.0.0", "Buttons")
    assert shown["dist-tags"] == {"latest": "1.0.0", "next": "1.1.0"}
    assert bob.done("view", f"{ui}@next", "version").split()[-1] == "1.1.0"


def test_the_same_version_twice(client: Client, ann: Seat) -> None:
    """Other bytes under a version that is there are refused, in the registry's words."""
    name = published(ann, f"@acme/twice-{client.name}")
    other = ann.package(name, description="other bytes")

    # npm 11 and newer look first, and say so by themselves, unless they are forced.
    assert TAKEN in ann.refused("publish", at=other)
    assert TAKEN in ann.refused("publish", "--force", at=other)


def test_what_an_uplink_has(ann: Seat) -> None:
    """A name that comes from the uplink is not published here; npm prints why, and what to do."""
    told = ann.refused("publish", at=ann.package(UPSTREAM, "9.0.0"))

    assert NOT_HOSTED in told
    assert 'from = "hosted"' in told


def test_dist_tags(client: Client, ann: Seat, bob: Seat) -> None:
    """A tag is added, listed and removed by an owner; others are told that they are none."""
    name = published(ann, f"@acme/tags-{client.name}")

    ann.done("dist-tag", "add", f"{name}@1.0.0", "stable")
    listed = ann.done("dist-tag", "ls", name)
    told = bob.refused("dist-tag", "add", f"{name}@1.0.0", "mine")
    ann.done("dist-tag", "rm", name, "stable")

    assert listed.split("\n")[-3:-1] == ["latest: 1.0.0", "stable: 1.0.0"]
    assert f"bob is no owner of {name}" in told
    assert "stable" not in ann.done("dist-tag", "ls", name)
    assert "can be moved, not removed" in ann.refused("dist-tag", "rm", name, "latest")


def test_deprecate(client: Client, ann: Seat, bob: Seat) -> None:
    """A deprecation is seen by whoever installs, until it is taken back."""
    name = published(ann, f"@acme/old-{client.name}", "1.0.0", "1.1.0")

    ann.done("deprecate", f"{name}@1.0.0", "use 1.1.0")
    warned = bob.done("install", at=bob.app("old", **{name: "1.0.0"}))
    ann.done("deprecate", f"{name}@1.0.0", "")

    assert "use 1.1.0" in warned
    assert "use 1.1.0" not in bob.done("view", f"{name}@1.0.0", "deprecated")


def test_unpublish(client: Client, ann: Seat, bob: Seat) -> None:
    """A version goes, then all; a version that was there is never published again."""
    name = published(ann, f"@acme/gone-{client.name}", "1.0.0", "1.1.0")

    ann.done("unpublish", f"{name}@1.1.0")
    left = json.loads(bob.done("view", name, "versions", "dist-tags", "--json"))
    left = left[0] if isinstance(left, list) else left
    again = ann.refused("publish", at=ann.package(name, "1.1.0"))
    ann.done("unpublish", name, "--force")

    assert left == {"versions": ["1.0.0"], "dist-tags": {"latest": "1.0.0"}}
    assert TAKEN in again
    assert "E404" in bob.refused("view", name)
    assert TAKEN in ann.refused("publish", at=ann.package(name, "1.0.0"))


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

    assert "E404" in bob.refused("view", secret)
    assert "E404" in bob.refused("install", at=bob.app("secret", **{secret: "*"}))
    for name in (secret, plain):
        assert "E404" in nobody.refused("view", name)
        assert "E404" in nobody.refused("install", at=nobody.app("app", **{name: "*"}))
    assert "E404" in bob.refused("publish", at=bob.package(secret, "2.0.0"))
    assert "1.0.0" in ann.done("view", secret, "version")


@only("10")
def test_owners(client: Client, ann: Seat, bob: Seat) -> None:
    """An owner makes another one, who then may what owners may, and takes it back."""
    name = published(ann, f"@acme/owned-{client.name}")

    assert "is no owner" in bob.refused("publish", at=bob.package(name, "1.1.0"))
    ann.done("owner", "add", "bob", name)
    published(bob, name, "1.1.0")
    listed = ann.done("owner", "ls", name)
    ann.done("owner", "rm", "bob", name)

    assert listed.splitlines()[-2:] == ["ann <ann@registry.example>", "bob <bob@registry.example>"]
    assert "is no owner" in bob.refused("publish", at=bob.package(name, "1.2.0"))
    assert "no user" in ann.refused("owner", "add", "who", name, "--loglevel=verbose")


@only("11")
def test_access_by_team(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A package that was made private is read, then written, by a team that was granted it."""
    name, org = published(ann, f"@acme/team-{client.name}"), f"of-{client.name}"
    team = f"{org}:core"
    house.seat(client, "root").done("org", "set", org, "ann", "owner")
    ann.done("org", "set", org, "bob", "developer")
    ann.done("team", "create", team)
    ann.done("team", "add", team, "bob")
    ann.done("access", "set", "status=private", name)

    assert "private" in ann.done("access", "get", "status", name)
    assert "E404" in bob.refused("view", name)
    ann.done("access", "grant", "read-only", team, name)
    assert "1.0.0" in bob.done("view", name, "version")
    assert f"{name}: read-only" in ann.done("access", "list", "packages", team)
    assert "bob: read-only" in ann.done("access", "list", "collaborators", name)
    assert "is no owner" in bob.refused("dist-tag", "add", f"{name}@1.0.0", "theirs")
    ann.done("access", "grant", "read-write", team, name)
    bob.done("dist-tag", "add", f"{name}@1.0.0", "theirs")
    ann.done("access", "revoke", team, name)
    assert "E404" in bob.refused("view", name)


@only("12")
def test_organisation(house: House, client: Client, ann: Seat) -> None:
    """An organisation and its team are listed, and taken apart again."""
    org = f"org-{client.name}"
    house.seat(client, "root").done("org", "set", org, "ann", "owner")
    ann.done("org", "set", org, "bob", "admin")
    ann.done("team", "create", f"{org}:docs")
    ann.done("team", "add", f"{org}:docs", "bob")

    assert json.loads(ann.done("org", "ls", org, "--json")) == {"ann": "owner", "bob": "admin"}
    assert f"{org}:docs" in ann.done("team", "ls", org)
    assert "bob" in ann.done("team", "ls", f"{org}:docs")
    ann.done("team", "rm", f"{org}:docs", "bob")
    ann.done("team", "destroy", f"{org}:docs")
    ann.done("org", "rm", org, "bob")
    assert json.loads(ann.done("org", "ls", org, "--json")) == {"ann": "owner"}
    assert f"{org}:docs" not in ann.done("team", "ls", org)


@only("10", "11")
def test_stars(house: House, client: Client) -> None:
    """A star is given, listed and taken back, by somebody who only reads."""
    ann, bob = house.seat(client, "ann"), house.seat(client, "bob")
    name = published(ann, f"@acme/star-{client.name}")

    bob.done("star", name)
    assert name in bob.done("stars")
    assert name in ann.done("stars", "bob")
    bob.done("unstar", name)
    assert name not in bob.done("stars")


# --- forks ----------------------------------------------------------------------------------------


def test_a_fork_keeps_the_uplink_s_tags(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """What is changed of a fork changes ours: the uplink's dist-tags stay and move as it says."""
    name = f"fork-{client.name}"
    for version, tag in (("1.0.0", "lts"), ("2.0.0", "latest")):
        house.uplink.publish(name, version, tag=tag)
    tags = {"latest": "2.0.0", "lts": "1.0.0"}
    # npm 11 and newer send no version of a number that they see already.
    house.put(f"/{name}", a_publish("1.0.0", name, tag="patched").document, user="ann")
    assert tags_of(bob, name) == {**tags, "patched": "1.0.0"}

    ann.done("deprecate", f"{name}@1.0.0", "take the next one")
    ann.done("owner", "add", "bob", name)
    assert tags_of(bob, name) == {**tags, "patched": "1.0.0"}
    house.uplink.packages[name]["dist-tags"]["lts"] = "2.0.0"
    house.packhouse("cache", "purge", name)
    assert tags_of(bob, name) == {"latest": "2.0.0", "lts": "2.0.0", "patched": "1.0.0"}
    ann.done("unpublish", "--force", f"{name}@1.0.0")

    assert tags_of(bob, name) == {"latest": "2.0.0", "lts": "2.0.0"}
    package = house.ask("GET", f"/{name}")[1]
    assert list(package["versions"]) == ["1.0.0", "2.0.0"]
    assert "deprecated" not in package["versions"]["1.0.0"]


def tags_of(seat: Seat, name: str) -> dict[str, str]:
    """The dist-tags as a client is told them."""
    lines = seat.done("dist-tag", "ls", name).splitlines()
    return dict(line.split(": ") for line in lines if ": " in line)


# --- signatures -----------------------------------------------------------------------------------


@only("10", "12")
def test_audit_signatures(client: Client, ann: Seat, bob: Seat) -> None:
    """The keys that we name verify what was published here, and what comes from the uplink."""
    name = published(ann, f"@acme/signed-{client.name}")
    app = bob.app("signed", **{name: "1.0.0", UPSTREAM: "1.0.0"})
    bob.done("install", at=app)

    told = bob.done("audit", "signatures", at=app, env=TRUST)

    assert "2 packages have verified registry signatures" in told


# --- after all of it ------------------------------------------------------------------------------


def test_the_uplink_heard_of_none(house: House) -> None:
    """Nothing above has told the uplink a name that lives here."""
    heard = house.heard()

    assert any(UPSTREAM in line for line in heard)
    assert [line for line in heard if "acme" in line] == []
