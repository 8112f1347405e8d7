"""Verdaccio as it comes, with one uplink, no access log, and answers that are kept for a day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import processes
from tests.bench.corpus import UPLINK
from tests.bench.peers.peer import Peer, wait
from tests.clients.clients import NODE
from tests.clients.server import free_port

SETTINGS = """
storage: {folder}/storage
auth:
  htpasswd:
    file: {folder}/htpasswd
uplinks:
  up:
    url: {uplink}/
    maxage: 1d
    timeout: 60s
packages:
  '@*/*': {{ access: $all, publish: $authenticated, proxy: up }}
  '**': {{ access: $all, publish: $authenticated, proxy: up }}
web: {{ enable: false }}
server: {{ keepAliveTimeout: 300 }}
log: {{ type: stdout, format: json, level: fatal }}
"""


@contextmanager
def serving(entry: Path, folder: Path) -> Iterator[Peer]:
    """Run one; it knows no other way than one process."""
    folder.mkdir(parents=True)
    file = folder / "config.yaml"
    file.write_text(SETTINGS.format(folder=folder, uplink=UPLINK))
    listen = f"127.0.0.1:{free_port()}"
    log = folder / "verdaccio.log"
    argv = [str(NODE), str(entry), "--config", str(file), "--listen", listen]
    env = os.environ | {"NODE_ENV": "production", "HOME": str(folder)}
    with processes.running(argv, log, env) as process:
        wait(process, f"http://{listen}", log)
        yield Peer("Verdaccio", f"http://{listen}", process.pid)
