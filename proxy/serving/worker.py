"""One worker: an event loop that serves the application on a socket until it is told to stop.

How it ends, and within what time:

    drain     no new connections; what comes on old ones is answered with `Connection: close`
              (`server.drain`)
    finish    idle connections are closed, requests under way go on (`grace`)
    close     what still runs is cancelled, storage and uplinks are closed (`_CLOSING`)

Whatever hangs beyond that, a disk or a reader of our log, ends with the process: a thread sees to
it, because the loop may be what hangs.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from datetime import timedelta

import uvloop
from aiohttp import http_parser, web

from proxy.config.settings import Config
from proxy.serving import door
from proxy.serving.current import Current
from proxy.web import keys
from proxy.web.connections import Runner

_log = logging.getLogger(__name__)

# What systemd and Kubernetes allow, less a margin; a large tarball on a slow line takes as long.
GRACE = timedelta(seconds=20)
_CLOSING = timedelta(seconds=4)
_LOOK_AT_PARENT_EVERY = timedelta(seconds=1)
_INTERRUPTED = 130

# A supervisor starts workers with these blocked, so that none can come before it is listened for.
SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})

BuildApp = Callable[[Config], web.Application]


def run(
    listener: socket.socket,
    current: Current,
    build: BuildApp,
    *,
    parent: int | None = None,
    grace: timedelta = GRACE,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; closes `listener`.

    `parent` is the process id of the supervisor, if there is one. Raises what the application's
    parts raise when they cannot be opened.
    """
    _demand_c_parser()
    uvloop.run(_serve(listener, current, build, parent, grace))


def longest_end(config: Config, grace: timedelta = GRACE) -> timedelta:
    """How long a worker may take from the signal to its end."""
    return config.server.drain + grace + _CLOSING


def _demand_c_parser() -> None:
    # The pure-Python parser has had request smuggling bugs the C one has not (RELIABILITY 2.2).
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise SystemExit(
            "aiohttp runs without its C parser: reinstall it from a wheel,"
            " without AIOHTTP_NO_EXTENSIONS"
        )


async def _serve(
    listener: socket.socket,
    current: Current,
    build: BuildApp,
    parent: int | None,
    grace: timedelta,
) -> None:
    app = build(current.config)
    app.on_cleanup.insert(0, _close_in_time)
    stop = _listen_for_signals(app, current)
    runner = Runner(app, handle_signals=False, shutdown_timeout=grace.total_seconds())
    await runner.setup()
    if runner.server is None:
        raise RuntimeError("an application that was set up has no server")
    entrance = door.Door(listener, runner.server, most=door.room())
    entrance.open()
    watch = None if parent is None else asyncio.create_task(_watch(parent))
    await stop.wait()
    _end_within(longest_end(current.config, grace))
    await _drain(app, entrance, current.config)
    if watch is not None:
        watch.cancel()
    await runner.cleanup()


def _listen_for_signals(app: web.Application, current: Current) -> asyncio.Event:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    interrupts = itertools.count()

    def interrupt() -> None:
        if next(interrupts):  # a person at a terminal has pressed Ctrl-C once more
            os._exit(_INTERRUPTED)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGHUP, _reload, app, current)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return stop


def _reload(app: web.Application, current: Current) -> None:
    if current.reload():
        app[keys.ROUTING].replace(current.config.rules)


async def _drain(app: web.Application, entrance: door.Door, config: Config) -> None:
    _log.info(
        "draining", extra={"worker": os.getpid(), "seconds": config.server.drain.total_seconds()}
    )
    # With the last copy of the socket closed, clients are refused at once instead of waiting for
    # somebody to accept them.
    await entrance.close()
    app[keys.DRAIN].is_on = True
    await asyncio.sleep(config.server.drain.total_seconds())


async def _watch(parent: int) -> None:
    """Say once that nobody replaces this worker any more; it goes on serving all the same."""
    while os.getppid() == parent:  # noqa: ASYNC110  the system has no event for this
        await asyncio.sleep(_LOOK_AT_PARENT_EVERY.total_seconds())
    _log.critical(
        "the supervisor has died: this worker serves on alone, end it with SIGTERM and start anew",
        extra={"worker": os.getpid(), "supervisor": parent},
    )


async def _close_in_time(_: web.Application) -> None:
    _end_within(_CLOSING)


def _end_within(limit: timedelta) -> None:
    """End the process by force after `limit`, if it has not ended by itself."""

    def end() -> None:
        _log.error("ended by force", extra={"worker": os.getpid()})
        os._exit(1)

    timer = threading.Timer(limit.total_seconds(), end)
    timer.daemon = True
    timer.start()
