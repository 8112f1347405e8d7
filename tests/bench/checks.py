"""Whether a peer says what the uplink said: asked before anything is timed.

A tarball is right by its bytes, a packument by its JSON, with links to us instead of to the uplink.
Verdaccio adds fields of its own and leaves some out, so for it the versions, their `dist` and the
dist-tags have to agree.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from tests.bench.asking import HOST, Answer, asking
from tests.bench.corpus import UPLINK, Corpus
from tests.bench.peers.peer import Peer
from tests.bench.trace import Kind, Request


def compare(
    peer: Peer, corpus: Corpus, requests: Iterable[Request], *, is_loose: bool = False
) -> None:
    """Ask for each, and end everything at an answer that is wrong."""
    with asking(peer.url) as client:
        for request in requests:
            answer = client.get(request)
            wrong = _wrong(corpus.body(request), request, answer, is_loose=is_loose)
            if wrong:
                raise SystemExit(f"{peer.name} answers {request.path} wrongly: {wrong}")


def _wrong(recorded: bytes, request: Request, answer: Answer, *, is_loose: bool) -> str:
    """Say what is wrong with an answer, if anything is."""
    if answer.status != 200:
        return f"status {answer.status}"
    if request.kind is Kind.TARBALL:
        agree = hashlib.sha512(answer.body).digest() == hashlib.sha512(recorded).digest()
        return "" if agree else "other bytes"
    wanted_text, told_text = expected(recorded), answer.text
    if wanted_text == told_text:
        return ""
    wanted, told = json.loads(wanted_text), json.loads(told_text)
    if is_loose:
        wanted, told = essence(wanted), essence(told)
    return "" if wanted == told else "another document"


def expected(recorded: bytes) -> bytes:
    """The recorded packument as it reads when its links lead to the peer."""
    return gzip.decompress(recorded).replace(UPLINK.encode(), f"http://{HOST}".encode())


def essence(packument: dict[str, Any]) -> Any:
    """What an install depends on: dist-tags, versions and where and what their tarballs are."""
    versions = packument["versions"]
    kept = ("tarball", "integrity", "shasum")
    dists = {
        version: {key: manifest["dist"].get(key) for key in kept}
        for version, manifest in versions.items()
    }
    return packument["name"], packument["dist-tags"], dists
