"""Measure Packhouse beside nginx and Verdaccio, on loopback, and write down what came of it."""

from __future__ import annotations

import argparse
import fcntl
import inspect
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from tests.bench import page, recording, results, table, tools
from tests.bench.corpus import TRACE, Corpus
from tests.bench.figures import Finding
from tests.bench.rows import ROWS
from tests.bench.stage import Pace, Progress, Stage, staged

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".bench"
PAGE = ROOT / "docs" / "performance.md"
QUICK, THOROUGH = Pace(2, 1, is_quick=True), Pace(6, 3, is_quick=False)


def main() -> None:
    """Measure what the command line asks for."""
    asked = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that all is ended
    console = Console()
    with _progress(console) as progress:
        alone(progress)
        found = tools.ready(KEPT, progress.say)
        corpus = Corpus(KEPT / "corpus")
        if asked.record or not (corpus.folder / TRACE).exists():
            corpus = recording.record(corpus.folder, progress.say)
        with staged(corpus, found, _pace(asked), progress) as stage:
            failed = measure(stage, asked.rows or list(ROWS), console)
    if asked.write or not (asked.rows or asked.quick):
        kept = [results.load(KEPT / "results", name) for name in ROWS]
        whole = [result for result in kept if result and not result.is_quick]
        page.write(PAGE, whole, found.versions)
    sys.exit(bool(failed))


def measure(stage: Stage, rows: Sequence[str], console: Console) -> Sequence[str]:
    """Print each finding as it comes, and keep those of a row once it is whole.

    Returns the rows that failed: what one came to before stays, and the others are measured.
    """
    failed = []
    busy = os.getloadavg()[0]
    for name in rows:
        stage.progress.tick(f"{name}: {summary(name)}")
        findings = []
        try:
            for finding in ROWS[name](stage):
                console.print(line(finding), markup=False, highlight=False, soft_wrap=True)
                findings.append(finding)
        except SystemExit as reason:
            failed.append(name)
            console.print(f"{name} failed: {reason}", markup=False, highlight=False)
        else:
            results.save(KEPT / "results", name, findings, is_quick=stage.pace.is_quick, busy=busy)
    return failed


def alone(progress: Progress) -> None:
    """Wait until no other run is under way; ours is until this process ends."""
    KEPT.mkdir(exist_ok=True)
    lock = os.open(KEPT / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        progress.say("waiting for another scripts/bench to end")
        fcntl.flock(lock, fcntl.LOCK_EX)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    rows = "\n".join(f"  {name:12} {summary(name)}" for name in ROWS)
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"{__doc__}\n\nrows:\n{rows}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="measure only these")
    parser.add_argument("--rounds", type=int, help="of each comparison (6, or 2 with --quick)")
    parser.add_argument("--seconds", type=float, help="of each load (3, or 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="see whether all works")
    parser.add_argument("--write", action="store_true",
                        help="write docs/performance.md, as a run of all rows does")  # fmt: skip
    parser.add_argument("--record", action="store_true", help="record again (needs the network)")
    asked = parser.parse_args()
    if unknown := [name for name in asked.rows if name not in ROWS]:
        parser.error(f"there is no row {unknown[0]}; there are {', '.join(ROWS)}")
    return asked


def summary(name: str) -> str:
    """What a row says of itself, in its docstring's first line."""
    return (inspect.getdoc(ROWS[name]) or "").partition("\n")[0]


def line(finding: Finding) -> str:
    """One finding on a terminal."""
    cells = [cell for cell in table.cells(finding) if cell]
    return " | ".join(cells)


def _pace(asked: argparse.Namespace) -> Pace:
    usual = QUICK if asked.quick else THOROUGH
    return Pace(asked.rounds or usual.rounds, asked.seconds or usual.seconds, asked.quick)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    """Show where the run is, in one line that changes if this is a terminal."""
    with console.status("starting") as status:
        yield Progress(say=console.print, tick=status.update)


if __name__ == "__main__":
    main()
