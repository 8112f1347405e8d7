"""Around every handler: deadline, errors to replies, sending, and what is written down.

A handler gives an unsent reply; `guard` sends it. So the deadline covers the work and not a slow
reader, the time and the bytes that are logged are those of the whole reply, and no exception gets
past us to aiohttp, which would answer in HTML.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware
from multidict import istr

from proxy import errors
from proxy.web import bodies, login, replies
from proxy.web.access_log import AccessLog, Entry, masked
from proxy.web.addresses import Address
from proxy.web.deadlines import Deadlines
from proxy.web.keys import CALLERS, EXCHANGE, Drain, Exchange
from proxy.web.metrics import Metrics
from proxy.web.targets import Unknown

__all__ = ["DEADLINE", "WRITES", "Drain", "Handler", "Middleware", "guard"]

_log = logging.getLogger(__name__)

# Below yarn's 30 s, above what an uplink is given: a client gets our answer, never its own
# time-out.
DEADLINE = timedelta(seconds=20)
WRITES = frozenset({"PUT", "POST", "DELETE", "PATCH"})

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID = istr("X-Request-Id")
OTP = istr("npm-otp")
_NOTICE = istr("npm-notice")
_NOT_VALID = "the token sent is not valid here (any more); log in again"
_SPOKEN = ((1, 0), (1, 1))


def guard(
    *,
    log: AccessLog | None,
    metrics: Metrics,
    drain: Drain,
    deadline: timedelta = DEADLINE,
) -> Middleware:
    """The one middleware of the application; `deadline` is for handlers, not for sending."""
    deadlines = Deadlines(deadline)

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        exchange = request.get(EXCHANGE) or _unrouted(request)
        reply = await _answer(request, handler, exchange, deadlines)
        reply.headers[_REQUEST_ID] = exchange.id
        if drain.is_on:
            reply.force_close()
        try:
            await _send(request, reply)
        finally:
            exchange.is_cut = exchange.is_cut or getattr(reply, "is_cut", False)
            seconds = time.perf_counter() - started
            sent_bytes = request.writer.output_size
            metrics.replied(exchange, reply.status, sent_bytes, seconds)
            if log is not None:
                log.add(Entry.of(exchange, reply.status, sent_bytes, seconds))
        return reply

    return guarded


async def _answer(
    request: web.Request, handler: Handler, exchange: Exchange, deadlines: Deadlines
) -> web.StreamResponse:
    try:
        if request.version not in _SPOKEN:
            raise errors.InvalidRequest(reason="HTTP/1.0 and HTTP/1.1 are understood here")
        if exchange.is_patient:
            # A big body on a slow line takes its time; whoever reads or sends it watches it move.
            return await _handled(request, handler, exchange)
        return await deadlines.keep(_handled(request, handler, exchange))
    except errors.RegistryError as error:
        raised: errors.RegistryError | web.HTTPException = error
        if replies.status_of(error) == 500:
            _log.exception("damaged", extra={"request_id": exchange.id, "facts": error.facts})
    except web.HTTPException as error:
        raised = error
    except TimeoutError:
        raised = errors.UplinkTimeout(uplink="(any)", reason="no answer in time")
    except Exception:  # noqa: BLE001  # the one place where a bug becomes a 500
        _log.exception("a bug", extra={"request_id": exchange.id, "path": masked(request.raw_path)})
        raised = errors.RegistryError()
    reply = replies.error(raised, request_id=exchange.id, is_write=request.method in WRITES)
    if exchange.caller.is_rejected and reply.status in {401, 404}:
        # Whether there is such a package or not: it says something of the token alone.
        reply.headers[_NOTICE] = _NOT_VALID
    return reply


async def _handled(
    request: web.Request, handler: Handler, exchange: Exchange
) -> web.StreamResponse:
    headers, client_ip = request.headers, exchange.address.client_ip
    authorization, otp = headers.get(hdrs.AUTHORIZATION), headers.get(OTP)
    callers = request.app[CALLERS]
    known_by = None if exchange.is_open else authorization
    exchange.caller = await callers.resolve(known_by, client_ip, otp)
    try:
        return await handler(request)
    except errors.OneTimePasswordRequired as error:
        raise await login.offer(request, error) from None
    except errors.Unauthenticated:
        if exchange.caller.is_rejected:
            await callers.refused(exchange.caller)
        raise


async def _send(request: web.Request, reply: web.StreamResponse) -> None:
    # A timer per request would cost as much as the rest of this module. What fits the socket's
    # buffer needs none.
    if isinstance(reply, bodies.Streamed) or _fits(request, reply):
        await _write(request, reply)
        return
    try:
        async with asyncio.timeout(bodies.PATIENCE.total_seconds()):
            await _write(request, reply)
    except TimeoutError:
        request[EXCHANGE].is_cut = True
        if request.transport is not None:
            request.transport.abort()


async def _write(request: web.Request, reply: web.StreamResponse) -> None:
    try:
        await reply.prepare(request)
        await reply.write_eof()
    except ConnectionError:
        _log.debug("the client has gone", extra={"path": masked(request.raw_path)})
        if isinstance(reply, bodies.Streamed):
            await reply.close()


def _fits(request: web.Request, reply: web.StreamResponse) -> bool:
    transport = request.transport
    held_bytes = 0 if transport is None else transport.get_write_buffer_size()
    return held_bytes + (reply.content_length or 0) < bodies.UNPAUSED_BYTES


def _unrouted(request: web.Request) -> Exchange:
    # aiohttp finds no resource for a target without a path (CONNECT); everything else has passed
    # ours.
    request[EXCHANGE] = exchange = Exchange(
        id="-",
        method=request.method,
        raw_path=request.raw_path,
        user_agent=request.headers.get(hdrs.USER_AGENT, ""),
        target=Unknown("no path"),
        address=Address("", "", request.remote or ""),
        route="(none)",
    )
    return exchange
