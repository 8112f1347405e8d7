"""proxy.registry.bases."""

from __future__ import annotations

from proxy.registry.bases import Bases


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_base_in_use_stays_admitted() -> None:
    """Whoever floods us with made-up hosts does not push out the one that is used."""
    clock = _Clock()
    bases = Bases(monotonic=clock, most=4)
    bases.admit("http://registry.example")

    admitted = [bases.admit(f"http://host-{number}.example") for number in range(100)]

    assert admitted == [True] * 3 + [False] * 97
    assert bases.admit("http://registry.example")


def test_an_idle_base_makes_room() -> None:
    """After ten minutes without a request another one may take its place."""
    clock = _Clock()
    bases = Bases(monotonic=clock, most=1)
    bases.admit("http://old.example")
    early = bases.admit("http://new.example")

    clock.now += 600

    assert (early, bases.admit("http://new.example")) == (False, True)
