"""Numbers as people read them in the report."""

from __future__ import annotations

from tests.bench.figures import Finding, Measure, Series

RATE, MEBIBYTES = "req/s", "MiB"
SECONDS, MILLISECONDS, MICROSECONDS = "s", "ms", "µs"


def number(value: float) -> str:
    """Three digits that count, and commas in what is large."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def spread(series: Series) -> str:
    """The median, and the least and the most where there was more than one round."""
    middle = number(series.median)
    if len(series.samples) == 1:
        return middle
    return f"{middle} ({number(series.low)} to {number(series.high)})"


def goal(finding: Finding) -> str:
    """What was to be reached, in words."""
    if finding.goal is None:
        return ""
    bound = f"{finding.goal.sense.value} {finding.goal.limit:,g}"
    if finding.measure is Measure.RATIO and finding.peer is not None:
        return f"{bound} x {finding.peer.who}"
    if finding.measure is Measure.DIFFERENCE and finding.peer is not None:
        return f"{bound} {finding.unit} more than {finding.peer.who}"
    return f"{bound} {finding.unit}"


def met(finding: Finding) -> str:
    """Whether it was."""
    return {True: "yes", False: "no", None: ""}[finding.is_met]
