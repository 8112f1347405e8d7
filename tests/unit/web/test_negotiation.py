"""Negotiation: forms, codings, validators and ranges, by what real clients send."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm.forms import Form
from proxy.web.negotiation import (
    UNSATISFIABLE,
    Slice,
    Unsatisfiable,
    accepts_gzip,
    accepts_html,
    form,
    is_unchanged,
    parse_range,
)

A = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
A2 = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8"
CORGI = "application/vnd.npm.install-v1+json"
AT = datetime(2026, 5, 4, 3, 2, 1, 987654, tzinfo=UTC)
SAME = "Mon, 04 May 2026 03:02:01 GMT"
BEFORE = "Mon, 04 May 2026 03:02:00 GMT"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (A, Form.ABBREVIATED),
        (A2, Form.ABBREVIATED),
        (CORGI, Form.ABBREVIATED),
        (CORGI.upper(), Form.ABBREVIATED),
        (f"text/html, {CORGI}", Form.ABBREVIATED),
        (f"application/json;q=0.9,{CORGI};q=0.9", Form.ABBREVIATED),
        ("application/json", Form.FULL),
        ("application/json; q=1.0, */*", Form.FULL),
        ("application/json, */*", Form.FULL),
        ("*/*", Form.FULL),
        ("", Form.FULL),
        (None, Form.FULL),
        (f"{CORGI}; q=0.5, application/json", Form.FULL),
        (f"{CORGI}; q=0.5, */*", Form.FULL),
        (f"{CORGI}; q=0", Form.FULL),
        (f"{CORGI}; q=2", Form.FULL),
        (f"{CORGI}; q=x", Form.FULL),
        (f"{CORGI}x", Form.FULL),
        ("application/*", Form.FULL),
        (",;=,;q=;", Form.FULL),
        (A + "," * 5000, Form.FULL),
    ],
)
def test_the_form_is_the_one_that_is_wanted_most(accept: str | None, expected: Form) -> None:
    """The abbreviated form is sent only if it is named and no other type is wanted more."""
    assert form(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("gzip,deflate", True),
        ("gzip, deflate, br, zstd", True),
        ("zstd,gzip,deflate", True),
        ("GZIP", True),
        ("gzip;q=1.0, *;q=0.5", True),
        ("deflate, gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip/deflate", False),
        ("gzipx", False),
        ("x-gzip", False),
        ("*", False),
        ("identity", False),
        ("br", False),
        ("", False),
        (None, False),
        ("gzip;q=", False),
        ("gzip;q=-1", False),
    ],
)
def test_gzip_is_used_only_if_it_is_named(header: str | None, expected: bool) -> None:
    """A gzip body is sent to whoever names it exactly with a quality above nought."""
    assert accepts_gzip(header) is expected


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/html,application/xml;q=0.9", True),
        ("*/*", False),
        (None, False),
        ("x/text/html", False),
    ],
)
def test_a_browser_is_known_by_what_it_names(accept: str | None, expected: bool) -> None:
    """HTML is for whoever names it; a wildcard is not enough."""
    assert accepts_html(accept) is expected


@pytest.mark.parametrize(
    ("if_none_match", "expected"),
    [
        ('W/"x"', True),
        ('"x"', True),
        ('"a", W/"x"', True),
        ('W/"a","x" , "b"', True),
        ("*", True),
        ('"y"', False),
        ('"a, x"', False),
        ("x", False),
        ("", False),
        ('"', False),
        ('"x', False),
        ('W/"xx"', False),
    ],
)
@pytest.mark.parametrize("etag", ['W/"x"', '"x"'])
def test_etags_compare_weakly(if_none_match: str, expected: bool, etag: str) -> None:
    """If-None-Match matches one of a list, weak or strong, and nothing else."""
    assert is_unchanged(etag, AT, if_none_match, None) is expected


@pytest.mark.parametrize(
    ("if_none_match", "since", "expected"),
    [
        (None, SAME, True),
        (None, BEFORE, False),
        (None, "Mon, 04 May 2026 03:02:02 GMT", True),
        (None, "2026-05-04T03:02:01.987Z", False),
        (None, "yesterday", False),
        (None, "", False),
        (None, None, False),
        ('"y"', SAME, False),
        ('"x"', BEFORE, True),
    ],
)
def test_a_date_counts_only_without_an_etag(
    if_none_match: str | None, since: str | None, expected: bool
) -> None:
    """If-Modified-Since compares to the second, and is passed over beside If-None-Match."""
    assert is_unchanged('"x"', AT, if_none_match, since) is expected


def test_nothing_matches_what_has_no_validator() -> None:
    """Without ETag and date nothing is called unchanged."""
    assert not is_unchanged(None, None, '"x"', None)
    assert not is_unchanged(None, None, None, SAME)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", Slice(0, 1)),
        ("bytes=0-99", Slice(0, 100)),
        ("bytes=10-19", Slice(10, 10)),
        ("bytes=10-", Slice(10, 90)),
        ("bytes=10-1000", Slice(10, 90)),
        ("bytes=-10", Slice(90, 10)),
        ("bytes=-1000", Slice(0, 100)),
        ("bytes= 1-2 ", Slice(1, 2)),
        ("bytes=100-", UNSATISFIABLE),
        ("bytes=100-200", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=20-10", None),
        ("bytes=0-1,5-6", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-1-2", None),
        ("bytes=--1", None),
        ("bytes=+1-2", None),
        ("bytes=\u0661-\u0662", None),
        ("lines=0-1", None),
        ("Bytes=0-1", None),
        ("bytes=0-" + "9" * 5000, None),
        ("", None),
        (None, None),
    ],
)
def test_one_range_is_read_and_all_else_passed_over(
    header: str | None, expected: Slice | Unsatisfiable | None
) -> None:
    """A single sound range gives its slice; what lies outside is refused, what is junk ignored."""
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    ("if_range", "is_used"),
    [
        (None, True),
        ('"x"', True),
        ('W/"x"', False),
        ('"y"', False),
        (SAME, True),
        (BEFORE, False),
        ("junk", False),
        ("", False),
    ],
)
def test_a_part_of_another_body_is_not_continued(if_range: str | None, is_used: bool) -> None:
    """If-Range lets a range stand only if it names exactly the body we have."""
    found = parse_range("bytes=1-2", 100, if_range=if_range, etag='"x"', modified_at=AT)

    assert (found is not None) is is_used


def test_a_weak_etag_never_continues_a_part() -> None:
    """A weak tag does not prove equal bytes, even to itself."""
    assert parse_range("bytes=1-2", 100, if_range='W/"x"', etag='W/"x"') is None


@given(
    st.text(max_size=60) | st.from_regex(r"bytes=[0-9 ,-]*", fullmatch=True), st.integers(0, 999)
)
def test_a_slice_lies_inside_the_body(header: str, size_bytes: int) -> None:
    """Whatever is asked for, a slice is not empty and within the body."""
    found = parse_range(header, size_bytes)

    if isinstance(found, Slice):
        assert found.length > 0
        assert found.start >= 0
        assert found.start + found.length <= size_bytes


@given(st.text(max_size=100), st.text(max_size=100))
def test_no_header_makes_negotiation_raise(one: str, other: str) -> None:
    """Any text at all is negotiated somehow."""
    form(one)
    accepts_gzip(one)
    accepts_html(other)
    is_unchanged('"x"', AT + timedelta(days=1), None, one)
    is_unchanged('"x"', AT, other, one)
    assert parse_range("bytes=0-", 5, if_range=one, etag='"x"', modified_at=AT) in {
        None,
        Slice(0, 5),
    }
