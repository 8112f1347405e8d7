"""Profiles over HTTP: npm profile get, set, set password, enable-2fa and disable-2fa."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from tests import accounts
from tests.accounts import PASSWORD, Person, join, log_in
from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Clock, Registry

PROFILE = "/-/npm/v1/user"
OTHER = "another horse"


@pytest.fixture
async def house(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Registry]:
    """A registry where people sign up."""
    async with accounts.opened(tmp_path / "house", uplink, clock) as running:
        yield running


@pytest.fixture
async def ann(house: Registry) -> Person:
    """Somebody who has just signed up."""
    return await join(house, email="ann@example.test")


class Authenticator:
    """The device of a person: a code for each half a minute, by the registry's clock."""

    def __init__(self, address: str, clock: Clock) -> None:
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
        self._totp = pyotp.TOTP(parse_qs(parts.query)["secret"][0])
        self._clock = clock

    def next(self) -> str:
        """A code that was not used yet."""
        self._clock.advance(seconds=60)
        return self._totp.at(self._clock.now())


async def enabled(ann: Person, clock: Clock, mode: str) -> tuple[Authenticator, list[str]]:
    """A second factor as `npm profile enable-2fa` sets it up, and its recovery codes."""
    begun = await ann.change(tfa={"password": PASSWORD, "mode": mode})
    device = Authenticator(begun.json()["tfa"], clock)
    confirmed = await ann.change(tfa=[device.next()])
    assert confirmed.status == 200, confirmed.body
    return device, confirmed.json()["tfa"]


def is_asked_for_code(answer: Answer) -> bool:
    told = answer.headers.get("www-authenticate", "").split(",")[0]
    return answer.status == 401 and told == "OTP" and "one-time pass" in answer.json()["error"]


# --- what people say of themselves ---


async def test_a_profile_as_npm_reads_it(ann: Person) -> None:
    """A new profile has a name, an address that nobody verified, and no second factor."""
    profile = (await ann.get(PROFILE)).json()
    assert profile.pop("created") <= profile.pop("updated")
    assert profile == {
        "name": "ann",
        "email": "ann@example.test",
        "email_verified": False,
        "tfa": False,
        "cidr_whitelist": None,
        **dict.fromkeys(("fullname", "homepage", "freenode", "twitter", "github"), ""),
    }
    assert (await ann.registry.get(PROFILE)).status == 401


async def test_setting_one_thing_keeps_the_others(ann: Person) -> None:
    """What npm profile set sends back unchanged stays; an empty field is taken away."""
    await ann.change(fullname="Ann Example", github="ann")
    profile = (await ann.get(PROFILE)).json()
    keys = ("email", "fullname", "homepage", "freenode", "twitter", "github")
    answer = await ann.change(**{key: profile[key] or None for key in keys} | {"github": None})
    assert answer.json()["fullname"] == "Ann Example"
    assert answer.json()["github"] == ""
    assert answer.json()["email"] == "ann@example.test"
    answer = await ann.change(email=None)
    assert (answer.status, answer.json()["email"]) == (200, None)


@pytest.mark.parametrize(
    ("body", "status", "why"),
    [
        ({"email": "nobody"}, 422, "no e-mail address"),
        ({"fullname": "two\nlines"}, 422, "one line"),
        ({"shoe_size": "44"}, 400, "shoe_size"),
        ({"tfa": {"password": "wrong horse", "mode": "auth-only"}}, 401, "password is wrong"),
        ({"tfa": ["123456"]}, 400, "npm profile enable-2fa"),
        ({"password": {"old": "wrong horse", "new": OTHER}}, 401, "password is wrong"),
        ({"password": {"old": PASSWORD, "new": "short"}}, 422, "10 characters"),
    ],
)
async def test_what_is_refused(ann: Person, body: dict[str, Any], status: int, why: str) -> None:
    """A change that cannot be is refused in words, and changes nothing."""
    before = (await ann.get(PROFILE)).json()
    answer = await ann.change(**{"fullname": "Mallory", **body} if "tfa" not in body else body)
    assert answer.status == status
    assert why in answer.json()["error"]
    assert (await ann.get(PROFILE)).json() == before


# --- passwords ---


async def test_another_password_ends_every_other_login(ann: Person) -> None:
    """The old password is over, and so is every login but the one that changed it.

    Tokens that were made with care, for machines, go on.
    """
    phone = await join(ann.registry)
    made = Person(ann.registry, (await ann.create(readonly=False)).json()["token"])
    answer = await ann.change(email="ann@example.test", password={"old": PASSWORD, "new": OTHER})
    assert answer.status == 200
    assert "password" not in answer.json()
    assert (await ann.get("/-/whoami")).status == 200
    assert (await made.get("/-/whoami")).status == 200
    assert (await phone.get("/-/whoami")).status == 401
    assert (await log_in(ann.registry)).status == 401
    assert (await log_in(ann.registry, password=OTHER)).status == 201


async def test_a_remembered_password_is_forgotten(ann: Person) -> None:
    """Basic credentials that were good a moment ago are not after the password has changed."""
    value = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    headers = {"authorization": f"Basic {value}"}
    assert (await ann.registry.ask("GET", "/-/whoami", headers)).status == 200
    await ann.change(password={"old": PASSWORD, "new": OTHER})
    assert (await ann.registry.ask("GET", "/-/whoami", headers)).status == 401


# --- the second factor ---


async def test_a_second_factor_counts_once_it_is_confirmed(ann: Person, clock: Clock) -> None:
    """Until the first code came it is pending and asks nobody for anything."""
    begun = await ann.change(tfa={"password": PASSWORD, "mode": "auth-only"})
    assert begun.json()["tfa"].startswith("otpauth://totp/")
    shown = (await ann.get(PROFILE)).json()["tfa"]
    assert shown == {"mode": "auth-only", "pending": True}
    assert (await log_in(ann.registry)).status == 201
    wrong = await ann.change(tfa=["000000"])
    assert wrong.status == 422
    assert "the code is wrong" in wrong.json()["error"]
    device = Authenticator(begun.json()["tfa"], clock)
    confirmed = await ann.change(tfa=[device.next()])
    assert len(set(confirmed.json()["tfa"])) == 10
    shown = (await ann.get(PROFILE)).json()["tfa"]
    assert shown == {"mode": "auth-only", "pending": False}
    assert (await ann.change(tfa=[device.next()])).status == 400


async def test_npm_begins_anew_with_one_that_is_pending(ann: Person, clock: Clock) -> None:
    """Who begins again gets another secret, and the codes of the first one are none."""
    factor = {"password": PASSWORD, "mode": "auth-and-writes"}
    first = Authenticator((await ann.change(tfa=factor)).json()["tfa"], clock)
    assert (await ann.change(tfa={"password": PASSWORD, "mode": "disable"})).status == 200
    second = Authenticator((await ann.change(tfa=factor)).json()["tfa"], clock)
    assert (await ann.change(tfa=[first.next()])).status == 422
    assert (await ann.change(tfa=[second.next()])).status == 200


@pytest.mark.parametrize("mode", ["auth-only", "auth-and-writes"])
async def test_88_a_login_asks_for_the_code(ann: Person, clock: Clock, mode: str) -> None:
    """Who has a second factor logs in with it, in either mode; each code is good once."""
    device, _ = await enabled(ann, clock, mode)
    assert is_asked_for_code(await log_in(ann.registry))
    assert is_asked_for_code(await log_in(ann.registry, headers={"npm-otp": "000000"}))
    code = device.next()
    assert (await log_in(ann.registry, headers={"npm-otp": code})).status == 201
    assert is_asked_for_code(await log_in(ann.registry, headers={"npm-otp": code}))
    wrong = await log_in(ann.registry, password="wrong horse", headers={"npm-otp": device.next()})
    assert wrong.status == 401
    assert not is_asked_for_code(wrong)


async def test_a_recovery_code_is_good_once(ann: Person, clock: Clock) -> None:
    """Who has lost the device logs in with a recovery code, and takes the factor away with one."""
    _, codes = await enabled(ann, clock, "auth-and-writes")
    assert (await log_in(ann.registry, headers={"npm-otp": codes[0]})).status == 201
    assert is_asked_for_code(await log_in(ann.registry, headers={"npm-otp": codes[0]}))
    disable = {"password": PASSWORD, "mode": "disable"}
    assert is_asked_for_code(await ann.change(codes[0], tfa=disable))
    answer = await ann.change(codes[1], tfa=disable)
    assert (answer.status, answer.json()["tfa"]) == (200, False)
    assert (await log_in(ann.registry)).status == 201


async def test_a_used_recovery_code_does_not_come_back(ann: Person, clock: Clock) -> None:
    """A change of the mode keeps the recovery codes, but for the one it was made with."""
    _, codes = await enabled(ann, clock, "auth-and-writes")
    answer = await ann.change(codes[0], tfa={"password": PASSWORD, "mode": "auth-only"})
    assert answer.status == 200
    assert is_asked_for_code(await log_in(ann.registry, headers={"npm-otp": codes[0]}))
    assert (await log_in(ann.registry, headers={"npm-otp": codes[1]})).status == 201


@pytest.mark.parametrize("mode", ["auth-only", "auth-and-writes"])
async def test_changes_of_an_account_ask_for_the_code(ann: Person, clock: Clock, mode: str) -> None:
    """Tokens, profile, password and the factor itself are changed with a code, in either mode.

    A token that was made to need no code needs one for this.
    """
    machine = Person(
        ann.registry, (await ann.create(readonly=False, token_type="automation")).json()["token"]
    )
    device, _ = await enabled(ann, clock, mode)
    (key, *_) = [each["key"] for each in (await ann.get("/-/npm/v1/tokens")).json()["objects"]]
    for who in (ann, machine):
        assert is_asked_for_code(await who.create(readonly=True))
        assert is_asked_for_code(await who.ask("DELETE", f"/-/npm/v1/tokens/token/{key}"))
        assert is_asked_for_code(await who.change(fullname="Ann"))
        assert is_asked_for_code(await who.change(password={"old": PASSWORD, "new": OTHER}))
        assert is_asked_for_code(await who.change(tfa={"password": PASSWORD, "mode": "disable"}))
    assert (await ann.change(device.next(), fullname="Ann")).status == 200
    body = {"password": PASSWORD, "readonly": True}
    made = await ann.ask("POST", "/-/npm/v1/tokens", body, npm_otp=device.next())
    assert made.status == 201
    path = f"/-/npm/v1/tokens/token/{made.json()['key']}"
    assert (await ann.ask("DELETE", path, npm_otp=device.next())).status == 204


async def test_five_wrong_codes(ann: Person, clock: Clock) -> None:
    """After five wrong codes the right one has to wait, wherever it is sent."""
    device, _ = await enabled(ann, clock, "auth-and-writes")
    for _ in range(5):
        assert is_asked_for_code(await log_in(ann.registry, headers={"npm-otp": "000000"}))
    answer = await log_in(ann.registry, headers={"npm-otp": device.next()})
    assert answer.status == 429
    assert (await ann.change(device.next(), fullname="Ann")).status == 429
    clock.advance(minutes=6)
    assert (await ann.change(device.next(), fullname="Ann")).status == 200


async def test_a_password_alone_is_not_enough(ann: Person, clock: Clock) -> None:
    """Basic credentials are nobody's once there is a second factor."""
    await enabled(ann, clock, "auth-only")
    value = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    headers = {"authorization": f"Basic {value}"}
    assert (await ann.registry.ask("GET", "/-/whoami", headers)).status == 401


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ("npm/6.14.18 node/v14", None),
        ("npm/10.9.9 node/v22", None),
        ("npm/11.6.0 node/v24", {"mode": "auth-only", "pending": False}),
        ("", {"mode": "auth-only", "pending": False}),
    ],
)
async def test_another_mode_is_told_as_npm_wants_it(
    ann: Person, clock: Clock, agent: str, told: object
) -> None:
    """A changed mode is a null to npm up to 10, and the mode itself to later ones."""
    device, _ = await enabled(ann, clock, "auth-and-writes")
    ann.agent = agent
    answer = await ann.change(device.next(), tfa={"password": PASSWORD, "mode": "auth-only"})
    assert (answer.status, answer.json()["tfa"]) == (200, told)
