"""When to stop asking an origin, and when to try again. Pure: every method is told the time.

    CLOSED     everybody may ask           -- `threshold` failures in a row -->  OPEN
    OPEN       nobody may ask              -- the pause has passed          -->  HALF_OPEN
    CLOSED     everybody may ask           -- `threshold` failures in a row --> OPEN

1. A caller that may ask holds a Pass and settles it once: succeeded, failed or abandoned. The first
   word counts.
2. There is at most one probe per window. A probe that is abandoned (its caller was cancelled) makes
   room at once; one that is never settled makes room when another window has passed. So no caller
   can leave the breaker stuck.
3. Any success closes the breaker, also one of a pass from before it opened: an answer that came now
   says more than the failures before it. A late failure of such a pass changes nothing.
4. A hold (Retry-After) is apart from all this: nobody asks until then, whatever else happens, and
   afterwards the breaker is as it was.

Times are seconds of a monotonic clock; lengths are timedelta. A 4xx is an answer, not a failure.
"""

from __future__ import annotations

from datetime import timedelta
from enum import Enum

THRESHOLD = 5
FIRST_PAUSE = timedelta(seconds=30)
LONGEST_PAUSE = timedelta(minutes=5)


class State(Enum):
    """What the breaker lets through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Pass:
    """Leave to ask once. Settling it again has no effect."""

    __slots__ = ("_breaker", "_is_settled", "is_probe")

    def __init__(self, breaker: Breaker, *, is_probe: bool) -> None:
        self._breaker = breaker
        self._is_settled = False
        self.is_probe = is_probe

    def succeeded(self) -> None:
        """The origin answered."""
        if self._settle():
            self._breaker.note_success()

    def failed(self, now: float) -> None:
        """The origin did not answer, or broke off."""
        if self._settle():
            self._breaker.note_failure(self, now)

    def abandoned(self) -> None:
        """Nothing was learnt: the caller left, or the answer says nothing about the origin."""
        if self._settle():
            self._breaker.note_nothing(self)

    def _settle(self) -> bool:
        is_first, self._is_settled = not self._is_settled, True
        return is_first


class Breaker:
    """The breaker of one origin."""

    def __init__(
        self,
        *,
        threshold: int = THRESHOLD,
        first_pause: timedelta = FIRST_PAUSE,
        longest_pause: timedelta = LONGEST_PAUSE,
    ) -> None:
        self._threshold = threshold
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures = 0
        self._pause = first_pause
        self._open_until: float | None = None
        self._held_until = float("-inf")
        self._probe: Pass | None = None
        self._probe_until = float("-inf")

    def state(self, now: float) -> State:
        """The state at `now`. A hold shows as OPEN."""
        if now < self._held_until:
            return State.OPEN
        if self._open_until is None:
            return State.CLOSED
        return State.OPEN if now < self._open_until else State.HALF_OPEN

    def enter(self, now: float) -> Pass | None:
        """Leave to ask, or None if nobody may ask now."""
        state = self.state(now)
        if state is State.CLOSED:
            return Pass(self, is_probe=False)
        if state is State.OPEN or (self._probe is not None and now < self._probe_until):
            return None
        self._probe = Pass(self, is_probe=True)
        self._probe_until = now + self._pause.total_seconds()
        return self._probe

    def wait(self, now: float) -> timedelta:
        """How long until asking may be worth while; at least a second."""
        until = max(self._held_until, self._open_until or now)
        return timedelta(seconds=max(1.0, until - now))

    def hold(self, until: float) -> None:
        """Let nobody ask before `until`. An earlier end than the one that is known is ignored."""
        self._held_until = max(self._held_until, until)

    def note_success(self) -> None:
        """Close. Called by a Pass."""
        self._failures = 0
        self._pause = self._first_pause
        self._open_until = None
        self._probe = None

    def note_failure(self, by: Pass, now: float) -> None:
        """Count, and open when it is enough. Called by a Pass."""
        if self._open_until is None:
            self._failures += 1
            if self._failures >= self._threshold:
                self._open_until = now + self._pause.total_seconds()
        elif by is self._probe:
            self._probe = None
            self._pause = min(self._pause * 2, self._longest_pause)
            self._open_until = now + self._pause.total_seconds()

    def note_nothing(self, by: Pass) -> None:
        """Make room for another probe. Called by a Pass."""
        if by is self._probe:
            self._probe = None


class Breakers:
    """The breakers of the origins an uplink leads to; of many, the oldest is forgotten."""

    def __init__(self, *, most: int = 100) -> None:
        self._most = most
        self._breakers: dict[tuple[str, bool], Breaker] = {}

    def of(self, origin: str, *, is_service: bool = False) -> Breaker:
        """The breaker of an origin; services have another: rationed search must stop no install."""
        key = (origin, is_service)
        if key not in self._breakers and len(self._breakers) >= self._most:
            del self._breakers[next(iter(self._breakers))]
        return self._breakers.setdefault(key, Breaker())


class RetryBudget:
    """Lets retries be a tenth of the requests, and a few a second besides.

    Without the few, a quiet uplink that fails every third time could not be helped; without the
    tenth, a burst of failures under load would double the load.
    """

    def __init__(
        self, *, requests_per_retry: int = 10, per_second: float = 10.0, most: int = 100
    ) -> None:
        self._price = requests_per_retry
        self._per_second = per_second * requests_per_retry
        self._most = most * requests_per_retry
        self._credit: float = self._most  # in requests
        self._filled_at: float | None = None

    def asked(self, now: float) -> None:
        """Count a first try."""
        self._fill(now, 1)

    def take(self, now: float) -> bool:
        """Whether one retry may be made; if so, it is counted."""
        self._fill(now, 0)
        may_retry = self._credit >= self._price
        self._credit -= self._price if may_retry else 0
        return may_retry

    def _fill(self, now: float, requests: int) -> None:
        passed = 0.0 if self._filled_at is None else max(0.0, now - self._filled_at)
        self._filled_at = now
        self._credit = min(self._most, self._credit + requests + passed * self._per_second)
