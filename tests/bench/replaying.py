"""An uplink that answers from a folder, each answer after a wait: the network without its moods.

    with replaying.uplink(folder, wait_seconds=0.05) as url: ...

The folder holds what a registry has answered once (`answers.jsonl`, a line for each, and the bodies
by number) and the address it was recorded for: packuments come as they are sent, gzip, with links
to that address, so that an answer costs next to nothing while something else is measured on the
same cores. Who records has what is not there yet fetched. It runs in a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import unquote

ABBREVIATED = "application/vnd.npm.install-v1+json"
FULL = "application/json"
_PATIENCE_SECONDS = 60
_KEYS = frozenset({
    "name", "version", "dist", "deprecated", "bin", "directories", "engines", "os", "cpu", "libc",
    "funding", "dependencies", "devDependencies", "optionalDependencies", "peerDependencies",
    "peerDependenciesMeta", "acceptDependencies", "bundleDependencies", "hasInstallScript",
    "_hasShrinkwrap",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """One answer: what was asked, and all of what came but its body, which is in file `number`."""

    path: str
    accept: str
    status: int
    content_type: str
    etag: str
    number: int


@contextmanager
def uplink(folder: Path, *, wait_seconds: float, record_from: str = "") -> Iterator[str]:
    """Yield the address, without a slash at its end, of an uplink that lives as long as the block.

    With `record_from`, a registry's address, what is not in the folder is fetched there and kept.
    The process ends when we do: it listens to its standard input.
    """
    argv = [sys.executable, "-m", "tests.bench.replaying", str(folder), str(wait_seconds)]
    with subprocess.Popen(
        [*argv, *([record_from] if record_from else [])], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        address = process.stdout.readline().strip() if process.stdout else ""
        if not address:
            raise RuntimeError(f"the replaying uplink did not start: {' '.join(argv)}")
        try:
            yield address
        finally:
            process.communicate(timeout=_PATIENCE_SECONDS)


def abbreviated(body: bytes) -> bytes:
    """The abbreviated form of a packument: what is recorded may know the full one alone."""
    whole = json.loads(body)
    times = whole.get("time", {})
    modified = times.get("modified") or max(times.values(), default="2026-01-01T00:00:00.000Z")
    versions = {
        version: {key: value for key, value in manifest.items() if key in _KEYS}
        for version, manifest in whole.get("versions", {}).items()
    }
    short = {"name": whole["name"], "dist-tags": whole["dist-tags"], "versions": versions}
    return json.dumps({**short, "modified": modified}, separators=(",", ":")).encode()


class Answers:
    """All that is stored in a folder, in memory as it is sent."""

    def __init__(self, folder: Path, record_from: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._record_from = record_from.rstrip("/")
        self._lines = folder / "answers.jsonl"
        self._lock = threading.Lock()
        self._count = 0
        self._replies: dict[tuple[str, str], bytes] = {}
        self.address = self._recorded_address()
        self.missing: set[str] = set()
        for line in self._lines.read_text().splitlines() if self._lines.exists() else []:
            self._take(Stored(**json.loads(line)))

    def reply(self, path: str, accept: str) -> bytes | None:
        """The whole reply to a request, head and body; None if it is not stored."""
        return self._replies.get(_key(path, accept))

    def fetch(self, path: str, accept: str) -> bytes:
        """The same; what is not stored is fetched, or is a 404 where nothing is recorded."""
        with self._lock:
            if self._record_from and _key(path, accept) not in self._replies:
                self._record(*_key(path, accept))
        found = self.reply(path, accept)
        if found is None:
            self.missing.add(path)
            found = _reply(404, FULL, "", b"{}", coding="")
        return found

    def _record(self, path: str, accept: str) -> None:
        asked = urllib.request.Request(self._record_from + path, headers={"accept": accept})
        try:
            with urllib.request.urlopen(asked, timeout=_PATIENCE_SECONDS) as answer:
                status, headers, body = answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refusal:
            status, headers, body = refusal.code, refusal.headers, b"{}"
        if accept:
            body = body.replace(f"{self._record_from}/".encode(), f"{self.address}/".encode())
            is_long = accept == ABBREVIATED and status == 200
            body = gzip.compress(abbreviated(body) if is_long else body, 6)
        stored = Stored(
            path, accept, status, headers.get("content-type", FULL), headers.get("etag", ""),
            self._count,
        )  # fmt: skip
        (self._folder / str(stored.number)).write_bytes(body)
        with self._lines.open("a") as lines:
            lines.write(json.dumps(asdict(stored)) + "\n")
        self._take(stored)

    def _take(self, stored: Stored) -> None:
        body = (self._folder / str(stored.number)).read_bytes()
        coding = "gzip" if stored.accept else ""
        self._replies[stored.path, stored.accept] = _reply(
            stored.status, stored.content_type, stored.etag, body, coding=coding
        )
        self._count = max(self._count, stored.number + 1)

    def _recorded_address(self) -> str:
        kept = self._folder / "address"
        if not kept.exists():
            with socket.socket() as asked:
                asked.bind(("127.0.0.1", 0))
                kept.write_text(f"http://127.0.0.1:{asked.getsockname()[1]}")
        return kept.read_text()


class Connection(asyncio.Protocol):
    """One connection of a client, which waits for an answer before it asks again."""

    def __init__(self, answers: Answers, wait_seconds: float) -> None:
        self._answers = answers
        self._wait_seconds = wait_seconds
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer each whole head; a GET has no body, and nothing else is asked."""
        self._heard += data
        while b"\r\n\r\n" in self._heard:
            head, _, self._heard = self._heard.partition(b"\r\n\r\n")
            path, accept = _parse(head)
            asyncio.get_running_loop().call_later(self._wait_seconds, self._answer, path, accept)

    def _answer(self, path: str, accept: str) -> None:
        reply = self._answers.reply(path, accept)
        if reply is not None:
            self._transport.write(reply)
            return
        fetching = asyncio.get_running_loop().run_in_executor(
            None, self._answers.fetch, path, accept
        )
        fetching.add_done_callback(lambda fetched: self._transport.write(fetched.result()))


def _key(path: str, accept: str) -> tuple[str, str]:
    plain = unquote(path).partition("?")[0]
    if "/-/" in plain:
        return plain, ""
    form = ABBREVIATED if ABBREVIATED in accept else FULL
    return "/" + plain.removeprefix("/").replace("/", "%2f"), form


def _parse(head: bytes) -> tuple[str, str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return first.split(" ")[1], headers.get("accept", "")


def _reply(status: int, content_type: str, etag: str, body: bytes, *, coding: str) -> bytes:
    named = {
        "Content-Type": content_type,
        "ETag": etag,
        "Content-Encoding": coding,
        "Content-Length": str(len(body)),
        "Vary": "accept-encoding, accept",
    }
    lines = [f"{name}: {value}" for name, value in named.items() if value]
    head = "\r\n".join([f"HTTP/1.1 {status} Replayed", *lines])
    return f"{head}\r\n\r\n".encode() + body


async def _serve(answers: Answers, wait_seconds: float) -> None:
    port = int(answers.address.rpartition(":")[2])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(answers, wait_seconds), "127.0.0.1", port, backlog=1024
    )
    print(answers.address, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()
    for path in sorted(answers.missing):
        print(f"replaying: nothing is stored for {path}", file=sys.stderr)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.replaying", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("wait_seconds", type=float)
    parser.add_argument("record_from", nargs="?", default="")
    asked = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(Answers(asked.folder, asked.record_from), asked.wait_seconds))


if __name__ == "__main__":
    main()
