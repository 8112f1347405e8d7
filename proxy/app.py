"""The composition root: Config in, web.Application out.

Every concrete class is named here, once.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy import errors
from proxy.config.settings import Config, LogFormat
from proxy.config.settings import Uplink as UplinkConfig
from proxy.npm.policy import Rules
from proxy.registry.audits import Audits
from proxy.registry.bases import Bases
from proxy.registry.downloads import Downloads
from proxy.registry.hot import Hot
from proxy.registry.mirror import Ages, Mirror
from proxy.registry.packuments import Finished, Packuments
from proxy.registry.relay import Relay
from proxy.registry.routing import Routing
from proxy.registry.tarballs import Held, Tarballs
from proxy.registry.upkeep import Bounds, Upkeep
from proxy.storage.cache import Cache
from proxy.storage.files import FileBlobs
from proxy.storage.leases import FileLeases
from proxy.storage.press import Press
from proxy.storage.sqlite import SqliteIndex
from proxy.upstream.base import Uplink
from proxy.upstream.client import HttpUplink, UplinkSettings
from proxy.upstream.offline import OfflineUplink
from proxy.web import access_log, keys, middleware, ops, routes
from proxy.web.addresses import Addresses
from proxy.web.metrics import Metrics

_log = logging.getLogger(__name__)

VERSION = metadata.version("packhouse")

# A tarball up to this size is kept in memory: half of npm's are smaller than 20 KiB.
_SMALL_TARBALL_BYTES = 128 * 1024
# Half of the memory for replies is for packuments, half for tarballs; no single one takes more than
# a sixteenth.
_LARGEST_SHARE = 16
_INDEX = "index.sqlite"
_OBSERVE_EVERY = timedelta(seconds=5)


def utcnow() -> datetime:
    """The clock of the product."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where things are kept, by the layout of the data folder."""

    index: SqliteIndex
    blobs: FileBlobs
    cache: Cache
    leases: FileLeases
    press: Press
    upkeep: Upkeep

    @classmethod
    def of(
        cls,
        config: Config,
        *,
        clock: Callable[[], datetime] = utcnow,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Storage:
        """The storage of this configuration, not open yet."""
        folder = config.storage.path
        index = SqliteIndex(folder / _INDEX, clock=clock)
        blobs = FileBlobs(folder)
        leases = FileLeases(folder / "leases.lock")
        cache = Cache(folder / "cache", size_limit_bytes=config.cache.rendered_size_bytes)
        return cls(
            index=index,
            blobs=blobs,
            cache=cache,
            leases=leases,
            press=Press(blobs=blobs),
            upkeep=Upkeep(
                index=index,
                blobs=blobs,
                cache=cache,
                leases=leases,
                bounds=Bounds(
                    max_bytes=config.cache.max_size_bytes,
                    min_free_bytes=config.cache.min_free_bytes,
                ),
                clock=clock,
                monotonic=monotonic,
            ),
        )

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether `folder` is a data folder."""
        return (folder / _INDEX).exists()

    async def open(self, stack: AsyncExitStack) -> None:
        """Open everything; the stack closes it in reverse."""
        for part in (self.blobs, self.index, self.leases, self.cache, self.press):
            await stack.enter_async_context(part)


@dataclass(frozen=True, slots=True)
class RulesInForce:
    """Puts other rules in force, and forgets the replies that were finished under the old ones."""

    routing: Routing
    finished: Sequence[Hot[Any]]

    def replace(self, rules: Rules) -> None:
        """From the next question on, nothing is sent of a name that lives elsewhere now."""
        self.routing.replace(rules)
        for hot in self.finished:
            hot.clear()


@dataclass(frozen=True, slots=True)
class Stories:
    """What the registry does, told by parts that share one storage."""

    mirrors: Mapping[str, Mirror]
    rules: RulesInForce
    packuments: Packuments
    tarballs: Tarballs
    downloads: Downloads
    relay: Relay
    audits: Audits

    @classmethod
    def of(
        cls,
        config: Config,
        storage: Storage,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> Stories:
        """The stories of this configuration; nothing is asked or opened yet."""
        mirrors = {
            each.name: Mirror(
                uplink=_uplink(each, config, metrics, clock=clock, monotonic=monotonic),
                index=storage.index,
                press=storage.press,
                leases=storage.leases,
                ages=_ages(config, each),
                clock=clock,
                monotonic=monotonic,
            )
            for each in config.uplinks
        }
        routing = Routing(rules=config.rules, mirrors=mirrors)
        share_bytes = config.cache.memory_bytes // 2
        kept_packuments = Hot[Finished](
            log=storage.index, limit_bytes=share_bytes, largest_bytes=share_bytes // _LARGEST_SHARE
        )
        kept_tarballs = Hot[Held](
            log=storage.index, limit_bytes=share_bytes, largest_bytes=_SMALL_TARBALL_BYTES
        )
        downloads = Downloads(
            index=storage.index, blobs=storage.blobs, leases=storage.leases, clock=clock
        )
        return cls(
            mirrors=mirrors,
            rules=RulesInForce(routing, (kept_packuments, kept_tarballs)),
            packuments=Packuments(
                routing=routing,
                press=storage.press,
                cache=storage.cache,
                hot=kept_packuments,
                bases=Bases(monotonic=monotonic),
                clock=clock,
            ),
            tarballs=Tarballs(
                routing=routing,
                index=storage.index,
                blobs=storage.blobs,
                press=storage.press,
                downloads=downloads,
                hot=kept_tarballs,
                upkeep=storage.upkeep,
                small_bytes=min(_SMALL_TARBALL_BYTES, share_bytes),
                clock=clock,
            ),
            downloads=downloads,
            relay=Relay(routing=routing, monotonic=monotonic),
            audits=Audits(routing=routing),
        )

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the uplinks; the stack ends what is under way, then closes them."""
        for mirror in self.mirrors.values():
            await stack.enter_async_context(mirror.uplink)
        for close in (self.packuments.close, self.relay.close, self.downloads.close):
            stack.push_async_callback(close)
        for mirror in self.mirrors.values():
            stack.push_async_callback(mirror.close)

    def states(self) -> dict[str, str]:
        """What the breaker of each uplink says."""
        return {name: mirror.uplink.state for name, mirror in self.mirrors.items()}


def build(
    config: Config,
    *,
    clock: Callable[[], datetime] = utcnow,
    monotonic: Callable[[], float] = time.monotonic,
) -> web.Application:
    """The application of this configuration. Nothing is opened before it starts up."""
    storage = Storage.of(config, clock=clock, monotonic=monotonic)
    metrics, drain, log = Metrics(), keys.Drain(), _access_log(config)
    stories = Stories.of(config, storage, metrics, clock=clock, monotonic=monotonic)
    app = web.Application(
        middlewares=[middleware.guard(log=log, metrics=metrics, drain=drain)],
        client_max_size=config.server.max_publish_size_bytes,
    )
    app[keys.PACKUMENTS] = stories.packuments
    app[keys.TARBALLS] = stories.tarballs
    app[keys.RELAY] = stories.relay
    app[keys.AUDITS] = stories.audits
    app[keys.ROUTING] = stories.rules
    app[keys.DRAIN] = drain
    app[ops.METRICS] = metrics
    app[ops.PROBE] = ops.Probe(
        version=VERSION,
        checks={"index": storage.index.check, "blobs": storage.blobs.check},
        uplinks=stories.states,
        clock=clock,
    )
    routes.mount(
        app,
        Addresses(
            public_url=config.server.public_url,
            trusted_proxies=[str(network) for network in config.server.trusted_proxies],
        ),
    )

    async def life(_: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await storage.open(stack)
            if log is not None:
                await stack.enter_async_context(log)
            await stories.open(stack)
            stack.push_async_callback(storage.upkeep.flush)
            for task in (storage.upkeep.run(), _observe(metrics, storage, stories)):
                stack.push_async_callback(_stopped, asyncio.create_task(task))
            yield

    app.cleanup_ctx.append(life)
    return app


def _uplink(
    settings: UplinkConfig,
    config: Config,
    metrics: Metrics,
    *,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> Uplink:
    if config.server.offline:
        return OfflineUplink(settings.name)
    basic = (settings.username, settings.password or "") if settings.username else None
    return HttpUplink(
        UplinkSettings(
            name=settings.name,
            url=settings.url,
            token=settings.token,
            basic=basic,
            headers=settings.headers,
            ca_file=settings.ca_file,
            client_cert=settings.client_cert,
            client_key=settings.client_key,
            proxy=settings.proxy,
            timeout=settings.timeout,
            connect_timeout=settings.connect_timeout,
            deadline=settings.deadline,
            retries=settings.retries,
            concurrency=settings.concurrency,
            origins=settings.origins,
            max_packument_bytes=settings.max_packument_bytes,
        ),
        clock=monotonic,
        now=clock,
        on_request=lambda uplink, kind, outcome, seconds, _: metrics.upstream(
            uplink, kind, outcome, seconds
        ),
    )


def _ages(config: Config, uplink: UplinkConfig) -> Ages:
    cache = config.cache
    return Ages(
        max_age=cache.max_age if uplink.max_age is None else uplink.max_age,
        negative_age=cache.negative_age,
        soft_deadline=cache.soft_deadline,
        deadline=uplink.deadline + timedelta(seconds=1),
        stale_if_error=cache.stale_if_error,
    )


def _access_log(config: Config) -> access_log.AccessLog | None:
    if not config.log.access:
        return None
    is_text = config.log.format is LogFormat.TEXT or (
        config.log.format is LogFormat.AUTO and sys.stdout.isatty()
    )
    line = access_log.as_text if is_text else access_log.as_json
    return access_log.AccessLog(sys.stdout.buffer, line=line)


async def _observe(metrics: Metrics, storage: Storage, stories: Stories) -> None:
    """Write down, now and then, what nobody counts as it happens."""
    while True:
        asking = sum(mirror.in_flight for mirror in stories.mirrors.values())
        metrics.flights(asking + len(stories.downloads))
        for name, state in stories.states().items():
            metrics.breaker(name, is_open=state != "closed")
        try:
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
