"""Record, replay, measure, print: see `python -m tests.bench --help`."""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.table import Table

from tests.bench import processes, trace
from tests.bench.processes import Use
from tests.bench.trace import Kind, Request
from tests.clients import project
from tests.clients.clients import Npm
from tests.clients.server import Server, serving

KEPT = Path(__file__).resolve().parents[2] / ".bench"
SHM = Path("/dev/shm")
CLIENT = Npm("12")
ACCEPTS = {"full": "application/json", "abbreviated": "application/vnd.npm.install-v1+json"}

# The mirror has to stay fresh: what is measured is a hit, not the network.
SETTINGS = {"CACHE_MAX_AGE": "1h"}
FIRST_ROUND_SECONDS = 600
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one replay. `latencies` are seconds, one list for each request of the trace."""

    requests: Sequence[Request]
    seconds: float
    latencies: Sequence[Sequence[float]]
    lengths: Sequence[int]
    failed: Sequence[int]
    failures: dict[str, int]
    generator_cpu_seconds: float
    cpu_seconds: float
    after: Use


def main() -> None:
    """Measure what the command line asks for; exit code 1 if any answer was wrong."""
    asked = arguments()
    console = Console()
    with data(console, record=asked.record) as folder:
        requests = chosen(trace.load(KEPT / "trace.jsonl"), asked)
        console.print(
            f"{len(requests)} requests, {asked.connections} connections, {asked.seconds:g} s, "
            f"{asked.workers} worker(s), form: {asked.form}"
        )
        settings = SETTINGS | {"SERVER_WORKERS": str(asked.workers)}
        with serving(folder, settings=settings) as server:
            run = replay(server, requests, asked)
    report(console, run)
    sys.exit(bool(run.failures))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--workers", type=int, default=1, help="processes that serve (1)")
    parser.add_argument("--connections", type=int, default=16, help="kept alive, in all (16)")
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure (10)")
    parser.add_argument("--form", choices=["recorded", *ACCEPTS], default="recorded")
    parser.add_argument("--only", choices=[kind.value for kind in Kind], help="leave out the rest")
    parser.add_argument("--record", action="store_true", help="record again, from an empty mirror")
    return parser.parse_args()


@contextmanager
def data(console: Console, *, record: bool) -> Iterator[Path]:
    """Yield a throw-away copy of a filled data folder, in memory if there is room."""
    if record or not (KEPT / "trace.jsonl").exists():
        shutil.rmtree(KEPT, ignore_errors=True)
        KEPT.mkdir()
        fill(console)
    size_bytes = sum(path.stat().st_size for path in (KEPT / "data").rglob("*"))
    in_memory = SHM.is_dir() and shutil.disk_usage(SHM).free > 3 * size_bytes
    with tempfile.TemporaryDirectory(
        prefix="packhouse-bench-", dir=SHM if in_memory else KEPT
    ) as at:
        yield shutil.copytree(KEPT / "data", Path(at) / "data")


def fill(console: Console) -> None:
    """Install the app through an empty Packhouse, and keep what it asked and what is held now."""
    console.print(f"recording: {CLIENT.name} installs the app through an empty Packhouse ...")
    with (
        tempfile.TemporaryDirectory(dir=KEPT) as place,
        serving(KEPT / "data") as server,
        trace.recording(server.url) as (url, requests),
    ):
        app = project.copy(Path(place) / "app", CLIENT, url, locked=False)
        outcome = CLIENT.install(app, url, Path(place) / "cache", frozen=False)
        if outcome.exit_code:
            raise SystemExit(f"the install failed; nothing is kept\n{outcome}")
        asked = [request for request in requests if request.method == "GET"]
        console.print(f"recorded {len(asked)} requests in {outcome.seconds:.1f} s")
    trace.save(asked, KEPT / "trace.jsonl")


def chosen(requests: Sequence[Request], asked: argparse.Namespace) -> Sequence[Request]:
    """Leave out and change what the command line says."""
    kept = [request for request in requests if asked.only in {None, request.kind.value}]
    if asked.form == "recorded":
        return kept
    accept = ACCEPTS[asked.form]
    return [replace(r, accept=accept) if r.kind is Kind.PACKUMENT else r for r in kept]


def replay(server: Server, requests: Sequence[Request], asked: argparse.Namespace) -> Run:
    """Have the load generator ask, and measure the server between its first round and its end."""
    address = urlsplit(server.url)
    plan = {
        "host": address.hostname,
        "port": address.port,
        "connections": asked.connections,
        "seconds": asked.seconds,
        "patience": FIRST_ROUND_SECONDS,
        "requests": [_wire(request, address.netloc) for request in requests],
    }
    with subprocess.Popen(
        [sys.executable, "-m", "tests.bench.load"], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as generator:  # fmt: skip
        _say(generator, json.dumps(plan))
        if generator.stdout.readline() != "warm\n":
            raise SystemExit("the load generator ended before it was warm")
        before = processes.use(server.pid)
        _say(generator, "go")
        said = generator.stdout.read()
        if not said:
            raise SystemExit("the load generator gave up; what it said stands above")
        seen = json.loads(said)
        after = processes.use(server.pid)
    spent = after.cpu_seconds - before.cpu_seconds
    own = seen.pop("cpu_seconds")
    return Run(requests=requests, cpu_seconds=spent, generator_cpu_seconds=own, after=after, **seen)


def _say(generator: subprocess.Popen[str], line: str) -> None:
    generator.stdin.write(f"{line}\n")
    generator.stdin.flush()


def _wire(request: Request, host: str) -> str:
    """Write a request as it goes over the wire."""
    return (
        f"{request.method} {request.path} HTTP/1.1\r\nHost: {host}\r\n"
        f"Accept: {request.accept}\r\nAccept-Encoding: {request.accept_encoding}\r\n"
        "User-Agent: packhouse-bench\r\nConnection: keep-alive\r\n\r\n"
    )


def report(console: Console, run: Run) -> None:
    """Print one row for each kind of request and one for all, then what they cost."""
    table = Table("", "requests", "req/s", "MB/s", "p50 ms", "p99 ms", "max ms", "wrong")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind in Kind:
        table.add_row(kind.value, *_row(run, [r.kind is kind for r in run.requests]))
    table.add_row("all", *_row(run, [True] * len(run.requests)))
    console.print(table)
    answers = max(1, sum(map(len, run.latencies)))
    console.print(
        f"server: {run.after.processes} process(es), {run.cpu_seconds:.2f} CPU seconds in "
        f"{run.seconds:.2f} s ({1e6 * run.cpu_seconds / answers:.0f} µs a request), "
        f"peak memory {run.after.peak_bytes / MEGABYTE:.0f} MB"
    )
    console.print(f"load generator: {run.generator_cpu_seconds:.2f} CPU seconds")
    for reason, times in sorted(run.failures.items()):
        console.print(f"wrong, {times} times: {reason}", markup=False)


def _row(run: Run, wanted: Sequence[bool]) -> list[str]:
    """Sum up the requests that are `wanted`."""
    picked = [number for number, is_wanted in enumerate(wanted) if is_wanted]
    seconds = sorted(second for number in picked for second in run.latencies[number])
    sent = sum(len(run.latencies[number]) * run.lengths[number] for number in picked)
    wrong = sum(run.failed[number] for number in picked)
    rate = f"{len(seconds) / run.seconds:.0f}"
    volume = f"{sent / run.seconds / MEGABYTE:.1f}"
    spread = [f"{1000 * _percentile(seconds, part):.2f}" for part in (0.5, 0.99, 1)]
    return [str(len(seconds)), rate, volume, *spread, str(wrong)]


def _percentile(ordered: Sequence[float], part: float) -> float:
    """Return the smallest value that `part` of all do not exceed; 0 of none."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)] if ordered else 0.0


if __name__ == "__main__":
    main()
