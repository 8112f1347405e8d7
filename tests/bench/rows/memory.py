"""Rows about memory, as the kernel counts it: what a server has, and what large work adds."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.bench import processes, trace
from tests.bench.asking import asking
from tests.bench.figures import Finding, Measure, Series, at_most
from tests.bench.peers.peer import Peer
from tests.bench.rows.load import shuffled
from tests.bench.stage import Stage
from tests.bench.synthetic import CHANGING, HUGE, TARBALL
from tests.bench.trace import Form
from tests.bench.wording import MEBIBYTES

MEBIBYTE = 1 << 20
READERS = 100
SETTLED_SECONDS = 3
LOOK_EVERY_SECONDS = 0.02


@dataclass(slots=True)
class Watch:
    """The most memory that a family of processes had, all together (PSS), beyond what it had."""

    before_bytes: int
    peak_bytes: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    @property
    def more_mebibytes(self) -> float:
        """How much it grew at most."""
        return max(0, self.peak_bytes - self.before_bytes) / MEBIBYTE


def memory(stage: Stage) -> Iterator[Finding]:
    """A worker after the trace; more for stalled readers, and while a large packument is made."""
    with stage.fresh() as us:
        stage.progress.tick("memory: after the trace")
        yield _alone("a worker after the trace", _after_trace(stage, us), 150)
    with stage.fresh() as us:
        stage.progress.tick("memory: stalled readers")
        what = f"more for {READERS} stalled readers of a 50 MB tarball"
        yield _alone(what, _stalled(us), 64)
    for form in Form:
        with stage.fresh() as us:
            stage.progress.tick(f"memory: a packument of 100 MB, {form.value}")
            what = f"more while a packument of 100 MB is made, {form.value}"
            yield _alone(what, _worked(us, lambda url, form=form: _get(url, HUGE, form)), 150)


def _alone(what: str, mebibytes: float, limit: float) -> Finding:
    us = Series("Packhouse", (mebibytes,))
    return Finding("memory", what, MEBIBYTES, us, None, Measure.VALUE, at_most(limit))


def _after_trace(stage: Stage, us: Peer) -> float:
    """The resident memory of the largest process, once it has answered the trace many times."""
    stage.wrk.load(us, shuffled(stage), 2 * stage.pace.seconds)
    time.sleep(1)
    return max(map(processes.resident_bytes, processes.family(us.pid))) / MEBIBYTE


def _stalled(us: Peer) -> float:
    """How much more all processes have while readers wait in the middle of an answer."""
    address = urlsplit(us.url)
    with asking(us.url) as client:
        client.get(TARBALL)
        client.get(TARBALL)
    head = f"GET {TARBALL.path} HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode()
    with watching(us) as watch, ExitStack() as readers:
        for _ in range(READERS):
            reader = readers.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect((address.hostname, address.port))
            reader.sendall(head)
            reader.recv(16)
        time.sleep(SETTLED_SECONDS)
    return watch.more_mebibytes


def _worked(us: Peer, work: Callable[[str], None]) -> float:
    """How much more all processes have at most while some work is done."""
    _get(us.url, "isexe", Form.FULL)  # what the first request of all needs is not counted
    _get(us.url, CHANGING, Form.FULL)
    with watching(us) as watch:
        work(us.url)
    return watch.more_mebibytes


def _get(url: str, name: str, form: Form) -> None:
    with asking(url) as client:
        answer = client.get(trace.packument(name, form))
    if answer.status != 200:
        raise SystemExit(f"{name} is answered with {answer.status}")


@contextmanager
def watching(us: Peer) -> Iterator[Watch]:
    """Look at the memory of all processes of a server again and again, until the block ends."""
    watch = Watch(processes.share_bytes(processes.family(us.pid)))
    thread = threading.Thread(target=_look, args=(us, watch))
    thread.start()
    try:
        yield watch
    finally:
        watch.is_over.set()
        thread.join()


def _look(us: Peer, watch: Watch) -> None:
    while not watch.is_over.wait(LOOK_EVERY_SECONDS):
        now = processes.share_bytes(processes.family(us.pid))
        watch.peak_bytes = max(watch.peak_bytes, now)
