"""Rows that count answers a second while wrk asks as fast as it is answered."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import partial

from tests.bench import rounds, trace
from tests.bench.asking import asking
from tests.bench.corpus import LARGE, MEDIUM, MEGABYTE, SMALL
from tests.bench.figures import Finding, Goal, Measure, Series, at_least, at_most
from tests.bench.peers.peer import Peer
from tests.bench.stage import Stage
from tests.bench.trace import Form, Request
from tests.bench.wording import MILLISECONDS, RATE

CROWD = 256
SEED = 1


def mixed(stage: Stage) -> Iterator[Finding]:
    """The requests of one npm install, mixed, on 16 connections."""
    us, alone, static = stage.us, stage.alone, stage.static
    peers = [us, alone, static, stage.caching, stage.verdaccio]
    found = rates(stage, peers, shuffled(stage))
    for mine, theirs, goal in (
        (us, static, at_least(0.6)),
        (us, stage.verdaccio, at_least(60)),
        (us, stage.caching, None),
        (alone, static, None),
        (alone, stage.verdaccio, None),
    ):
        yield _rate("mixed", mine.name, found, mine, theirs, goal)


def crowd(stage: Stage) -> Iterator[Finding]:
    """The same on 256 connections: how long the slowest of a hundred waits."""
    requests, pace = shuffled(stage), stage.pace
    trials = {
        peer.name: partial(_crowded, stage, peer, requests) for peer in (stage.us, stage.static)
    }
    found = rounds.series(trials, pace.rounds, stage.progress.tick)
    yield Finding(
        "crowd",
        f"p99 on {CROWD} connections, no error",
        MILLISECONDS,
        found[stage.us.name],
        found[stage.static.name],
        Measure.RATIO,
        at_most(3),
    )


def packuments(stage: Stage) -> Iterator[Finding]:
    """One packument alone: small, medium and large, in both forms."""
    goals = {SMALL: at_least(30), MEDIUM: at_least(200), LARGE: at_least(1000)}
    for name, goal in goals.items():
        for form in Form:
            request = trace.packument(name, form)
            found = rates(stage, [stage.us, stage.static, stage.verdaccio], [request])
            size = len(stage.corpus.body(request)) / 1000
            what = f"{name}, {form.value} ({size:.1f} kB)"
            yield _rate("packuments", what, found, stage.us, stage.static, at_least(0.6))
            yield _rate("packuments", what, found, stage.us, stage.verdaccio, goal)


def tarballs(stage: Stage) -> Iterator[Finding]:
    """One tarball alone: a small one, and one of about 4 MB."""
    for size, goal in ((10_000, at_least(0.6)), (4 * MEGABYTE, at_least(0.9))):
        request = stage.corpus.tarball_near(size)
        found = rates(stage, [stage.us, stage.static, stage.verdaccio], [request])
        what = f"{request.path.rpartition('/')[2]} ({stage.corpus.tarballs[request.path]:,} B)"
        yield _rate("tarballs", what, found, stage.us, stage.static, goal)
        yield _rate("tarballs", what, found, stage.us, stage.verdaccio, None)


def unchanged(stage: Stage) -> Iterator[Finding]:
    """304 answers for a small packument beside 200 answers for the same."""
    request = trace.packument(SMALL, Form.ABBREVIATED)
    with asking(stage.us.url) as client:
        etag = client.get(request).headers["etag"]
    conditional = Request(request.path, request.accept, others=(("If-None-Match", etag),))
    with asking(stage.us.url) as client:
        if client.get(conditional).status != 304:
            raise SystemExit("our ETag, sent back, is not answered with 304")
    whole, nothing = "200 answers", "304 answers"
    trials = {
        whole: partial(rate, stage, stage.us, [request]),
        nothing: partial(rate, stage, stage.us, [conditional]),
    }
    found = rounds.series(trials, stage.pace.rounds, stage.progress.tick)
    goal = at_least(1.5)
    yield Finding("unchanged", f"304 for {SMALL}", RATE, found[nothing], found[whole], goal=goal)


def shuffled(stage: Stage) -> list[Request]:
    """The trace in one random order: a slow peer, which answers only a part, gets a fair one."""
    requests = list(stage.corpus.trace)
    random.Random(SEED).shuffle(requests)
    return requests


def rates(stage: Stage, peers: Sequence[Peer], requests: Sequence[Request]) -> dict[str, Series]:
    """Answers a second of each peer, in alternating rounds."""
    trials = {peer.name: partial(rate, stage, peer, requests) for peer in peers}
    return rounds.series(trials, stage.pace.rounds, stage.progress.tick)


def rate(stage: Stage, peer: Peer, requests: Sequence[Request], number: int) -> float:
    """One trial; each round begins elsewhere in the list."""
    start = number * len(requests) // max(1, stage.pace.rounds)
    return stage.wrk.load(peer, [*requests[start:], *requests[:start]], stage.pace.seconds).rate


def _crowded(stage: Stage, peer: Peer, requests: Sequence[Request], _number: int) -> float:
    load = stage.wrk.load(peer, requests, stage.pace.seconds, connections=CROWD)
    return load.p99 * 1000


def _rate(
    row: str, what: str, found: dict[str, Series], us: Peer, peer: Peer, goal: Goal | None
) -> Finding:
    return Finding(row, what, RATE, found[us.name], found[peer.name], goal=goal)
