"""Contenders one after the other, in alternating order, for some rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tests.bench.figures import Series

T = TypeVar("T")
Trial = Callable[[int], float]
"""Measures once; it is told which round it is, from 0."""


def order(names: Sequence[str], number: int) -> Sequence[str]:
    """Return the order of a round: forwards in even ones, backwards in odd ones."""
    return names if number % 2 == 0 else names[::-1]


def alternate(
    trials: Mapping[str, Callable[[int], T]], rounds: int, say: Callable[[str], None]
) -> dict[str, list[T]]:
    """Return what each contender came to, by its name, in the order of the rounds."""
    samples: dict[str, list[T]] = {name: [] for name in trials}
    for number in range(rounds):
        for name in order(list(trials), number):
            say(f"round {number + 1} of {rounds}: {name}")
            samples[name].append(trials[name](number))
    return samples


def series(
    trials: Mapping[str, Trial], rounds: int, say: Callable[[str], None]
) -> dict[str, Series]:
    """Do the same with trials that come to a number."""
    found = alternate(trials, rounds, say)
    return {name: Series(name, tuple(samples)) for name, samples in found.items()}
