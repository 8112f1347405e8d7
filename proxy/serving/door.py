"""The door: takes connections from the listening socket, as long as there are descriptors for them.

A server that accepts until no descriptor is left can open neither a file nor an uplink for those
it has let in, and libuv then drops whoever comes next. Who is not let in waits in the kernel's
queue instead, or is let in by another worker. While the house is full, those who are in and want
nothing leave for those who wait.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from datetime import timedelta

from aiohttp import web

from proxy.web import connections

_log = logging.getLogger(__name__)

# The index, the cache and the numbers take this many. A client may need a file besides its own
# connection, but of many clients most are idle.
_OURS = 36
_MOST_FILES = 512
_AT_ONCE = 64
_LEAVING = 16  # of so many one leaves at a time: finding out who takes a look at all
_REST = timedelta(milliseconds=20)


def room(descriptors: int | None = None) -> int:
    """How many connections one worker takes with so many descriptors (those it may have)."""
    if descriptors is None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    spare = descriptors - _OURS
    return max(spare - min(spare // 2, _MOST_FILES), 4)


class Door:
    """Hands connections of `listener` to `server`, at most `most` at a time."""

    def __init__(self, listener: socket.socket, server: web.Server, *, most: int) -> None:
        self._listener = listener
        self._server = server
        self._most = most
        self._entering: set[asyncio.Task[object]] = set()
        self._is_closed = False

    def open(self) -> None:
        """Let clients in from now on."""
        if not self._is_closed:
            asyncio.get_running_loop().add_reader(self._listener, self._let_in)

    async def close(self) -> None:
        """Let nobody in any more, and close the listening socket."""
        self._is_closed = True
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        await asyncio.gather(*self._entering, return_exceptions=True)

    def _let_in(self) -> None:
        for _ in range(_AT_ONCE):
            if len(self._server.connections) + len(self._entering) >= self._most:
                self._make_room()
                self._rest()
                return
            try:
                client, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor or no memory: it may be there in a moment
                self._rest()
                return
            client.setblocking(False)
            self._enter(client)

    def _enter(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        make: Callable[[], asyncio.BaseProtocol] = self._server
        task: asyncio.Task[object] = loop.create_task(loop.connect_accepted_socket(make, client))
        self._entering.add(task)
        task.add_done_callback(self._entered)

    def _entered(self, task: asyncio.Task[object]) -> None:
        self._entering.discard(task)
        if not task.cancelled():
            task.exception()  # a client that left at once is nobody's error

    def _make_room(self) -> None:
        left = connections.make_room(self._server.connections, max(self._most // _LEAVING, 1))
        if left:
            _log.info("idle connections closed to let others in", extra={"connections": left})

    def _rest(self) -> None:
        """Look again in a while: nothing tells when a descriptor becomes free."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        loop.call_later(_REST.total_seconds(), self.open)
