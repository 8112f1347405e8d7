"""Deadlines: late work ends, other work does not notice."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from proxy.web.deadlines import Deadlines


async def answer(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "answer"


def deadlines(limit: float) -> Deadlines:
    return Deadlines(timedelta(seconds=limit), every=timedelta(seconds=0.01))


async def test_work_in_time_gives_its_result() -> None:
    """Work that ends before its deadline is not touched."""
    assert await deadlines(5).keep(answer(0.03)) == "answer"


async def test_late_work_is_a_timeout() -> None:
    """Work beyond its deadline is cancelled and told as a TimeoutError."""
    with pytest.raises(TimeoutError):
        await deadlines(0.03).keep(answer(10))


async def test_one_late_task_does_not_end_another() -> None:
    """Each task has its own deadline."""
    kept = deadlines(0.15)
    slow = asyncio.create_task(kept.keep(answer(10)))
    await asyncio.sleep(0.1)
    quick = asyncio.create_task(kept.keep(answer(0.1)))

    results = await asyncio.gather(slow, quick, return_exceptions=True)

    assert isinstance(results[0], TimeoutError)
    assert results[1] == "answer"


async def test_a_task_that_was_late_goes_on_afterwards() -> None:
    """After a TimeoutError the task is not cancelled any more: it can still send a reply."""

    async def handler() -> str:
        try:
            return await deadlines(0.02).keep(answer(10))
        except TimeoutError:
            await asyncio.sleep(0.03)
            return "reply"

    assert await asyncio.create_task(handler()) == "reply"


async def test_cancelling_is_no_timeout() -> None:
    """Work that somebody cancels is cancelled, not late."""
    task = asyncio.create_task(deadlines(5).keep(answer(10)))
    await asyncio.sleep(0.02)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_failure_stays_what_it_is() -> None:
    """An error of the work itself passes through."""

    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await deadlines(5).keep(fails())
