"""One HTTP/1.1 exchange by hand: a request as it was seen, a reply as it will be written.

No library stands between a test and the bytes, so that a script can break any rule of HTTP.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

Headers = dict[str, str]


@dataclass(frozen=True)
class Reply:
    """What a server says: status, headers as they are sent, body (which a HEAD does not send)."""

    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    is_head: bool = False

    def head(self, **extra: str) -> bytes:
        """The status line and the headers, with some (a_b becomes a-b) set besides."""
        headers = self.headers | {key.replace("_", "-"): value for key, value in extra.items()}
        lines = [f"HTTP/1.1 {self.status} {phrase(self.status)}"]
        lines += [f"{key}: {value}" for key, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def whole(self) -> bytes:
        """The reply as a well-behaved server writes it."""
        if self.status in (204, 304):
            return self.head()
        head = self.head(content_length=str(len(self.body)))
        return head if self.is_head else head + self.body


@dataclass(frozen=True)
class Seen:
    """A request as it came: `target` is raw, header names are in lower case.

    `answer` works out what the registry would say now, for a script that spoils a true answer.
    """

    method: str
    target: str
    headers: Headers
    body: bytes = b""
    answer: Callable[[], Reply] = field(
        default=lambda: Reply(404), repr=False, compare=False, hash=False
    )

    @property
    def path(self) -> str:
        """The raw path, without the query."""
        return self.target.partition("?")[0]

    @property
    def decoded_path(self) -> str:
        return unquote(self.path)

    def matches(self, path: str) -> bool:
        return path in (self.path, self.decoded_path)


Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Seen], Awaitable[None]]


def phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def json_reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """A reply with compact JSON."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return Reply(status, {"content-type": "application/json", **(headers or {})}, body)


async def read_request(reader: asyncio.StreamReader) -> tuple[str, str, Headers, bytes] | None:
    """(method, target, headers, body) of the next request; None when the client has left."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ", 2)
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        headers = {key.strip().lower(): value.strip() for key, value in pairs}
        return method, target, headers, await _body(reader, headers)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def _body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return body
