"""npm 10, 11 and 12 against a registry of one's own: who somebody is, and who may do what.

| command | npm 10 | npm 11 | npm 12 |
|---|---|---|---|
| star, unstar, stars | yes | yes | no such command |
| the rest of this file | yes | yes | yes |
"""

from __future__ import annotations

import json
import re
import time

import pyotp
import pytest

from tests.clients.clients import Client, Npm
from tests.clients.house import House, allow, password
from tests.clients.seats import Seat, each

pytestmark = [pytest.mark.timeout(400)]

ALL = each(Npm("10"), Npm("11"), Npm("12"))


@ALL
def test_login(house: House, client: Client) -> None:
    """A password at the terminal logs in; a logout ends the token, and with it what it showed."""
    name = house.publish(f"@acme/login-{client.name}")
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


# test_web_login.py has the others, with a real browser.
@each(Npm("11"))
def test_web_login(house: House, client: Client) -> None:
    """Without being told how, npm logs in on the page whose address it prints."""
    seat = house.stranger(client)

    seat.done(
        "login",
        answers=[("/-/login/", lambda said: allow(said, name="bob", password=password("bob")))],
    )

    assert seat.done("whoami").split()[-1] == "bob"


@ALL
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


@ALL
def test_profile(house: House, client: Client) -> None:
    """What somebody says of themselves is kept and shown."""
    seat = house.seat(client, "bob")

    seat.done("profile", "set", "fullname", f"Bob of {client.name}")

    shown = json.loads(seat.done("profile", "get", "--json"))
    assert (shown["name"], shown["fullname"]) == ("bob", f"Bob of {client.name}")
    assert shown["email"] == "bob@registry.example"


@ALL
def test_second_factor(house: House, client: Client) -> None:
    """Once it is asked for, a write needs a code: from --otp, at the terminal, or a recovery's."""
    user, name = f"two-{client.name}", f"@acme/two-{client.name}"
    seat = house.newcomer(client, user)
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


# --- who may do what ------------------------------------------------------------------------------


@ALL
def test_owners(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """An owner makes another one, who then may what owners may, and takes it back."""
    name = house.publish(f"@acme/owned-{client.name}")

    assert "is no owner" in bob.refused("publish", at=bob.package(name, "1.1.0"))
    ann.done("owner", "add", "bob", name)
    bob.done("publish", at=bob.package(name, "1.1.0"))
    listed = ann.done("owner", "ls", name)
    ann.done("owner", "rm", "bob", name)

    assert listed.splitlines()[-2:] == ["ann <ann@registry.example>", "bob <bob@registry.example>"]
    assert "is no owner" in bob.refused("publish", at=bob.package(name, "1.2.0"))
    assert "no user" in ann.refused("owner", "add", "who", name, "--loglevel=verbose")


@ALL
def test_access_by_team(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A package that was made private is read, then written, by a team that was granted it."""
    name, org = house.publish(f"@acme/team-{client.name}"), f"of-{client.name}"
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


@ALL
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


@each(Npm("10"), Npm("11"))
def test_stars(house: House, client: Client, ann: Seat, bob: Seat) -> None:
    """A star is given, listed and taken back, by somebody who only reads."""
    name = house.publish(f"@acme/star-{client.name}")

    bob.done("star", name)
    assert name in bob.done("stars")
    assert name in ann.done("stars", "bob")
    bob.done("unstar", name)
    assert name not in bob.done("stars")
