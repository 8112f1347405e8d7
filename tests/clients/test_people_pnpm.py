"""pnpm 10, 11 and 12 against a registry of one's own: who somebody is, and who may do what.

pnpm 10 has npm on the PATH do all of it.

| command | pnpm 10 (npm 10) | pnpm 11 | pnpm 12 |
|---|---|---|---|
| login | in the terminal or on the page | on the page | on the page |
| token, profile | by npm | not implemented | yes |
| owner add | user, package | package, user | package, user |
| access list collaborators | by npm | wants a list, any registry sends a map | the same |
| access list packages, without a name | by npm | asks for a user without a name | the same |
"""

from __future__ import annotations

import json
import re
import time

import pyotp
import pytest

from tests.clients.clients import Client, Pnpm
from tests.clients.house import House, allow, password
from tests.clients.seats import Seat, each

pytestmark = [pytest.mark.timeout(400)]

ALL = each(Pnpm("10"), Pnpm("11"), Pnpm("12"))
NOT_11 = each(Pnpm("10"), Pnpm("12"))
PUBLISH = ("publish", "--no-git-checks")


@ALL
def test_login(house: House, client: Client, ann: Seat) -> None:
    """The page logs in; a logout ends the token, and with it what it showed."""
    name = house.publish(f"@acme/login-{client.name}")
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


@each(Pnpm("10"))
def test_login_in_the_terminal(house: House, client: Client) -> None:
    """A password at the terminal logs in."""
    seat = house.stranger(client)

    seat.done(
        "login", "--auth-type=legacy",
        answers=[("Username:", "ann"), ("Password:", password("ann"))],
    )  # fmt: skip

    assert seat.done("whoami").split()[-1] == "ann"


@NOT_11
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


@NOT_11
def test_second_factor(house: House, client: Client) -> None:
    """Once it is asked for, a write needs a code."""
    user, name = f"two-{client.name}", f"@acme/two-{client.name}"
    seat = house.newcomer(client, user)
    secrets: list[str] = []

    def code(said: str = "", *, steps: int = 0) -> str:
        secrets.extend(re.findall(r"\b[A-Z2-7]{32}\b", said))
        return pyotp.TOTP(secrets[0]).at(int(time.time()) + 30 * steps)

    seat.done(
        "profile", "enable-2fa", "auth-and-writes",
        answers=[("assword", password(user)), (" code ", code)],
    )  # fmt: skip

    seat.refused(*PUBLISH, at=seat.package(name))
    seat.done(*PUBLISH, "--otp", code(steps=1), at=seat.package(name))
    assert "auth-and-writes" in seat.done("profile", "get")


# --- who may do what ------------------------------------------------------------------------------


@ALL
def test_owners(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """An owner makes another one, who then may what owners may, and takes it back."""
    name = house.publish(f"@acme/owned-{client.name}")

    assert "is no owner" in bob.refused(*PUBLISH, at=bob.package(name, "1.1.0"))
    pair = ("bob", name) if client.version == "10" else (name, "bob")
    ann.done("owner", "add", *pair)
    bob.done(*PUBLISH, at=bob.package(name, "1.1.0"))
    listed = ann.done("owner", "ls", name)
    ann.done("owner", "rm", *pair)

    assert listed.split()[-4:] == ["ann", "<ann@registry.example>", "bob", "<bob@registry.example>"]
    assert "is no owner" in bob.refused(*PUBLISH, at=bob.package(name, "1.2.0"))


@ALL
def test_stars(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A star is given, listed and taken back, by somebody who only reads."""
    name = house.publish(f"@acme/star-{client.name}")

    bob.done("star", name)
    assert name in bob.done("stars")
    bob.done("unstar", name)
    assert name not in bob.done("stars")


@ALL
def test_access_by_team(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A package that was made private is read by a team that was granted it."""
    name, org = house.publish(f"@acme/team-{client.name}"), f"of-{client.name}"
    team = f"@{org}:core"
    house.start(org, "ann", "bob")
    ann.done("team", "create", team)
    ann.done("team", "add", team, "bob")
    ann.done("access", "set", "status=private", name)

    status = "private" if client.version == "10" else "restricted"
    assert status in ann.done("access", "get", "status", name)
    assert "404" in bob.refused("view", name)
    ann.done("access", "grant", "read-only", team, name)
    assert "1.0.0" in bob.done("view", name, "version")
    assert "bob" in ann.done("team", "ls", team)
    ann.done("access", "revoke", team, name)
    assert "404" in bob.refused("view", name)
