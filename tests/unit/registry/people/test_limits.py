"""How often passwords and second factors may be wrong."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import bcrypt
import pyotp
import pytest

from proxy import errors
from proxy.registry.people import confirmations
from proxy.registry.people.callers import Caller
from proxy.registry.people.limits import Limits, PasswordCheck
from proxy.registry.people.second_factor import SecondFactor, hash_of
from proxy.storage.identity import UserRecord
from proxy.storage.passwords import Passwords, is_outdated
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON

HOME = "192.0.2.7"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
CALLER = Caller(client_ip=HOME, user="ann")


class Now:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


class Slow(Passwords):
    """Whoever has a password has "right"; counts how many are checked at the same moment."""

    def __init__(self) -> None:
        super().__init__()
        self.checks: list[str | None] = []
        self.at_once = self.most_at_once = 0

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        self.checks.append(password_hash)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        return password == "right" and password_hash is not None


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
async def people() -> MemoryPeople:
    made = MemoryPeople()
    ann = UserRecord(name="ann", created_at=NOON, updated_at=NOON, password_hash=HASH)
    await made.add_user(ann, ANN)
    return made


def checking(people: MemoryPeople, now: Now, passwords: Passwords) -> PasswordCheck:
    return PasswordCheck(
        people=people, passwords=passwords, limits=Limits(people=people, clock=now)
    )


# --- passwords ---


async def test_ten_wrong_passwords(people: MemoryPeople, now: Now) -> None:
    """After ten wrong passwords nobody is checked for that user, right or wrong, for a while."""
    passwords = Slow()
    check = checking(people, now, passwords)
    for number in range(10):
        assert await check.check("ann", "wrong", f"198.51.100.{number}") is None
    with pytest.raises(errors.TooManyRequests):
        await check.check("ann", "right", HOME)
    assert len(passwords.checks) == 10
    now.at += timedelta(minutes=6)
    assert await check.check("ann", "right", HOME) is not None


async def test_ten_wrong_passwords_from_one_address(people: MemoryPeople, now: Now) -> None:
    """Ten names with one password each count against the address that tries them."""
    check = checking(people, now, Slow())
    for number in range(10):
        assert await check.check(f"user{number}", "wrong", HOME) is None
    with pytest.raises(errors.TooManyRequests):
        await check.check("ann", "right", HOME)
    assert await check.check("ann", "right", "198.51.100.1") is not None


async def test_all_at_the_same_moment(people: MemoryPeople, now: Now) -> None:
    """A hundred tries that come together are not a hundred guesses, but hardly more than ten."""
    passwords = Slow()
    check = checking(people, now, passwords)
    tries = (check.check("ann", "wrong", HOME) for _ in range(100))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, errors.TooManyRequests) for each in answers) >= 89
    assert len(passwords.checks) <= 11
    assert passwords.most_at_once <= 2


async def test_who_is_unknown_takes_as_long(people: MemoryPeople, now: Now) -> None:
    """For a user who is unknown, or shut out, a password is checked all the same."""
    passwords = Slow()
    check = checking(people, now, passwords)
    await people.set_disabled("ann", True, ANN)
    assert await check.check("nobody", "right", HOME) is None
    assert await check.check("ann", "right", HOME) is None
    assert passwords.checks == [None, None]


async def test_a_long_name_is_not_kept(people: MemoryPeople, now: Now) -> None:
    """A name that somebody made up is cut before it is written anywhere."""
    check = checking(people, now, Slow())
    await check.check("x" * 100_000, "wrong", HOME)
    assert max(len(key) for key, _ in people._failures) < 300


async def test_an_old_hash_is_renewed(people: MemoryPeople, now: Now) -> None:
    """A password whose hash came from an htpasswd file gets one of ours when it is next known."""
    old = bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()
    await people.set_password("ann", old, ANN)
    check = checking(people, now, Passwords())
    assert await check.check("ann", "wrong horse", HOME) is None
    assert await check.check("ann", "correct horse", HOME) is not None
    user = await people.user("ann")
    assert user is not None
    assert user.password_hash is not None
    assert not is_outdated(user.password_hash)
    assert await check.check("ann", "correct horse", HOME) is not None


# --- second factors ---


@pytest.fixture
async def factor(people: MemoryPeople, now: Now) -> SecondFactor:
    await people.set_totp("ann", SECRET, "auth-only", ANN, [hash_of("spare")])
    return SecondFactor(people=people, limits=Limits(people=people, clock=now), clock=now)


async def good(factor: SecondFactor, people: MemoryPeople, code: str | None) -> bool:
    user = await people.user("ann")
    assert user is not None
    return await factor.is_good(user, code, CALLER)


def code_of(now: Now) -> str:
    return pyotp.TOTP(SECRET).at(now.at)


async def test_codes_are_good_once(factor: SecondFactor, people: MemoryPeople, now: Now) -> None:
    """The codes of an authenticator, to recover with, and of a web page are each good once."""
    web = await confirmations.issue(people, "ann", now.at)
    for code in (code_of(now), "spare", web):
        assert await good(factor, people, code)
        assert not await good(factor, people, code)
    assert not await good(factor, people, None)


async def test_five_wrong_codes(factor: SecondFactor, people: MemoryPeople, now: Now) -> None:
    """After five wrong codes not even the right one is looked at, for five minutes."""
    for _ in range(5):
        assert not await good(factor, people, "000000")
    with pytest.raises(errors.TooManyRequests):
        await good(factor, people, code_of(now))
    now.at += timedelta(minutes=6)
    assert await good(factor, people, code_of(now))


async def test_a_code_used_again_is_no_guess(
    factor: SecondFactor, people: MemoryPeople, now: Now
) -> None:
    """A client that sends a code it has used, or none, is told so however often it does."""
    code = code_of(now)
    assert await good(factor, people, code)
    for _ in range(10):
        assert not await good(factor, people, code)
        assert not await good(factor, people, "")


async def test_codes_at_the_same_moment(
    factor: SecondFactor, people: MemoryPeople, now: Now
) -> None:
    """Of fifty wrong codes that come together five are looked at."""
    tries = (good(factor, people, f"x{number}") for number in range(50))
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, errors.TooManyRequests) for each in answers) == 45


async def test_who_has_none_is_asked_for_none(factor: SecondFactor, people: MemoryPeople) -> None:
    """A change of an account asks for the second factor of whoever has confirmed one."""
    with pytest.raises(errors.OneTimePasswordRequired):
        await factor.require_if_set(CALLER)
    await people.set_totp("ann", SECRET, None, ANN, asked="auth-only")
    await factor.require_if_set(CALLER)
