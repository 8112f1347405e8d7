"""Rows about what is not held yet: the first byte, and whole installs over a long line."""

from __future__ import annotations

import random
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import rounds, trace
from tests.bench.asking import asking
from tests.bench.corpus import MEGABYTE
from tests.bench.figures import Finding, Measure, Series, at_most
from tests.bench.peers.peer import Peer
from tests.bench.recording import BUN, NPM, PNPM
from tests.bench.stage import CORES, Stage
from tests.bench.trace import Request
from tests.bench.wording import MILLISECONDS, SECONDS
from tests.clients import project
from tests.clients.clients import Client

SAMPLE = 120
LINE_SECONDS = 0.05
THROUGH, DIRECT = "through us", "directly"


def first_byte(stage: Stage) -> Iterator[Finding]:
    """How much later the first byte comes, of what we do not hold, than from the uplink itself."""
    names = [name for name in stage.corpus.names if _has_small_tarball(stage, name)]
    picked = random.Random(1).sample(names, min(SAMPLE, len(names)))
    packuments = [trace.packument(name) for name in picked]
    tarballs = [_tarball_of(stage, name) for name in picked]
    with stage.fresh() as us:
        for what, requests, goal in (
            ("packument", packuments, at_most(5)),
            ("tarball", tarballs, at_most(3)),
        ):
            ours, theirs = _first_bytes(stage, us, requests)
            label = f"first byte of a cold {what}, median of {len(requests)}"
            yield Finding("first-byte", label, MILLISECONDS, ours, theirs, Measure.DIFFERENCE, goal)


def cold(stage: Stage) -> Iterator[Finding]:
    """Installs without a lockfile, nothing held, each answer of the uplink 50 ms away."""
    for client, goal in (NPM, at_most(0.9)), (PNPM, at_most(0.7)), (BUN, at_most(0.7)):
        asked: dict[str, list[float]] = {THROUGH: [], DIRECT: []}
        trials = {
            THROUGH: partial(_through, stage, client, asked[THROUGH]),
            DIRECT: partial(_directly, stage, client, asked[DIRECT]),
        }
        with _far(stage):
            found = rounds.series(trials, stage.pace.few, stage.progress.tick)
        what = f"cold install with {client.name}, uplink 50 ms away"
        yield Finding("cold", what, SECONDS, found[THROUGH], found[DIRECT], goal=goal)
        counts = [Series(who, tuple(numbers)) for who, numbers in asked.items()]
        yield Finding(
            "cold", f"the same, {client.name}: what the uplink was asked", "requests", *counts
        )


def warm(stage: Stage) -> Iterator[Finding]:
    """Installs with bun, everything held: all on the RAM disk."""
    peers = {peer.name: peer for peer in (stage.us, stage.verdaccio, stage.caching)}
    peers[DIRECT] = stage.uplink
    for peer in peers.values():
        install(stage, BUN, peer.url)  # a new address: links have to be rewritten once
    trials = {name: partial(_warm, stage, peer) for name, peer in peers.items()}
    found = rounds.series(trials, stage.pace.rounds, stage.progress.tick)
    us = found.pop(stage.us.name)
    limits = {stage.verdaccio.name: 0.25, stage.caching.name: 1.0, DIRECT: 1.0}
    for name, peer in found.items():
        yield Finding(
            "warm", "warm install with bun", SECONDS, us, peer, goal=at_most(limits[name])
        )


def install(stage: Stage, client: Client, url: str) -> float:
    """Install the app with a client that never installed before; the seconds it took."""
    with tempfile.TemporaryDirectory(dir=stage.folder, prefix="install-") as at:
        app = project.copy(Path(at) / "app", client, url, locked=False)
        outcome = client.install(app, url, Path(at) / "cache", frozen=False)
        if outcome.exit_code:
            raise SystemExit(f"an install from {url} failed\n{outcome}")
        return outcome.seconds


def _warm(stage: Stage, peer: Peer, _number: int) -> float:
    return install(stage, BUN, peer.url)


def _through(stage: Stage, client: Client, asked: list[float], _number: int) -> float:
    with stage.fresh(CORES) as us:
        seconds = install(stage, client, us.url)
    asked.append(_asked(stage))
    return seconds


def _directly(stage: Stage, client: Client, asked: list[float], _number: int) -> float:
    seconds = install(stage, client, stage.uplink.url)
    asked.append(_asked(stage))
    return seconds


@contextmanager
def _far(stage: Stage) -> Iterator[None]:
    """Have each answer of the uplink wait; starts its count anew."""
    with asking(stage.uplink.url) as client:
        client.get(Request(f"/-/delay/{LINE_SECONDS}"))
        try:
            yield
        finally:
            client.get(Request("/-/delay/0"))


def _asked(stage: Stage) -> float:
    """How many requests the uplink has had since the last time."""
    with asking(stage.uplink.url) as client:
        return float(sum(client.get(Request("/-/counts")).json().values()))


def _first_bytes(stage: Stage, us: Peer, requests: Sequence[Request]) -> tuple[Series, Series]:
    """Ask each once of both, in turns; a sample is the median of a round's share of them."""
    ours: list[float] = []
    theirs: list[float] = []
    share = len(requests) // stage.pace.rounds
    for number in range(stage.pace.rounds):
        part = requests[number * share : (number + 1) * share]
        stage.progress.tick(f"round {number + 1} of {stage.pace.rounds}")
        pairs = [(_first(us.url, each), _first(stage.uplink.url, each)) for each in part]
        ours.append(statistics.median(pair[0] for pair in pairs))
        theirs.append(statistics.median(pair[1] for pair in pairs))
    return Series(THROUGH, tuple(ours)), Series(DIRECT, tuple(theirs))


def _first(url: str, request: Request) -> float:
    """Milliseconds from a request to the first byte of its answer, on a new connection."""
    address = urlsplit(url)
    lines = [f"GET {request.path} HTTP/1.1", f"Host: {address.netloc}", "Connection: close"]
    lines += [f"{name}: {text}" for name, text in request.headers.items()]
    with closing(socket.create_connection((address.hostname, address.port), timeout=30)) as link:
        began = time.perf_counter()
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        head = link.recv(1)
        seconds = time.perf_counter() - began
        while chunk := link.recv(1 << 16):
            head += chunk[:20]
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"{url} answers {request.path} with {head[:60]!r}")
    return seconds * 1000


def _has_small_tarball(stage: Stage, name: str) -> bool:
    return any(size < MEGABYTE for size in _sizes(stage, name).values())


def _tarball_of(stage: Stage, name: str) -> Request:
    return trace.tarball(min(_sizes(stage, name)))


def _sizes(stage: Stage, name: str) -> dict[str, int]:
    prefix = f"/{name}/-/"
    sizes = stage.corpus.tarballs
    return {path: size for path, size in sizes.items() if path.startswith(prefix)}
