"""Somebody who asks an uplink: a client of it, a sink, a clock to put forward, and its metrics."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from proxy.npm import names
from proxy.npm.forms import Form
from proxy.upstream.base import Answer, Document, Missing, NotModified
from proxy.upstream.client import HttpUplink, UplinkSettings

# What must time out does so soon; what must not has time even on a busy machine.
SOON = timedelta(seconds=0.3)
IMPATIENT: dict[str, Any] = {"timeout": SOON, "connect_timeout": SOON, "deadline": 3 * SOON}
PATIENT: dict[str, Any] = dict.fromkeys(IMPATIENT, timedelta(seconds=5))
NAME = "a"
TARBALL = "/a/-/a-1.0.0.tgz"


@dataclass
class Kept:
    """A sink that keeps what it gets."""

    data: bytearray = field(default_factory=bytearray)

    async def write(self, chunk: bytes) -> None:
        self.data += chunk

    async def restart(self) -> None:
        self.data.clear()


@dataclass
class Ticks:
    """A monotonic clock that can be put forward."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Asked:
    """A client, its sink, its clock and what it told the metrics."""

    client: HttpUplink
    ticks: Ticks
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    sink: Kept = field(default_factory=Kept)

    async def packument(
        self, name: str = NAME, form: Form = Form.FULL, **validators: str | None
    ) -> NotModified | Missing | Document:
        self.sink = Kept()
        known: dict[str, Any] = {"etag": None, "last_modified": None, **validators}
        return await self.client.packument(names.parse(name), form, sink=self.sink, **known)

    async def tarball(self, url: str, **resume: Any) -> bytes:
        async with self.client.tarball(url, **resume) as stream:
            return b"".join([chunk async for chunk in stream.chunks()])

    async def forward(self, path: str, method: str = "GET", **more: Any) -> Answer:
        given: dict[str, Any] = {"body": None, "headers": {}, "limit_bytes": 100_000, **more}
        given.setdefault("timeout", timedelta(seconds=5))
        return await self.client.forward(method, path, **given)


@asynccontextmanager
async def asking(url: str, **settings: Any) -> AsyncIterator[Asked]:
    """A client of its own."""
    given = {**PATIENT, **settings}
    asked: list[Asked] = []
    client = HttpUplink(
        UplinkSettings(name="main", url=url, **given),
        clock=(ticks := Ticks()),
        rand=lambda: 0.0,
        on_request=lambda _, kind, outcome, __, size: asked[0].calls.append((kind, outcome, size)),
    )
    async with client:
        asked.append(Asked(client, ticks))
        yield asked[0]
