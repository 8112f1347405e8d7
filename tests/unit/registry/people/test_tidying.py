"""What is done about people now and then."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from proxy.registry.people.callers import Callers
from proxy.registry.people.limits import Limits, PasswordCheck
from proxy.registry.people.tidying import Tidying
from proxy.registry.people.tokens import Lives, Tokens
from proxy.storage.identity import TokenKind, UserRecord
from proxy.storage.passwords import Passwords
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON

DAY = timedelta(days=1)


class House:
    """People who are tidied up after. `now` may be moved."""

    def __init__(self) -> None:
        self.people, self.now = MemoryPeople(), NOON
        limits = Limits(people=self.people, clock=self.clock)
        checks = PasswordCheck(people=self.people, passwords=Passwords(), limits=limits)
        self.callers = Callers(
            people=self.people, passwords=checks, limits=limits, admins=(), clock=self.clock
        )
        self.tokens = Tokens(people=self.people, lives=Lives(DAY, DAY), clock=self.clock)
        self.tidying = Tidying(callers=self.callers, people=self.people, clock=self.clock)

    def clock(self) -> datetime:
        return self.now

    async def use_a_token(self) -> None:
        await self.people.add_user(UserRecord("ann", NOON, NOON), ANN)
        token, _ = await self.tokens.issue("ann", ANN, kind=TokenKind.LOGIN)
        await self.callers.resolve(f"Bearer {token}", "")


async def test_uses_are_noted_and_what_expired_goes() -> None:
    """Once a minute uses are written down; once an hour what has expired is forgotten."""
    house = House()
    await house.use_a_token()
    await house.tidying.once()
    (token,) = await house.people.tokens("ann")
    assert token.used_at is not None
    house.now = NOON + DAY
    await house.tidying.once()
    assert not await house.people.tokens("ann")


async def test_a_database_that_is_away_is_waited_for() -> None:
    """While the database is away nothing is lost but a use, and the next round goes on."""
    house = House()
    await house.use_a_token()
    house.people.store.is_away = True
    await house.tidying.once()
    house.people.store.is_away = False
    house.now = NOON + DAY
    await house.tidying.once()
    assert not await house.people.tokens("ann")


async def test_it_runs_until_it_is_stopped() -> None:
    """Left alone it tidies again and again."""
    house = House()
    await house.use_a_token()
    running = asyncio.create_task(house.tidying.run(timedelta(milliseconds=1)))
    async with asyncio.timeout(10):
        while (await house.people.tokens("ann"))[0].used_at is None:
            await asyncio.sleep(0.001)
    running.cancel()
