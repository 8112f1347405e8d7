"""A client that sends any bytes at all, also what no HTTP library would, and reads the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class RawReply:
    """One answer. `headers` in lower case; `is_complete` if the body has its promised length."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    is_complete: bool


async def send(port: int, request: bytes, *, timeout: float = 10) -> RawReply | None:
    """Send bytes on a connection of their own; the answer, or None if there is none."""
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(request)
            await writer.drain()
            is_head = request.startswith(b"HEAD ")
            return await receive(reader, is_head=is_head)
        finally:
            writer.close()


async def receive(reader: asyncio.StreamReader, *, is_head: bool = False) -> RawReply | None:
    """Read one answer."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    _, status, reason = first.split(" ", 2)
    bodiless = is_head or int(status) in {204, 304}
    length = 0 if bodiless else int(headers.get("content-length", "0"))
    body = await _up_to(reader, length)
    return RawReply(int(status), reason, headers, body, len(body) == length)


def get(
    target: str, *headers: str, method: str = "GET", host: str | None = "registry.example"
) -> bytes:
    """A request line and headers, as bytes; characters become Latin-1."""
    lines = [f"{method} {target} HTTP/1.1", *headers]
    if host is not None:
        lines.insert(1, f"Host: {host}")
    return ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode("latin-1")


async def _up_to(reader: asyncio.StreamReader, length: int) -> bytes:
    body = b""
    try:
        while len(body) < length:
            piece = await reader.read(length - len(body))
            if not piece:
                break
            body += piece
    except ConnectionError:
        pass
    return body
