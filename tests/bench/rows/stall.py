"""The row about the event loop: how long anybody waits while something large is worked on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

from tests.bench import trace
from tests.bench.asking import asking
from tests.bench.figures import Finding, Measure, Series, at_most, percentile
from tests.bench.peers.peer import Peer
from tests.bench.stage import Stage
from tests.bench.synthetic import CHANGING
from tests.bench.wording import MILLISECONDS

PAUSE_SECONDS = 0.001
BUSY, IDLE = "while 50 MB packuments are refreshed", "while nothing else happens"


def stall(stage: Stage) -> Iterator[Finding]:
    """The slowest of a thousand pings of one worker while it refreshes packuments of 50 MB.

    What a ping takes beside the work of other processes on the same cores is part of it.
    """
    seconds = 3 * stage.pace.seconds
    busy: list[float] = []
    idle: list[float] = []
    with stage.fresh(settings={"CACHE_MAX_AGE": "0s"}) as us:
        with asking(us.url) as client:
            client.get(trace.packument(CHANGING))
        for number in range(stage.pace.few):
            stage.progress.tick(f"round {number + 1}")
            idle.append(_slowest(us, seconds))
            busy.append(_refreshing(us, seconds))
    yield Finding(
        "stall", f"p99.9 of a ping {BUSY}", MILLISECONDS,
        Series("Packhouse", tuple(busy)), Series(IDLE, tuple(idle)), Measure.VALUE, at_most(20),
    )  # fmt: skip


def _refreshing(us: Peer, seconds: float) -> float:
    """Ping while somebody asks for the packument again and again; it is never fresh."""
    is_over = threading.Event()
    thread = threading.Thread(target=_ask, args=(us, is_over))
    thread.start()
    try:
        return _slowest(us, seconds)
    finally:
        is_over.set()
        thread.join()


def _ask(us: Peer, is_over: threading.Event) -> None:
    """HEAD, which brings about all the work and none of the reading."""
    address = urlsplit(us.url)
    lines = [f"HEAD /{CHANGING} HTTP/1.1", f"Host: {address.netloc}", "Accept-Encoding: gzip"]
    with closing(socket.create_connection((address.hostname, address.port), timeout=60)) as link:
        while not is_over.is_set():
            link.sendall("\r\n".join([*lines, "", ""]).encode())
            link.recv(1 << 16)


def _slowest(us: Peer, seconds: float) -> float:
    """Milliseconds that one ping of a thousand takes or more, one connection, one at a time."""
    address = urlsplit(us.url)
    ping = f"GET /-/ping HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    with closing(socket.create_connection((address.hostname, address.port), timeout=60)) as link:
        while (began := time.perf_counter()) < until:
            link.sendall(ping)
            link.recv(4096)
            taken.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)
    return percentile(taken, 0.999) * 1000
