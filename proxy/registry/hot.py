"""Finished answers in memory, bounded in bytes; dropped by name as the change log says.

A hit costs one look at the change counter and one look-up. The counter moves when another
connection commits; only then are the new rows of the change log read, and only the names in them
are dropped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

V = TypeVar("V")

# How often everything was forgotten, and the last change that was known of.
Moment = tuple[int, int]

# A value takes seconds to work out at most; no more names than this change in that time.
_REMEMBERED_CHANGES = 4096


class ChangeLog(Protocol):
    """The part of Index that tells what changed (storage/base.py)."""

    def revision(self) -> int: ...

    async def changes(self, since: int) -> tuple[int, Sequence[str]]: ...


@dataclass(slots=True)
class _Entry(Generic[V]):
    value: V
    size_bytes: int


class Hot(Generic[V]):
    """Least recently used values by (package name, key), at most `limit_bytes` of them.

    A value larger than `largest_bytes` is not kept: one giant must not drive a hundred others out.
    """

    def __init__(self, *, log: ChangeLog, limit_bytes: int, largest_bytes: int) -> None:
        self._log = log
        self._limit_bytes = limit_bytes
        self._largest_bytes = largest_bytes
        self._entries: OrderedDict[tuple[str, Hashable], _Entry[V]] = OrderedDict()
        self._keys: dict[str, set[Hashable]] = {}
        self._held_bytes = 0
        self._revision: int | None = None
        self._sequence = -1
        self._clearings = 0
        self._changed: OrderedDict[str, int] = OrderedDict()

    @property
    def held_bytes(self) -> int:
        """How many bytes are held now."""
        return self._held_bytes

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, name: str, key: Hashable) -> V | None:
        """The value, if it is held and `name` has not changed since."""
        if self._log.revision() != self._revision:
            await self._catch_up()
        entry = self._entries.get((name, key))
        if entry is None:
            return None
        self._entries.move_to_end((name, key))
        return entry.value

    @property
    def revision(self) -> int | None:
        """The change counter as it was when something was last asked for here."""
        return self._revision

    @property
    def sequence(self) -> Moment:
        """The last change that is known of.

        Take it before working a value out, and hand it to `put`.
        """
        return self._clearings, self._sequence

    def put(self, name: str, key: Hashable, value: V, size_bytes: int, *, as_of: Moment) -> None:
        """Keep `value`, counted as `size_bytes`, unless `name` has changed since `as_of`."""
        self._remove(name, key)
        clearings, sequence = as_of
        has_changed = self._changed.get(name, sequence) > sequence
        if size_bytes > self._largest_bytes or has_changed or clearings != self._clearings:
            return
        self._entries[name, key] = _Entry(value, size_bytes)
        self._keys.setdefault(name, set()).add(key)
        self._held_bytes += size_bytes
        while self._held_bytes > self._limit_bytes:
            self._remove(*next(iter(self._entries)))

    def drop(self, name: str) -> None:
        """Forget everything about `name`."""
        for key in list(self._keys.get(name, ())):
            self._remove(name, key)

    def clear(self) -> None:
        """Forget everything, also what is being worked out now."""
        self._clearings += 1
        self._entries.clear()
        self._keys.clear()
        self._held_bytes = 0

    async def _catch_up(self) -> None:
        # The counter is read before the log: a commit in between is seen again next time, never
        # missed.
        revision = self._log.revision()
        sequence, names = await self._log.changes(self._sequence)
        if "*" in names:
            self.clear()
        for name in names:
            self.drop(name)
            self._changed[name] = sequence
            self._changed.move_to_end(name)
        while len(self._changed) > _REMEMBERED_CHANGES:
            self._changed.popitem(last=False)
        self._revision, self._sequence = revision, sequence

    def _remove(self, name: str, key: Hashable) -> None:
        entry = self._entries.pop((name, key), None)
        if entry is None:
            return
        self._held_bytes -= entry.size_bytes
        keys = self._keys[name]
        keys.discard(key)
        if not keys:
            del self._keys[name]
