"""proxy.registry.mirroring.negatives."""

from __future__ import annotations

from datetime import timedelta

from proxy.registry.mirroring.negatives import Negatives


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_note_lasts_for_its_age() -> None:
    """It is there until its age is over, and not after."""
    clock = _Clock()
    notes = Negatives(age=timedelta(seconds=60), monotonic=clock)

    notes.put("nope", "404")
    clock.now += 59.9
    before = notes.get("nope")
    clock.now += 0.1

    assert (before, notes.get("nope")) == ("404", None)


def test_the_number_of_notes_is_bounded() -> None:
    """Random names push each other out instead of filling the memory."""
    notes = Negatives(age=timedelta(seconds=60), monotonic=_Clock(), most=10)

    for number in range(1000):
        notes.put(f"random-{number}")

    assert len(notes) == 10
    assert notes.has("random-999")


def test_a_note_can_be_taken_back() -> None:
    """What turned out to exist is no longer absent; taking back twice is harmless."""
    notes = Negatives(age=timedelta(seconds=60), monotonic=_Clock())
    notes.put("nope")

    notes.forget("nope")
    notes.forget("nope")

    assert not notes.has("nope")
