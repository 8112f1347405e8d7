"""Lockfiles that are sent here, so that what they name is here before anybody installs it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import hdrs, web
from multidict import CIMultiDict

from proxy import errors
from proxy.npm import wire
from proxy.registry.offline.errands import Outcome, Progress
from proxy.registry.offline.warming import Warm
from proxy.web import bodies
from proxy.web.keys import EXCHANGE, WARMING

# Forty thousand entries of a package-lock.json.
LIMIT_BYTES = 16 * 1024 * 1024
TYPE = "application/x-ndjson"


async def post_prefetch(request: web.Request) -> web.StreamResponse:
    """`POST /-/packhouse/prefetch?file=NAME[&platform=OS/CPU[/LIBC]]…`: the body is the file.

    Answers a line of JSON for each thing that is settled, `{package, outcome, reason, size_bytes,
    done, known}`, and last `{is_complete, counts, error}`.
    """
    exchange, warming = request[EXCHANGE], request.app[WARMING]
    warming.require(exchange.caller)
    body = await bodies.read(request, LIMIT_BYTES)
    file = request.query.get("file", "the lockfile")[:200]
    fit = request.query.getall("platform", [])
    return Lines(await warming.begin(exchange.caller, file, body, fit, exchange.id))


class Lines(bodies.Streamed):
    """A reply of lines, sent as they come: nobody knows how many there will be."""

    def __init__(self, warm: Warm) -> None:
        headers = CIMultiDict({hdrs.CONTENT_TYPE: TYPE, hdrs.CACHE_CONTROL: "no-store"})
        super().__init__(_lines(warm), source=warm, size_bytes=0, status=200, headers=headers)
        self.content_length = None

    async def _send(self) -> None:
        async with aclosing(self._chunks) as chunks:
            async for chunk in chunks:
                async with asyncio.timeout(bodies.PATIENCE.total_seconds()):
                    await self.write(chunk)


async def _lines(warm: Warm) -> AsyncGenerator[bytes]:
    counts: Counter[Outcome] = Counter()
    error: str | None = None
    try:
        async for progress in warm.progress():
            counts[progress.outcome] += 1
            yield _line(_fields(progress))
    except errors.RegistryError as fault:
        error = str(fault)
    is_complete = error is None and all(each.is_good for each in counts)
    told = {each.value: count for each, count in counts.items()}
    yield _line({"is_complete": is_complete, "counts": told, "error": error})


def _fields(progress: Progress) -> dict[str, object]:
    return {
        "package": progress.what,
        "outcome": progress.outcome.value,
        "reason": progress.reason,
        "size_bytes": progress.size_bytes,
        "done": progress.done,
        "known": progress.known,
    }


def _line(fields: dict[str, object]) -> bytes:
    return wire.dumps(fields) + b"\n"
