"""Connections: what aiohttp allows on one, and what it answers to what nobody can parse.

aiohttp repeats the text it could not parse in its answer, and logs a traceback for each: the first
is not ours to say, the second would let anybody fill the log.
"""

from __future__ import annotations

import asyncio
import logging

from aiohttp import http_exceptions, web

from proxy import errors
from proxy.web import replies

_log = logging.getLogger(__name__)

# npm 6 sends its command line in a header, and some lockfiles have long addresses: the 8 KiB of
# aiohttp are too tight for them.
LINE_BYTES = 16 * 1024
FIELD_BYTES = 16 * 1024
HEADERS = 128
# Longer than any client or front proxy keeps an idle connection: whoever closes first risks that
# the other has just sent something.
KEEPALIVE_SECONDS = 80.0


class Connection(web.RequestHandler):
    """One connection, whose errors below HTTP are answered in our words."""

    __slots__ = ()

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


class Server(web.Server):
    """Makes our connections."""

    def __call__(self) -> web.RequestHandler:
        return Connection(
            self,
            loop=self._loop,
            keepalive_timeout=KEEPALIVE_SECONDS,
            max_line_size=LINE_BYTES,
            max_field_size=FIELD_BYTES,
            max_headers=HEADERS,
            # Not by aiohttp, which takes a gzip body that is cut short for a whole one.
            auto_decompress=False,
            access_log=None,  # type: ignore[arg-type]  # ours is written by the middleware
        )


class Runner(web.AppRunner):
    """Runs an application with our limits and our words."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return Server(
            made.request_handler,
            request_factory=made.request_factory,
            loop=asyncio.get_running_loop(),
        )
