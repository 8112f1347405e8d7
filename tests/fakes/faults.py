"""Everything an uplink can do wrong, as scripts for `FakeUplink.script`.

A name without brackets is a script; a name that takes parameters makes one. Most spoil the
registry's true answer to the request, so that a test needs no second copy of it. A script that ends
with the connection open leaves it to the next request. What hangs, hangs until the client leaves or
the uplink is stopped.

A refused connection needs no script: `await uplink.stop()`. A host that swallows the dial itself is
`unreachable()`.
"""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from tests.fakes.exchange import Reply, Script, Seen

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


# --- silence and slowness -------------------------------------------------------------------------


async def black_hole(reader: Reader, writer: Writer, request: Seen) -> None:
    """Takes the request and never says a word."""
    await reader.read()


async def slow_headers(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends a header each 50 ms and never ends the head."""
    await _send(writer, b"HTTP/1.1 200 OK\r\n")
    for number in range(100):
        await _send(writer, b"x-%d: a\r\n" % number)
        await asyncio.sleep(0.05)


def delay(seconds: float) -> Script:
    """Waits, then answers as it should."""

    async def script(reader: Reader, writer: Writer, request: Seen) -> None:
        await asyncio.sleep(seconds)
        await _send(writer, request.answer().whole())

    return script


def drip(seconds: float = 0.05, size: int = 1) -> Script:
    """Sends the head at once and then the body, `size` bytes each `seconds`."""

    async def script(reader: Reader, writer: Writer, request: Seen) -> None:
        reply = request.answer()
        await _send(writer, reply.head(content_length=str(len(reply.body))))
        for start in range(0, len(reply.body), size):
            await _send(writer, reply.body[start : start + size])
            await asyncio.sleep(seconds)

    return script


async def stall_mid_body(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends half of the body and then nothing more."""
    await _send(writer, _half(request.answer()))
    await reader.read()


# --- bodies cut short -----------------------------------------------------------------------------


async def truncate_length(reader: Reader, writer: Writer, request: Seen) -> None:
    """Promises a Content-Length and closes after half of it."""
    await _send(writer, _half(request.answer()))
    writer.close()


async def truncate_chunked(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends one chunk with half of the body and closes without the last chunk."""
    reply = request.answer()
    half = reply.body[: len(reply.body) // 2]
    await _send(writer, reply.head(transfer_encoding="chunked"))
    await _send(writer, b"%x\r\n%s\r\n" % (len(half), half))
    writer.close()


async def truncate_no_length(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends half of a body that only the close of the connection ends."""
    reply = request.answer()
    await _send(writer, reply.head(connection="close") + reply.body[: len(reply.body) // 2])
    writer.close()


async def reset_mid_body(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends half of the promised body, then resets the connection."""
    await _send(writer, _half(request.answer()))
    await asyncio.sleep(0.02)
    reset(writer)


async def reset_no_length(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends half of a body without a length, then resets the connection."""
    reply = request.answer()
    await _send(writer, reply.head(connection="close") + reply.body[: len(reply.body) // 2])
    await asyncio.sleep(0.02)
    reset(writer)


async def longer_than_length(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends more than the Content-Length it promised."""
    reply = request.answer()
    length = str(len(reply.body) // 2)
    await _send(writer, reply.head(content_length=length) + reply.body)


async def no_length(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends all of a body that only the close of the connection ends: legal, and unprovable."""
    reply = request.answer()
    await _send(writer, reply.head(connection="close") + reply.body)
    writer.close()


async def chunked(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends the whole body in chunks of 1,000 bytes, as it should."""
    reply = request.answer()
    await _send(writer, reply.head(transfer_encoding="chunked"))
    for start in range(0, len(reply.body), 1000):
        piece = reply.body[start : start + 1000]
        await _send(writer, b"%x\r\n%s\r\n" % (len(piece), piece))
    await _send(writer, b"0\r\n\r\n")


# --- not the protocol -----------------------------------------------------------------------------


async def refuse(reader: Reader, writer: Writer, request: Seen) -> None:
    """Resets the connection as soon as the request is read."""
    reset(writer)


async def close_before_byte(reader: Reader, writer: Writer, request: Seen) -> None:
    """Closes without a byte, as a server does to a connection that was idle too long."""
    writer.close()


async def not_http(reader: Reader, writer: Writer, request: Seen) -> None:
    await _send(writer, b"SSH-2.0-OpenSSH_9.2p1\r\n")
    writer.close()


async def status_line_only(reader: Reader, writer: Writer, request: Seen) -> None:
    await _send(writer, b"HTTP/1.1 200 OK\r\n")
    writer.close()


async def big_header(reader: Reader, writer: Writer, request: Seen) -> None:
    """One header of 100 kB."""
    reply = request.answer()
    await _send(writer, reply.head(x_padding="a" * 100_000, content_length="0"))


async def many_headers(reader: Reader, writer: Writer, request: Seen) -> None:
    """Five thousand headers."""
    reply = request.answer()
    flood = {f"x_{number}": "a" for number in range(5000)}
    await _send(writer, reply.head(content_length=str(len(reply.body)), **flood) + reply.body)


async def double_length(reader: Reader, writer: Writer, request: Seen) -> None:
    """Two Content-Length headers that disagree."""
    reply = request.answer()
    head = reply.head(content_length=str(len(reply.body)))
    await _send(writer, head.replace(b"\r\n\r\n", b"\r\ncontent-length: 1\r\n\r\n") + reply.body)


async def length_and_chunked(reader: Reader, writer: Writer, request: Seen) -> None:
    """Content-Length and Transfer-Encoding in one answer."""
    reply = request.answer()
    head = reply.head(content_length=str(len(reply.body)), transfer_encoding="chunked")
    await _send(writer, head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(reply.body), reply.body))


async def early_hints(reader: Reader, writer: Writer, request: Seen) -> None:
    """Two thousand 103 answers before the real one."""
    await _send(writer, b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * 2000)
    await _send(writer, request.answer().whole())


# --- wrong content codings ------------------------------------------------------------------------


async def gzip_garbage(reader: Reader, writer: Writer, request: Seen) -> None:
    await _send_coded(writer, request.answer(), b"\x1f\x8b" + b"no gzip at all" * 20)


async def gzip_cut(reader: Reader, writer: Writer, request: Seen) -> None:
    """A gzip body cut inside, with the right length for what is sent."""
    packed = _packed(request.answer())
    await _send_coded(writer, request.answer(), packed[: len(packed) // 2])


async def gzip_no_trailer(reader: Reader, writer: Writer, request: Seen) -> None:
    """All the text, without the eight bytes that prove it."""
    await _send_coded(writer, request.answer(), _packed(request.answer())[:-8])


async def gzip_bad_crc(reader: Reader, writer: Writer, request: Seen) -> None:
    packed = bytearray(_packed(request.answer()))
    packed[-8] ^= 0xFF
    await _send_coded(writer, request.answer(), bytes(packed))


async def gzip_trailing_junk(reader: Reader, writer: Writer, request: Seen) -> None:
    await _send_coded(writer, request.answer(), _packed(request.answer()) + b"junk after the end")


async def gzip_unlabelled(reader: Reader, writer: Writer, request: Seen) -> None:
    """Gzip bytes without a Content-Encoding, as some registries send them."""
    reply = request.answer()
    headers = {key: value for key, value in reply.headers.items() if key != "content-encoding"}
    await _send(writer, replace(reply, headers=headers, body=_packed(reply)).whole())


def gzip_bomb(size_bytes: int) -> Script:
    """A gzip body that unpacks to `size_bytes` spaces, in whole MiB."""

    async def script(reader: Reader, writer: Writer, request: Seen) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        piece, count, crc = b" " * 2**20, size_bytes // 2**20, 0
        # A full flush makes blocks that may be repeated, so that a gigabyte costs as one megabyte.
        block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
        for _ in range(count):
            crc = zlib.crc32(piece, crc)
        head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        tail = b"\x03\0" + struct.pack("<II", crc, size_bytes & 0xFFFF_FFFF)
        await _send_coded(writer, request.answer(), head + block * count + tail)

    return script


async def brotli(reader: Reader, writer: Writer, request: Seen) -> None:
    """Says br although nobody asked for it."""
    await _send_coded(writer, request.answer(), b"\x0b\x02\x80{}\x03", coding="br")


async def unknown_encoding(reader: Reader, writer: Writer, request: Seen) -> None:
    reply = request.answer()
    await _send_coded(writer, reply, reply.body, coding="x-rot13")


# --- right HTTP, wrong answer ---------------------------------------------------------------------


def body(data: bytes, content_type: str = "application/json", **headers: str) -> Script:
    """200 with these bytes (header names: a_b becomes a-b)."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return status(200, {"content-type": content_type, **named}, data)


async def invalid_json(reader: Reader, writer: Writer, request: Seen) -> None:
    await _send(writer, _json(b'{"name": "x", "versions": {').whole())


async def html(reader: Reader, writer: Writer, request: Seen) -> None:
    """A captive portal: HTML with 200."""
    page = b"<!doctype html><title>Log in</title>"
    await _send(writer, Reply(200, {"content-type": "text/html"}, page).whole())


async def html_as_json(reader: Reader, writer: Writer, request: Seen) -> None:
    """HTML that calls itself JSON."""
    await _send(writer, _json(b"\n <html><title>Log in</title></html>").whole())


async def other_name(reader: Reader, writer: Writer, request: Seen) -> None:
    """A well-formed packument of another package."""
    document = b'{"name":"another-package","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":'
    document += (
        b'{"name":"another-package","version":"1.0.0","dist":{"tarball":"http://x/y.tgz"}}}}'
    )
    await _send(writer, _json(document).whole())


async def wrong_bytes(reader: Reader, writer: Writer, request: Seen) -> None:
    """The right length, one byte wrong in the middle."""
    reply = request.answer()
    spoilt = bytearray(reply.body)
    spoilt[len(spoilt) // 2] ^= 0xFF
    await _send(writer, replace(reply, body=bytes(spoilt)).whole())


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"{}") -> Script:
    """Any status, headers and body."""

    async def script(reader: Reader, writer: Writer, request: Seen) -> None:
        kept = {"content-type": "application/json", **(headers or {})}
        await _send(writer, Reply(code, kept, body, is_head=request.method == "HEAD").whole())

    return script


def redirect(location: str, code: int = 302) -> Script:
    return status(code, {"location": location}, b"")


async def redirect_loop(reader: Reader, writer: Writer, request: Seen) -> None:
    """Sends the client back to where it is. Script it once for each turn that is expected."""
    await _send(writer, Reply(302, {"location": request.target}).whole())


async def not_modified_unasked(reader: Reader, writer: Writer, request: Seen) -> None:
    await _send(writer, Reply(304, {"etag": '"never-asked"'}).whole())


# --- the dial itself ------------------------------------------------------------------------------


@contextmanager
def unreachable() -> Iterator[str]:
    """The URL of an address whose dial is swallowed: its queue is full and nobody empties it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fillers = [_dial(address) for _ in range(4)]
        try:
            yield f"http://127.0.0.1:{address[1]}"
        finally:
            for filler in fillers:
                filler.close()


def reset(writer: Writer) -> None:
    """Close with a TCP reset instead of a FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _dial(address: tuple[str, int]) -> socket.socket:
    filler = socket.socket()
    filler.setblocking(False)
    filler.connect_ex(address)
    return filler


async def _send(writer: Writer, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def _send_coded(writer: Writer, reply: Reply, data: bytes, coding: str = "gzip") -> None:
    headers = {**reply.headers, "content-encoding": coding}
    await _send(writer, replace(reply, headers=headers, body=data).whole())


def _half(reply: Reply) -> bytes:
    return reply.head(content_length=str(len(reply.body))) + reply.body[: len(reply.body) // 2]


def _packed(reply: Reply) -> bytes:
    if reply.headers.get("content-encoding") == "gzip":
        return reply.body
    return gzip.compress(reply.body, mtime=0)


def _json(data: bytes) -> Reply:
    return Reply(200, {"content-type": "application/json"}, data)
