"""Times of day as instants: once a day, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import schedule

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
BEGIN = datetime(2009, 1, 1, tzinfo=UTC)
times = st.lists(st.times().map(lambda at: at.replace(second=0, microsecond=0)), min_size=1)
instants = st.integers(0, 23 * 365 * 24 * 60).map(lambda n: BEGIN + n * MINUTE)


def runs(since: datetime, until: datetime, at: list[time], zone: ZoneInfo) -> list[datetime]:
    """Every instant in between, one found after the other."""
    found = []
    while (since := schedule.next_after(since, at, zone)) <= until:
        found.append(since)
    return found


@given(instants, times, st.sampled_from(ZONES))
def test_the_next_comes_after_and_the_last_before(now: datetime, at: list[time], zone: str) -> None:
    """The next is later than now, the last is not; nothing lies between the two."""
    following = schedule.next_after(now, at, ZoneInfo(zone))
    before = schedule.last_before(now, at, ZoneInfo(zone))

    assert before <= now < following
    assert schedule.next_after(before, at, ZoneInfo(zone)) == following


@given(instants, times, st.sampled_from(ZONES))
def test_each_time_comes_once_a_day(now: datetime, at: list[time], zone: str) -> None:
    """In ten days each time of day comes once on each, none twice and none left out."""
    local = ZoneInfo(zone)
    first = now.astimezone(local).date()
    expected = {
        datetime.combine(first + days * DAY, each, local).astimezone(UTC)
        for days in range(10)
        for each in at
    }
    found = runs(min(expected) - MINUTE, max(expected), at, local)

    assert expected <= set(found)
    assert len(found) == len(set(found))
    assert len(set(found) - expected) <= 2 * len(set(at))


CHANGES = [
    # put back: 02:30 is passed twice, and the first counts
    ("Europe/Berlin", "2026-10-25", "02:30", "2026-10-25T00:30:00+00:00"),
    # put forward: there is no 02:30, and it comes an hour later
    ("Europe/Berlin", "2026-03-29", "02:30", "2026-03-29T01:30:00+00:00"),
    ("Australia/Lord_Howe", "2026-10-04", "02:10", "2026-10-03T15:40:00+00:00"),
    # a whole day that a zone left out
    ("Pacific/Apia", "2011-12-30", "12:00", "2011-12-30T22:00:00+00:00"),
]


@pytest.mark.parametrize(("zone", "day", "at", "instant"), CHANGES)
def test_days_on_which_clocks_change(zone: str, day: str, at: str, instant: str) -> None:
    """On such a day the time comes once, and the days around it are a whole day away."""
    local, times_ = ZoneInfo(zone), [time.fromisoformat(at)]
    expected = datetime.fromisoformat(instant)

    assert schedule.next_after(expected - MINUTE, times_, local) == expected
    assert schedule.last_before(expected, times_, local) == expected
    following = schedule.next_after(expected, times_, local)
    assert expected + timedelta(hours=22) < following
    assert f"{following.astimezone(local):%H:%M}" == at
    assert datetime.fromisoformat(day).date() <= expected.astimezone(local).date()
