"""The row about size: a thousand, a hundred thousand and a million tarballs held.

The rows of an index are multiplied, not the files: all name the blobs of the few that were fetched,
but for those that are evicted, which name blobs that are not there.
"""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

from tests.bench import rounds
from tests.bench.figures import Finding, Measure, Series, at_most
from tests.bench.peers import packhouse
from tests.bench.rows.load import sample
from tests.bench.rows.start import ready_after
from tests.bench.stage import Stage
from tests.bench.trace import Kind
from tests.bench.wording import MILLISECONDS, SECONDS
from tests.clients.server import COMMAND

SIZES = {"1 k": 1_000, "100 k": 100_000, "1 M": 1_000_000}
SMALLEST, LARGEST = "1 k", "1 M"
EVICTED = 1_000
EVICTED_BYTES = 1 << 30
"""Of each that is to be evicted: more than all that stays, so that the limit is theirs alone."""

# Hits are to be looked up and read, not found in memory.
SETTINGS = {"CACHE_MEMORY": "1MiB", "CACHE_MAX_SIZE": "100TiB"}

MULTIPLY = """
INSERT INTO tarballs (uplink, name, file, version, digest, size_bytes, stored_at, used_at)
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :times),
    pattern AS (SELECT * FROM tarballs ORDER BY used_at DESC LIMIT 1)
SELECT uplink, :prefix || n, :prefix || n || '-1.0.0.tgz', '1.0.0', iif(:is_apart,
    lower(hex(randomblob(32))), digest), iif(:is_apart, :size, size_bytes), stored_at - :age,
    used_at - :age - n FROM numbers, pattern
"""
DAY = 86_400_000_000


def growth(stage: Stage) -> Iterator[Finding]:
    """Hits, start and eviction with 1 k, 100 k and 1 M tarballs in the index."""
    folders = {label: stage.folder / f"grown-{times}" for label, times in SIZES.items()}
    for label, folder in folders.items():
        stage.progress.tick(f"growth: making {label}")
        _grow(stage, folder, SIZES[label])
    hits = _hits(stage, folders)
    starts = {label: _starts(stage, folder) for label, folder in folders.items()}
    gone = {label: _evictions(stage, folder) for label, folder in folders.items()}
    few = f"with {SMALLEST}"
    for label in list(SIZES)[1:]:
        what = f"a hit that is looked up and read, {label} tarballs"
        us, peer = hits[label], Series(few, hits[SMALLEST].samples)
        yield Finding("growth", what, MILLISECONDS, us, peer, goal=at_most(1.1))
        us = starts[label]
        what = f"ready, {label} tarballs"
        yield Finding("growth", what, SECONDS, us, None, Measure.VALUE, at_most(2))
        us, peer = gone[label], Series(few, gone[SMALLEST].samples)
        what = f"{EVICTED:,} evicted (cache gc), {label} tarballs"
        yield Finding("growth", what, SECONDS, us, peer, goal=at_most(1.5))


def _grow(stage: Stage, folder: Path, times: int) -> None:
    """Hold the tarballs of the trace, and as many more rows as are wanted."""
    asked = [request for request in stage.corpus.trace if request.kind is Kind.TARBALL]
    with packhouse.serving(folder, settings=SETTINGS) as us:
        stage.wrk.load(us, asked, 2)
    _multiply(folder, "grown-", times, is_apart=False)


def _multiply(folder: Path, prefix: str, times: int, *, is_apart: bool) -> None:
    """Add rows; those that are `is_apart` are old and large, and name blobs of their own."""
    facts = {"prefix": prefix, "times": times, "is_apart": is_apart, "size": EVICTED_BYTES}
    with closing(sqlite3.connect(folder / "index.sqlite")) as index, index:
        index.execute(MULTIPLY, facts | {"age": 9 * DAY if is_apart else DAY})


def _hits(stage: Stage, folders: dict[str, Path]) -> dict[str, Series]:
    """Milliseconds of one worker for each of the tarballs of the trace, 16 at a time."""
    asked = [request for request in stage.corpus.trace if request.kind is Kind.TARBALL]
    with ExitStack() as held:
        peers = {
            label: held.enter_context(packhouse.serving(folder, settings=SETTINGS))
            for label, folder in folders.items()
        }
        trials = {
            label: lambda number, peer=peer: 1000 / sample(stage, peer, asked, number).rate
            for label, peer in peers.items()
        }
        rounds.alternate(trials, 1, stage.progress.tick)  # what a process does once, not counted
        return rounds.series(trials, stage.pace.rounds, stage.progress.tick)


def _starts(stage: Stage, folder: Path) -> Series:
    stage.progress.tick(f"growth: starting on {folder.name}")
    samples = [ready_after(folder, 1).seconds for _ in range(stage.pace.few)]
    return Series("Packhouse", tuple(samples))


def _evictions(stage: Stage, folder: Path) -> Series:
    stage.progress.tick(f"growth: evicting from {folder.name}")
    samples = [_evict(folder, number) for number in range(stage.pace.few)]
    return Series("Packhouse", tuple(samples))


def _evict(folder: Path, number: int) -> float:
    """Have a thousand old rows evicted by the command; the seconds that took."""
    _multiply(folder, f"old-{number}-", EVICTED, is_apart=True)
    argv = [str(COMMAND), "cache", "gc", "--data", str(folder)]
    config = folder.with_suffix(".toml")
    config.write_text('[cache]\nmax_size = "1GiB"\nmin_free = "0B"\n')
    began = time.perf_counter()
    subprocess.run([*argv, "--config", str(config)], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    with closing(sqlite3.connect(folder / "index.sqlite")) as index:
        left = index.execute("SELECT count(*) FROM tarballs WHERE name LIKE 'old-%'").fetchone()[0]
    if left:
        raise SystemExit(f"{left} of {EVICTED} tarballs were not evicted")
    return seconds
