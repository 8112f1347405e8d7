"""Answers put together by chance: true ones with wounds, and heaps of pieces of HTTP."""

from __future__ import annotations

import asyncio
import random

from tests.fakes.exchange import Script, Seen
from tests.fakes.faults import reset

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 304 \r\n",
    b"HTTP/1.1 999 \r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 \r\nupgrade: websocket\r\n",
    b"HTTP/1.1 206 \r\ncontent-range: bytes 0-0/0\r\n",
    b"HTTP/1.1 302 \r\nlocation: http://[::\r\n",
    b"HTTP/1.1 302 \r\nlocation: //x:99999/\r\n",
    b"HTTP/1.1 302 \r\nlocation: \xff\xfe\r\n",
    b"HTTP/1.1 302 \r\nlocation: http://a@b\\c/\r\n",
    b"HTTP/1.1 429 \r\nretry-after: \xd9\xa3\r\n",
    b"HTTP/1.1 503 \r\nretry-after: Thu, 99 Foo 2026\r\n",
    b"content-length: 5\r\n",
    b"content-length: -1\r\n",
    b"content-length: 99999999999999999999\r\n",
    b"content-length: \xd9\xa3\r\n",
    b"transfer-encoding: chunked\r\n",
    b"content-encoding: gzip\r\n",
    b"content-encoding: \xff\r\n",
    b"content-type: \xff;;=\r\n",
    b"etag: \x01\r\n",
    b"set-cookie: a=b; max-age=99999999999999999999999\r\n",
    b"link: <http://[>; rel=x\r\n",
    b"trailer: x\r\n",
    b"connection: close\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"{}",
    b"<html>",
    b"\x00" * 10,
]


def byzantine(chance: random.Random) -> Script:
    """A script whose every answer is another one; the same seed gives the same answers."""

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Seen
    ) -> None:
        if chance.random() < 0.4:
            writer.write(b"".join(chance.choices(PIECES, k=chance.randint(1, 8))))
        else:
            writer.write(_wounded(request.answer().whole(), chance))
        await writer.drain()
        if chance.random() < 0.05:
            reset(writer)
        writer.close()

    return script


def _wounded(answer: bytes, chance: random.Random) -> bytes:
    wounded = bytearray(answer)
    for _ in range(chance.randint(0, 4)):
        # Most wounds go to the head: it is where meaning is dense.
        place = chance.randrange(min(len(wounded), chance.choice([400, len(wounded)])))
        kind = chance.randrange(3)
        if kind == 0:
            wounded[place] = chance.randrange(256)
        elif kind == 1:
            wounded[place:place] = chance.choice(PIECES)
        else:
            del wounded[place : place + chance.randint(1, 20)]
    return bytes(wounded)
