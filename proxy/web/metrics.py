"""Numbers for Prometheus (the door to prometheus_client).

With several workers each writes its own files in one folder, and whichever is asked adds them up
(prometheus_client's multiprocess mode). A label's child is looked up once and then kept: a reply
costs a few dictionary look-ups.
"""

from __future__ import annotations

import asyncio
import os
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import prometheus_client
from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    multiprocess,
    values,
)

from proxy.npm.forms import Form
from proxy.registry.answers import CacheState
from proxy.web.keys import Exchange

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 2.5, 10, 30)
# Other workers' scrapes lack what was counted since.
_FLUSH_SECONDS = 0.25
_TARBALL_ROUTE = "/{package}/-/{file}"


def prepare(folder: Path | None) -> None:
    """Choose where numbers are kept: files in `folder` for all workers, or in memory (None).

    Call it before the first `Metrics` is made, once per process; the parent empties the folder
    before it starts workers.
    """
    if folder is None:
        os.environ.pop(_FOLDER, None)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        os.environ[_FOLDER] = str(folder)
    # prometheus_client chooses when it is imported; asking it to choose again frees us from the
    # order of imports.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


def forget(pid: int) -> None:
    """Leave a dead worker out of the gauges that count what is alive. Its counters stay."""
    if _FOLDER in os.environ:
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


@dataclass(slots=True)
class _Tally:
    """Replies of one kind since the last flush; `within` counts them by bucket of time."""

    count: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    within: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))


# Route, status, how it came about (if it was a GET), form, whether it was cut.
_What = tuple[str, int, CacheState | None, Form | None, bool]


class Metrics:
    """Everything that is counted. Make one per process.

    Counting in place costs a tenth of a hit: replies are tallied, and counted some times a second.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Requests answered", "route", "status")
        self._seconds = self._histogram("request_seconds", "Time to the last byte", "route")
        self._sent = self._counter("sent_bytes", "Bytes sent, headers included")
        self._cut = self._counter("cut_replies", "Replies broken off after they had begun")
        self._packuments = self._counter("packuments", "Packuments sent", "form", "state")
        self._tarballs = self._counter("tarballs", "Tarballs sent", "state")
        self._upstream = self._histogram(
            "upstream_seconds", "Time an uplink took", "uplink", "kind", "outcome"
        )
        self._ahead = self._counter(
            "ahead_requests", "Answers asked for ahead, by what became of them", "outcome"
        )
        self._mirror_runs = self._counter(
            "mirror_runs", "Runs of mirror rules, by how they ended", "rule", "end"
        )
        self._mirrored = self._counter("mirrored_bytes", "Bytes that mirror rules fetched", "rule")
        self._breakers = self._gauge(
            "breaker_open", "1 while an uplink is not asked", "max", "uplink"
        )
        self._flights = self._gauge("flights", "Calls to uplinks in the air", "livesum")
        self._disk = self._gauge("disk_bytes", "Bytes held", "mostrecent", "kind")
        # With several workers the first child of a kind opens its file: now, and not when there is
        # no descriptor left for it.
        self._seconds.labels("(none)")
        self._reply_children = lru_cache(maxsize=1024)(self._children_of_reply)
        self._state_children = lru_cache(maxsize=64)(self._child_of_state)
        self._tallies: dict[_What, _Tally] = {}
        self._timer: asyncio.TimerHandle | None = None

    def replied(self, exchange: Exchange, status: int, sent_bytes: int, seconds: float) -> None:
        """Count one reply."""
        freshness = exchange.freshness
        state = None if freshness is None or exchange.method != "GET" else freshness.state
        key = (exchange.route, status, state, exchange.form, exchange.is_cut)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        tally.count += 1
        tally.sent_bytes += sent_bytes
        tally.seconds += seconds
        tally.within[bisect_left(_SECONDS, seconds)] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Put what was counted where it is read from. Also to be done at the end."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, tallies, self._tallies = None, self._tallies, {}
        for (route, status, state, form, is_cut), tally in tallies.items():
            count, time_taken = self._reply_children(route, status)
            count.inc(tally.count)
            _observe_many(time_taken, tally)
            self._sent.inc(tally.sent_bytes)
            if is_cut:
                self._cut.inc(tally.count)
            if state is not None:
                form_value = None if form is None else form.value
                self._state_children(route, form_value, state).inc(tally.count)

    def upstream(self, uplink: str, kind: str, outcome: str, seconds: float) -> None:
        """Note one call to an uplink; `outcome` is a status or a word such as "timeout"."""
        self._upstream.labels(uplink, kind, outcome).observe(seconds)

    def ahead(self, outcome: str) -> None:
        """Count an answer that was asked for ahead; `outcome` is "used" or "wasted"."""
        self._ahead.labels(outcome).inc()

    def mirrored(self, rule: str, end: str, fetched_bytes: int) -> None:
        """Count a run of a mirror rule, and what it fetched."""
        self._mirror_runs.labels(rule, end).inc()
        self._mirrored.labels(rule).inc(fetched_bytes)

    def breaker(self, uplink: str, *, is_open: bool) -> None:
        """Note the state of an uplink's breaker."""
        self._breakers.labels(uplink).set(int(is_open))

    def flights(self, in_progress: int) -> None:
        """Note how many calls to uplinks are in the air in this worker."""
        self._flights.set(in_progress)

    def disk(self, kind: str, held_bytes: int) -> None:
        """Note how many bytes of a kind (tarballs, packuments, rendered, free) there are."""
        self._disk.labels(kind).set(held_bytes)

    def text(self) -> tuple[bytes, str]:
        """(body, content type) of a scrape; it may read files, so call it in a thread.

        What this process has counted is in it if it was flushed before.
        """
        registry = self._registry
        if _FOLDER in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return prometheus_client.generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4

    def _children_of_reply(self, route: str, status: int) -> tuple[Counter, Histogram]:
        return self._requests.labels(route, str(status)), self._seconds.labels(route)

    def _child_of_state(self, route: str, form: str | None, state: CacheState) -> Counter:
        if route == _TARBALL_ROUTE:
            return self._tarballs.labels(state.value)
        return self._packuments.labels(form or "none", state.value)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"packhouse_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(
            f"packhouse_{name}", text, labels, registry=self._registry, buckets=_SECONDS
        )

    def _gauge(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(
            f"packhouse_{name}",
            text,
            labels,
            registry=self._registry,
            multiprocess_mode=mode,  # type: ignore[arg-type]
        )


def _observe_many(histogram: Histogram, tally: _Tally) -> None:
    # prometheus_client has no way to note many at once; this is what its `observe` does for each.
    histogram._sum.inc(tally.seconds)  # noqa: SLF001
    for bucket, count in zip(histogram._buckets, tally.within, strict=True):  # noqa: SLF001
        if count:
            bucket.inc(count)
