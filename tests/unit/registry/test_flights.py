"""proxy.registry.flights."""

from __future__ import annotations

import asyncio

import pytest

from proxy.registry.flights import Flights


class _Call:
    """A call that is counted and lands when told to."""

    def __init__(self) -> None:
        self.count = 0
        self.land = asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        await self.land.wait()
        return self.count


async def test_callers_of_one_key_share_one_call() -> None:
    """Whoever joins while a flight is in the air gets its answer, and no second call is made."""
    flights: Flights[str, int] = Flights()
    call = _Call()

    joined = [flights.join("lodash", call) for _ in range(200)]
    call.land.set()
    answers = await asyncio.gather(*joined)

    assert (call.count, set(answers)) == (1, {1})


async def test_keys_fly_apart() -> None:
    """Two keys are two calls."""
    flights: Flights[str, int] = Flights()
    call = _Call()
    call.land.set()

    await asyncio.gather(flights.join("a", call), flights.join("b", call))

    assert call.count == 2


async def test_a_waiter_that_leaves_cancels_nothing() -> None:
    """A cancelled waiter ends its own waiting; the flight lands for the others."""
    flights: Flights[str, int] = Flights()
    call = _Call()

    async def wait() -> int:
        return await asyncio.shield(flights.join("lodash", call))

    leaver, stayer = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0)
    leaver.cancel()
    call.land.set()

    assert await stayer == 1
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_an_error_reaches_every_waiter_and_is_not_kept() -> None:
    """All who wait get the leader's error; the next caller starts a new flight."""
    flights: Flights[str, int] = Flights()

    async def crash() -> int:
        raise ValueError("uplink away")

    joined = [asyncio.shield(flights.join("lodash", crash)) for _ in range(3)]
    outcomes = await asyncio.gather(*joined, return_exceptions=True)
    await asyncio.sleep(0)

    assert [str(outcome) for outcome in outcomes] == ["uplink away"] * 3
    assert len(flights) == 0


async def test_closing_ends_what_is_in_the_air() -> None:
    """After close nothing flies any more."""
    flights: Flights[str, int] = Flights()
    flight = flights.join("lodash", _Call())

    await flights.close()

    assert flight.cancelled()
    assert len(flights) == 0
