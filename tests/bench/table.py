"""The findings as a table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.bench import wording
from tests.bench.figures import Finding, Measure

HEADINGS = ("row", "what", "goal", "us", "beside", "comes to", "met?")


def cells(finding: Finding) -> Sequence[str]:
    """One row: with a peer the ratio or the difference, without one the value again is left out."""
    peer, unit = finding.peer, finding.unit
    alone = peer is None or finding.measure is Measure.VALUE
    return (
        f"`{finding.row}`",
        finding.what,
        wording.goal(finding),
        f"{wording.spread(finding.us)} {unit}",
        "" if peer is None else f"{peer.who}: {wording.spread(peer)} {unit}",
        "" if alone else wording.spread(finding.outcome),
        wording.met(finding),
    )


def markdown(findings: Iterable[Finding]) -> str:
    """All of them, ready for a page."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *map(cells, findings)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
