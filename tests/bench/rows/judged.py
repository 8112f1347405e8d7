"""The row about people: what it costs that a caller is known and rules are in force."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.bench import checks, trace
from tests.bench.corpus import SMALL
from tests.bench.figures import Finding, at_least
from tests.bench.peers import packhouse
from tests.bench.rows.load import alternated, cost, rate, sample, shuffled
from tests.bench.stage import CORES, Stage
from tests.bench.trace import Request
from tests.clients.server import COMMAND

RULES = [
    {"match": ["@acme/*", "acme-*"], "from": "hosted", "read": "$authenticated"},
    {"match": "*", "from": "npm", "read": "$authenticated"},
]
OPEN, KNOWN = "anonymous, no rules", "bearer token, rules"


def judged(stage: Stage) -> Iterator[Finding]:
    """The same answers with a bearer token and rules in force, beside anonymous ones."""
    with tempfile.TemporaryDirectory(dir=stage.folder) as at:
        folder = Path(at) / "data"
        with packhouse.serving(folder, 1):
            pass
        bearer = _token(folder)
        settings = {"RULES": json.dumps(RULES)}
        with packhouse.serving(folder, CORES, settings=settings) as guarded:
            checks.compare(guarded, stage.corpus, _with(bearer, stage.corpus.everything))
            stage.wrk.load(guarded, _with(bearer, shuffled(stage)), 4 * stage.pace.seconds)
            small = [trace.packument(SMALL)]
            for what, requests in ("mixed", shuffled(stage)), (SMALL, small):
                trials = {
                    OPEN: partial(sample, stage, stage.us, requests),
                    KNOWN: partial(sample, stage, guarded, _with(bearer, requests)),
                }
                found = alternated(stage, trials)
                yield rate("judged", f"{what}, {KNOWN}", found, KNOWN, OPEN, at_least(0.9))
                yield cost("judged", f"{what}: server CPU a request", found, KNOWN, OPEN)


def _token(folder: Path) -> str:
    """Make a user, and return a token of theirs."""
    data = ["--data", str(folder)]
    add = [str(COMMAND), "user", "add", "bench", "--password-stdin", *data]
    subprocess.run(add, check=True, input="a password of nobody\n", text=True, capture_output=True)
    create = [str(COMMAND), "token", "create", "--user", "bench", "--read-only", *data]
    said = subprocess.run(create, check=True, capture_output=True, text=True).stdout
    return said.split()[-1]


def _with(bearer: str, requests: Sequence[Request]) -> list[Request]:
    others = (("Authorization", f"Bearer {bearer}"),)
    return [replace(request, others=others) for request in requests]
