"""Which base URLs are worth keeping rendered documents for.

Unless `server.public_url` fixes it, the base URL is what a client wrote into its Host header. Real
clients use a handful; whoever makes up a new one for every request may have their answer, but not
the memory and the disk that others' answers are kept in (RELIABILITY threat 4).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

_MOST = 64
_IDLE = timedelta(minutes=10)


class Bases:
    """The base URLs in use, at most `most`.

    One that is not used for ten minutes makes room for another.
    """

    def __init__(self, *, monotonic: Callable[[], float], most: int = _MOST) -> None:
        self._monotonic = monotonic
        self._most = most
        self._used: OrderedDict[str, float] = OrderedDict()

    def admit(self, base_url: str) -> bool:
        """Note the use of `base_url`; whether what is rendered for it should be kept."""
        now = self._monotonic()
        if base_url not in self._used and not self._has_room(now):
            return False
        self._used[base_url] = now
        self._used.move_to_end(base_url)
        return True

    def _has_room(self, now: float) -> bool:
        if len(self._used) < self._most:
            return True
        longest_idle = next(iter(self._used))
        if now - self._used[longest_idle] < _IDLE.total_seconds():
            return False
        del self._used[longest_idle]
        return True
