"""What one `npm install` asks for, one request after the other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import unquote

FULL = "application/json"
ABBREVIATED = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
"""What npm before 12 sends, and pnpm and bun much the same."""


class Kind(Enum):
    """What a request asks for."""

    PACKUMENT = "packuments"
    TARBALL = "tarballs"


class Form(Enum):
    """The two forms of a packument."""

    FULL = "full"
    ABBREVIATED = "abbreviated"


@dataclass(frozen=True, slots=True)
class Request:
    """One GET; headers that are not here have no say in the answer."""

    path: str
    accept: str = FULL
    accept_encoding: str = "gzip,deflate"
    others: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> Kind:
        """Tell by the path: only tarballs have `/-/` in it."""
        return Kind.TARBALL if "/-/" in self.path else Kind.PACKUMENT

    @property
    def form(self) -> Form:
        """The form a registry answers in."""
        return Form.ABBREVIATED if "vnd.npm.install-v1" in self.accept else Form.FULL

    @property
    def name(self) -> str:
        """The package's name, decoded."""
        return unquote(self.path).strip("/").partition("/-/")[0]

    @property
    def headers(self) -> dict[str, str]:
        """What is sent, without Host."""
        sent = {"Accept": self.accept, "Accept-Encoding": self.accept_encoding}
        return sent | dict(self.others)


def packument(name: str, form: Form = Form.FULL) -> Request:
    """The request for one packument, written as npm writes it."""
    accept = FULL if form is Form.FULL else ABBREVIATED
    return Request("/" + name.replace("/", "%2f"), accept)


def tarball(path: str) -> Request:
    """The request for one tarball."""
    return Request(path, "*/*")


def save(requests: Sequence[Request], file: Path) -> None:
    """Write one JSON object a line."""
    file.write_text("".join(json.dumps(asdict(request)) + "\n" for request in requests))


def load(file: Path) -> list[Request]:
    """Read what `save` wrote."""
    rows = (json.loads(line) for line in file.read_text().splitlines())
    return [Request(**{**row, "others": tuple(map(tuple, row["others"]))}) for row in rows]
