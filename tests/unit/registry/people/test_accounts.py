"""Logging in while something else happens to the account."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from proxy import errors
from proxy.registry.people.accounts import Accounts
from proxy.registry.people.limits import Limits, PasswordCheck
from proxy.registry.people.second_factor import SecondFactor
from proxy.registry.people.tokens import Lives, Tokens
from proxy.storage.identity import UserRecord
from proxy.storage.passwords import Passwords
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON

OTHER_SALT = "YW5vdGhlcnNhbHRhbm90aA"
Meanwhile = Callable[[MemoryPeople], Awaitable[object]]


def hashed(password: str, salt: str = "c29tZXNhbHRzb21lc2FsdA") -> str:
    """What has the look of a hash."""
    return f"$argon2id$v=19$m=19456,t=2,p=1${salt}${password.ljust(43, 'A')}"


class Interrupted(Passwords):
    """Knows the hashes above; when one was found right, something else happens."""

    def __init__(self, people: MemoryPeople, meanwhile: Meanwhile) -> None:
        super().__init__()
        self._people = people
        self._meanwhile: Meanwhile | None = meanwhile

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        right = password_hash is not None and password_hash.endswith(password.ljust(43, "A"))
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile is not None:
            await meanwhile(self._people)
        return right


async def accounts(people: MemoryPeople, meanwhile: Meanwhile) -> Accounts:
    await people.add_user(
        UserRecord(name="ann", created_at=NOON, updated_at=NOON, password_hash=hashed("old")), ANN
    )
    limits = Limits(people=people, clock=lambda: NOON)
    hashes = Interrupted(people, meanwhile)
    lives = Lives(login=timedelta(days=1), token=timedelta(days=1))
    return Accounts(
        people=people,
        passwords=PasswordCheck(people=people, passwords=hashes, limits=limits),
        hashes=hashes,
        second_factor=SecondFactor(people=people, limits=limits, clock=lambda: NOON),
        tokens=Tokens(people=people, lives=lives, clock=lambda: NOON),
        limits=limits,
        can_sign_up=False,
        is_reserved=lambda _: False,
        clock=lambda: NOON,
    )


@pytest.mark.parametrize(
    "meanwhile",
    [
        lambda people: people.set_password("ann", hashed("new"), ANN),
        lambda people: people.set_disabled("ann", is_disabled=True, deed=ANN),
    ],
    ids=["another password", "disabled"],
)
async def test_a_login_does_not_outlive_its_password(meanwhile: Meanwhile) -> None:
    """Who is let in by a password that is changed at that moment has no token of it."""
    people = MemoryPeople()
    house = await accounts(people, meanwhile)

    with pytest.raises(errors.WrongPassword):
        await house.log_in("ann", "old")

    assert await people.tokens("ann") == []


async def test_a_new_hash_of_the_same_password_stops_nobody() -> None:
    """A hash may be renewed while its password is checked: that is no other password."""
    people = MemoryPeople()
    house = await accounts(
        people, lambda people: people.renew_hash("ann", hashed("old"), hashed("old", OTHER_SALT))
    )

    user, _ = await house.log_in("ann", "old")

    assert user.name == "ann"
    assert len(await people.tokens("ann")) == 1
