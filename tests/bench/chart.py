"""The findings as a picture: one SVG, drawn by hand, with what matters first.

Above, how many answers a second each server gives to the mixed trace. Below, how far each goal is
reached: on the line it is met exactly, to the right of it there is something to spare.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from xml.sax.saxutils import escape

from tests.bench import wording
from tests.bench.figures import Finding, Sense, Series

WIDTH = 900
LABELS = 470  # the width of what stands left of the bars
MARGIN = 24
LINE = 22
BAR = 14
VALUES = 70  # the width of what stands right of the longest bar
FARTHEST = 10.0  # times the goal, or a tenth of it: what is beyond stands at the edge

INK, FAINT, GRID = "#1f2328", "#59636e", "#d1d9e0"
OURS, THEIRS, MISSED = "#0b6e4f", "#8c959f", "#c4432b"


def svg(findings: Sequence[Finding], row: str) -> str:
    """Draw all findings; `row` is the one whose contenders are the bars."""
    rated = [each for each in findings if each.row == row and each.unit == wording.RATE]
    bars = list(_contenders(rated))
    goals = [finding for finding in findings if finding.goal is not None]
    second = MARGIN + (len(bars) + 3) * LINE
    height = second + (len(goals) + 3) * LINE + MARGIN
    shapes = [*_rates(bars), *_goals(goals, second)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="system-ui, Helvetica, Arial, sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n'
        + "\n".join(shapes)
        + "\n</svg>\n"
    )


def reach(finding: Finding) -> float:
    """How far a goal is reached: 1 is just so, 2 twice as well, never beyond FARTHEST."""
    assert finding.goal is not None
    value, limit = finding.outcome.median, finding.goal.limit
    if finding.goal.sense is Sense.AT_LEAST:
        share = value / limit
    else:
        share = limit / value if value > 0 else FARTHEST
    return min(FARTHEST, max(1 / FARTHEST, share))


def _contenders(findings: Iterable[Finding]) -> Iterator[tuple[Series, bool]]:
    """Yield each series once, the best first, and whether it is ours."""
    found: dict[str, tuple[Series, bool]] = {}
    for finding in findings:
        found.setdefault(finding.us.who, (finding.us, True))
        if finding.peer is not None:
            found.setdefault(finding.peer.who, (finding.peer, False))
    yield from sorted(found.values(), key=lambda each: -each[0].median)


def _rates(bars: Sequence[tuple[Series, bool]]) -> Iterator[str]:
    """Bars of rates, with whiskers from the least to the most of all rounds."""
    yield _text(MARGIN, MARGIN, "The mixed trace: answers a second", weight=600)
    most = max((series.high for series, _ in bars), default=1)
    scale = (WIDTH - LABELS - VALUES - MARGIN) / most
    for number, (series, is_ours) in enumerate(bars):
        y = MARGIN + (number + 1) * LINE
        width, low, high = (value * scale for value in (series.median, series.low, series.high))
        yield _label(y, series.who, is_strong=is_ours)
        yield _rect(LABELS, y - BAR + 3, width, OURS if is_ours else THEIRS)
        middle = y - BAR / 2 + 3
        yield _line(LABELS + low, middle, LABELS + high, middle, INK)
        yield _text(LABELS + max(width, high) + 6, y, wording.number(series.median))


def _goals(goals: Sequence[Finding], top: float) -> Iterator[str]:
    """One mark for each goal, on an axis of ratios."""
    yield _text(MARGIN, top, "The goals: how far each is reached", weight=600)
    width = WIDTH - LABELS - MARGIN
    bottom = top + (len(goals) + 1) * LINE
    for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10):
        x = LABELS + width * _place(tick)
        yield _line(x, top + LINE / 2, x, bottom, INK if tick == 1 else GRID)
        name = "goal" if tick == 1 else f"{tick:g}x"
        yield _text(x, bottom + LINE * 0.7, name, color=FAINT, anchor="middle")
    for number, finding in enumerate(goals):
        y = top + (number + 1) * LINE
        start, end = sorted((LABELS + width * _place(1), LABELS + width * _place(reach(finding))))
        yield _label(y, f"{finding.what}: {wording.goal(finding)}")
        color = OURS if finding.is_met else MISSED
        yield _rect(start, y - BAR + 3, max(2, end - start), color)


def _place(ratio: float) -> float:
    """Where a ratio stands on the axis, from 0 to 1."""
    return (math.log10(ratio) + math.log10(FARTHEST)) / (2 * math.log10(FARTHEST))


def _label(y: float, text: str, *, is_strong: bool = False) -> str:
    short = text if len(text) <= 74 else f"{text[:73]}…"
    return _text(LABELS - 8, y, short, anchor="end", weight=600 if is_strong else 400)


def _text(
    x: float, y: float, text: str, *, color: str = INK, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _rect(x: float, y: float, width: float, color: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{BAR}" rx="2" fill="{color}"/>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'
