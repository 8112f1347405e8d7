"""Packhouse as people run it, and the replaying uplink that all peers have."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import processes
from tests.bench.corpus import UPLINK, UPLINK_HOST, UPLINK_PORT
from tests.bench.peers.peer import Peer, wait
from tests.clients import server

ROOT = Path(__file__).resolve().parents[3]

# What is measured is a hit, not the age of a copy; nginx and Verdaccio write no access log either.
SETTINGS = {"CACHE_MAX_AGE": "1d", "LOG_ACCESS": "false", "CACHE_MIN_FREE": "0B"}


@contextmanager
def serving(
    folder: Path,
    workers: int = 1,
    *,
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Peer]:
    """Serve what is in `folder`; `settings` are PACKHOUSE_... variables without that prefix."""
    given = SETTINGS | {"SERVER_WORKERS": str(workers)} | dict(settings or {})
    with server.serving(folder, "--uplink", UPLINK, *options, settings=given) as running:
        name = f"Packhouse, {workers} worker{'s' if workers > 1 else ''}"
        yield Peer(name, running.url, running.pid)


@contextmanager
def replaying(*folders: Path, log: Path) -> Iterator[Peer]:
    """Run the uplink that answers what was recorded."""
    argv = processes.python("tests.bench.uplink", *map(str, folders), "--host", UPLINK_HOST)
    argv += ["--port", str(UPLINK_PORT)]
    paths = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    with processes.running(argv, log, os.environ | {"PYTHONPATH": paths}) as process:
        wait(process, UPLINK, log, "/-/counts")
        yield Peer("uplink", UPLINK, process.pid)
