"""Replies: what the stories answer, and the errors they raise, as HTTP.

Cache-Control, by what is sent (PROTOCOL, table of response headers):

- packuments: `public, max-age=0`. A client asks each time and mostly gets a 304, which costs it a
  round trip on the local network; in return a new version is seen at once, and our own freshness is
  the only one that counts. Never left out (npm then guesses a lifetime from Last-Modified), and
  without must-revalidate, which would forbid npm to use its own copy while we are away.
- tarballs: a year, immutable. A name@version never changes.
- errors and everything that is worked out per call: no-store.
"""

from __future__ import annotations

import math
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from types import MappingProxyType

from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

from proxy import errors
from proxy.npm import tokens, wire
from proxy.npm.forms import JSON_TYPE
from proxy.registry.answers import CacheState, Document, Freshness, Tarball, Withheld
from proxy.web import bodies, negotiation
from proxy.web.keys import EXCHANGE
from proxy.web.negotiation import UNSATISFIABLE, Slice

SERVER = "packhouse"
# Copied into every reply.
_ALWAYS = CIMultiDict({hdrs.SERVER: SERVER, istr("X-Content-Type-Options"): "nosniff"})

_CACHE_STATUS = istr("Cache-Status")
_WITHHELD = istr("Packhouse-Withheld")
NO_STORE = "no-store"
_IMMUTABLE = "public, max-age=31536000, immutable"
_PRIVATE_IMMUTABLE = "private, max-age=31536000, immutable"
_REVALIDATED = "public, max-age=0"
_PRIVATE = "private, no-cache"
_VARY = "Accept, Accept-Encoding"
TARBALL_TYPE = "application/octet-stream"
# Up to here a body goes to the socket in one piece: a stalled reader holds no more than one of a
# stream would.
_SMALL_BYTES = bodies.PIECE_BYTES


STATUSES: Mapping[type, int] = MappingProxyType(
    {
        errors.InvalidRequest: 400,
        errors.Unprocessable: 422,
        errors.Unauthenticated: 401,
        errors.Forbidden: 403,
        errors.NotFound: 404,
        errors.MethodNotAllowed: 405,
        errors.Conflict: 409,
        errors.TooLarge: 413,
        errors.TooManyRequests: 429,
        errors.UplinkBroken: 502,
        errors.UplinkUnreachable: 502,
        errors.UplinkAway: 503,
        errors.UplinkTimeout: 504,
        errors.UplinkError: 502,
        errors.Busy: 503,
        errors.StorageAway: 503,
        errors.StorageFull: 507,
        errors.StorageCorrupt: 500,
        errors.ConfigError: 500,
        errors.RegistryError: 500,
    }
)
"""What an error is over HTTP, by class; every leaf of errors.py has a row or one above it."""

_TOLD_IN_PHRASE = frozenset({403, 502, 503, 504})
_PHRASE_LENGTH = 120
# What went wrong on our side is for the log; the caller gets the id to ask about.
_OURS = (errors.StorageAway, errors.StorageCorrupt, errors.ConfigError)
_RETRIED = frozenset({429, 502, 503, 504, 507})
_OUR_WORDS = {
    507: "there is no room left on the disk here",
    503: "storage is not available at the moment",
    500: "something went wrong here",
}
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9@/._~!'()*-]")
_RETRY_SECONDS = 5
_LONGEST_RETRY_SECONDS = 60


async def document(
    request: web.Request, found: Document, *, cache_control: str | None = None
) -> web.StreamResponse:
    """200 with a JSON document, coded as the client likes it; 304 if it has it already."""
    exchange = request[EXCHANGE]
    exchange.freshness, exchange.form = found.freshness, found.form
    headers = document_headers(found)
    if cache_control is not None:
        headers[hdrs.CACHE_CONTROL] = cache_control
    if _is_unchanged(request, found.etag, found.modified_at):
        await _close(found.body)
        return web.Response(status=304, headers=headers)
    headers[hdrs.CONTENT_TYPE] = found.content_type
    is_coded = found.is_gzip and negotiation.accepts_gzip(request.headers.get(hdrs.ACCEPT_ENCODING))
    if is_coded:
        headers[hdrs.CONTENT_ENCODING] = "gzip"
    if (
        isinstance(found.body, bytes)
        and is_coded == found.is_gzip
        and len(found.body) <= _SMALL_BYTES
    ):
        return web.Response(body=found.body, headers=headers)
    return await _streamed_document(request, found, headers, is_coded=is_coded)


async def tarball(request: web.Request, found: Tarball) -> web.StreamResponse:
    """200 or 206 with a tarball, 304, or 416.

    Never coded: npm 6 and pnpm 10 check the hash of what is on the wire.
    """
    request[EXCHANGE].freshness = found.freshness
    headers = tarball_headers(found)
    if _is_unchanged(request, found.etag, found.modified_at):
        await found.close()
        return web.Response(status=304, headers=headers)
    part = _part(request, found)
    if part is UNSATISFIABLE:
        await found.close()
        headers[hdrs.CACHE_CONTROL] = NO_STORE
        headers[hdrs.CONTENT_RANGE] = f"bytes */{found.size_bytes}"
        return web.Response(status=416, headers=headers)
    headers[hdrs.CONTENT_TYPE] = TARBALL_TYPE
    status, wanted = 200, Slice(0, found.size_bytes)
    if isinstance(part, Slice):
        status, wanted = 206, part
        last = part.start + part.length - 1
        headers[hdrs.CONTENT_RANGE] = f"bytes {part.start}-{last}/{found.size_bytes}"
    chunks = bodies.pieces(found, wanted.start, wanted.length)
    return await _begun(request, chunks, found, wanted.length, headers, status)


def json(body: bytes, *, status: int = 200, cache_control: str = NO_STORE) -> web.Response:
    """A small JSON answer."""
    headers = CIMultiDict(_ALWAYS)
    headers[hdrs.CONTENT_TYPE] = JSON_TYPE
    headers[hdrs.CACHE_CONTROL] = cache_control
    return web.Response(body=body, status=status, headers=headers)


def text(body: bytes, content_type: str, **more: str) -> web.Response:
    """A small answer that is no JSON; `more` are further headers, with "_" for "-"."""
    headers = CIMultiDict(_ALWAYS)
    headers[hdrs.CONTENT_TYPE] = content_type
    headers[hdrs.CACHE_CONTROL] = NO_STORE
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return web.Response(body=body, headers=headers)


def error(
    raised: errors.RegistryError | web.HTTPException, *, request_id: str, is_write: bool = False
) -> web.Response:
    """The reply to a failure, whose sentence is what clients print.

    It stands in `error` (npm, yarn, berry, bun) and in `message` (npm 12). A few are told in the
    reason phrase too, which is all that pnpm before 11 shows.
    """
    status = status_of(raised)
    # Clients print it, and builds keep what they print: a token asked for as a name is masked.
    sentence = tokens.masked(_sentence(raised))
    code = raised.code if isinstance(raised, errors.RegistryError) else f"E{status}"
    body = {"error": sentence, "message": sentence, "code": code, "request_id": request_id}
    body |= _where_to_confirm(raised)
    reply = json(wire.dumps({"success": False, **body} if is_write else body), status=status)
    if status in _TOLD_IN_PHRASE:
        reply.set_status(status, phrase(sentence) or None)
    for name, value in _more_headers(raised, status):
        reply.headers[name] = value
    return reply


def status_of(raised: errors.RegistryError | web.HTTPException) -> int:
    """The status of an error: the row of its class, or of the nearest class above it."""
    if isinstance(raised, web.HTTPException):
        return raised.status
    return next(STATUSES[kind] for kind in type(raised).__mro__ if kind in STATUSES)


def phrase(text: str) -> str:
    """Text as a reason phrase: printable ASCII, one line, at most 120 characters.

    What is longer ends with a clause if it has one; clients print all of it beside this.
    """
    line = " ".join("".join(c if " " <= c <= "~" else " " for c in text).split())
    if len(line) <= _PHRASE_LENGTH:
        return line
    clause, is_cut, _ = line[:_PHRASE_LENGTH].rpartition("; ")
    return clause if is_cut else line[:_PHRASE_LENGTH]


def cache_status(freshness: Freshness) -> str:
    """How the answer came about, as RFC 9211 writes it."""
    if freshness.state is CacheState.HIT:
        return "packhouse; hit"
    if freshness.state is CacheState.MISS:
        kept = "stored" if freshness.reason is None else f"detail={_token(freshness.reason)}"
        return f"packhouse; fwd=miss; {kept}"
    if freshness.state is CacheState.REVALIDATED:
        return "packhouse; fwd=stale; fwd-status=304"
    return f"packhouse; hit; detail=stale-{_token(freshness.reason or 'uplink-away')}"


def withheld(hidden: Withheld) -> str:
    """How many versions an answer hides because their tarballs are not to be had, and why."""
    what = "1 version" if hidden.hidden == 1 else f"{hidden.hidden} versions"
    return f"{what}; {'offline' if hidden.is_offline else 'away'}"


@lru_cache(maxsize=4096)
def http_date(at: datetime) -> str:
    """An instant to the second, as HTTP writes it."""
    return format_datetime(at, usegmt=True)


def instant(at: datetime) -> str:
    """An instant in a JSON document, to the millisecond, as npm writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _sentence(raised: errors.RegistryError | web.HTTPException) -> str:
    if isinstance(raised, web.HTTPException):
        return raised.reason
    if isinstance(raised, _OURS) or type(raised) is errors.RegistryError:
        return _OUR_WORDS[status_of(raised)]
    if isinstance(raised, errors.InvalidName):
        # What a name cannot hold is not repeated: no answer shows an address somebody made up.
        shown = _NOT_IN_NAMES.sub("?", str(raised.facts["name"]))
        return str(errors.InvalidName(name=shown, reason=raised.facts["reason"]))
    return str(raised)


def _where_to_confirm(raised: Exception) -> dict[str, str]:
    """Where a person may type the one-time password, and where the client hears of it."""
    if not isinstance(raised, errors.OneTimePasswordRequired) or "auth_url" not in raised.facts:
        return {}
    facts = raised.facts
    return {"authUrl": str(facts["auth_url"]), "doneUrl": str(facts["done_url"])}


def _more_headers(
    raised: errors.RegistryError | web.HTTPException, status: int
) -> Iterator[tuple[str, str]]:
    if isinstance(raised, errors.MethodNotAllowed):
        yield hdrs.ALLOW, str(raised.facts["allowed"])
    if isinstance(raised, errors.Unauthenticated) and not isinstance(raised, errors.WrongPassword):
        needs_otp = isinstance(raised, errors.OneTimePasswordRequired)
        yield hdrs.WWW_AUTHENTICATE, "OTP" if needs_otp else "Bearer"
    if status in _RETRIED:
        yield hdrs.RETRY_AFTER, str(_retry_seconds(raised))


def _retry_seconds(raised: Exception) -> int:
    known = None
    if isinstance(raised, errors.UplinkError | errors.TooManyRequests):
        known = raised.retry_after
    if known is None:
        return _RETRY_SECONDS
    return max(1, min(_LONGEST_RETRY_SECONDS, math.ceil(known.total_seconds())))


def age_seconds(freshness: Freshness) -> int:
    """How long ago the uplink was asked, as the Age header says it."""
    return max(0, int(freshness.age.total_seconds()))


def document_headers(found: Document) -> CIMultiDict[str]:
    """What every reply with a document says of it, 304 or not."""
    headers = CIMultiDict(_ALWAYS)
    headers[hdrs.VARY] = _VARY
    headers[hdrs.AGE] = str(age_seconds(found.freshness))
    headers[_CACHE_STATUS] = cache_status(found.freshness)
    headers[hdrs.CACHE_CONTROL] = _PRIVATE if found.is_private else _REVALIDATED
    if found.etag is None:
        headers[hdrs.CACHE_CONTROL] = NO_STORE
    else:
        headers[hdrs.ETAG] = found.etag
    if found.modified_at is not None:
        headers[hdrs.LAST_MODIFIED] = http_date(found.modified_at)
    if found.withheld is not None:
        headers[_WITHHELD] = withheld(found.withheld)
    return headers


def tarball_headers(found: Tarball) -> CIMultiDict[str]:
    """What every reply with a tarball says of it, 304 or not."""
    headers = CIMultiDict(_ALWAYS)
    headers[hdrs.ACCEPT_RANGES] = "bytes"
    headers[hdrs.CACHE_CONTROL] = _PRIVATE_IMMUTABLE if found.is_private else _IMMUTABLE
    headers[_CACHE_STATUS] = cache_status(found.freshness)
    if found.etag is not None:
        headers[hdrs.ETAG] = found.etag
    if found.modified_at is not None:
        headers[hdrs.LAST_MODIFIED] = http_date(found.modified_at)
    return headers


def _is_unchanged(request: web.Request, etag: str | None, modified_at: datetime | None) -> bool:
    asked = request.headers
    return negotiation.is_unchanged(
        etag, modified_at, asked.get(hdrs.IF_NONE_MATCH), asked.get(hdrs.IF_MODIFIED_SINCE)
    )


def _part(request: web.Request, found: Tarball) -> Slice | negotiation.Unsatisfiable | None:
    if request.method != hdrs.METH_GET:
        return None
    return negotiation.parse_range(
        request.headers.get(hdrs.RANGE),
        found.size_bytes,
        if_range=request.headers.get(hdrs.IF_RANGE),
        etag=found.etag,
        modified_at=found.modified_at,
    )


async def _streamed_document(
    request: web.Request, found: Document, headers: CIMultiDict[str], *, is_coded: bool
) -> web.StreamResponse:
    source: bodies.Source
    if isinstance(found.body, bytes):
        source, stored_bytes = bodies.Memory(found.body), len(found.body)
    else:
        source, stored_bytes = found.body, found.body.size_bytes
    chunks = bodies.pieces(source, 0, stored_bytes)
    size_bytes = stored_bytes
    if found.is_gzip and not is_coded:
        chunks, size_bytes = bodies.gunzipped(chunks, found.identity_bytes), found.identity_bytes
    return await _begun(request, chunks, source, size_bytes, headers)


async def _begun(
    request: web.Request,
    chunks: AsyncGenerator[bytes],
    source: bodies.Source,
    size_bytes: int,
    headers: CIMultiDict[str],
    status: int = 200,
) -> web.StreamResponse:
    streamed = bodies.Streamed(
        chunks, source=source, size_bytes=size_bytes, status=status, headers=headers
    )
    if request.method != hdrs.METH_GET:
        return streamed
    first = await streamed.begin()
    if len(first) < size_bytes:
        return streamed
    # All of it in one piece: head and body then leave in one packet.
    await streamed.close()
    return web.Response(body=bytes(first), status=status, headers=headers)


async def _close(body: object) -> None:
    if not isinstance(body, bytes):
        await body.close()  # type: ignore[attr-defined]


@lru_cache(maxsize=256)
def _token(reason: str) -> str:
    # RFC 8941 tokens: what is said in words becomes one word.
    word = "".join(c if c.isascii() and c.isalnum() else "-" for c in reason.lower())
    return "-".join(part for part in word.split("-") if part)[:60] or "unknown"
