"""A registry that answers from memory what was recorded: a process of its own, which may wait.

    python -m tests.bench.uplink FOLDER... --port 48731

Each FOLDER is laid out as `corpus.py` says. Where it holds `NAME.json.gz.1` beside `NAME.json.gz`,
the answers alternate: that packument is a new one each time it is asked for. GET /-/counts says
how often it was asked, and starts to count anew; after GET /-/delay/0.05 every answer waits for
0.05 seconds, all at the same time, as over a long line.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from urllib.parse import unquote

import uvloop

from tests.bench.corpus import PACKUMENTS, TARBALLS
from tests.bench.trace import Form

TYPES = {Form.FULL: "application/json", Form.ABBREVIATED: "application/vnd.npm.install-v1+json"}


class Store:
    """What it answers with, by what is asked; tarballs are read at the start, too."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.delay = 0.0
        self._asked = Counter[str]()
        self._tarballs = {
            "/" + path.relative_to(folder / TARBALLS).as_posix(): path.read_bytes()
            for folder in folders
            for path in (folder / TARBALLS).rglob("*.tgz")
        }
        self._packuments = {
            (form, path.relative_to(folder / PACKUMENTS / form.value).as_posix()[:-8]): cycle(
                [(each.read_bytes(), _etag(each)) for each in _versions(path)]
            )
            for folder in folders
            for form in Form
            for path in (folder / PACKUMENTS / form.value).rglob("*.json.gz")
        }

    def answer(self, path: str, headers: dict[str, str]) -> bytes:
        """Return the whole answer to a GET."""
        if path.startswith("/-/"):
            return _reply(json.dumps(self._control(path)).encode())
        if path in self._tarballs:
            self._asked["tarballs"] += 1
            return _reply(self._tarballs[path], ("Content-Type: application/octet-stream",))
        is_short = "vnd.npm.install-v1" in headers.get("accept", "")
        form = Form.ABBREVIATED if is_short else Form.FULL
        if (form, path[1:]) not in self._packuments:
            form = Form.FULL  # as registries do that know one form
        found = self._packuments.get((form, path[1:]))
        self._asked["others" if found is None else "packuments"] += 1
        if found is None:
            return _reply(b'{"error":"Not found"}', status="404 Not Found")
        return _packument(form, *next(found), headers)

    def _control(self, path: str) -> dict[str, int]:
        """Do what whoever measures says; returns what was asked since the last time."""
        asked, self._asked = self._asked, Counter()
        if path.startswith("/-/delay/"):
            self.delay = float(path.rpartition("/")[2])
        return asked


def _versions(path: Path) -> list[Path]:
    return [path, *sorted(path.parent.glob(f"{path.name}.[0-9]"))]


def _etag(path: Path) -> str:
    return f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'


def _packument(form: Form, zipped: bytes, etag: str, headers: dict[str, str]) -> bytes:
    """Answer as npm's registry does: compressed if that is taken, 304 to who has it."""
    told = (
        f"ETag: {etag}",
        f"Content-Type: {TYPES[form]}",
        "Cache-Control: public, max-age=300",
        "Vary: accept-encoding, accept",
    )
    if headers.get("if-none-match") == etag:
        return _reply(b"", told, status="304 Not Modified")
    if "gzip" in headers.get("accept-encoding", ""):
        return _reply(zipped, (*told, "Content-Encoding: gzip"))
    return _reply(gzip.decompress(zipped), told)


def _reply(body: bytes, headers: Sequence[str] = (), status: str = "200 OK") -> bytes:
    length = () if status.startswith("304") else (f"Content-Length: {len(body)}",)
    head = "\r\n".join((f"HTTP/1.1 {status}", *headers, *length, "", ""))
    return head.encode("latin-1") + body


class Exchange(asyncio.Protocol):
    """One connection: requests without a body, or with one that is thrown away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._seen += data
        while (end := self._seen.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._seen[:end].decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.lower(): text.strip() for name, _, text in pairs}
            length = end + 4 + int(headers.get("content-length", 0))
            if len(self._seen) < length:
                return
            self._seen = self._seen[length:]
            answer = self._store.answer(unquote(first.split(" ")[1]), headers)
            is_last = headers.get("connection") == "close"
            if delay := self._store.delay:
                asyncio.get_running_loop().call_later(delay, self._send, answer, is_last)
            else:
                self._send(answer, is_last)

    def _send(self, answer: bytes, is_last: bool) -> None:
        self._transport.write(answer)
        if is_last:
            self._transport.close()


async def serve(folders: Sequence[Path], host: str, port: int) -> None:
    """Answer until the process is told to end; says so on standard output once it can."""
    store = Store(folders)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Exchange(store), host, port, backlog=512)
    print("ready", flush=True)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.uplink", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    asked = parser.parse_args()
    uvloop.run(serve(asked.folders, asked.host, asked.port))


if __name__ == "__main__":
    main()
