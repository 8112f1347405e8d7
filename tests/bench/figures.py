"""Figures of a run, what they are held against, and whether that is met; pure, and kept as JSON.

A figure is measured in rounds: each contender once a round, forwards in one and backwards in the
next, so that whatever else the machine does falls on all alike. Contenders are compared round by
round; a ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Self


class Sense(Enum):
    """Which side of a goal is the good one."""

    AT_LEAST = ">="
    AT_MOST = "<="


class Measure(Enum):
    """What of two series is held against a goal."""

    RATIO = "ratio"
    DIFFERENCE = "difference"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Series:
    """What one contender came to, one sample a round."""

    who: str
    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle."""
        return statistics.median(self.samples)

    @property
    def low(self) -> float:
        """The least of all rounds."""
        return min(self.samples)

    @property
    def high(self) -> float:
        """The most of all rounds."""
        return max(self.samples)


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a measure."""

    sense: Sense
    limit: float

    def is_met(self, value: float) -> bool:
        """Whether a value is on the good side."""
        return value >= self.limit if self.sense is Sense.AT_LEAST else value <= self.limit


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a report: our series beside that of a peer, or alone.

    `unit` is that of the samples; a finding without a goal is told for its own sake.
    """

    row: str
    what: str
    unit: str
    us: Series
    peer: Series | None = None
    measure: Measure = Measure.RATIO
    goal: Goal | None = None

    @property
    def outcome(self) -> Series:
        """The measure, round by round."""
        if self.peer is None or self.measure is Measure.VALUE:
            return self.us
        pairs = zip(self.us.samples, self.peer.samples, strict=True)
        if self.measure is Measure.RATIO:
            return Series("ratio", tuple(ours / theirs for ours, theirs in pairs))
        return Series("difference", tuple(ours - theirs for ours, theirs in pairs))

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached, if there is one."""
        return None if self.goal is None else self.goal.is_met(self.outcome.median)

    def as_json(self) -> dict[str, Any]:
        """Write it as plain data."""
        plain = asdict(self)
        plain["measure"] = self.measure.value
        if self.goal is not None:
            plain["goal"] = {"sense": self.goal.sense.value, "limit": self.goal.limit}
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        goal, peer = plain["goal"], plain["peer"]
        return cls(
            row=plain["row"],
            what=plain["what"],
            unit=plain["unit"],
            us=_series(plain["us"]),
            peer=None if peer is None else _series(peer),
            measure=Measure(plain["measure"]),
            goal=None if goal is None else Goal(Sense(goal["sense"]), goal["limit"]),
        )


def at_least(limit: float) -> Goal:
    """The goal that a measure is not below a limit."""
    return Goal(Sense.AT_LEAST, limit)


def at_most(limit: float) -> Goal:
    """The goal that a measure is not above a limit."""
    return Goal(Sense.AT_MOST, limit)


def percentile(samples: Sequence[float], part: float) -> float:
    """Return the smallest sample that `part` of all (0 to 1) do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _series(plain: dict[str, Any]) -> Series:
    return Series(plain["who"], tuple(plain["samples"]))
