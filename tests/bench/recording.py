"""Makes a corpus: real installs through an empty Packhouse, then all that was asked for, again."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.bench import recorder, trace
from tests.bench.asking import Asking, asking
from tests.bench.corpus import LARGE, MEDIUM, SMALL, TRACE, UPLINK, Corpus, keep
from tests.bench.trace import Form, Kind, Request
from tests.clients import project
from tests.clients.clients import Bun, Client, Npm, Pnpm
from tests.clients.server import serving

NPM, PNPM, BUN = Npm("12"), Pnpm("12"), Bun()
CLIENTS: tuple[Client, ...] = (NPM, PNPM, BUN)
"""All three, because each asks for a few packages that the others do not."""

COMPRESSION = 6


def record(folder: Path, say: Callable[[str], None]) -> Corpus:
    """Record into `folder`, which is replaced at the end; this is all that needs the network."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="recording-") as at:
        fresh = Path(at) / "corpus"
        fresh.mkdir()
        with serving(Path(at) / "data") as server:
            asked = {client: _install(client, server.url, Path(at), say) for client in CLIENTS}
            trace.save(asked[NPM], fresh / TRACE)
            everything = {request for requests in asked.values() for request in requests}
            with asking(server.url) as client:
                _fetch(everything, client, fresh)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    return Corpus(folder)


def _install(client: Client, url: str, at: Path, say: Callable[[str], None]) -> list[Request]:
    """Return what one client asks for when it installs the app without a lockfile."""
    say(f"recording: {client.name} installs the app through an empty Packhouse")
    with recorder.recording(url) as (address, requests):
        app = project.copy(at / client.name / "app", client, address, locked=False)
        outcome = client.install(app, address, at / client.name / "cache", frozen=False)
    if outcome.exit_code:
        raise SystemExit(f"the install failed; nothing is kept\n{outcome}")
    say(f"recording: {len(requests)} requests in {outcome.seconds:.1f} s")
    return list(requests)


def _fetch(requests: Iterable[Request], client: Asking, folder: Path) -> None:
    """Keep every packument in both forms, and every tarball, as an uplink at UPLINK would say."""
    requests = list(requests)
    names = {request.name for request in requests if request.kind is Kind.PACKUMENT}
    files = {unquote(request.path) for request in requests if request.kind is Kind.TARBALL}
    wanted = [
        trace.packument(name, form) for name in names | {SMALL, MEDIUM, LARGE} for form in Form
    ]
    for request in [*wanted, *map(trace.tarball, files)]:
        answer = client.get(request, host=urlsplit(UPLINK).netloc)
        if answer.status != 200:
            raise SystemExit(f"{request.path} was answered with {answer.status} while recording")
        is_packument = request.kind is Kind.PACKUMENT
        body = gzip.compress(answer.text, COMPRESSION, mtime=0) if is_packument else answer.body
        keep(folder, request, body)
