"""What stands in a mirror rule: its name, what it keeps fresh, and when."""

from __future__ import annotations

import re
from datetime import time

from proxy import errors
from proxy.config.values import (
    Kind,
    Unfit,
    quoted,
    read_list,
    read_size,
    read_text,
    show_list,
    show_size,
)
from proxy.npm import selectors
from proxy.npm.lockfiles import platforms
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.selectors import Selector

_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def read_label(value: object) -> str:
    """A name that stands in commands, logs and metrics."""
    if not isinstance(value, str) or not _LABEL.fullmatch(value):
        advice = "use small letters, digits, - and _, at most 64"
        raise Unfit(f"{quoted(value)} is not a name; {advice}")
    return value


def read_selector(value: object) -> Selector:
    """A package: `react`, `lodash@^4`, `@types/*`."""
    text = read_text(value)
    try:
        return selectors.parse(text)
    except selectors.Unfit as error:
        raise Unfit(f"{quoted(text)} matches no package: {error}") from None


def read_platform(value: object) -> Platform:
    """A platform in Node.js's words: `linux/x64/musl`."""
    try:
        return platforms.parse(read_text(value))
    except errors.InvalidRequest as error:
        raise Unfit(str(error)) from None


def read_some_size(value: object) -> int:
    """A number of bytes that is not nothing."""
    if not (size_bytes := read_size(value)):
        raise Unfit(f'{quoted(value)} is nothing at all; write something like "10MB"')
    return size_bytes


_TIME_OF_DAY = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def read_time_of_day(value: object) -> time:
    """An hour and a minute: `"02:00"`, `"14:30"`."""
    found = _TIME_OF_DAY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise Unfit(f'{quoted(value)} is not a time of day; write one as in "02:00" or "14:30"')
    return time(int(found[1]), int(found[2]))


def read_times_of_day(value: object) -> tuple[time, ...]:
    """One time of day at least, each once, in order."""
    times = read_list(read_time_of_day)(value)
    if not times:
        raise Unfit('is no time at all; write ["02:00"], or leave the whole table out')
    return tuple(sorted(set(times)))


def show_times_of_day(times: tuple[time, ...]) -> str:
    """The opposite of `read_times_of_day`."""
    return ", ".join(f"{each:%H:%M}" for each in times)


LABEL = Kind(read_label)
SELECTORS = Kind(read_list(read_selector), show_list)
PLATFORMS = Kind(read_list(read_platform), show_list)
SOME_SIZE = Kind(read_some_size, show_size)
TIMES_OF_DAY = Kind(read_times_of_day, show_times_of_day)
