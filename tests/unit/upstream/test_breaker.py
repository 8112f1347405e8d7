"""The breaker's states, its probe and its holds; the budget of retries."""

from __future__ import annotations

from datetime import timedelta

import pytest

from proxy.upstream.breaker import Breaker, Breakers, Pass, RetryBudget, State

PAUSE = 30.0


def entered(breaker: Breaker, now: float) -> Pass:
    """A pass that must be given."""
    given = breaker.enter(now)
    assert given is not None
    return given


def opened(at: float = 0.0) -> Breaker:
    """A breaker that five failures have opened."""
    breaker = Breaker()
    for _ in range(5):
        entered(breaker, at).failed(at)
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    """The fourth failure lets the next caller through, the fifth does not."""
    breaker = Breaker()
    for _ in range(4):
        entered(breaker, 0).failed(0)
    assert breaker.state(0) is State.CLOSED

    entered(breaker, 0).failed(0)

    assert breaker.state(0) is State.OPEN
    assert breaker.enter(PAUSE - 0.1) is None


def test_a_success_in_between_starts_the_count_again() -> None:
    """Every third request may fail for ever without opening it."""
    breaker = Breaker()

    for number in range(30):
        one = entered(breaker, number)
        one.failed(number) if number % 3 == 0 else one.succeeded()

    assert breaker.state(30) is State.CLOSED


def test_after_the_pause_one_probe_goes() -> None:
    """Half-open lets exactly one caller through."""
    breaker = opened()
    assert breaker.state(PAUSE) is State.HALF_OPEN

    probe = breaker.enter(PAUSE)

    assert probe is not None
    assert probe.is_probe
    assert breaker.enter(PAUSE) is None


def test_a_good_probe_closes_it_and_forgets_the_past() -> None:
    """After a good probe it takes five failures again, and the pause is the first one."""
    breaker = opened()
    entered(breaker, PAUSE).failed(PAUSE)
    entered(breaker, 3 * PAUSE).succeeded()
    assert breaker.state(3 * PAUSE) is State.CLOSED

    for _ in range(5):
        entered(breaker, 100).failed(100)

    assert breaker.wait(100) == timedelta(seconds=PAUSE)


def test_bad_probes_double_the_pause_up_to_five_minutes() -> None:
    """30 s, 1 min, 2 min, 4 min, 5 min, 5 min."""
    breaker, now, pauses = opened(), 0.0, []

    for _ in range(6):
        pauses.append(breaker.wait(now).total_seconds())
        now += pauses[-1]
        entered(breaker, now).failed(now)

    assert pauses == [30, 60, 120, 240, 300, 300]


def test_an_abandoned_probe_makes_room_at_once() -> None:
    """A cancelled probe cannot keep the breaker half-open."""
    breaker = opened()

    entered(breaker, PAUSE).abandoned()

    assert entered(breaker, PAUSE).is_probe


def test_a_lost_probe_makes_room_after_another_window() -> None:
    """A probe that nobody ever settles holds others up for one window only."""
    breaker = opened()
    entered(breaker, PAUSE)
    assert breaker.enter(2 * PAUSE - 0.1) is None

    assert entered(breaker, 2 * PAUSE).is_probe


def test_a_pass_is_settled_once() -> None:
    """Only the first word about a request counts."""
    breaker = opened()
    probe = entered(breaker, PAUSE)

    probe.failed(PAUSE)
    probe.succeeded()
    probe.abandoned()

    assert breaker.state(PAUSE) is State.OPEN


def test_a_late_success_closes_it() -> None:
    """An answer to a question from before it opened is as good as a probe's."""
    breaker = Breaker()
    slow = entered(breaker, 0)
    for _ in range(5):
        entered(breaker, 0).failed(0)

    slow.succeeded()

    assert breaker.state(0) is State.CLOSED


def test_late_failures_and_leavers_change_nothing() -> None:
    """Failures that come after it opened neither extend nor double the pause."""
    breaker = Breaker()
    slow, left = entered(breaker, 0), entered(breaker, 0)
    for _ in range(5):
        entered(breaker, 0).failed(0)

    slow.failed(20)
    left.abandoned()

    assert breaker.wait(20) == timedelta(seconds=10)
    assert breaker.state(PAUSE) is State.HALF_OPEN


def test_a_hold_outlasts_success() -> None:
    """Nobody asks before the time the uplink named, whatever else it answers meanwhile."""
    breaker = Breaker()
    other = entered(breaker, 0)

    breaker.hold(10)
    other.succeeded()

    assert breaker.enter(9.9) is None
    assert breaker.state(9.9) is State.OPEN
    assert breaker.enter(10) is not None


def test_holds_only_grow() -> None:
    """A shorter hold does not replace a longer one."""
    breaker = Breaker()

    breaker.hold(60)
    breaker.hold(5)

    assert breaker.wait(0) == timedelta(seconds=60)


def test_wait_is_never_less_than_a_second() -> None:
    """A client told to come back is not told to come back at once."""
    assert Breaker().wait(5) == timedelta(seconds=1)


def test_services_have_a_breaker_of_their_own() -> None:
    """A search that is rationed does not stop packuments of the same origin."""
    breakers = Breakers()

    breakers.of("https://a:443", is_service=True).hold(100)

    assert breakers.of("https://a:443").state(0) is State.CLOSED
    assert breakers.of("https://a:443", is_service=True).state(0) is State.OPEN


def test_breakers_of_many_origins_are_bounded() -> None:
    """Beyond the bound the oldest is forgotten, the others are kept."""
    breakers = Breakers(most=2)
    for origin in ("a", "b"):
        breakers.of(origin).hold(100)

    breakers.of("c")

    assert breakers.of("b").state(0) is State.OPEN
    assert breakers.of("a").state(0) is State.CLOSED


def test_retries_are_a_tenth_of_the_requests() -> None:
    """With the reserve used up and no time passing, ten requests pay for one retry."""
    budget = RetryBudget(most=1)
    assert budget.take(0)
    assert not budget.take(0)

    for _ in range(10):
        budget.asked(0)

    assert budget.take(0)
    assert not budget.take(0)


def test_a_few_retries_a_second_are_free() -> None:
    """A quiet uplink may be asked again although it is asked little."""
    budget = RetryBudget(most=10)
    while budget.take(0):
        pass

    assert [budget.take(0.5) for _ in range(6)] == [True] * 5 + [False]


def test_a_clock_that_steps_back_does_not_empty_the_budget() -> None:
    """Time that seems negative counts as none."""
    budget = RetryBudget(most=2)
    budget.asked(100)

    assert budget.take(50)


@pytest.mark.parametrize("settle", ["succeeded", "abandoned"])
def test_passes_of_a_closed_breaker_leave_it_closed(settle: str) -> None:
    """Success and leaving change nothing while it is closed."""
    breaker = Breaker()

    getattr(entered(breaker, 0), settle)()

    assert breaker.state(0) is State.CLOSED
