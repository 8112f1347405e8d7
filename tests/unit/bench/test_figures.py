"""What is made of samples."""

from __future__ import annotations

import json

import pytest

from tests.bench.figures import Finding, Measure, Series, at_least, at_most, percentile


def _finding(measure: Measure = Measure.RATIO, **changed) -> Finding:
    facts = {
        "row": "mixed",
        "what": "two workers",
        "unit": "req/s",
        "us": Series("Packhouse", (50.0, 10.0, 30.0)),
        "peer": Series("nginx", (100.0, 100.0, 20.0)),
        "measure": measure,
        "goal": at_least(0.5),
    }
    return Finding(**(facts | changed))


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    """Each round is compared with itself, so that what disturbs a round falls on both."""
    assert _finding().outcome.samples == (0.5, 0.1, 1.5)
    assert _finding().outcome.median == 0.5


def test_a_difference_is_taken_round_by_round() -> None:
    """A goal of "so much more than" is compared with our sample less the peer's."""
    assert _finding(Measure.DIFFERENCE).outcome.samples == (-50.0, -90.0, 10.0)


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [(at_least(0.5), True), (at_least(0.51), False), (at_most(0.5), True), (at_most(0.49), False)],
)
def test_a_goal_is_met_on_its_bound(goal, is_met) -> None:
    """A bound belongs to the side that is good."""
    assert _finding(goal=goal).is_met is is_met


def test_what_has_no_goal_is_neither_met_nor_missed() -> None:
    """A finding that is told for its own sake has no verdict."""
    assert _finding(goal=None).is_met is None


def test_a_value_is_held_against_its_goal_without_a_peer() -> None:
    """Where the goal is a number, a peer beside it has no say."""
    assert _finding(Measure.VALUE, goal=at_most(30)).is_met is True
    assert _finding(peer=None, goal=at_least(31)).is_met is False


@pytest.mark.parametrize("changed", [{}, {"peer": None}, {"goal": None}])
def test_json_keeps_a_finding(changed) -> None:
    """A finding that was written as JSON is read back the same."""
    finding = _finding(**changed)

    assert Finding.from_json(json.loads(json.dumps(finding.as_json()))) == finding


@pytest.mark.parametrize(("part", "value"), [(0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1, 100)])
def test_a_percentile_is_a_sample(part, value) -> None:
    """It is the smallest that the part of all do not exceed, whatever the order."""
    assert percentile(list(range(100, 0, -1)), part) == value
