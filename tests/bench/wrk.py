"""The load: wrk asks for a list of requests, over and over, on connections that are kept alive.

It is a C program with one thread for each core: on two cores it takes from the server what it
uses, and from every server about the same for the same answers.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import processes
from tests.bench.asking import HOST
from tests.bench.peers.peer import Peer
from tests.bench.trace import Request

SCRIPT = Path(__file__).with_name("replay.lua")
PATIENCE_SECONDS = 20
"""How long an answer may take before it counts as an error."""


@dataclass(frozen=True, slots=True)
class Load:
    """What came of one run; times are seconds, `errors` includes answers from 400 on."""

    requests: int
    seconds: float
    bytes: int
    p50: float
    p99: float
    p999: float
    errors: int

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True)
class Wrk:
    """The program, and a folder for its plans."""

    program: Path
    folder: Path
    connections: int = 16

    def load(
        self, peer: Peer, requests: Sequence[Request], seconds: float, connections: int = 0
    ) -> Load:
        """Ask `peer` for `seconds`, and wait until it has finished what it began; or fail."""
        load = self._run(peer, requests, seconds, connections or self.connections)
        processes.settle(peer.pid)
        if load.errors or not load.requests:
            raise SystemExit(f"{peer.name}: {load.errors} errors, {load.requests} answers")
        return load

    def _run(
        self, peer: Peer, requests: Sequence[Request], seconds: float, connections: int
    ) -> Load:
        self.folder.mkdir(exist_ok=True)
        plan = self.folder / "plan"
        plan.write_text(planned(requests))
        threads = os.cpu_count() or 1
        argv = [str(self.program), f"-t{threads}", f"-c{connections}"]
        argv += [f"-d{max(1, round(seconds))}s", "--timeout", f"{PATIENCE_SECONDS}s"]
        argv += ["-s", str(SCRIPT), peer.url, "--", str(plan), str(threads)]
        said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
        return Load(**json.loads(said.splitlines()[-1]))


def planned(requests: Sequence[Request]) -> str:
    """Write what replay.lua reads."""
    lines = []
    for request in requests:
        pairs = {"Host": HOST, **request.headers}.items()
        lines.append("\t".join([request.path, *(text for pair in pairs for text in pair)]))
    return "\n".join(lines) + "\n"
