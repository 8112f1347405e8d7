"""The row about the start: until it is ready, with everything of an install held."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench import processes
from tests.bench.corpus import UPLINK
from tests.bench.figures import Finding, Measure, Series, at_most
from tests.bench.peers import packhouse
from tests.bench.stage import CORES, Stage
from tests.bench.wording import SECONDS
from tests.clients.server import COMMAND, free_port

LIMIT_SECONDS = 60


def start(stage: Stage) -> Iterator[Finding]:
    """From the command to the first answer that says it is ready."""
    folder = stage.folder / "start"
    with packhouse.serving(folder) as us:
        stage.wrk.load(us, stage.corpus.trace, 2)
    samples = []
    for number in range(stage.pace.rounds):
        stage.progress.tick(f"round {number + 1}")
        samples.append(ready_after(folder, CORES))
    what = f"ready, {CORES} workers"
    taken = Series("Packhouse", tuple(each.seconds for each in samples))
    yield Finding("start", what, SECONDS, taken, None, Measure.VALUE, at_most(1))
    spent = Series("Packhouse", tuple(each.cpu_seconds for each in samples))
    yield Finding("start", f"{what}: CPU of all processes", SECONDS, spent)


@dataclass(frozen=True, slots=True)
class Start:
    """How long a start took, and the processor time it needed, which others change less."""

    seconds: float
    cpu_seconds: float


def ready_after(folder: Path, workers: int) -> Start:
    """Start on a data folder, wait until it is ready, stop."""
    url = f"http://127.0.0.1:{free_port()}"
    argv = [str(COMMAND), "serve", "--listen", url.removeprefix("http://"), "--data", str(folder)]
    argv += ["--uplink", UPLINK, "--workers", str(workers)]
    began = time.perf_counter()
    with processes.running(argv, folder.with_suffix(".start.log")) as process:
        while not _is_ready(url):
            if time.perf_counter() - began > LIMIT_SECONDS:
                raise SystemExit(f"not ready after {LIMIT_SECONDS} s, with {folder}")
            time.sleep(0.005)
        taken = time.perf_counter() - began
        return Start(taken, processes.use(process.pid).cpu_seconds)


def _is_ready(url: str) -> bool:
    connection = http.client.HTTPConnection(str(urlsplit(url).hostname), urlsplit(url).port)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
