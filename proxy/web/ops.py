"""For people and probes: ping, health, readiness, metrics, and the page at the root."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from proxy import errors
from proxy.npm import clients, wire
from proxy.web import negotiation, replies, templates
from proxy.web.keys import EXCHANGE, ROUTING
from proxy.web.metrics import Metrics

_SCOPE = re.compile(r"@[^*/]+/\*")
_CHECK_TIMEOUT = timedelta(seconds=2)
# A probe writes a file and a row; however often it is called, once a second is enough.
_CHECKED_FOR = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether requests can be answered.

    `faults`: what cannot be used, and why; `uplinks`: name to the state of its breaker; `warnings`:
    what somebody has to see to, while requests are answered.
    """

    faults: Mapping[str, str]
    uplinks: Mapping[str, str]
    warnings: Mapping[str, str]

    @property
    def is_ready(self) -> bool:
        """What is told and is no fault: an uplink that is away, a tarball that is damaged."""
        return not self.faults


class Probe:
    """Looks whether the parts work.

    `checks` raise StorageAway; `uplinks` gives the state of each breaker by the uplink's name,
    `warnings` what is to be told besides.
    """

    def __init__(
        self,
        *,
        version: str,
        checks: Mapping[str, Callable[[], Awaitable[None]]],
        uplinks: Callable[[], Mapping[str, str]],
        warnings: Callable[[], Mapping[str, str]] = dict,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.version = version
        self._checks = checks
        self._uplinks = uplinks
        self._warnings = warnings
        self._clock = clock
        self._started_at = clock()
        self._checked_at: datetime | None = None
        self._faults: dict[str, str] = {}
        self._lock = asyncio.Lock()

    def uptime(self) -> timedelta:
        """How long this worker has been up."""
        return self._clock() - self._started_at

    async def readiness(self) -> Readiness:
        """Look now, or at what was seen a moment ago."""
        async with self._lock:
            now = self._clock()
            if (
                self._checked_at is None
                or not timedelta(0) <= now - self._checked_at < _CHECKED_FOR
            ):
                self._faults = await self._look()
                self._checked_at = now
        return Readiness(
            faults=self._faults, uplinks=dict(self._uplinks()), warnings=dict(self._warnings())
        )

    async def _look(self) -> dict[str, str]:
        faults = {}
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(_CHECK_TIMEOUT.total_seconds()):
                    await check()
            except errors.RegistryError as error:
                faults[name] = str(error)
            except TimeoutError:
                faults[name] = "no answer in time"
        return faults


PROBE: web.AppKey[Probe] = web.AppKey("probe", Probe)
METRICS: web.AppKey[Metrics] = web.AppKey("metrics", Metrics)


async def get_ping(_request: web.Request) -> web.StreamResponse:
    """`GET /-/ping`: `{}`, as npm ping wants it."""
    return replies.json(b"{}")


async def get_health(request: web.Request) -> web.StreamResponse:
    """`GET /-/health`: this worker answers; nothing else is looked at."""
    probe = request.app[PROBE]
    seconds = round(probe.uptime().total_seconds(), 3)
    return replies.json(
        wire.dumps({"status": "alive", "version": probe.version, "uptime_seconds": seconds})
    )


async def get_ready(request: web.Request) -> web.StreamResponse:
    """`GET /-/ready`: 200 while storage can be used, 503 otherwise; uplinks are only told."""
    seen = await request.app[PROBE].readiness()
    body = {
        "status": "ready" if seen.is_ready else "not ready",
        "faults": dict(seen.faults),
        "uplinks": dict(seen.uplinks),
        "warnings": dict(seen.warnings),
    }
    return replies.json(wire.dumps(body), status=200 if seen.is_ready else 503)


async def get_metrics(request: web.Request) -> web.StreamResponse:
    """`GET /-/metrics`: the numbers of all workers, in Prometheus' text format."""
    metrics = request.app[METRICS]
    metrics.flush()
    body, content_type = await asyncio.to_thread(metrics.text)
    return replies.text(body, content_type)


async def get_root(request: web.Request) -> web.StreamResponse:
    """`GET /`: who this is; for a browser, what to tell each client."""
    probe = request.app[PROBE]
    if not negotiation.accepts_html(request.headers.get(hdrs.ACCEPT)):
        return replies.json(wire.dumps({"name": "packhouse", "version": probe.version}))
    base_url = request[EXCHANGE].address.base_url
    # Whole scopes stand in every lockfile; the names of single packages are nobody's business.
    scopes = [each for each in request.app[ROUTING].claimed() if _SCOPE.fullmatch(each)]
    body = templates.render(
        "start.html",
        registry=urlsplit(base_url).netloc,
        guides=clients.guides(base_url, scopes),
        version=probe.version,
    )
    return templates.page(body)
