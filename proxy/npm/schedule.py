"""When something is due that is done at given times of day.

A time of day comes once on each day of a zone. Where clocks are put back and pass it twice, the
first counts; where they are put forward and pass over it, it comes as much later as they were put
forward. (PEP 495: that is what an instant with fold=0 means.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta, tzinfo

_DAY = timedelta(days=1)


def next_after(now: datetime, times: Sequence[time], zone: tzinfo) -> datetime:
    """The first instant after `now` at one of these times of the zone, in UTC."""
    return min(each for each in _around(now, times, zone) if each > now)


def last_before(now: datetime, times: Sequence[time], zone: tzinfo) -> datetime:
    """The last instant, `now` included, at one of these times of the zone, in UTC."""
    return max(each for each in _around(now, times, zone) if each <= now)


def _around(now: datetime, times: Sequence[time], zone: tzinfo) -> Iterator[datetime]:
    """Every such instant of the days around `now`: a zone may leave out a whole one."""
    today = now.astimezone(zone).date()
    for days in range(-3, 4):
        for at in times:
            yield datetime.combine(today + days * _DAY, at, zone).astimezone(UTC)
