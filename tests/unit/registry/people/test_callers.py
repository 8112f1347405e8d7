"""Who sent a request: what is looked up, what is remembered, and for how long."""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from proxy import errors
from proxy.npm import tokens as form
from proxy.registry.people.callers import Caller, Callers
from proxy.registry.people.limits import Limits
from proxy.registry.people.tokens import Lives, Tokens
from proxy.storage.identity import Role, TeamRecord, TokenKind, TokenRecord, UserRecord
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON

HOME = "192.0.2.7"
DAY = timedelta(days=1)


class CountedPeople(MemoryPeople):
    """Counts how often tokens are looked up, and whether anything has changed."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: Counter[str] = Counter()

    async def token(self, token_hash: str) -> tuple[TokenRecord, UserRecord] | None:
        self.looks["token"] += 1
        return await super().token(token_hash)

    def revision(self) -> int:
        self.looks["revision"] += 1
        return super().revision()


class OnePassword:
    """Knows one password of everybody, and does something else meanwhile if it is told to."""

    def __init__(self, people: MemoryPeople) -> None:
        self._people = people
        self.checks = 0
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def check(self, user: str, password: str, client_ip: str) -> UserRecord | None:
        self.checks += 1
        found = await self._people.user(user)
        if self.meanwhile is not None:
            await self.meanwhile()
        return found if password == "pass:word" else None


@dataclass
class Door:
    """A `Callers` and everything it is made of. `now` may be moved."""

    people: CountedPeople
    passwords: OnePassword
    now: datetime = NOON

    def __post_init__(self) -> None:
        limits = Limits(people=self.people, clock=self.clock)
        self.tokens = Tokens(people=self.people, lives=Lives(30 * DAY, 90 * DAY), clock=self.clock)
        self.callers = Callers(
            people=self.people,
            passwords=self.passwords,
            limits=limits,
            admins=["root"],
            clock=self.clock,
        )

    def clock(self) -> datetime:
        return self.now

    async def issue(self, **facts: object) -> str:
        facts = {"kind": TokenKind.LOGIN, **facts}
        token, _ = await self.tokens.issue("ann", ANN, **facts)
        return token

    async def bearer(self, token: str, client_ip: str = HOME) -> Caller:
        await asyncio.sleep(0)
        return await self.callers.resolve(f"Bearer {token}", client_ip)

    async def basic(self, text: str) -> Caller:
        value = base64.b64encode(text.encode()).decode()
        await asyncio.sleep(0)
        return await self.callers.resolve(f"Basic {value}", HOME)


@pytest.fixture
async def door() -> Door:
    people = CountedPeople()
    for name in ("ann", "root"):
        await people.add_user(UserRecord(name=name, created_at=NOON, updated_at=NOON), ANN)
    return Door(people, OnePassword(people))


async def test_nobody_is_nobody(door: Door) -> None:
    """Without credentials nothing is looked up, and nothing is held against anybody."""
    caller = await door.callers.resolve(None, HOME, "123456")
    assert (caller.user, caller.is_rejected, caller.otp) == (None, False, "123456")
    assert not door.people.looks


async def test_a_token_is_looked_up_once(door: Door) -> None:
    """A token that is known costs no look-up until somebody writes to the database."""
    token = await door.issue()
    first, second = await door.bearer(token), await door.bearer(token)
    assert (first.user, second.user) == ("ann", "ann")
    assert door.people.looks == {"token": 1, "revision": 2}


async def test_a_write_makes_it_forget(door: Door) -> None:
    """What was remembered is asked for anew once anything was written: a revoked token is over."""
    token = await door.issue()
    await door.bearer(token)
    await door.tokens.revoke("ann", token, ANN)
    assert (await door.bearer(token)).is_rejected


async def test_requests_of_one_turn_share_a_look(door: Door) -> None:
    """What waits at the same turn of the loop is answered after one look for changes."""
    token = await door.issue()
    callers = await asyncio.gather(*(door.bearer(token) for _ in range(10)))
    assert {caller.user for caller in callers} == {"ann"}
    assert door.people.looks == {"token": 1, "revision": 1}


async def test_a_guess_costs_what_a_token_costs(door: Door) -> None:
    """A made-up token and one of an unknown end are each one hash and one look-up, like a good one.

    What has not the shape or the checksum of a token is never looked up: that is no secret.
    """
    good = await door.issue()
    for token in (good, form.new(), form.new()):
        before = door.people.looks["token"]
        await door.bearer(token)
        assert door.people.looks["token"] == before + 1
    before = door.people.looks["token"]
    assert (await door.bearer(good[:-1] + "!")).is_rejected
    assert (await door.bearer("npm_" + good[4:])).is_rejected
    assert door.people.looks["token"] == before


@pytest.mark.parametrize("text", ["Digest x", "Bearer", "Bearer ", "Basic !!", "Basic /w==", ""])
async def test_what_is_no_credential(door: Door, text: str) -> None:
    """What cannot be understood is rejected, and never an error."""
    assert (await door.callers.resolve(text, HOME)).is_rejected


async def test_a_token_ends(door: Door) -> None:
    """A token that is remembered is over at the moment it expires."""
    token = await door.issue()
    assert (await door.bearer(token)).user == "ann"
    door.now = NOON + 30 * DAY
    assert (await door.bearer(token)).is_rejected


async def test_a_token_for_certain_addresses(door: Door) -> None:
    """A token is good from the networks it names alone."""
    token = await door.issue(cidrs=["192.0.2.0/24", "2001:db8::/32"])
    assert (await door.bearer(token, "2001:db8::1")).user == "ann"
    assert (await door.bearer(token)).user == "ann"
    assert (await door.bearer(token, "198.51.100.1")).is_rejected
    assert (await door.bearer(token, "somewhere")).is_rejected


async def test_who_is_disabled_is_nobody(door: Door) -> None:
    """Somebody who was shut out is rejected with every token and password."""
    token = await door.issue()
    await door.people.set_disabled("ann", True, ANN)
    assert (await door.bearer(token)).is_rejected
    assert (await door.basic("ann:pass:word")).is_rejected


async def test_groups_and_rights(door: Door) -> None:
    """A caller has the organisations and teams they are in, and is an admin by configuration."""
    await door.people.set_member("acme", "ann", Role.DEVELOPER, ANN)
    await door.people.set_team(TeamRecord("acme", "core", ""), ANN)
    await door.people.set_team_member("acme", "core", "ann", ANN)
    caller = await door.bearer(await door.issue())
    assert caller.groups == {"acme", "acme:core"}
    assert not caller.is_admin
    assert (await door.basic("root:pass:word")).is_admin


async def test_a_password_is_checked_once(door: Door) -> None:
    """A password, which may hold colons, is hashed again only after something was written."""
    for _ in range(3):
        assert (await door.basic("ann:pass:word")).user == "ann"
    assert door.passwords.checks == 1
    assert (await door.basic("ann:pass")).is_rejected
    await door.people.set_password("ann", "other", ANN)
    await door.basic("ann:pass:word")
    assert door.passwords.checks == 3


async def test_a_password_that_changes_while_it_is_checked(door: Door) -> None:
    """A password that was replaced while it was being checked is not remembered."""

    async def change() -> None:
        door.passwords.meanwhile = None
        await door.people.set_password("ann", "other", ANN)
        await door.basic("root:wrong")

    door.passwords.meanwhile = change
    await door.basic("ann:pass:word")
    await door.basic("ann:pass:word")
    assert door.passwords.checks == 3


async def test_a_password_is_not_enough_for_who_has_two_factors(door: Door) -> None:
    """Who has a second factor logs in with it: their password alone is nobody's."""
    await door.people.set_totp("ann", "SECRET", None, ANN, asked="auth-only")
    assert (await door.basic("ann:pass:word")).user == "ann"
    await door.people.set_totp("ann", "SECRET", "auth-only", ANN)
    assert (await door.basic("ann:pass:word")).is_rejected


@pytest.mark.parametrize(
    ("mode", "is_exempt", "needs"),
    [
        (None, False, False),
        ("auth-only", False, False),
        ("auth-and-writes", False, True),
        ("auth-and-writes", True, False),
    ],
)
async def test_who_needs_a_second_factor_to_write(
    door: Door, mode: str | None, is_exempt: bool, needs: bool
) -> None:
    """Writes ask for a code in npm's stricter mode, unless the token was made for machines."""
    await door.people.set_totp("ann", "SECRET", mode, ANN)
    caller = await door.bearer(await door.issue(is_otp_exempt=is_exempt))
    assert caller.needs_otp is needs


async def test_a_database_that_is_away(door: Door) -> None:
    """Whom we cannot look up is neither known nor rejected, and whoever needs them is told why."""
    token = await door.issue()
    door.people.store.is_away = True
    caller = await door.bearer(token)
    assert (caller.user, caller.is_rejected) == (None, False)
    with pytest.raises(errors.StorageAway):
        caller.require()


async def test_thirty_bad_tokens_in_a_minute(door: Door) -> None:
    """The 31st 401 of an address within a minute is a 429; another address is not concerned."""
    bad = await door.bearer("phs_x")
    for _ in range(30):
        await door.callers.refused(bad)
    with pytest.raises(errors.TooManyRequests):
        await door.callers.refused(bad)
    await door.callers.refused(replace(bad, client_ip="198.51.100.1"))
    door.now += timedelta(minutes=2)
    await door.callers.refused(bad)


async def test_uses_are_written_down_later(door: Door) -> None:
    """A request writes nothing; a flush notes the hour, and a token nobody used has none."""
    token, other = await door.issue(), await door.issue()
    commits = door.people.store.commits
    await door.bearer(token)
    assert door.people.store.commits == commits
    await door.callers.flush()
    used = {each.hash: each.used_at for each in await door.people.tokens("ann")}
    assert used[form.hash_of(token)] == NOON.replace(minute=0, second=0, microsecond=0)
    assert used[form.hash_of(other)] is None
