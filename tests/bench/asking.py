"""One request after the other over one kept-alive connection: for set-up and checks, not timed."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.bench.trace import Request

HOST = "registry.bench"
"""The Host that all peers are asked under, so that their links, and so their bytes, agree."""
PATIENCE_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer; header names are in small letters, `body` is as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> bytes:
        """The body without its compression."""
        match self.headers.get("content-encoding"):
            case "gzip":
                return gzip.decompress(self.body)
            case "deflate":
                return zlib.decompress(self.body)
            case _:
                return self.body

    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.text)


class Asking:
    """A client of one server."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(
            str(address.hostname), address.port, timeout=PATIENCE_SECONDS
        )

    def get(self, request: Request, host: str = HOST) -> Answer:
        """Ask; a connection that was closed in between is made again, once."""
        headers = request.headers | {"Host": host}
        try:
            return self._get(request.path, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            self._connection.close()
            return self._get(request.path, headers)

    def _get(self, path: str, headers: dict[str, str]) -> Answer:
        self._connection.request("GET", path, headers=headers)
        reply = self._connection.getresponse()
        told = {name.lower(): text for name, text in reply.getheaders()}
        return Answer(reply.status, told, reply.read())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def asking(url: str) -> Iterator[Asking]:
    """Yield a client, and close it."""
    client = Asking(url)
    try:
        yield client
    finally:
        client.close()
