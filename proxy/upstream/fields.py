"""Header fields of an uplink's answer, read with suspicion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST_WAIT = timedelta(seconds=60)
SHORTEST_WAIT = timedelta(seconds=1)
DEFAULT_WAIT = timedelta(seconds=5)  # asked to wait, but not told how long

_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/(?:([0-9]{1,18})|\*)")
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,1000}")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """Which part of a body an answer brings; `end` is inside, `total_bytes` None is unknown."""

    start: int
    end: int
    total_bytes: int | None

    @property
    def length_bytes(self) -> int:
        return self.end - self.start + 1


def retry_after(value: str | None, *, now: datetime) -> timedelta:
    """How long Retry-After asks us to wait: seconds or a date, bounded; anything else: 5 s."""
    wait = DEFAULT_WAIT
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,18}", text):
        wait = timedelta(seconds=min(int(text), 3600))  # timedelta has a limit of its own
    elif (date := http_date(text)) is not None:
        wait = date - now
    return min(max(wait, SHORTEST_WAIT), LONGEST_WAIT)


def http_date(value: str | None) -> datetime | None:
    """An HTTP date as an aware instant, or None."""
    try:
        date = parsedate_to_datetime(value or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else None


def content_range(value: str | None) -> ContentRange | None:
    """A Content-Range that makes sense, or None."""
    match = _RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    start, end = int(match[1]), int(match[2])
    total_bytes = None if match[3] is None else int(match[3])
    if end < start or (total_bytes is not None and total_bytes <= end):
        return None
    return ContentRange(start, end, total_bytes)


def printable(value: str | None) -> str | None:
    """A value that can be sent on or back as it is; None if it could not, or is absurdly long."""
    return value if value and _PRINTABLE.fullmatch(value) else None
