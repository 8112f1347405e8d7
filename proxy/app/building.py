"""The application: stories behind their keys, the one middleware, the table of routes."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta
from importlib import metadata

from aiohttp import web

from proxy import errors
from proxy.app import mirrors, prefetch
from proxy.app.storage import Storage, utcnow
from proxy.app.stories import Hosting, Mirroring
from proxy.config.settings import Config, LogFormat
from proxy.web import access_log, keys, middleware, ops, routes
from proxy.web.addresses import Addresses
from proxy.web.express import EXPRESS, Express
from proxy.web.metrics import Metrics

_log = logging.getLogger(__name__)

VERSION = metadata.version("packhouse")

_OBSERVE_EVERY = timedelta(seconds=5)


def build(
    config: Config,
    *,
    clock: Callable[[], datetime] = utcnow,
    monotonic: Callable[[], float] = time.monotonic,
) -> web.Application:
    """The application of this configuration. Nothing is opened before it starts up."""
    storage = Storage.of(config, clock=clock, monotonic=monotonic)
    metrics, drain, log = Metrics(), keys.Drain(), _access_log(config)
    mirroring = Mirroring.of(config, storage, metrics, clock=clock, monotonic=monotonic)
    hosting = Hosting.of(config, storage, mirroring, clock=clock, monotonic=monotonic)
    warming = prefetch.warming(storage, mirroring, hosting.permissions, clock=clock)
    timetable = mirrors.timetable(
        config, storage, mirroring, metrics, clock=clock, monotonic=monotonic
    )
    app = web.Application(
        middlewares=[middleware.guard(log=log, metrics=metrics, drain=drain)],
        client_max_size=config.server.max_publish_size_bytes,
    )
    _put_stories(app, mirroring, hosting)
    app[keys.WARMING] = warming
    app[keys.DRAIN] = drain
    app[ops.METRICS] = metrics
    app[ops.PROBE] = ops.Probe(
        version=VERSION,
        checks={
            "index": storage.index.check,
            "blobs": storage.blobs.check,
            "hosted": storage.hosted.check,
        },
        uplinks=mirroring.states,
        warnings=hosting.warnings,
        clock=clock,
    )
    reception = routes.Reception(
        Addresses(
            public_url=config.server.public_url,
            trusted_proxies=[str(network) for network in config.server.trusted_proxies],
        )
    )
    routes.mount(app, reception)
    app[EXPRESS] = Express(
        reception=reception,
        callers=hosting.callers,
        at_hand=hosting.reading,
        metrics=metrics,
        log=log,
        drain=drain,
    )

    async def life(_: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await storage.open(stack)
            await stack.enter_async_context(storage.keyring)
            if log is not None:
                await stack.enter_async_context(log)
            await mirroring.open(stack)
            stack.push_async_callback(hosting.reading.close)
            stack.push_async_callback(warming.close)
            stack.push_async_callback(hosting.searching.close)
            stack.callback(metrics.flush)
            stack.push_async_callback(storage.upkeep.flush)
            stack.push_async_callback(hosting.tidying.once)
            for task in (
                storage.upkeep.run(),
                hosting.tidying.run(),
                storage.hosted_upkeep.run(),
                timetable.go_on(),
                _observe(metrics, storage, mirroring),
            ):
                stack.push_async_callback(_stopped, asyncio.create_task(task))
            yield

    app.cleanup_ctx.append(life)
    return app


def _put_stories(app: web.Application, mirroring: Mirroring, hosting: Hosting) -> None:
    app[keys.CALLERS] = hosting.callers
    app[keys.READING] = hosting.reading
    app[keys.CHANGING] = hosting.changing
    app[keys.TAGS] = hosting.tags
    app[keys.OWNING] = hosting.owning
    app[keys.STARRING] = hosting.starring
    app[keys.ACCESS] = hosting.access
    app[keys.TEAMS] = hosting.teams
    app[keys.LOGINS] = hosting.logins
    app[keys.ACCOUNTS] = hosting.accounts
    app[keys.TOKENS] = hosting.own_tokens
    app[keys.PROFILES] = hosting.profiles
    app[keys.PUBLISHING] = hosting.publishing
    app[keys.RELAY] = mirroring.relay
    app[keys.AHEAD] = mirroring.ahead
    app[keys.SIGNATURES] = hosting.signatures
    app[keys.SEARCHING] = hosting.searching
    app[keys.SWITCHING] = hosting.switching
    app[keys.AUDITS] = mirroring.audits
    app[keys.ROUTING] = mirroring.rules


def _access_log(config: Config) -> access_log.AccessLog | None:
    if not config.log.access:
        return None
    is_text = config.log.format is LogFormat.TEXT or (
        config.log.format is LogFormat.AUTO and sys.stdout.isatty()
    )
    line = access_log.as_text if is_text else access_log.as_json
    return access_log.AccessLog(sys.stdout.buffer, line=line)


async def _observe(metrics: Metrics, storage: Storage, mirroring: Mirroring) -> None:
    """Write down, now and then, what nobody counts as it happens."""
    while True:
        asking = sum(mirror.in_flight for mirror in mirroring.mirrors.values())
        metrics.flights(asking + len(mirroring.downloads))
        for name, state in mirroring.states().items():
            metrics.breaker(name, is_open=state != "closed")
        try:
            await mirroring.ahead.expire()
            await _observe_disk(metrics, storage)
        except errors.RegistryError as fault:
            _log.warning("the disk cannot be observed", extra={"reason": str(fault)})
        await asyncio.sleep(_OBSERVE_EVERY.total_seconds())


async def _observe_disk(metrics: Metrics, storage: Storage) -> None:
    usage = await storage.index.usage()
    metrics.disk("packuments", usage.packument_bytes)
    metrics.disk("tarballs", usage.tarball_bytes)
    metrics.disk("rendered", await storage.cache.volume())
    metrics.disk("free", await storage.blobs.free_bytes())


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
