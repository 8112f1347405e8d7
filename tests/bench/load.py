"""A load generator: asks for a list of requests, over and over, on a few kept-alive connections.

Runs as a process of its own, so that its work is not counted as the server's: reads a plan as JSON
from standard input, and writes what it saw as JSON to standard output. The first round is not
timed: it learns what each answer looks like. In the rounds that follow, an answer with another
status or another length is a failure.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from array import array
from collections.abc import Sequence
from itertools import count

import uvloop

PATIENCE_SECONDS = 60
"""How long the last answers may take when the time is up."""


class Session:
    """What the connections share: the requests, whose turn it is, and what came of them."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self.requests = requests
        self.expected: list[tuple[bytes, int] | None] = [None] * len(requests)
        self.latencies = [array("d") for _ in requests]
        self.failures: dict[str, int] = {}
        self.failed = [0] * len(requests)
        self.turn = count()
        self.limit = len(requests)
        self.until = 0.0
        self.is_timed = False
        self.active = 0
        self.done = asyncio.Event()

    async def round(self, plan: dict, patience: float) -> None:
        """Ask on new connections until it is over: all asked once, or the time is up."""
        self.turn = count()
        self.done.clear()
        self.active = plan["connections"]
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Connection(self), plan["host"], plan["port"])
            for _ in range(plan["connections"])
        ]
        await asyncio.wait_for(self.done.wait(), patience)
        for transport, _ in made:
            transport.close()

    def next(self) -> int | None:
        """Return the number of the request whose turn it is, or None when the round is over."""
        if self.is_timed:
            return None if time.perf_counter() >= self.until else next(self.turn) % self.limit
        number = next(self.turn)
        return number if number < self.limit else None

    def answered(self, number: int, status: bytes, length: int, seconds: float) -> None:
        """Note one answer."""
        if not self.is_timed:
            self.expected[number] = (status, length)
            if status != b"200":
                self.fail(number, f"status {status.decode()} in the first round")
        elif self.expected[number] == (status, length):
            self.latencies[number].append(seconds)
        else:
            self.fail(number, f"status {status.decode()}, {length} bytes")

    def fail(self, number: int, reason: str) -> None:
        """Note a request that went wrong."""
        self.failed[number] += 1
        self.failures[reason] = self.failures.get(reason, 0) + 1

    def leave(self) -> None:
        """Note that a connection has nothing more to do."""
        self.active -= 1
        if not self.active:
            self.done.set()


class Connection(asyncio.BufferedProtocol):
    """One connection: a request, its whole answer, the next request."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._buffer = memoryview(bytearray(1 << 18))
        self._head = b""
        self._left = 0
        self._number: int | None = None
        self._status = b""
        self._length = 0
        self._began = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Ask at once."""
        self._transport = transport
        self.ask()

    def ask(self) -> None:
        """Send the next request, or leave."""
        self._number = self._session.next()
        if self._number is None:
            self._session.leave()
            return
        self._began = time.perf_counter()
        self._transport.write(self._session.requests[self._number])

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the one buffer: bodies are counted, not kept."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Count what came; the head is the part that is read."""
        if self._left:
            self._left -= nbytes
        else:
            self._head += self._buffer[:nbytes]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._open(self._head[:end].lower())
            self._left = self._length - (len(self._head) - end - 4)
            self._head = b""
        if self._left <= 0:
            self._close()

    def _open(self, head: bytes) -> None:
        """Read status and length; without a length the answer cannot be checked."""
        self._status = head[9:12]
        _, found, rest = head.partition(b"\r\ncontent-length:")
        if not found:
            self._session.fail(self._number, "no Content-Length")
        self._length = int(rest.partition(b"\r\n")[0]) if found else 0

    def _close(self) -> None:
        """Note the answer and go on; more bytes than announced end the connection."""
        seconds = time.perf_counter() - self._began
        self._session.answered(self._number, self._status, self._length, seconds)
        if self._left:
            self._transport.abort()
            return
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that ends before its turn is over is a failure, and is not made again."""
        if self._number is not None:
            self._session.fail(self._number, f"connection lost: {exc or 'closed'}")
            self._number = None
            self._session.leave()


async def run(plan: dict) -> dict:
    """Do one round to learn, then rounds for the time that is asked."""
    requests = [text.encode("latin-1") for text in plan["requests"]]
    session = Session(requests)
    await session.round(plan, patience=plan["patience"])
    sys.stdout.write("warm\n")
    sys.stdout.flush()
    sys.stdin.readline()  # whoever measures says when

    began, used = time.perf_counter(), _cpu()
    if not session.failures:
        session.is_timed = True
        session.until = began + plan["seconds"]
        await session.round(plan, patience=plan["seconds"] + PATIENCE_SECONDS)
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": _cpu() - used,
        "latencies": [list(row) for row in session.latencies],
        "lengths": [expected[1] if expected else 0 for expected in session.expected],
        "failed": session.failed,
        "failures": session.failures,
    }


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    json.dump(uvloop.run(run(json.loads(sys.stdin.readline()))), sys.stdout)
