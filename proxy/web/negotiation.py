"""Negotiation: which of the things we have a client wants (RFC 9110, 8.8 and 12 to 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from functools import lru_cache

from proxy.npm.forms import ABBREVIATED_TYPE, Form

_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_ETAGS = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
_RANGE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))[ \t]*")
# Longer ones are no client's; reading them costs time.
_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a body: `length` bytes from `start`."""

    start: int
    length: int


class Unsatisfiable(Enum):
    """The range that was asked for lies outside the body."""

    UNSATISFIABLE = "unsatisfiable"


UNSATISFIABLE = Unsatisfiable.UNSATISFIABLE


@lru_cache(maxsize=512)
def form(accept: str | None) -> Form:
    """The form `accept` asks for: abbreviated only if it is named and nothing is wanted more.

    Without Accept (yarn berry) and for `*/*` (deno) it is the full one: those clients read fields
    that the abbreviated form lacks. The qualities count because npm names both types in one header.
    """
    if not accept or len(accept) > _LONGEST:
        return Form.FULL
    wanted = _qualities(accept)
    abbreviated = wanted.pop(ABBREVIATED_TYPE, 0.0)
    if abbreviated > 0 and abbreviated >= max(wanted.values(), default=0.0):
        return Form.ABBREVIATED
    return Form.FULL


@lru_cache(maxsize=512)
def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether gzip is named with a quality above 0; a wildcard does not ask for it."""
    if not accept_encoding or len(accept_encoding) > _LONGEST:
        return False
    return _qualities(accept_encoding).get("gzip", 0.0) > 0


@lru_cache(maxsize=512)
def accepts_html(accept: str | None) -> bool:
    """Whether the caller is a browser: it names text/html."""
    return (
        bool(accept) and len(accept or "") <= _LONGEST and "text/html" in _qualities(accept or "")
    )


def is_unchanged(
    etag: str | None,
    modified_at: datetime | None,
    if_none_match: str | None,
    if_modified_since: str | None,
) -> bool:
    """Whether the client's copy is still the right one, which a 304 tells it.

    ETags compare weakly; with If-None-Match present If-Modified-Since counts for nothing (RFC 9110,
    13.1.3).
    """
    if if_none_match is not None:
        return _names_etag(if_none_match, etag)
    if if_modified_since is None or modified_at is None:
        return False
    since = http_date(if_modified_since)
    return since is not None and modified_at.replace(microsecond=0) <= since


def parse_range(
    header: str | None,
    size_bytes: int,
    *,
    if_range: str | None = None,
    etag: str | None = None,
    modified_at: datetime | None = None,
) -> Slice | Unsatisfiable | None:
    """The one slice that `header` asks for; None if the whole body is to be sent.

    Several ranges, other units and what cannot be read are passed over, as RFC 9110 (14.2) allows.
    So is the range if `if_range` does not name exactly what we have: the client's part belongs to
    another body.
    """
    match = _RANGE.fullmatch(header) if header and len(header) <= _LONGEST else None
    if match is None or not _is_same(if_range, etag, modified_at):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size_bytes)
        return Slice(size_bytes - length, length) if length else UNSATISFIABLE
    start, end = int(first), size_bytes - 1
    if last is not None:
        if int(last) < start:
            return None
        end = min(int(last), end)
    return Slice(start, end - start + 1) if start < size_bytes else UNSATISFIABLE


def http_date(text: str) -> datetime | None:
    """An HTTP date as an instant; None if it is none."""
    try:
        at = parsedate_to_datetime(text) if len(text) < 64 else None
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at is None:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _qualities(header: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for member in header.split(","):
        token, *parameters = (part.strip() for part in member.split(";"))
        quality = _quality(parameters)
        if token and quality is not None:
            found[token.lower()] = max(quality, found.get(token.lower(), 0.0))
    return found


def _quality(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            value = value.strip()
            return float(value) if _QUALITY.fullmatch(value) else None
    return 1.0


def _names_etag(header: str, etag: str | None) -> bool:
    if etag is None:
        return False
    if header == etag or header.strip() == "*":
        return True
    opaque = etag.removeprefix("W/")
    return len(header) <= _LONGEST and opaque in _ETAGS.findall(header)


def _is_same(if_range: str | None, etag: str | None, modified_at: datetime | None) -> bool:
    if if_range is None:
        return True
    if '"' in if_range:
        # Strong comparison: a weak tag never proves that the bytes are the same.
        return etag is not None and not etag.startswith("W/") and if_range.strip() == etag
    since = http_date(if_range)
    return (
        since is not None
        and modified_at is not None
        and since == modified_at.replace(microsecond=0)
    )
