"""Bodies and header fields as they are received: back to identity, bounded, and judged."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream import fields
from proxy.upstream.bodies import Body, MinimumRate, UnknownCoding, UnusableBody, is_html

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JSON = b'{"name":"a"}' * 50
PACKED = gzip.compress(JSON, mtime=0)


def body(coding: str | None = None, content_type: str = "application/json") -> Body:
    return Body(coding=coding, content_type=content_type, limit_bytes=10_000)


def read(reader: Body, data: bytes, *, step: int = 7) -> bytes:
    """All identity bytes of a body that arrives in small pieces."""
    pieces = [
        piece
        for start in range(0, len(data), step)
        for piece in reader.feed(data[start : start + step])
    ]
    return b"".join(pieces) + b"".join(reader.finish())


@pytest.mark.parametrize("coding", [None, "", "identity", "Identity "])
def test_identity_passes_through(coding: str | None) -> None:
    """No coding, or one that is none, changes nothing; the size is counted."""
    reader = body(coding)

    assert read(reader, JSON) == JSON
    assert reader.size_bytes == len(JSON)


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "GZIP", None])
def test_gzip_is_undone_whether_it_is_announced_or_not(coding: str | None) -> None:
    """Bytes that start as gzip does are gzip."""
    assert read(body(coding), PACKED) == JSON


@given(st.binary(min_size=0, max_size=300), st.integers(1, 50))
def test_pieces_make_no_difference(data: bytes, step: int) -> None:
    """However a body is cut by the network, the same bytes come out."""
    assert read(body("gzip"), gzip.compress(b"x" + data), step=step) == b"x" + data
    assert read(body(), b"{" + data, step=step) == b"{" + data


def test_a_body_of_one_byte_is_whole() -> None:
    """What is held back to recognise gzip comes out at the end."""
    assert read(body(), b"1") == b"1"
    assert read(body(), b"") == b""


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "x-rot13"])
def test_codings_nobody_asked_for_are_refused(coding: str) -> None:
    """Only gzip and identity are on the list."""
    with pytest.raises(UnknownCoding):
        body(coding)


@pytest.mark.parametrize(
    "data",
    [
        PACKED[:-8],
        PACKED[:-1],
        PACKED[:15],
        PACKED[:-8] + b"\x00" * 8,
        PACKED + b"junk",
        b"\x1f\x8bgarbage" * 9,
        b"",
    ],
    ids=["no trailer", "short trailer", "cut", "wrong trailer", "junk after", "garbage", "empty"],
)
def test_gzip_that_is_not_whole_is_refused(data: bytes) -> None:
    """Cut, without its trailer, with a wrong one, with bytes after it, or none at all."""
    with pytest.raises(UnusableBody):
        read(body("gzip"), data)


def test_sizes_are_bounded_before_and_after_decompression() -> None:
    """Neither a long body nor a bomb passes the limit."""
    with pytest.raises(UnusableBody, match="larger than 10000 bytes"):
        read(body(), b"{" * 10_001, step=5000)
    with pytest.raises(UnusableBody, match="larger than 10000 bytes"):
        read(body("gzip"), gzip.compress(b" " * 10_001))


@pytest.mark.parametrize("page", [b"<html>", b"\n\t <!doctype html>", b"<"])
def test_web_pages_are_refused(page: bytes) -> None:
    """The first byte that is no space says it, compressed or not."""
    with pytest.raises(UnusableBody, match="web page"):
        read(body(), page, step=1)
    with pytest.raises(UnusableBody, match="web page"):
        read(body("gzip"), gzip.compress(page))


@pytest.mark.parametrize("kind", ["text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml"])
def test_web_pages_are_known_by_their_type(kind: str) -> None:
    """The type alone is enough."""
    assert is_html(kind)
    with pytest.raises(UnusableBody):
        body(content_type=kind)


def test_an_angle_bracket_further_on_is_fine() -> None:
    """JSON may hold HTML."""
    assert read(body(), b'{"readme":"<h1>"}') == b'{"readme":"<h1>"}'


def test_the_rate_is_judged_by_window() -> None:
    """A slow window is missed; a fast one, and time before a window is full, are not."""
    rate = MinimumRate(rate_bytes=100, over=timedelta(seconds=10))

    assert not rate.is_missed(1, 9.0)
    assert not rate.is_missed(999, 1.0)
    assert not rate.is_missed(500, 5.0)
    assert rate.is_missed(499, 5.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2", 2),
        ("0", 1),
        ("3600", 60),
        ("999999999999", 60),
        ("-1", 5),
        ("1.5", 5),
        ("soon", 5),
        ("", 5),
        (None, 5),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30),
        ("Thu, 01 Jan 2026 09:00:00 GMT", 60),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 1),
        ("Thu, 99 Jan 2026 00:00:30 GMT", 5),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 5),
    ],
)
def test_retry_after(value: str | None, seconds: int) -> None:
    """Seconds or a date, between a second and a minute; junk is five seconds."""
    assert fields.retry_after(value, now=NOW) == timedelta(seconds=seconds)


@given(st.text())
def test_retry_after_takes_anything(value: str) -> None:
    """No header makes us wait for more than a minute, or fail."""
    assert timedelta(seconds=1) <= fields.retry_after(value, now=NOW) <= timedelta(seconds=60)


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes 5-9/*", (5, 9, None)),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("items 5-9/10", None),
        ("bytes 5-/10", None),
        (None, None),
    ],
)
def test_content_range(value: str | None, part: tuple[int, int, int | None] | None) -> None:
    """A part inside the whole, or nothing."""
    found = fields.content_range(value)

    assert (found and (found.start, found.end, found.total_bytes)) == part


@pytest.mark.parametrize("value", ['"a"', 'W/"a"', "Wed, 01 Jan 2020 00:00:00 GMT", "odd"])
def test_validators_that_can_be_sent_back_are_kept(value: str) -> None:
    """As they are, weak or malformed: they are the uplink's words."""
    assert fields.printable(value) == value


@pytest.mark.parametrize("value", [None, "", "a\r\nb: c", "é", "x" * 1001])
def test_others_are_not(value: str | None) -> None:
    """What cannot stand in a header, or is absurdly long, is no validator."""
    assert fields.printable(value) is None
