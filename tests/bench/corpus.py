"""What was recorded once and is replayed ever after: requests, and the uplink's answers to them.

    trace.jsonl                           what one npm install asked for
    packuments/full/NAME.json.gz          every packument that npm, pnpm or bun asked for, in both
    packuments/abbreviated/NAME.json.gz   forms; links lead to UPLINK
    tarballs/NAME/-/FILE.tgz              every tarball

NAME is as it is written, so a scope is a folder. nginx serves a folder of this layout as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.bench import trace
from tests.bench.trace import Form, Kind, Request

PACKUMENTS = "packuments"
TARBALLS = "tarballs"
TRACE = "trace.jsonl"

UPLINK_HOST, UPLINK_PORT = "127.0.0.2", 48731
UPLINK = f"http://{UPLINK_HOST}:{UPLINK_PORT}"
"""Where the replaying uplink listens. Fixed, because answers and data folders have it in them."""

SMALL, MEDIUM, LARGE = "isexe", "express", "react"
"""The packuments that are measured alone; the goals are set for these."""

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Corpus:
    """A folder of the layout above."""

    folder: Path

    @cached_property
    def trace(self) -> Sequence[Request]:
        """What npm asked for, in its order."""
        return trace.load(self.folder / TRACE)

    @cached_property
    def names(self) -> Sequence[str]:
        """The packages whose packuments are here."""
        root = self.folder / PACKUMENTS / Form.FULL.value
        return sorted(path.relative_to(root).as_posix()[:-8] for path in root.rglob("*.json.gz"))

    @cached_property
    def tarballs(self) -> dict[str, int]:
        """The paths of all tarballs, and their sizes in bytes."""
        root = self.folder / TARBALLS
        found = sorted(root.rglob("*.tgz"))
        return {f"/{path.relative_to(root).as_posix()}": path.stat().st_size for path in found}

    @property
    def everything(self) -> list[Request]:
        """One request for each answer there is."""
        packuments = [trace.packument(name, form) for name in self.names for form in Form]
        return packuments + [trace.tarball(path) for path in self.tarballs]

    def tarball_near(self, size_bytes: int) -> Request:
        """The tarball whose size is nearest."""
        sizes = self.tarballs
        return trace.tarball(min(sizes, key=lambda path: abs(sizes[path] - size_bytes)))

    def body(self, request: Request) -> bytes:
        """The recorded answer: gzip for a packument."""
        return place(self.folder, request).read_bytes()


def place(folder: Path, request: Request) -> Path:
    """Where the answer to a request lies in a folder of the layout."""
    if request.kind is Kind.TARBALL:
        return folder / TARBALLS / request.path.lstrip("/")
    return folder / PACKUMENTS / request.form.value / f"{request.name}.json.gz"


def keep(folder: Path, request: Request, body: bytes) -> None:
    """Put an answer into its place."""
    path = place(folder, request)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
