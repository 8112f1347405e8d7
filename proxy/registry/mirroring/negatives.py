"""Short-lived notes ("this name is absent", "this one has just failed"), bounded in number.

Bounded, because whoever asks for random names must not be able to fill the memory (RELIABILITY
threat 30).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import timedelta

_MOST = 50_000


class Negatives:
    """Notes by key, each kept for `age`; the oldest go first when there are too many."""

    def __init__(
        self, *, age: timedelta, monotonic: Callable[[], float], most: int = _MOST
    ) -> None:
        self._age_seconds = age.total_seconds()
        self._monotonic = monotonic
        self._most = most
        self._notes: OrderedDict[Hashable, tuple[float, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._notes)

    def put(self, key: Hashable, note: str = "") -> None:
        """Note `key` now."""
        self._notes[key] = (self._monotonic() + self._age_seconds, note)
        self._notes.move_to_end(key)
        if len(self._notes) > self._most:
            self._notes.popitem(last=False)

    def get(self, key: Hashable) -> str | None:
        """The note of `key`, if it is not too old."""
        found = self._notes.get(key)
        if found is None:
            return None
        until, note = found
        if self._monotonic() < until:
            return note
        del self._notes[key]
        return None

    def has(self, key: Hashable) -> bool:
        """Whether `key` has been noted lately."""
        return self.get(key) is not None

    def forget(self, key: Hashable) -> None:
        """Take the note of `key` back."""
        self._notes.pop(key, None)
