"""How values are written: what each reader takes, what it refuses, and how it is shown again."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import values
from proxy.config.settings import LogLevel
from proxy.config.values import Address, Kind, Unfit

READS: list[tuple[Kind[Any], object, object]] = [
    (values.SIZE, "20GiB", 20 * 2**30),
    (values.SIZE, "1.5 gib", 3 * 2**29),
    (values.SIZE, "10MB", 10_000_000),
    (values.SIZE, "10kB", 10_000),
    (values.SIZE, "0", 0),
    (values.SIZE, 4096, 4096),
    (values.TIME, "5m", timedelta(minutes=5)),
    (values.TIME, "1h30m", timedelta(hours=1.5)),
    (values.TIME, "1.5 s", timedelta(seconds=1.5)),
    (values.TIME, "250ms", timedelta(milliseconds=250)),
    (values.TIME, "2w", timedelta(weeks=2)),
    (values.TIME, 0, timedelta()),
    (values.TIME, "0s", timedelta()),
    (values.TIME_OR_FOREVER, "forever", None),
    (values.TIME_OR_FOREVER, "7d", timedelta(days=7)),
    (values.ADDRESS, "127.0.0.1:4873", Address("127.0.0.1", 4873)),
    (values.ADDRESS, "[::1]:0", Address("::1", 0)),
    (values.ADDRESS, "localhost:80", Address("localhost", 80)),
    (values.URL, " https://registry.example/ ", "https://registry.example"),
    (values.URL, "http://[::1]:8080/npm/", "http://[::1]:8080/npm"),
    (values.PROXY, "http://user:word@proxy.example:3128/", "http://user:word@proxy.example:3128"),
    (values.ORIGINS, ["https://files.example/"], ("https://files.example",)),
    (values.NETWORKS, "10.0.0.0/8, ::1", (ip_network("10.0.0.0/8"), ip_network("::1"))),
    (values.NETWORKS, ["10.1.2.3"], (ip_network("10.1.2.3/32"),)),
    (values.NETWORKS, [], ()),
    (values.BOOL, True, True),
    (values.BOOL, "ON", True),
    (values.BOOL, "0", False),
    (values.COUNT, "12", 12),
    (values.COUNT, 12, 12),
    (values.WORKERS, 4, 4),
    (values.TEXT, " word ", "word"),
    (values.PATH, "data/here", Path("data/here")),
    (values.HEADERS, {"x-team": "web"}, {"x-team": "web"}),
    (values.HEADERS, '{"x-team": "web"}', {"x-team": "web"}),
]


@pytest.mark.parametrize(("kind", "written", "value"), READS)
def test_reads(kind: Kind[Any], written: object, value: object) -> None:
    """A value may be written as TOML has it, or as text of the environment."""
    assert kind.read(written) == value


REFUSALS: list[tuple[Kind[Any], object, str]] = [
    (values.SIZE, "20GB of disk", "is not a size"),
    (values.SIZE, "20X", "one of B, KiB"),
    (values.SIZE, "-1", "is not a size"),
    (values.SIZE, "", "is not a size"),
    (values.SIZE, True, "true is not a size"),
    (values.SIZE, ["1GiB"], "is not a size"),
    (values.SIZE, "99999999TiB", "more than any disk"),
    (values.TIME, 300, "300 is not a length of time; write a number and one of ms, s, m"),
    (values.TIME, "5", 'as in "5m"'),
    (values.TIME, "-5m", "is not a length of time"),
    (values.TIME, "5m5", "is not a length of time"),
    (values.TIME, "five minutes", "is not a length of time"),
    (values.TIME, "999999d", "longer than a hundred years"),
    (values.TIME, "999999999999999w", "longer than a hundred years"),
    (values.TIME, {}, "a table is not"),
    (values.SOME_TIME, "0s", "no time at all"),
    (values.TIME_OR_FOREVER, "ever", "is not a length of time"),
    (values.ADDRESS, "4873", '"127.0.0.1:4873"'),
    (values.ADDRESS, ":4873", '"0.0.0.0:4873"'),
    (values.ADDRESS, "::1:4873", '"[::1]:4873"'),
    (values.ADDRESS, "[127.0.0.1]:1", "is not an address"),
    (values.ADDRESS, "[nonsense]:1", "is not an address"),
    (values.ADDRESS, "localhost:65536", "is not an address"),
    (values.ADDRESS, "localhost:٣", "is not an address"),
    (values.URL, "registry.example", "not an http or https address"),
    (values.URL, "ftp://registry.example", "not an http or https address"),
    (values.URL, "https://", "not an http or https address"),
    (values.URL, "https://registry.example:port", "not an http or https address"),
    (values.URL, "https://bad host.example", "not an http or https address"),
    (values.URL, "https://[::1", "not an http or https address"),
    (values.URL, "https://registry.example/?a=b", "leave out what follows the path"),
    (values.URL, "https://registry.example/#", "leave out what follows the path"),
    (values.URL, 7, "not an http or https address"),
    (values.URL, ["https://registry.example"], "is not an address"),
    (values.PROXY, "http://proxy.example/path", "has no path"),
    (values.PROXY, "socks5://proxy.example", "not an http or https"),
    (values.ORIGINS, ["https://files.example/npm"], "an origin ends"),
    (values.ORIGINS, {"a": 1}, "a table is not a list"),
    (values.NETWORKS, ["10.0.0.5/8"], 'did you mean "10.0.0.0/8"?'),
    (values.NETWORKS, ["proxy.example"], 'write something like "10.0.0.0/8"'),
    (values.BOOL, "maybe", "neither true nor false"),
    (values.BOOL, 2, "neither true nor false"),
    (values.COUNT, -1, "whole number"),
    (values.COUNT, 1.5, "whole number"),
    (values.COUNT, True, "whole number"),
    (values.COUNT, "99999999", "whole number"),
    (values.WORKERS, 0, "from 1 to 256"),
    (values.WORKERS, 257, "from 1 to 256"),
    (values.TEXT, "", "not a line of text"),
    (values.TEXT, "two\nlines", "not a line of text"),
    (values.TEXT, 5, "not a line of text"),
    (values.HEADERS, "x-team: web", "is not JSON"),
    (values.HEADERS, "[]", "headers are a table"),
    (values.HEADERS, {"x team": "web"}, "cannot be the name"),
    (values.HEADERS, {"Host": "web"}, "set by packhouse itself"),
    (values.HEADERS, {"x-team": "a\r\nb: c"}, "without control characters"),
    (values.HEADERS, {"x-team": 1}, "needs a text"),
    (Kind(values.read_choice(LogLevel)), "loud", "write one of debug, info, warning, error"),
    (Kind(values.read_choice(LogLevel)), ["info"], "write one of debug"),
]


@pytest.mark.parametrize(("kind", "written", "hint"), REFUSALS)
def test_refuses(kind: Kind[Any], written: object, hint: str) -> None:
    """What cannot be read is refused with what to write instead."""
    with pytest.raises(Unfit) as caught:
        kind.read(written)

    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (values.SECRET, "s3cret\nmore"),
        (values.URL, "https://user:s3cret@registry.example"),
        (values.PROXY, "http://user:s3cret@proxy example"),
        (values.PROXY, "http://user:s3cret@proxy.example/path"),
        (values.HEADERS, {"authorization": "s3cret\n"}),
    ],
)
def test_a_refusal_never_repeats_a_secret(kind: Kind[Any], written: object) -> None:
    """What may hold a password is not shown in the message about it."""
    with pytest.raises(Unfit) as caught:
        kind.read(written)

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (values.SIZE, 20 * 2**30, "20GiB"),
        (values.SIZE, 1500, "1500B"),
        (values.SIZE, 0, "0B"),
        (values.TIME, timedelta(minutes=5), "5m"),
        (values.TIME, timedelta(seconds=90), "90s"),
        (values.TIME, timedelta(), "0s"),
        (values.TIME, timedelta(microseconds=1500), "0.0015s"),
        (values.TIME_OR_FOREVER, None, "forever"),
        (values.ADDRESS, Address("::1", 80), "[::1]:80"),
        (values.PROXY, "http://user:word@proxy.example:3128", "http://********@proxy.example:3128"),
        (values.PROXY, "http://proxy.example:3128", "http://proxy.example:3128"),
        (values.NETWORKS, (ip_network("10.0.0.0/8"), ip_network("::1/128")), "10.0.0.0/8, ::1/128"),
        (values.BOOL, True, "true"),
        (values.SECRET, "s3cret", "********"),
        (values.HEADERS, {"authorization": "s3cret"}, "authorization: ********"),
        (Kind(values.read_choice(LogLevel), values.show_choice), LogLevel.INFO, "info"),
    ],
)
def test_shows(kind: Kind[Any], value: object, text: str) -> None:
    """A value is shown as it would be written, a secret never."""
    assert kind.show(value) == text


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_shown_size_reads_back(size_bytes: int) -> None:
    """Showing a size loses nothing."""
    assert values.read_size(values.show_size(size_bytes)) == size_bytes


@given(st.integers(min_value=0, max_value=10**12))
def test_a_shown_time_reads_back(milliseconds: int) -> None:
    """Showing a time of whole milliseconds loses nothing."""
    length = timedelta(milliseconds=milliseconds)

    assert values.read_time(values.show_time(length)) == length


@given(st.sampled_from([kind for kind, *_ in READS]), st.text() | st.floats() | st.dates())
def test_a_reader_raises_nothing_else(kind: Kind[Any], written: object) -> None:
    """Whatever is written, a reader takes it or refuses it."""
    with contextlib.suppress(Unfit):
        kind.read(written)


def test_all_cores_are_at_least_one() -> None:
    """As many workers as cores is a number to start with."""
    assert values.read_workers("auto") >= 1
