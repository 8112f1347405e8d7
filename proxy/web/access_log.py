"""The access log: one line a request, written in batches beside the requests.

A line is handed over as a value; it is made into text and written by a thread, some times a second
and at the end. A log that cannot be written (a full disk, a closed pipe) loses lines and counts
them: requests go on.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from select import PIPE_BUF
from typing import BinaryIO, Self

from proxy.npm import tokens, wire
from proxy.web.keys import Exchange

_log = logging.getLogger(__name__)

EVERY = timedelta(milliseconds=250)
# A batch this long is written at once; a stuck log holds no more than the second number of lines.
_BATCH = 2_000
_MOST = 20_000
_COMPLAIN_EVERY = timedelta(minutes=1)
_LONGEST_AGENT = 256
_LONGEST_PATH = 2_048

# Paths that carry a token (npm logout, npm token revoke) or lead to one (web logins); what looks
# like one is masked anywhere else, too.
_TOKEN_PATHS = re.compile(
    r"(/-/(?:user/token|npm/v1/tokens/token|v1/done|login)/)[^/]+", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request, as it is logged. `sent_bytes` counts the head of the reply too."""

    at: float
    request_id: str
    method: str
    path: str
    status: int
    sent_bytes: int
    seconds: float
    client_ip: str
    user_agent: str
    cache: str | None
    uplink: str | None
    is_cut: bool

    @classmethod
    def of(cls, exchange: Exchange, status: int, sent_bytes: int, seconds: float) -> Self:
        """What is kept of a request that has been answered."""
        freshness = exchange.freshness
        return cls(
            time.time(),
            exchange.id,
            exchange.method,
            exchange.raw_path,
            status,
            sent_bytes,
            seconds,
            exchange.address.client_ip,
            exchange.user_agent,
            None if freshness is None else freshness.state.value,
            None if freshness is None else freshness.uplink,
            exchange.is_cut,
        )


def masked(target: str) -> str:
    """A request target as it may be logged: without its query, and without tokens."""
    path = target.partition("?")[0].partition("#")[0]
    if "/-/" in path:
        path = _TOKEN_PATHS.sub(r"\1***", path)
    return tokens.masked(path)[:_LONGEST_PATH]


def as_json(entry: Entry) -> bytes:
    """One line of JSON. What clients wrote is inside strings and cannot forge a field."""
    line: dict[str, object] = {
        "time": f"{_second(int(entry.at))}.{int(entry.at * 1000) % 1000:03d}Z",
        "request_id": entry.request_id,
        "client": entry.client_ip,
        "method": entry.method,
        "path": masked(entry.path),
        "status": entry.status,
        "bytes": entry.sent_bytes,
        "seconds": round(entry.seconds, 6),
        "cache": entry.cache,
        "uplink": entry.uplink,
        "user_agent": tokens.masked(entry.user_agent[:_LONGEST_AGENT]),
    }
    if entry.is_cut:
        line["cut"] = True
    return _json_line(line)


def as_text(entry: Entry) -> bytes:
    """One line for a terminal."""
    at = datetime.fromtimestamp(entry.at).astimezone()
    state = entry.cache or "-"
    cut = " CUT" if entry.is_cut else ""
    line = (
        f"{at:%H:%M:%S} {entry.status} {entry.method:<4} {masked(entry.path)}"
        f"  {state}  {_size(entry.sent_bytes)}  {entry.seconds * 1000:.1f} ms{cut}"
    )
    return line.encode("ascii", "backslashreplace") + b"\n"


class AccessLog:
    """Collects lines and writes them to `stream`; an async context manager runs its writer."""

    def __init__(self, stream: BinaryIO, *, line: Callable[[Entry], bytes] = as_json) -> None:
        self._stream = stream
        self._line = line
        self._pending: list[Entry] = []
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._complained_at: float | None = None
        self.lost = 0

    def add(self, entry: Entry) -> None:
        """Take one line; costs an append."""
        if len(self._pending) >= _MOST:
            self.lost += 1
            return
        self._pending.append(entry)
        if len(self._pending) == _BATCH:
            self._wake.set()

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._run(), name="access log")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self.flush()

    async def flush(self) -> None:
        """Write what has been taken so far."""
        batch, self._pending = self._pending, []
        if batch:
            await asyncio.to_thread(self._write, batch)

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(EVERY.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            await self.flush()

    def _write(self, batch: Sequence[Entry]) -> None:
        try:
            for piece in _pieces(map(self._line, batch)):
                self._stream.write(piece)
                self._stream.flush()
        except (OSError, ValueError) as error:
            self.lost += len(batch)
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        now = time.monotonic()
        last = self._complained_at
        if last is None or now - last > _COMPLAIN_EVERY.total_seconds():
            self._complained_at = now
            _log.warning(
                "the access log cannot be written", extra={"error": str(error), "lost": self.lost}
            )


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _pieces(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines, joined as far as a pipe takes them at once: workers share one."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    if piece:
        yield piece


def _json_line(line: dict[str, object]) -> bytes:
    try:
        return wire.dumps(line) + b"\n"
    except wire.Undecodable:
        # Header bytes that are no UTF-8 reach us as lone surrogates, which JSON cannot say.
        safe = {
            key: value.encode("ascii", "backslashreplace").decode("ascii")
            if isinstance(value, str)
            else value
            for key, value in line.items()
        }
        return wire.dumps(safe) + b"\n"


def _size(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024 * 1024:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 1024 / 1024:.1f} MiB"
