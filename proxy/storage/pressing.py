"""The pressing process: npm's pure steps on bodies too large for a process that serves.

Parsing a packument of 100 MB holds the interpreter for a tenth of a second and takes several times
its size in memory. So presser.py starts this module as a process of its own and sends it requests;
bodies come and go as files, only small values go through the pipe.

A message is four bytes of length (big-endian), then JSON. A request is `{"step": ..., facts}`, its
answer `{"value": ...}` or `{"error": kind, "reason": ...}`. The process ends when its pipe closes,
when it has been idle for a while, or after so many requests: its memory goes back to the system.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from proxy.npm import choosing, encoding, names, offline, packument, render, wire
from proxy.npm.choosing import Chosen
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Packument

LENGTH_BYTES = 4
REVISION_BYTES = 16
_IDLE_SECONDS = 60.0
_MOST_REQUESTS = 100
# What we compressed ourselves has been judged when it came in; only its own size bounds it now.
_ANY_RATIO = 2000


class Lost(Exception):
    """A stored body that is not there, or is not what was stored."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A body that was found sound, as it is and gzip, and how it was judged.

    `revision` is None if it is what came, else it names what was made of that (blake2b, hex).
    """

    body: bytes
    gzipped: bytes
    judged: packument.Judged
    revision: str | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What is left of a packument when versions are hidden, and how many were, and were not.

    `body` is None if what was asked for is hidden, or is not there. It `is_whole` if the packument
    is what it was: nothing was hidden, and no dist-tag had to be repaired.
    """

    body: bytes | None
    hidden: int
    shown: int
    is_whole: bool


def check(
    body: bytes, name: PackageName, fetched_at: datetime, shasums: Mapping[str, str]
) -> Checked:
    """Check a body that has come, state these versions' shasums in it, and compress it.

    Raises packument.Malformed and Empty.
    """
    revision = None
    if shasums:
        body = packument.with_shasums(body, shasums)
        revision = hashlib.blake2b(body, digest_size=REVISION_BYTES).hexdigest()
    judged = packument.judge(body, name=name, fetched_at=fetched_at)
    return Checked(body, encoding.gzip(body), judged, revision)


def unpack(gzipped: bytes) -> bytes:
    """Decompress a stored body. Raises Lost."""
    try:
        size_bytes = encoding.identity_size(gzipped)
        return encoding.gunzip(gzipped, limit_bytes=size_bytes, max_ratio=_ANY_RATIO)
    except (encoding.BadEncoding, encoding.TooBig) as error:
        raise Lost(str(error)) from error


def parse(body: bytes, name: PackageName, modified_at: datetime) -> Packument:
    """Read a stored body; `modified_at` stands in where it has no time of its own. Raises Lost."""
    try:
        return packument.read(body, name=name, fetched_at=modified_at)
    except packument.Malformed as error:
        raise Lost(str(error)) from error


def manifest(of: Packument, spec: str, base_url: str) -> bytes | None:
    """The manifest that a version or dist-tag means; None if it means none."""
    version = packument.resolve(of, spec)
    return None if version is None else render.manifest(of, version, base_url)


def dist(of: Packument, name: PackageName, file: str) -> packument.Dist | None:
    """What the packument says of the tarball called `file`; None if it knows none."""
    version = packument.version_for_file(of, name, file)
    return None if version is None else packument.dist(of, version)


def choose(
    of: Packument, exact: Sequence[str], specs: Sequence[str], likely: Sequence[str]
) -> Chosen:
    """The versions that are asked for, by themselves and by ranges, and what those need."""
    return choosing.choose(of.versions, of.dist_tags, exact=exact, specs=specs, likely=likely)


def narrowed(of: Packument, held: Collection[str], view: Mapping[str, str]) -> Shown:
    """A view of the packument with the versions that are `held`.

    A view is `{form, base_url}` for the document, gzip; `{spec, base_url}` for the manifest of a
    version or dist-tag; `{}` for the dist-tags. The last two are identity JSON.
    """
    left = offline.narrowed(of, held)
    body: bytes | None
    match view:
        case {"form": form, "base_url": base_url}:
            body = encoding.gzip(render.render(left.packument, Form(form), base_url))
        case {"spec": spec, "base_url": base_url}:
            body = manifest(left.packument, spec, base_url)
        case _:
            body = render.dist_tags(left.packument)
    return Shown(body, len(left.hidden), len(left.packument.versions), left.packument is of)


# --- the process's side ---


class _Steps:
    """What can be asked. The last packument is kept: whoever asks of one often asks again."""

    def __init__(self) -> None:
        self._last: tuple[str, Packument] | None = None

    def settle(
        self, body: str, out: str, name: str, at: str, shasums: dict[str, str]
    ) -> dict[str, object]:
        data, fetched_at = Path(body).read_bytes(), datetime.fromisoformat(at)
        checked = check(data, names.parse(name), fetched_at, shasums)
        _fill(out, (checked.gzipped,))
        return {
            "revision": checked.revision,
            "digest": hashlib.sha512(checked.gzipped).hexdigest(),
            "size_bytes": len(checked.gzipped),
            "body_form": checked.judged.form.value,
            "modified_at": checked.judged.modified_at.isoformat(),
            "unhashed": [[each.version, each.tarball] for each in checked.judged.unhashed],
        }

    def render(self, body: str, out: str, name: str, at: str, form: str, base_url: str) -> int:
        of = self._packument(body, name, at)
        return _fill(out, encoding.gzipped(render.pieces(of, Form(form), base_url)))

    def manifest(self, body: str, name: str, at: str, spec: str, base_url: str) -> str | None:
        found = manifest(self._packument(body, name, at), spec, base_url)
        return None if found is None else found.decode()

    def dist(self, body: str, name: str, at: str, file: str) -> list[str | None] | None:
        found = dist(self._packument(body, name, at), names.parse(name), file)
        if found is None:
            return None
        return [found.version, found.tarball, found.integrity, found.shasum]

    def dist_tags(self, body: str, name: str, at: str) -> str:
        return render.dist_tags(self._packument(body, name, at)).decode()

    def choose(self, body: str, name: str, at: str, **asked: list[str]) -> str:
        return wire.dumps(choose(self._packument(body, name, at), **asked)).decode()

    def narrowed(
        self, body: str, out: str, name: str, at: str, held: list[str], view: dict[str, str]
    ) -> dict[str, int | None]:
        found = narrowed(self._packument(body, name, at), frozenset(held), view)
        if found.body is not None:
            _fill(out, (found.body,))
        size_bytes = None if found.body is None else len(found.body)
        counts = {"hidden": found.hidden, "shown": found.shown, "is_whole": found.is_whole}
        return {"size_bytes": size_bytes, **counts}

    def _packument(self, body: str, name: str, at: str) -> Packument:
        if self._last is None or self._last[0] != body:
            self._last = None  # two at once would take twice the memory
            data = unpack(Path(body).read_bytes())
            self._last = (body, parse(data, names.parse(name), datetime.fromisoformat(at)))
        return self._last[1]


def answer(request: dict[str, Any], steps: Callable[[str], Callable[..., object]]) -> object:
    """The answer to one request; whatever goes wrong is an answer too."""
    try:
        return {"value": steps(request.pop("step"))(**request)}
    except packument.Empty as error:
        return {"error": "empty", "reason": error.reason}
    except packument.Malformed as error:
        return {"error": "malformed", "reason": error.reason}
    except (Lost, FileNotFoundError) as error:
        return {"error": "lost", "reason": str(error)}
    except OSError as error:
        return {"error": "disk", "reason": str(error), "errno": error.errno}
    except Exception:  # noqa: BLE001 -- supervised: the process goes on, and its parent is told
        return {"error": "bug", "reason": traceback.format_exc()}


def main() -> None:
    """Answer requests from standard input until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for our parent, who closes the pipe
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")  # rather us than who serves
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print must not end up between the answers
    steps = _Steps()
    for _ in range(_MOST_REQUESTS):
        request = _received(sys.stdin.buffer)
        if request is None:
            return
        reply = wire.dumps(answer(request, lambda step: getattr(steps, step)))
        replies.write(len(reply).to_bytes(LENGTH_BYTES, "big") + reply)
        replies.flush()


def _received(pipe: BinaryIO) -> dict[str, Any] | None:
    ready, _, _ = select.select([pipe], [], [], _IDLE_SECONDS)
    length = pipe.read(LENGTH_BYTES) if ready else b""
    if not length:
        return None
    request: dict[str, Any] = wire.loads(pipe.read(int.from_bytes(length, "big")))
    return request


def _fill(out: str, pieces: Iterable[bytes]) -> int:
    """Write into a file that is there: one that was discarded meanwhile is not made anew."""
    with Path(out).open("r+b") as file:
        file.writelines(pieces)
        return file.tell()


if __name__ == "__main__":
    main()
