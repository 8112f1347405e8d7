"""All that takes part in a run, each started, filled and checked when it is first asked for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.bench import checks, synthetic
from tests.bench.asking import asking
from tests.bench.corpus import Corpus, keep
from tests.bench.peers import nginx, packhouse, verdaccio
from tests.bench.peers.peer import Peer
from tests.bench.tools import Tools
from tests.bench.wrk import Wrk

RAM = Path("/dev/shm")
CORES = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Pace:
    """How thorough a run is: rounds of a comparison, and seconds of each load."""

    rounds: int
    seconds: float
    is_quick: bool

    @property
    def few(self) -> int:
        """Rounds of what takes long."""
        return 1 if self.is_quick else min(3, self.rounds)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is: `say` for what stays to be read, `tick` for the moment."""

    say: Callable[[str], None]
    tick: Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """What rows measure with.

    `folder` is on a RAM disk, if there is one, and is thrown away. `uplink` is the registry that
    all peers mirror: what was recorded, without delay.
    """

    corpus: Corpus
    tools: Tools
    uplink: Peer
    folder: Path
    pace: Pace
    progress: Progress
    held: ExitStack = field(repr=False)

    @cached_property
    def wrk(self) -> Wrk:
        """The load generator."""
        return Wrk(self.tools.wrk, self.folder / "plans")

    @cached_property
    def us(self) -> Peer:
        """Packhouse with a worker for each core, everything held."""
        return self._packhouse(CORES)

    @cached_property
    def alone(self) -> Peer:
        """Packhouse with one worker, everything held."""
        return self._packhouse(1)

    @cached_property
    def static(self) -> Peer:
        """The file server, with the bytes that Packhouse answers."""
        root = self.folder / "static"
        with asking(self.us.url) as client:
            for request in self.corpus.everything:
                keep(root, request, client.get(request).body)
        peer = nginx.static(self.tools.nginx, self.folder / "nginx-static", root)
        return self._checked(self.held.enter_context(peer))

    @cached_property
    def caching(self) -> Peer:
        """The hand-made cache, everything held."""
        peer = nginx.caching(self.tools.nginx, self.folder / "nginx-caching")
        return self._checked(self.held.enter_context(peer))

    @cached_property
    def verdaccio(self) -> Peer:
        """Verdaccio, everything held."""
        peer = verdaccio.serving(self.tools.verdaccio, self.folder / "verdaccio")
        return self._checked(self.held.enter_context(peer), is_loose=True)

    @contextmanager
    def fresh(
        self, workers: int = 1, *, settings: Mapping[str, str] | None = None
    ) -> Iterator[Peer]:
        """Packhouse that holds nothing, for the time of the block."""
        with (
            tempfile.TemporaryDirectory(dir=self.folder, prefix="fresh-") as at,
            packhouse.serving(Path(at) / "data", workers, settings=settings) as peer,
        ):
            yield peer

    def _packhouse(self, workers: int) -> Peer:
        peer = packhouse.serving(self.folder / f"packhouse-{workers}", workers)
        return self._checked(self.held.enter_context(peer))

    def _checked(self, peer: Peer, *, is_loose: bool = False) -> Peer:
        """Ask for everything there is, which fills the peer, and compare what it says."""
        everything = self.corpus.everything
        self.progress.tick(f"{peer.name}: filling, and checking {len(everything)} answers")
        checks.compare(peer, self.corpus, everything, is_loose=is_loose)
        return peer


@contextmanager
def staged(corpus: Corpus, tools: Tools, pace: Pace, progress: Progress) -> Iterator[Stage]:
    """Yield a stage, and end everything that was started on it."""
    large = synthetic.made(corpus.folder.with_name("synthetic"))
    place = RAM if RAM.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="packhouse-bench-", dir=place))
    try:
        with (
            packhouse.replaying(corpus.folder, large, log=folder / "uplink.log") as uplink,
            ExitStack() as held,
        ):
            yield Stage(corpus, tools, uplink, folder, pace, progress, held)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
