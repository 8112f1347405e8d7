"""The real application on a loopback socket, put together as the product puts it together."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import aiohttp
from aiohttp import web
from multidict import CIMultiDictProxy
from yarl import URL

from proxy import app
from proxy.config.settings import Cache, Config, Log, Server, Storage, Uplink
from proxy.npm.policy import EVERYTHING, Origin, Rule, Rules
from proxy.web import keys
from proxy.web.connections import Runner

ABBREVIATED = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
FULL = "application/json"


class Clock:
    """Two clocks that agree: they run, and can be moved forward (or back)."""

    def __init__(self) -> None:
        self._moved = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self._moved

    def monotonic(self) -> float:
        loop = asyncio.get_event_loop()
        return loop.time() + self._moved.total_seconds()

    def advance(self, **by: float) -> None:
        self._moved += timedelta(**by)


@dataclass(frozen=True)
class Answer:
    """A whole reply. `body` is without content coding."""

    status: int
    reason: str
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Registry:
    """A running registry.

    `config` may be replaced before it starts; `restart` keeps the data folder.
    """

    def __init__(self, folder: Path, uplink_url: str, *, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.config = Config(
            server=Server(drain=timedelta(0)),
            storage=Storage(path=folder),
            cache=Cache(soft_deadline=timedelta(seconds=1), min_free_bytes=0),
            uplinks=(
                Uplink(
                    name="npm",
                    url=uplink_url,
                    timeout=timedelta(seconds=2),
                    connect_timeout=timedelta(seconds=1),
                    deadline=timedelta(seconds=3),
                ),
            ),
            rules=Rules((Rule((EVERYTHING,), Origin("npm")),)),
            log=Log(access=False),
        )
        self.app: web.Application | None = None
        self.runner: Runner | None = None
        self._stack = AsyncExitStack()
        self.url = ""

    def set(self, section: str, **values: Any) -> None:
        """Change settings before it starts: of server, cache, log, or "uplink" (the first)."""
        if section == "uplink":
            changed = replace(self.config.uplinks[0], **values)
            self.config = replace(self.config, uplinks=(changed, *self.config.uplinks[1:]))
        else:
            changed = replace(getattr(self.config, section), **values)
            self.config = replace(self.config, **{section: changed})

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self.app = app.build(self.config, clock=self.clock.now, monotonic=self.clock.monotonic)
        self.runner = runner = Runner(self.app, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        connector = aiohttp.TCPConnector(limit=0)
        self.session = await self._stack.enter_async_context(
            aiohttp.ClientSession(connector=connector)
        )

    async def stop(self) -> None:
        await self._stack.aclose()

    async def idle(self) -> None:
        """Wait until what was sent is stored as well: a reply does not wait for the disk."""
        assert self.app is not None
        running = self.app[keys.READING]._tarballs._downloads._running
        async with asyncio.timeout(10):
            while any(download.is_verified for download, _ in running.values()):
                await asyncio.sleep(0.005)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def get(self, path: str, *, method: str = "GET", **headers: str) -> Answer:
        """One request; `path` goes out as it is, header names are written with "_" for "-"."""
        return await self.ask(method, path, {k.replace("_", "-"): v for k, v in headers.items()})

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        data: bytes | io.BytesIO | None = None,
    ) -> Answer:
        url = URL(self.url + path, encoded=True)
        async with self.session.request(
            method, url, headers=headers, data=data, allow_redirects=False
        ) as reply:
            body = await reply.read()
            await self.idle()
            return Answer(reply.status, reply.reason or "", reply.headers, body)

    async def packument(self, name: str, *, accept: str = FULL, **headers: str) -> Answer:
        return await self.get(f"/{name}", accept=accept, **headers)
