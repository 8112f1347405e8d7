"""The pace of a run: its budget, its rate, and what it waits for."""

from __future__ import annotations

import pytest

from proxy.registry.offline.pacing import End, Halted, Pace
from proxy.upstream.offline import OfflineUplink


class Idle(OfflineUplink):
    """An uplink that may be asked."""

    state = "closed"
    absence = None


def pace(now: list[float], **changes: int) -> Pace:
    limits = {"max_requests": 2, "max_bytes_per_second": 100}
    return Pace(**limits | changes, monotonic=lambda: now[0])


async def test_a_budget_is_spent() -> None:
    """So many requests may be made and no more, and whoever waits for another is told."""
    budget = pace([0.0])

    assert [budget.may_ask() for _ in range(3)] == [True, True, False]
    assert budget.requests == 2
    with pytest.raises(Halted) as halted:
        await budget.wait(Idle("npm"))
    assert halted.value.end is End.BUDGET


async def test_bytes_cost_time() -> None:
    """Bytes are paid for at the rate, whenever they came; time that was not used pays nothing."""
    now = [1000.0]
    budget = pace(now)
    budget.took(50)
    now[0] += 100
    budget.took(200)

    assert budget.fetched_bytes == 250
    assert budget.unpaid_seconds == 2
    now[0] += 2
    assert budget.unpaid_seconds <= 0
    await budget.wait(Idle("npm"))


async def test_offline_ends_it() -> None:
    """An uplink that is not asked for a reason of ours is not waited for."""
    with pytest.raises(Halted) as halted:
        await pace([0.0]).wait(OfflineUplink("npm"))

    assert halted.value.end is End.OFFLINE
