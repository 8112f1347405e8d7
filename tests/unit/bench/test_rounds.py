"""Whose turn it is."""

from __future__ import annotations

from tests.bench import rounds


def test_contenders_take_turns_forwards_and_backwards() -> None:
    """Every other round goes backwards, and each contender is tried once in each."""
    seen: list[tuple[str, int]] = []
    trials = {name: lambda number, name=name: seen.append((name, number)) for name in "abc"}

    rounds.alternate(trials, 3, say=lambda _: None)

    assert [name for name, _ in seen] == [*"abc", *"cba", *"abc"]
    assert [number for _, number in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_series_has_its_samples_in_the_order_of_the_rounds() -> None:
    """The first sample of one contender belongs to the first of another."""
    trials = {"one": lambda number: number + 1.0, "ten": lambda number: 10.0 * (number + 1)}

    found = rounds.series(trials, 2, say=lambda _: None)

    assert found["one"].samples == (1.0, 2.0)
    assert found["ten"].samples == (10.0, 20.0)
