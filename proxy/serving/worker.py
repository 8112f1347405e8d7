"""One worker: an event loop that serves the application on a socket until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

import uvloop
from aiohttp import http_parser, web

from proxy import errors
from proxy.config.settings import Config
from proxy.web import keys
from proxy.web.connections import Runner

_log = logging.getLogger(__name__)

_SHUTDOWN_SECONDS = 20.0

BuildApp = Callable[[Config], web.Application]
LoadConfig = Callable[[], Config]


def run(listener: socket.socket, config: Config, build: BuildApp, reload: LoadConfig) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    _demand_c_parser()
    uvloop.run(_serve(listener, config, build, reload))


def _demand_c_parser() -> None:
    # The pure-Python parser has had request smuggling bugs the C one has not (RELIABILITY 2.2).
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise SystemExit(
            "aiohttp runs without its C parser: reinstall it from a wheel,"
            " without AIOHTTP_NO_EXTENSIONS"
        )


async def _serve(
    listener: socket.socket, config: Config, build: BuildApp, reload: LoadConfig
) -> None:
    app = build(config)
    runner = Runner(app, handle_signals=False, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    stop = _listen_for_signals(app, reload)
    # A copy of the socket, because closing the site closes it, and the other workers go on with
    # theirs.
    site = web.SockSite(runner, listener.dup(), backlog=1024)
    await site.start()
    await stop.wait()
    await _drain(app, site, config)
    await runner.cleanup()


def _listen_for_signals(app: web.Application, reload: LoadConfig) -> asyncio.Event:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _reload_rules, app, reload)
    return stop


def _reload_rules(app: web.Application, reload: LoadConfig) -> None:
    try:
        config = reload()
    except errors.ConfigError as fault:
        _log.error("configuration not reloaded, the old one stays in force", extra=fault.facts)
        return
    app[keys.ROUTING].replace(config.rules)
    _log.info("rules reloaded", extra={"rules": len(config.rules.rules)})


async def _drain(app: web.Application, site: web.SockSite, config: Config) -> None:
    _log.info("draining", extra={"seconds": config.server.drain.total_seconds()})
    await site.stop()
    app[keys.DRAIN].is_on = True
    await asyncio.sleep(config.server.drain.total_seconds())
