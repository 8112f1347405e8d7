"""Logging in with a password, signing up, logging out, whoami: npm, pnpm and yarn as they ask."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import accounts
from tests.accounts import PASSWORD, join, log_in
from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Clock, Registry

STALE = {"authorization": "Bearer phs_0123456789012345678901234567890123456"}


@pytest.fixture
async def open_house(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Registry]:
    """A registry where people sign up."""
    async with accounts.opened(tmp_path / "open", uplink, clock) as running:
        yield running


@pytest.fixture
async def closed_house(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Registry]:
    """A registry where ann has an account, and nobody signs up any more."""
    async with accounts.opened(tmp_path / "closed", uplink, clock) as running:
        await join(running)
        await running.stop()
        running.set("auth", signup=False)
        await running.start()
        yield running


def basic(name: str, password: str) -> dict[str, str]:
    value = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"authorization": f"Basic {value}"}


def same(answer: Answer) -> tuple[int, str, str | None]:
    body = answer.json()
    return answer.status, body["error"], answer.headers.get("www-authenticate")


# --- logging in and signing up ---


async def test_signing_up_and_logging_in_are_one_request(open_house: Registry) -> None:
    """Who is new is signed up, who is known is logged in, and each login is a token of its own."""
    first = await log_in(open_house, email="ann@example.test")
    again = await log_in(open_house)
    assert (first.status, again.status) == (201, 201)
    assert first.json()["ok"] is True
    assert first.json()["id"] == "org.couchdb.user:ann"
    assert first.json()["rev"]
    assert first.json()["token"] != again.json()["token"]
    for answer in (first, again):
        who = await open_house.get("/-/whoami", authorization=f"Bearer {answer.json()['token']}")
        assert who.json() == {"username": "ann"}


async def test_the_address_of_a_revision_logs_in_too(open_house: Registry) -> None:
    """What npm sends after a 409, which we never answer, logs in like the first request."""
    answer = await log_in(open_house, path="/-rev/1-abc", headers=basic("ann", PASSWORD))
    assert answer.status == 201


async def test_a_wrong_password_is_a_401_in_words(open_house: Registry) -> None:
    """It is never 409, and comes without a challenge: npm would print its own words for that."""
    await join(open_house)
    answer = await log_in(open_house, password="wrong horse")
    assert answer.status == 401
    assert "password is wrong" in answer.json()["error"]
    assert "www-authenticate" not in answer.headers


async def test_84_a_stale_token_stops_no_login(open_house: Registry) -> None:
    """Whatever stands in Authorization, a login is judged by its body alone."""
    await join(open_house)
    for headers in (STALE, basic("ann", "other"), {"authorization": "Digest x"}):
        assert (await log_in(open_house, headers=headers)).status == 201
        wrong = await log_in(open_house, password="wrong horse", headers=headers)
        assert wrong.status == 401
        assert "npm-notice" not in wrong.headers


async def test_85_basic_works_everywhere(open_house: Registry) -> None:
    """A password with colons is good as Basic on any route."""
    await log_in(open_house, password="pass:word:with:colons")
    who = await open_house.ask("GET", "/-/whoami", basic("ann", "pass:word:with:colons"))
    assert who.json() == {"username": "ann"}


async def test_the_eleventh_wrong_password_is_a_429(open_house: Registry, clock: Clock) -> None:
    """Ten failures in five minutes, and even the right password has to wait."""
    await join(open_house)
    for _ in range(10):
        assert (await log_in(open_house, password="wrong horse")).status == 401
    refused = await log_in(open_house)
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) > 0
    assert (await open_house.ask("GET", "/-/whoami", basic("ann", PASSWORD))).status == 429
    clock.advance(minutes=6)
    assert (await log_in(open_house)).status == 201


@pytest.mark.parametrize(
    ("name", "more", "why"),
    [
        ("Ann", {}, "a user name is"),
        ("%C3%A4nn", {"name": "änn"}, "a user name is"),
        ("ann", {"password": "short"}, "10 characters or more"),
        ("ann", {"email": "nobody"}, "no e-mail address"),
    ],
)
async def test_who_cannot_sign_up(
    open_house: Registry, name: str, more: dict[str, str], why: str
) -> None:
    """A name, a password or an address that is not fit is refused with what it has to be.

    As a 422: for a 400 npm prints that there is no such user.
    """
    body = {"name": name, "password": PASSWORD, **more}
    path = f"/-/user/org.couchdb.user:{name}"
    answer = await open_house.ask("PUT", path, None, json.dumps(body).encode())
    assert answer.status == 422
    assert why in answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/-/user/org.couchdb.user:ann", b"[]", 400),
        ("/-/user/org.couchdb.user:ann", b"{", 400),
        ("/-/user/org.couchdb.user:ann", b'{"name":"ann"}', 400),
        ("/-/user/org.couchdb.user:ann", b'{"name":"bob","password":"correct horse"}', 400),
        ("/-/user/org.couchdb.user:ann", b'{"password":"correct horse","email":1}', 400),
        ("/-/user/ann", b'{"password":"correct horse"}', 404),
        ("/-/user/org.couchdb.user:", b'{"password":"correct horse"}', 404),
        ("/-/user/org.couchdb.user:ann", b'{"password":"' + b"x" * 70_000 + b'"}', 413),
    ],
)
async def test_what_is_no_login(open_house: Registry, path: str, body: bytes, status: int) -> None:
    """A body that is none, or of somebody else, is refused and makes nobody."""
    assert (await open_house.ask("PUT", path, None, body)).status == status
    assert (await log_in(open_house, password="another horse")).status == 201


async def test_where_nobody_signs_up(closed_house: Registry) -> None:
    """An unknown name and a wrong password get the same answer, which says whom to ask.

    Who names an e-mail address wants an account, and is told in a 403 that there is none to have.
    """
    unknown = await log_in(closed_house, "bob")
    wrong = await log_in(closed_house, "ann", "wrong horse")
    assert same(unknown) == same(wrong)
    assert unknown.status == 401
    assert "packhouse user add" in unknown.json()["error"]
    unknown = await log_in(closed_house, "bob", email="bob@example.test")
    wrong = await log_in(closed_house, "ann", "wrong horse", email="bob@example.test")
    assert same(unknown) == same(wrong)
    assert unknown.status == 403
    assert "packhouse user add" in unknown.json()["error"]
    assert (await log_in(closed_house, email="ann@example.test")).status == 201


async def test_sign_ups_have_a_limit(open_house: Registry) -> None:
    """From one address thirty people an hour sign up, and who is known still logs in."""
    for number in range(30):
        assert (await log_in(open_house, f"user{number}")).status == 201
    assert (await log_in(open_house, "one-more")).status == 429
    assert (await log_in(open_house, "user0")).status == 201


# --- who somebody is ---


async def test_who_is_logged_in_sees_others(open_house: Registry) -> None:
    """As npm owner add asks: who somebody is, 401 for nobody, 404 for whom there is not."""
    ann = await join(open_house, email="ann@example.test")
    path = "/-/user/org.couchdb.user:ann"
    found = (await ann.get(f"{path}?write=true")).json()
    assert found.pop("_rev")
    assert found == {
        "_id": "org.couchdb.user:ann",
        "name": "ann",
        "email": "ann@example.test",
        "type": "user",
        "roles": [],
    }
    assert (await open_house.get(path)).status == 401
    assert (await ann.get("/-/user/org.couchdb.user:bob")).status == 404
    assert (await ann.get("/-/user/bob")).status == 404


async def test_90_whoami(open_house: Registry) -> None:
    """Whoami says the name, and nobody is a 401 with a challenge."""
    ann = await join(open_house)
    assert (await ann.get("/-/whoami")).json() == {"username": "ann"}
    nobody = await open_house.get("/-/whoami")
    assert nobody.status == 401
    assert nobody.headers["www-authenticate"] == "Bearer"


# --- logging out ---


async def test_logging_out_ends_the_token(open_house: Registry) -> None:
    """A token that logged out is nobody's at the next request; the other login goes on."""
    ann, other = await join(open_house), await join(open_house)
    answer = await ann.ask("DELETE", f"/-/user/token/{ann.token}")
    assert (answer.status, answer.json()) == (200, {"ok": True})
    assert (await ann.get("/-/whoami")).status == 401
    assert (await other.get("/-/whoami")).status == 200


async def test_nobody_ends_what_is_not_theirs(open_house: Registry) -> None:
    """A token of somebody else, a made-up one and a mere key are a 404, and nothing happens."""
    ann, bob = await join(open_house), await join(open_house, "bob")
    (listed,) = (await bob.get("/-/npm/v1/tokens")).json()["objects"]
    for token in (ann.token, "phs_x", listed["key"]):
        assert (await bob.ask("DELETE", f"/-/user/token/{token}")).status == 404
    assert (await open_house.ask("DELETE", f"/-/user/token/{ann.token}")).status == 401
    assert (await ann.get("/-/whoami")).status == 200


# --- credentials that are not good ---


async def test_a_bad_token_is_told_of(open_house: Registry, uplink: FakeUplink) -> None:
    """A 401 and a 404 for a token that is not good say so in the header that npm prints."""
    uplink.publish("n", "1.0.0")
    for path, status in (("/-/whoami", 401), ("/missing", 404), ("/n", 200)):
        answer = await open_house.ask("GET", path, STALE)
        assert answer.status == status
        told = answer.headers.get("npm-notice", "")
        assert told.startswith("the token sent is not valid here") is (status != 200)
        assert "npm-notice" not in (await open_house.get(path)).headers


async def test_thirty_bad_tokens_a_minute(
    open_house: Registry, uplink: FakeUplink, clock: Clock
) -> None:
    """The 31st 401 for bad tokens in a minute is a 429; public reads and good tokens go on."""
    uplink.publish("n", "1.0.0")
    ann = await join(open_house)
    for _ in range(40):
        assert (await open_house.ask("GET", "/n", STALE)).status == 200
    for _ in range(30):
        assert (await open_house.ask("GET", "/-/whoami", STALE)).status == 401
    assert (await open_house.ask("GET", "/-/whoami", STALE)).status == 429
    assert (await open_house.ask("GET", "/n", STALE)).status == 200
    assert (await open_house.get("/-/whoami")).status == 401
    assert (await ann.get("/-/whoami")).status == 200
    clock.advance(minutes=2)
    assert (await open_house.ask("GET", "/-/whoami", STALE)).status == 401
