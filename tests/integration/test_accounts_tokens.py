"""Tokens over HTTP: npm token list, create and revoke, as npm 6 to 12 ask."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.hosted import open_database
from proxy.storage.identity import AuditQuery
from proxy.storage.people import SqlitePeople
from tests import accounts
from tests.accounts import PASSWORD, Person, join
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry

LIST = "/-/npm/v1/tokens"
ONE = "/-/npm/v1/tokens/token"


@pytest.fixture
async def house(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Registry]:
    """A registry where people sign up."""
    async with accounts.opened(tmp_path / "house", uplink, clock) as running:
        yield running


@pytest.fixture
async def ann(house: Registry) -> Person:
    """Somebody who has just signed up."""
    return await join(house)


def using(ann: Person, answer: Any) -> Person:
    return Person(ann.registry, answer.json()["token"])


async def test_90_the_list(ann: Person) -> None:
    """The list has objects, a total and urls with a next; no whole token is in it."""
    answer = await ann.get(LIST)
    body = answer.json()
    (login,) = body["objects"]
    assert body["total"] == 1
    assert body["urls"] == {"next": None, "prev": None}
    assert ann.token.startswith(login["token"])
    assert len(login["token"]) == 8
    assert login["cidr_whitelist"] is None
    assert login["readonly"] is False
    assert ann.token not in answer.body.decode()


async def test_pages_follow_one_another(ann: Person) -> None:
    """Who follows urls.next sees every token once."""
    for _ in range(4):
        await ann.create(readonly=True)
    keys, path = [], f"{LIST}?perPage=2"
    while path:
        page = (await ann.get(path)).json()
        assert page["total"] == 5
        keys += [each["key"] for each in page["objects"]]
        path = (page["urls"]["next"] or "").removeprefix(ann.registry.url)
    assert len(set(keys)) == len(keys) == 5


@pytest.mark.parametrize("query", ["page=-1", "page=x", "perPage=0", "page=9999999999"])
async def test_pages_that_are_none(ann: Person, query: str) -> None:
    """A page that cannot be is a 400."""
    assert (await ann.get(f"{LIST}?{query}")).status == 400


async def test_the_old_way_to_create(ann: Person) -> None:
    """A token of npm up to 10 is good at once, and one that may write ends after a week."""
    answer = await ann.create(readonly=False, cidr_whitelist=["127.0.0.0/8", "::1/128"])
    body = answer.json()
    assert answer.status == 201
    assert len(body["token"]) == 40
    assert body["cidr_whitelist"] == ["127.0.0.0/8", "::1/128"]
    left = datetime.fromisoformat(body["expires"]) - datetime.now(UTC)
    assert timedelta(days=6) < left < timedelta(days=7)
    assert (await using(ann, answer).get("/-/whoami")).json() == {"username": "ann"}


async def test_the_new_way_to_create(ann: Person) -> None:
    """A token of npm 11 and later does what was asked for, and says so."""
    answer = await ann.create(
        name="ci",
        description="builds",
        packages=["@acme/ui"],
        scopes=["@other"],
        packages_and_scopes_permission="read-write",
        expires=90,
        bypass_2fa=True,
    )
    body = answer.json()
    assert answer.status == 201
    assert (body["name"], body["description"]) == ("ci", "builds")
    assert (body["packages"], body["scopes"]) == (["@acme/ui"], ["@other"])
    assert (body["readonly"], body["bypass_2fa"]) == (False, True)
    assert (await using(ann, answer).get("/-/whoami")).status == 200


async def test_what_is_not_said_is_not_given(ann: Person) -> None:
    """A token for which no permission was asked is one to read with, and does not end."""
    body = (await ann.create(name="ci")).json()
    assert (body["readonly"], body["expires"]) == (True, None)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"password": "wrong horse"}, 401, "the password is wrong"),
        ({"password": None}, 401, "send it along"),
        ({"packages_and_scopes_permission": "read-write"}, 400, "say what"),
        ({"packages_and_scopes_permission": "no-access"}, 400, "not offered"),
        ({"orgs": ["acme"]}, 400, "not to organisations"),
        ({"readonly": False, "expires": 91}, 400, "90 days at most"),
        ({"cidr_whitelist": ["home"]}, 400, "no network"),
        ({"scopes": ["acme"]}, 400, "write it like @acme"),
    ],
)
async def test_what_is_not_created(
    ann: Person, body: dict[str, Any], status: int, why: str
) -> None:
    """What we cannot honour is refused in words, and no token comes of it."""
    answer = await ann.create(**body)
    assert answer.status == status
    assert why in answer.json()["error"]
    assert (await ann.get(LIST)).json()["total"] == 1


@pytest.mark.parametrize(
    "restriction",
    [
        {"readonly": True},
        {"packages": ["@acme/ui"], "packages_and_scopes_permission": "read-write"},
        {"scopes": ["@acme"], "packages_and_scopes_permission": "read-write"},
        {"readonly": False, "cidr_whitelist": ["127.0.0.0/8", "::1/128"]},
    ],
)
async def test_a_token_makes_nothing_of_itself(ann: Person, restriction: dict[str, Any]) -> None:
    """A restricted token makes, and revokes, no token and changes no profile; it may log out.

    It is told of itself alone.
    """
    made = await ann.create(**restriction)
    weak = using(ann, made)
    (key,) = [each["key"] for each in (await weak.get(LIST)).json()["objects"]]
    assert key == made.json()["key"]
    assert (await weak.create(readonly=True)).status == 403
    assert (await weak.ask("DELETE", f"{ONE}/{key}")).status == 403
    assert (await weak.change(fullname="Mallory")).status == 403
    assert (await weak.change(password={"old": PASSWORD, "new": "another horse"})).status == 403
    assert (await weak.change(tfa={"password": PASSWORD, "mode": "auth-only"})).status == 403
    assert (await weak.change(tfa=["123456"])).status == 403
    assert (await weak.ask("DELETE", f"/-/user/token/{weak.token}")).status == 200


@pytest.mark.parametrize("by", ["key", "token"])
async def test_revoking(ann: Person, by: str) -> None:
    """A token is revoked by its key or by itself: 204, once, and then it is nobody's."""
    made = await ann.create(readonly=False)
    path = f"{ONE}/{made.json()[by]}"
    answer = await ann.ask("DELETE", path)
    assert (answer.status, answer.body) == (204, b"")
    assert (await using(ann, made).get("/-/whoami")).status == 401
    assert (await ann.ask("DELETE", path)).status == 404


async def test_tokens_are_ones_own(ann: Person) -> None:
    """Nobody lists or revokes what is somebody else's; who is nobody is told to log in."""
    bob = await join(ann.registry, "bob")
    (login,) = (await ann.get(LIST)).json()["objects"]
    assert (await bob.ask("DELETE", f"{ONE}/{login['key']}")).status == 404
    assert (await bob.ask("DELETE", f"{ONE}/{ann.token}")).status == 404
    assert login["key"] not in (await bob.get(LIST)).body.decode()
    nobody = Person(ann.registry, "phs_x")
    assert (await nobody.get(LIST)).status == 401
    assert (await nobody.create(readonly=True)).status == 401
    assert (await nobody.ask("DELETE", f"{ONE}/{login['key']}")).status == 401


async def test_a_token_ends_on_its_day(ann: Person, clock: Clock) -> None:
    """A login is over after auth.login_age, a token that may write after what was asked for."""
    made = using(ann, await ann.create(readonly=False, expires=1))
    clock.advance(days=1)
    assert (await made.get("/-/whoami")).status == 401
    assert (await ann.get("/-/whoami")).status == 200
    clock.advance(days=29)
    assert (await ann.get("/-/whoami")).status == 401


async def test_what_was_done_is_kept(ann: Person) -> None:
    """Signing up, logging in, and making and revoking a token each leave their audit rows."""
    key = (await ann.create(readonly=True)).json()["key"]
    await ann.ask("DELETE", f"{ONE}/{key}")
    await ann.ask("DELETE", f"/-/user/token/{ann.token}")
    rows = await _rows(ann.registry)
    assert [(action, facts["change"]) for action, facts in rows] == [
        ("user", "added"),
        ("token", "created"),
        ("login", "with a password"),
        ("token", "created"),
        ("token", "revoked"),
        ("token", "revoked"),
    ]
    assert ann.token not in json.dumps(rows)


async def _rows(registry: Registry) -> list[tuple[str, dict[str, Any]]]:
    async with open_database(registry.config.storage.path / "hosted.sqlite") as database:
        rows = await SqlitePeople(database).audit(AuditQuery(user="ann"))
    return [(row.action.value, json.loads(row.facts)) for row in reversed(rows)]
