"""Answers that are at hand, given in the turn of the loop in which a request comes.

For each request aiohttp makes a task, a request and a reply; what is finished in memory needs none
of them. Here the same stories are asked by the same judgement: a coroutine that has nothing to wait
for is run to its end on the spot. One that would wait, or raises, is given up, and the request goes
the long way (middleware.py) as if nobody had looked. So nothing is decided here, and both ways send
the same reply (tests/integration/test_express.py holds one against the other).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from email.utils import formatdate
from functools import lru_cache
from typing import Any, TypeVar

from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.http_parser import RawRequestMessage

from proxy import errors
from proxy.registry.answers import Document, Held
from proxy.web import negotiation, replies
from proxy.web.access_log import AccessLog, Entry
from proxy.web.keys import AtHand, Callers, Drain, Exchange
from proxy.web.metrics import Metrics
from proxy.web.middleware import OTP
from proxy.web.routes import Reception
from proxy.web.targets import Packument, TarballFile

_log = logging.getLogger(__name__)

_STATUS_LINES = {200: "HTTP/1.1 200 OK\r\n", 304: "HTTP/1.1 304 Not Modified\r\n"}
_MOST_HEADS = 8192

T = TypeVar("T")


class _Waits(Exception):
    """It would take longer than this turn of the loop."""


class Express:
    """Replies to what needs no waiting."""

    def __init__(
        self,
        *,
        reception: Reception,
        callers: Callers,
        at_hand: AtHand,
        metrics: Metrics,
        log: AccessLog | None,
        drain: Drain,
    ) -> None:
        self._reception = reception
        self._callers = callers
        self._at_hand = at_hand
        self._metrics = metrics
        self._log = log
        self._drain = drain
        self._heads: dict[tuple[object, ...], str] = {}

    def reply(
        self, asked: RawRequestMessage, peer: str, sockname: object
    ) -> Sequence[bytes] | None:
        """The reply in pieces, counted and logged as sent; None if it has to go the long way.

        `asked` has no body. `peer` is the other end's IP address, `sockname` the socket's own.
        """
        if self._drain.is_on or not _is_plain(asked):
            return None
        started = time.perf_counter()
        exchange, _ = self._reception.receive(
            asked.method, asked.path, asked.headers, peer, sockname
        )
        try:
            found = _at_once(self._found(exchange, asked.headers))
        except (errors.RegistryError, _Waits):
            return None
        except Exception:  # noqa: BLE001  # the long way answers, and says more of it
            _log.exception("a bug on the express way", extra={"request_id": exchange.id})
            return None
        if found is None:
            return None
        status, body = (304, b"") if _is_unchanged(found, asked.headers) else (200, found.body)
        assert isinstance(body, bytes)  # noqa: S101  # _found takes no other
        head = self._head(found, status, exchange.id)
        self._note(exchange, found, status, len(head) + len(body), started)
        return (head, body) if body else (head,)

    async def _found(
        self, exchange: Exchange, headers: Mapping[str, str]
    ) -> Document | Held | None:
        authorization = headers.get(hdrs.AUTHORIZATION)
        if authorization is not None and authorization[:7].lower() != "bearer ":
            return None  # a password may have to be hashed: giving that up would not undo it
        address, target = exchange.address, exchange.target
        caller = await self._callers.resolve(authorization, address.client_ip, headers.get(OTP))
        if isinstance(target, TarballFile):
            if hdrs.RANGE in headers:
                return None
            return await self._at_hand.tarball_at_hand(caller, target.name, target.file)
        if not isinstance(target, Packument) or "?" in exchange.raw_path:
            return None
        form = negotiation.form(headers.get(hdrs.ACCEPT))
        found = await self._at_hand.document_at_hand(caller, target.name, form, address.base_url)
        return found if found is not None and _is_as_wanted(found, headers) else None

    def _head(self, found: Document | Held, status: int, request_id: str) -> bytes:
        # Of what one ETag names everything else in the head is always the same.
        key = (found.etag, found.freshness.state, found.freshness.reason, status)
        lasting = self._heads.get(key)
        if lasting is None:
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            lasting = self._heads[key] = _lasting(found, status)
        age = ""
        if isinstance(found, Document):
            age = f"Age: {replies.age_seconds(found.freshness)}\r\n"
        now = _http_date(int(time.time()))
        return f"{lasting}{age}X-Request-Id: {request_id}\r\nDate: {now}\r\n\r\n".encode("ascii")

    def _note(
        self,
        exchange: Exchange,
        found: Document | Held,
        status: int,
        sent_bytes: int,
        started: float,
    ) -> None:
        exchange.freshness = found.freshness
        exchange.form = found.form if isinstance(found, Document) else None
        seconds = time.perf_counter() - started
        self._metrics.replied(exchange, status, sent_bytes, seconds)
        if self._log is not None:
            self._log.add(Entry.of(exchange, status, sent_bytes, seconds))


EXPRESS: web.AppKey[Express] = web.AppKey("express", Express)


def _at_once(story: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that does not wait. Raises what it raises, or _Waits."""
    try:
        story.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    story.close()
    raise _Waits


def _is_plain(asked: RawRequestMessage) -> bool:
    return (
        asked.method == hdrs.METH_GET
        and asked.version == HttpVersion11
        and not asked.should_close
        and not asked.upgrade
        and hdrs.EXPECT not in asked.headers
    )


def _is_as_wanted(found: Document, headers: Mapping[str, str]) -> bool:
    """Whether the bytes can go as they are, or none have to go."""
    if not isinstance(found.body, bytes) or found.etag is None:
        return False
    is_coded = negotiation.accepts_gzip(headers.get(hdrs.ACCEPT_ENCODING))
    return is_coded == found.is_gzip or _is_unchanged(found, headers)


def _is_unchanged(found: Document | Held, headers: Mapping[str, str]) -> bool:
    return negotiation.is_unchanged(
        found.etag,
        found.modified_at,
        headers.get(hdrs.IF_NONE_MATCH),
        headers.get(hdrs.IF_MODIFIED_SINCE),
    )


def _lasting(found: Document | Held, status: int) -> str:
    if isinstance(found, Document):
        headers, content_type = replies.document_headers(found), found.content_type
        del headers[hdrs.AGE]
        if found.is_gzip and status == 200:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
    else:
        headers, content_type = replies.tarball_headers(found), replies.TARBALL_TYPE
    if status == 200:
        headers[hdrs.CONTENT_TYPE] = content_type
        headers[hdrs.CONTENT_LENGTH] = str(len(found.body))  # type: ignore[arg-type]
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return _STATUS_LINES[status] + lines


@lru_cache(maxsize=2)
def _http_date(second: int) -> str:
    return formatdate(second, usegmt=True)
