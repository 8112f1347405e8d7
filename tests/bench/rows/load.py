"""Rows that count answers a second while wrk asks as fast as it is answered."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from tests.bench import processes, rounds, trace
from tests.bench.asking import asking
from tests.bench.corpus import LARGE, MEDIUM, MEGABYTE, SMALL
from tests.bench.figures import Finding, Goal, Measure, Series, at_least, at_most
from tests.bench.peers.peer import Peer
from tests.bench.stage import Stage
from tests.bench.trace import Form, Request
from tests.bench.wording import MICROSECONDS, MILLISECONDS, RATE

CROWD = 256
GENTLE_CONNECTIONS, GENTLE_SECONDS = 4, 8
"""For a server that needs seconds for one answer: at its limit it gives as many on few."""
SEED = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """What came of one load: answers a second, and what a request cost the server's processes."""

    rate: float
    p99_ms: float
    cpu_us: float


Trial = Callable[[int], Sample]
Samples = Mapping[str, Sequence[Sample]]


def mixed(stage: Stage) -> Iterator[Finding]:
    """The requests of one npm install, mixed, on 16 connections."""
    us, alone, static = stage.us, stage.alone, stage.static
    found = sampled(stage, [us, alone, static, stage.caching, stage.verdaccio], shuffled(stage))
    for mine, theirs, goal in (
        (us, static, at_least(0.6)),
        (us, stage.verdaccio, at_least(60)),
        (us, stage.caching, None),
        (alone, static, None),
        (alone, stage.verdaccio, None),
    ):
        what = f"mixed trace, {mine.name.partition(', ')[2]}"
        yield rate("mixed", what, found, mine.name, theirs.name, goal)
    for theirs in static, stage.verdaccio:
        yield cost("mixed", "mixed trace: server CPU a request", found, us.name, theirs.name)


def crowd(stage: Stage) -> Iterator[Finding]:
    """The same on 256 connections: how long the slowest of a hundred waits."""
    us, static = stage.us.name, stage.static.name
    found = sampled(stage, [stage.us, stage.static], shuffled(stage), connections=CROWD)
    ours, theirs = (
        (Series(who, tuple(each.p99_ms for each in found[who]))) for who in (us, static)
    )
    what = f"p99 on {CROWD} connections, no error"
    yield Finding("crowd", what, MILLISECONDS, ours, theirs, Measure.RATIO, at_most(3))


def packuments(stage: Stage) -> Iterator[Finding]:
    """One packument alone: small, medium and large, in both forms."""
    goals = {SMALL: at_least(30), MEDIUM: at_least(200), LARGE: at_least(1000)}
    us, static, verdaccio = stage.us, stage.static, stage.verdaccio
    for name, goal in goals.items():
        for form in Form:
            request = trace.packument(name, form)
            slow = verdaccio if name == LARGE else None
            found = sampled(stage, [us, static, verdaccio], [request], slow=slow)
            size = len(stage.corpus.body(request)) / 1000
            what = f"{name}, {form.value} ({size:.1f} kB)"
            yield rate("packuments", what, found, us.name, static.name, at_least(0.6))
            yield rate("packuments", what, found, us.name, verdaccio.name, goal)
            yield cost("packuments", f"{what}: server CPU", found, us.name, static.name)


def tarballs(stage: Stage) -> Iterator[Finding]:
    """One tarball alone: a small one, and one of about 4 MB."""
    us, static, verdaccio = stage.us, stage.static, stage.verdaccio
    for size, goal in ((10_000, at_least(0.6)), (4 * MEGABYTE, at_least(0.9))):
        request = stage.corpus.tarball_near(size)
        found = sampled(stage, [us, static, verdaccio], [request])
        what = f"{request.path.rpartition('/')[2]} ({stage.corpus.tarballs[request.path]:,} B)"
        yield rate("tarballs", what, found, us.name, static.name, goal)
        yield rate("tarballs", what, found, us.name, verdaccio.name)
        yield cost("tarballs", f"{what}: server CPU", found, us.name, static.name)


def unchanged(stage: Stage) -> Iterator[Finding]:
    """304 answers for a small packument beside 200 answers for the same."""
    request = trace.packument(SMALL, Form.ABBREVIATED)
    with asking(stage.us.url) as client:
        etag = client.get(request).headers["etag"]
        conditional = replace(request, others=(("If-None-Match", etag),))
        if client.get(conditional).status != 304:
            raise SystemExit("our ETag, sent back, is not answered with 304")
    whole, nothing = "200 answers", "304 answers"
    trials = {
        whole: partial(sample, stage, stage.us, [request]),
        nothing: partial(sample, stage, stage.us, [conditional]),
    }
    found = alternated(stage, trials)
    yield rate("unchanged", f"304 for {SMALL}", found, nothing, whole, at_least(1.5))
    yield cost("unchanged", f"304 for {SMALL}: server CPU", found, nothing, whole)


def shuffled(stage: Stage) -> list[Request]:
    """The trace in one random order: a slow peer, which answers only a part, gets a fair one."""
    requests = list(stage.corpus.trace)
    random.Random(SEED).shuffle(requests)
    return requests


def sampled(
    stage: Stage,
    peers: Sequence[Peer],
    requests: Sequence[Request],
    *,
    connections: int = 0,
    slow: Peer | None = None,
) -> Samples:
    """Load each peer in alternating rounds, after one that does not count; one may be `slow`."""
    trials: dict[str, Trial] = {
        peer.name: partial(sample, stage, peer, requests, connections=connections) for peer in peers
    }
    if slow is not None:
        gently = {"connections": GENTLE_CONNECTIONS, "seconds": GENTLE_SECONDS}
        trials[slow.name] = partial(sample, stage, slow, requests, **gently)
    return alternated(stage, trials)


def alternated(stage: Stage, trials: Mapping[str, Trial]) -> Samples:
    """Do a round that does not count, so that every process has met every request; then the rest.

    What fills a peer beforehand asks on one connection, and so fills one worker's memory only.
    """
    rounds.alternate(trials, 1, stage.progress.tick)
    return rounds.alternate(trials, stage.pace.rounds, stage.progress.tick)


def sample(
    stage: Stage,
    peer: Peer,
    requests: Sequence[Request],
    number: int,
    *,
    connections: int = 0,
    seconds: float = 0,
) -> Sample:
    """Load one peer once; each round begins elsewhere in the list."""
    start = number * len(requests) // max(1, stage.pace.rounds)
    turned = [*requests[start:], *requests[:start]]
    before = processes.use(peer.pid).cpu_seconds
    load = stage.wrk.load(peer, turned, seconds or stage.pace.seconds, connections)
    spent = processes.use(peer.pid).cpu_seconds - before
    return Sample(load.rate, 1000 * load.p99, 1_000_000 * spent / load.requests)


def rate(
    row: str, what: str, found: Samples, us: str, peer: str, goal: Goal | None = None
) -> Finding:
    """Compare answers a second."""
    ours, theirs = (Series(who, tuple(each.rate for each in found[who])) for who in (us, peer))
    return Finding(row, what, RATE, ours, theirs, goal=goal)


def cost(row: str, what: str, found: Samples, us: str, peer: str) -> Finding:
    """Compare the processor time of a request, which other work on the machine changes least."""
    ours, theirs = (Series(who, tuple(each.cpu_us for each in found[who])) for who in (us, peer))
    return Finding(row, what, MICROSECONDS, ours, theirs)
