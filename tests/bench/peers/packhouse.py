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
    uplink: str = UPLINK,
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[Peer]:
    """Serve what is in `folder`; `settings` are PACKHOUSE_... variables without that prefix."""
    given = SETTINGS | {"SERVER_WORKERS": str(workers)} | dict(settings or {})
    with server.serving(folder, "--uplink", uplink, *options, settings=given) as running:
        name = f"Packhouse, {workers} worker{'s' if workers > 1 else ''}"
        yield Peer(name, running.url, running.pid)


@contextmanager
def replaying(
    *folders: Path, log: Path, delay: float = 0, port: int = UPLINK_PORT
) -> Iterator[Peer]:
    """Run the uplink that answers what was recorded, each answer after `delay` seconds."""
    argv = processes.python("tests.bench.uplink", *map(str, folders), "--host", UPLINK_HOST)
    argv += ["--port", str(port), "--delay", str(delay)]
    paths = f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    with processes.running(argv, log, os.environ | {"PYTHONPATH": paths}) as process:
        url = f"http://{UPLINK_HOST}:{port}"
        wait(process, url, log, "/-/counts")
        yield Peer("uplink", url, process.pid)
