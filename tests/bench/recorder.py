"""Stands between a client and a registry, and notes what the client asks for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from tests.bench.trace import Request


@contextmanager
def recording(registry: str) -> Iterator[tuple[str, list[Request]]]:
    """Yield an address that answers as `registry` does, and the requests it has seen so far.

    The bytes pass unchanged, the Host header too, so that links in packuments lead back to us.
    """
    recorder = Recorder(registry)
    thread = threading.Thread(target=recorder.run)
    thread.start()
    recorder.ready.wait()
    try:
        yield recorder.url, recorder.requests
    finally:
        recorder.stop()
        thread.join()


class Recorder:
    """A relay of connections that reads the heads of the requests as they pass."""

    def __init__(self, registry: str) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.ready = threading.Event()
        self._target = urlsplit(registry)
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()

    def run(self) -> None:
        """Relay until `stop`; for a thread of its own."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.ready.set()
        await self._stopped.wait()
        server.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join one connection of the client with one of ours to the registry."""
        up = await asyncio.open_connection(self._target.hostname, self._target.port)
        # A client that has all it wants leaves in the middle of nothing; so does a recorder's end.
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await asyncio.gather(self._watch(reader, up[1]), _copy(up[0], writer))
        for end in (writer, up[1]):
            end.close()

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note and pass on one request after the other."""
        while not reader.at_eof():
            head = await reader.readuntil(b"\r\n\r\n")
            first, headers = _parse(head)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if first[0] == "GET":
                accept = headers.get("accept", "*/*")
                encoding = headers.get("accept-encoding", "identity")
                self.requests.append(Request(first[1], accept, encoding))
            writer.write(head + body)
            await writer.drain()


def _parse(head: bytes) -> tuple[list[str], dict[str, str]]:
    """Split a request's head into its first line's words and its headers, names in lower case."""
    first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return first.split(" "), {name.lower(): value.strip() for name, _, value in pairs}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on the answers as they come."""
    while chunk := await reader.read(1 << 18):
        writer.write(chunk)
        await writer.drain()
    writer.close()
