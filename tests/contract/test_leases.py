"""What every Leases keeps to, whatever it is made of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.storage.base import Leases
from proxy.storage.leases import FileLeases
from tests.fakes.memory import MemoryLeases


@pytest.fixture(params=["files", "memory"])
async def leases(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Leases]:
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield MemoryLeases()
        else:
            yield await stack.enter_async_context(FileLeases(tmp_path / "leases.lock"))


async def test_free_key_is_held_at_once(leases: Leases) -> None:
    """Whoever asks first holds the key at once and is told so; afterwards it is free again."""
    async with leases.hold("a") as was_free:
        during = await leases.try_acquire("a")

    assert (was_free, during) == (True, False)
    assert await leases.try_acquire("a")


async def test_keys_are_apart(leases: Leases) -> None:
    """Holding one key is no hindrance to holding another."""
    async with leases.hold("a"), leases.hold("b") as was_free:
        pass

    assert was_free


async def test_waiting_ends_with_the_holder(leases: Leases) -> None:
    """Whoever waits holds the key once it is let go, and is told that it was waited for."""
    order: list[str] = []

    async def second() -> bool:
        async with leases.hold("a") as was_free:
            order.append("second")
            return was_free

    async with leases.hold("a"):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0.05)
        order.append("first")

    assert await waiting is False
    assert order == ["first", "second"]


async def test_only_one_holds_at_a_time(leases: Leases) -> None:
    """Of many who want one key at once never two hold it together."""
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with leases.hold("a"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(8)))

    assert (inside, most) == (0, 1)


async def test_cancelled_waiter_leaves_nothing(leases: Leases) -> None:
    """A waiter that is cancelled neither holds the key nor keeps others from it."""
    async with leases.hold("a"):
        waiting = asyncio.create_task(leases.hold("a").__aenter__())
        await asyncio.sleep(0.03)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    assert await leases.try_acquire("a")


async def test_failing_holder_lets_go(leases: Leases) -> None:
    """A key is free again when its block ends with an error."""
    with pytest.raises(LookupError):
        async with leases.hold("a"):
            raise LookupError

    assert await leases.try_acquire("a")


async def test_releasing_what_is_not_held(leases: Leases) -> None:
    """Releasing a key twice, or one never taken, is no error and frees nothing else."""
    await leases.try_acquire("a")

    await leases.release("b")
    await leases.release("b")

    assert not await leases.try_acquire("a")
    await leases.release("a")


@pytest.mark.parametrize("key", ["", "@acme/ui", "\ud800", "x" * 10_000])
async def test_any_text_is_a_key(leases: Leases, key: str) -> None:
    """Any text can be a key."""
    async with leases.hold(key) as was_free:
        assert was_free
