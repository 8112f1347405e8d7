"""The row about the start: until it is ready, with everything of an install held."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.bench.corpus import UPLINK
from tests.bench.figures import Finding, Measure, Series, at_most
from tests.bench.peers import packhouse
from tests.bench.processes import running
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
    us_ready = Series("Packhouse", tuple(samples))
    what = f"ready, {CORES} workers"
    yield Finding("start", what, SECONDS, us_ready, None, Measure.VALUE, at_most(1))


def ready_after(folder: Path, workers: int) -> float:
    """Start on a data folder, wait until it is ready, stop; the seconds until it was."""
    url = f"http://127.0.0.1:{free_port()}"
    argv = [str(COMMAND), "serve", "--listen", url.removeprefix("http://"), "--data", str(folder)]
    argv += ["--uplink", UPLINK, "--workers", str(workers)]
    began = time.perf_counter()
    with running(argv, folder.with_suffix(".start.log")):
        while not _is_ready(url):
            if time.perf_counter() - began > LIMIT_SECONDS:
                raise SystemExit(f"not ready after {LIMIT_SECONDS} s, with {folder}")
            time.sleep(0.005)
        return time.perf_counter() - began


def _is_ready(url: str) -> bool:
    connection = http.client.HTTPConnection(str(urlsplit(url).hostname), urlsplit(url).port)
    try:
        connection.request("GET", "/-/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
