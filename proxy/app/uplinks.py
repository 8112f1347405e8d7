"""The uplinks of a configuration: asked over HTTP while their switch lets us, or never."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from proxy.config.settings import Config
from proxy.config.settings import Uplink as UplinkConfig
from proxy.registry.mirroring.mirror import Ages
from proxy.registry.mirroring.switchboard import Switchboard
from proxy.upstream.base import Uplink
from proxy.upstream.client import HttpUplink, UplinkSettings
from proxy.upstream.offline import OfflineUplink
from proxy.upstream.switched import SwitchedUplink
from proxy.web.metrics import Metrics


def uplink(
    settings: UplinkConfig,
    config: Config,
    metrics: Metrics,
    switchboard: Switchboard,
    *,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> Uplink:
    """What stands for one uplink; nothing is opened yet."""
    if is_offline(config, settings):
        return OfflineUplink(settings.name)
    asked = _asked(settings, metrics, clock=clock, monotonic=monotonic)
    return SwitchedUplink(asked, is_offline=partial(switchboard.is_offline, settings.name))


def _asked(
    settings: UplinkConfig,
    metrics: Metrics,
    *,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> HttpUplink:
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


def is_offline(config: Config, uplink: UplinkConfig) -> bool:
    """Whether the configuration says that it is never asked."""
    return config.server.offline or uplink.offline


def ages(config: Config, uplink: UplinkConfig) -> Ages:
    """How long what it says may be used."""
    cache = config.cache
    return Ages(
        max_age=cache.max_age if uplink.max_age is None else uplink.max_age,
        negative_age=cache.negative_age,
        soft_deadline=cache.soft_deadline,
        deadline=uplink.deadline + timedelta(seconds=1),
        stale_if_error=cache.stale_if_error,
    )
