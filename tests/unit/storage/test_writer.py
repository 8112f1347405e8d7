"""Group commit, without a database."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from proxy.errors import StorageAway
from proxy.storage.writer import Writer

Commit = Callable[[Sequence[int]], Sequence[object]]


@asynccontextmanager
async def running(
    commit: Callable[[Sequence[int]], Sequence[object]],
) -> AsyncIterator[Writer[int]]:
    writer: Writer[int] = Writer(commit, name="test")
    writer.start()
    try:
        yield writer
    finally:
        await writer.stop()


async def test_work_is_answered() -> None:
    """Each caller gets the outcome of its own work."""
    async with running(lambda works: [work * 10 for work in works]) as writer:
        answers = await asyncio.gather(*(writer.submit(number) for number in range(5)))

    assert answers == [0, 10, 20, 30, 40]


async def test_what_waits_is_committed_together() -> None:
    """Works that come while a commit runs are one batch afterwards."""
    gate, batches = threading.Event(), []

    def commit(works: Sequence[int]) -> Sequence[object]:
        gate.wait(5)
        batches.append(list(works))
        return works

    async with running(commit) as writer:
        first = asyncio.create_task(writer.submit(0))
        while not writer._queue.empty() or first.done():
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(writer.submit(number)) for number in (1, 2, 3)]
        await asyncio.sleep(0.01)
        gate.set()
        await asyncio.gather(first, *rest)

    assert sorted(map(sorted, batches)) in ([[0], [1, 2, 3]], [[0, 1, 2, 3]])


async def test_outcome_that_is_an_error_is_raised() -> None:
    """An error among the outcomes goes to its own caller only."""
    async with running(lambda works: [KeyError(w) if w == 1 else w for w in works]) as writer:
        answers = await asyncio.gather(
            *(writer.submit(number) for number in range(3)), return_exceptions=True
        )

    assert [type(answer) for answer in answers] == [int, KeyError, int]


async def test_writer_outlives_a_bug() -> None:
    """A commit that raises fails those who wait for it, and the next one is done."""
    outcomes = iter([ZeroDivisionError()])

    def commit(works: Sequence[int]) -> Sequence[object]:
        for error in outcomes:
            raise error
        return works

    async with running(commit) as writer:
        with pytest.raises(ZeroDivisionError):
            await writer.submit(1)

        assert await writer.submit(2) == 2


async def test_cancelled_caller_harms_nobody() -> None:
    """A caller that stops waiting does not keep its neighbour from its answer."""
    gate = threading.Event()

    def commit(works: Sequence[int]) -> Sequence[object]:
        gate.wait(5)
        return works

    async with running(commit) as writer:
        impatient = asyncio.create_task(writer.submit(1))
        patient = asyncio.create_task(writer.submit(2))
        await asyncio.sleep(0.01)
        impatient.cancel()
        gate.set()

        assert await patient == 2


async def test_stopping_commits_what_is_queued() -> None:
    """What was submitted before the stop is committed; what comes after is refused."""
    done: list[int] = []

    def commit(works: Sequence[int]) -> Sequence[object]:
        done.extend(works)
        return works

    async with running(commit) as writer:
        tasks = [asyncio.create_task(writer.submit(number)) for number in range(600)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)

    with pytest.raises(StorageAway):
        await writer.submit(1)
    assert sorted(done) == list(range(600))
