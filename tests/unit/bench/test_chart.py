"""The picture of a run."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.bench import chart
from tests.bench.figures import Finding, Measure, Series, at_least, at_most

US, PEER = Series("Packhouse", (10.0, 20.0)), Series("a <peer> & more", (30.0, 40.0))


def _finding(goal=None, measure=Measure.RATIO, us=US) -> Finding:
    return Finding("mixed", "the trace", "req/s", us, PEER, measure, goal)


@pytest.mark.parametrize(
    ("finding", "reach"),
    [
        (_finding(at_least(15), Measure.VALUE), 1.0),
        (_finding(at_least(30), Measure.VALUE), 0.5),
        (_finding(at_most(30), Measure.VALUE), 2.0),
        (_finding(at_most(1e9), Measure.VALUE), chart.FARTHEST),
        (_finding(at_least(1e9), Measure.VALUE), 1 / chart.FARTHEST),
        (_finding(at_most(5), Measure.DIFFERENCE), chart.FARTHEST),
    ],
)
def test_reach_says_how_far_a_goal_is_met(finding, reach) -> None:
    """1 is met exactly, more is better whichever side is the good one, and the axis has ends."""
    assert chart.reach(finding) == pytest.approx(reach)


def test_the_picture_is_well_formed_and_names_everybody() -> None:
    """Names with characters that XML keeps for itself are shown as they are."""
    drawn = ET.fromstring(chart.svg([_finding(at_least(0.6)), _finding()], "mixed"))

    texts = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("Packhouse") == 1
    assert texts.count("a <peer> & more") == 1
    assert "the trace: >= 0.6 x a <peer> & more" in texts


def test_nothing_is_drawn_outside_the_picture() -> None:
    """A goal that is far beyond reach ends at the edge of its axis."""
    drawn = ET.fromstring(chart.svg([_finding(at_least(1e9), Measure.VALUE)], "mixed"))

    for shape in drawn.iter("{http://www.w3.org/2000/svg}rect"):
        left, width = float(shape.get("x", 0)), float(shape.get("width", 0))
        assert 0 <= left <= left + width <= chart.WIDTH
