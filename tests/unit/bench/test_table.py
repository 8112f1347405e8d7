"""How findings read."""

from __future__ import annotations

import pytest

from tests.bench import table, wording
from tests.bench.figures import Finding, Measure, Series, at_least, at_most

US, PEER = Series("Packhouse", (1000.0, 3000.0, 2000.0)), Series("nginx", (4000.0, 4000.0, 4000.0))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.012"), (0.256, "0.26"), (12.34, "12.3"), (123.4, "123"),
     (12345.6, "12,346"), (-0.5, "-0.50")],
)  # fmt: skip
def test_a_number_has_the_digits_that_count(value, text) -> None:
    """About three of them, whatever the size."""
    assert wording.number(value) == text


def test_a_comparison_is_one_line() -> None:
    """Goal, both sides with their spread, what they come to, and the verdict."""
    finding = Finding("mixed", "two workers", "req/s", US, PEER, goal=at_least(0.6))

    assert table.cells(finding) == (
        "`mixed`",
        "two workers",
        ">= 0.6 x nginx",
        "2,000 (1,000 to 3,000) req/s",
        "nginx: 4,000 (4,000 to 4,000) req/s",
        "0.50 (0.25 to 0.75)",
        "no",
    )


def test_a_value_alone_comes_to_itself() -> None:
    """What stands in the column of ours is not repeated, and one sample has no spread."""
    us = Series("Packhouse", (149.0,))
    finding = Finding("memory", "a worker", "MiB", us, None, Measure.VALUE, at_most(150))

    assert table.cells(finding)[2:] == ("<= 150 MiB", "149 MiB", "", "", "yes")


def test_a_difference_names_its_unit() -> None:
    """A goal of "so much more" says more than what."""
    finding = Finding("cold", "", "ms", US, PEER, Measure.DIFFERENCE, at_most(5))

    assert wording.goal(finding) == "<= 5 ms more than nginx"


def test_a_table_is_markdown() -> None:
    """Heading, rule, and one line for each finding, all with as many cells."""
    lines = table.markdown([Finding("mixed", "x", "req/s", US, PEER)]).splitlines()

    assert len(lines) == 3
    assert len({line.count("|") for line in lines}) == 1
