"""Connections: what aiohttp allows on one, and what is answered below its requests.

A connection that waits for a request costs a descriptor and nothing else. It may wait for
`KEEPALIVE_SECONDS`; once a request has begun to come, its head is there within `HEAD_SECONDS` or
never. Where descriptors run short, those that wait make room (`make_room`): whoever holds very many
connections, idle or dripping, loses them to the next client. A number of connections that each
address may have would have to be chosen by everybody, and would turn away a proxy, or the one
address of a whole office, on their busiest day.

aiohttp repeats the text it could not parse in its answer, and logs a traceback for each: the first
is not ours to say, the second would let anybody fill the log.

The express (express.py) answers where the bytes arrive, before aiohttp's task for the connection is
woken, and only while that task has nothing to do: replies leave in the order of their requests.
That it has nothing to do is read off aiohttp's insides (`_waiter`, `_messages`), hence the upper
bound for aiohttp in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from operator import itemgetter
from typing import Any

from aiohttp import EMPTY_PAYLOAD, http_exceptions, web
from aiohttp.http_parser import RawRequestMessage

from proxy import errors
from proxy.web import bodies, replies
from proxy.web.express import EXPRESS, Express

_log = logging.getLogger(__name__)

# npm 6 sends its command line in a header, and some lockfiles have long addresses: the 8 KiB of
# aiohttp are too tight for them.
LINE_BYTES = 16 * 1024
FIELD_BYTES = 16 * 1024
HEADERS = 128
# Longer than any client or front proxy keeps an idle connection: whoever closes first risks that
# the other has just sent something.
KEEPALIVE_SECONDS = 80.0
# A head is a packet or two; behind a line that loses some it still comes within seconds.
HEAD_SECONDS = 20.0
# What has waited for less may be about to send: a client connects for what it sends next.
_SPARED_SECONDS = 1.0
# How often a connection that is to end is asked whether everything has left.
_LOOK_EVERY = 0.05


class Connection(web.RequestHandler):
    """One connection. What the express cannot answer, the task of this connection does."""

    __slots__ = ("_express", "_head_timer", "_peer")

    def __init__(self, manager: web.Server, *, express: Express | None, **settings: Any) -> None:
        super().__init__(manager, **settings)
        self._express = express
        self._head_timer: asyncio.TimerHandle | None = None
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        name = self.peername
        self._peer = str(name[0]) if isinstance(name, tuple) else str(name or "")

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._head_has_come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and answer what is at hand."""
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            super().data_received(data)
            return
        self._waiter = None  # or the task would be woken
        super().data_received(data)
        self._waiter = waiter
        if not self._messages:
            self._head_is_coming()
            return
        if self._head_timer is not None:
            self._head_has_come()
        while self._messages and self._is_answered(*self._messages[0]):
            self._messages.popleft()
        if self._messages:
            waiter.set_result(None)

    def waits_since(self) -> float | None:
        """When it began to wait for a request, in the loop's seconds; None if one is under way."""
        if self._waiter is None or self._waiter.done():
            return None
        return self._next_keepalive_close_time - self._keepalive_timeout

    @property
    def peer(self) -> str:
        """The address at the other end."""
        return self._peer

    def _head_is_coming(self) -> None:
        if self._head_timer is None and self.transport is not None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self.force_close)

    def _head_has_come(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """End; what the express has written is on its way first, or `timeout` seconds are over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while _unsent_bytes(self.transport):  # noqa: ASYNC110  a transport has no event
                    await asyncio.sleep(_LOOK_EVERY)
        await super().shutdown(timeout)

    def _is_answered(self, asked: object, payload: object) -> bool:
        transport, express = self.transport, self._express
        if (
            express is None
            or transport is None
            or not isinstance(asked, RawRequestMessage)
            or payload is not EMPTY_PAYLOAD
            or self._buffer_paused
            or transport.is_closing()
            or _unsent_bytes(transport)
        ):
            return False
        reply = express.reply(asked, self._peer, self.sockname)
        if reply is None:
            return False
        transport.writelines(reply)
        self._note_answer(transport)
        return True

    def _note_answer(self, transport: asyncio.Transport) -> None:
        """Keep aiohttp's books: the answer was not given by its task."""
        if self._parser is not None:
            self._parser.message_consumed()
        if self._manager is not None:
            self._manager.requests_count += 1
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        unsent_bytes = _unsent_bytes(transport)
        if unsent_bytes > bodies.UNPAUSED_BYTES:
            self._watch(unsent_bytes)

    def _watch(self, unsent_bytes: int) -> None:
        self._loop.call_later(bodies.PATIENCE.total_seconds(), self._cut_if_stalled, unsent_bytes)

    def _cut_if_stalled(self, before_bytes: int) -> None:
        transport = self.transport
        unsent_bytes = _unsent_bytes(transport)
        if transport is not None and unsent_bytes == before_bytes:
            transport.abort()
        elif unsent_bytes:
            self._watch(unsent_bytes)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it repeats what the client sent
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, then close; raise ConnectionError after a reply began."""
        if request.writer.output_size > 0:
            raise ConnectionError("a reply has begun, another cannot follow")
        if isinstance(exc, http_exceptions.LineTooLong):
            status = 431
        if status >= 500:
            _log.error("a bug below the middleware", exc_info=exc)
            raised: errors.RegistryError | web.HTTPException = errors.RegistryError()
        elif status == 431:
            raised = web.HTTPRequestHeaderFieldsTooLarge()
        else:
            raised = errors.InvalidRequest(reason="this is not a sound HTTP request")
        reply = replies.error(raised, request_id="-")
        reply.force_close()
        return reply


def _unsent_bytes(transport: asyncio.Transport | None) -> int:
    return 0 if transport is None else transport.get_write_buffer_size()


def make_room(connections: Iterable[web.RequestHandler], most: int) -> int:
    """Close up to `most` connections on which no request is under way; returns how many.

    They are of the address that has most of them, and those that have waited longest.
    """
    ours = [each for each in connections if isinstance(each, Connection)]
    waiting = [(since, each) for each in ours if (since := each.waits_since()) is not None]
    held = Counter(each.peer for _, each in waiting)
    largest = max(held.values(), default=0)
    spared = asyncio.get_running_loop().time() - _SPARED_SECONDS
    idle = [
        (since, each) for since, each in waiting if since < spared and held[each.peer] == largest
    ]
    leaving = sorted(idle, key=itemgetter(0))[:most]
    for _, each in leaving:
        each.force_close()
    return len(leaving)


class Server(web.Server):
    """Makes our connections."""

    def __init__(self, *args: Any, express: Express | None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._express = express

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            express=self._express,
            loop=self._loop,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=HEADERS,
            # Not by aiohttp, which takes a gzip body that is cut short for a whole one.
            auto_decompress=False,
            access_log=None,
        )


class Runner(web.AppRunner):
    """Runs an application with our limits and our words."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Server(
            made.request_handler,
            express=self.app.get(EXPRESS),
            request_factory=made.request_factory,
            loop=asyncio.get_running_loop(),
        )
