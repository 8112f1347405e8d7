"""FakeUplink: a scriptable npm registry on a real socket of 127.0.0.1.

    async with FakeUplink() as uplink:
        uplink.publish("lodash", "1.0.0", files={"index.js": b""})
        uplink.script("/lodash", faults.truncate_length)      # the next request only
        ...
        assert uplink.count("/lodash") == 2

What it holds is plain data that a test may edit: `packages` (full packuments as dicts), `tarballs`
(bytes by path), `advisories`, `attestations`, `keys`, and the switches in `__init__`. Faults live
in `tests.fakes.faults`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from tests.fakes import answers, packing
from tests.fakes.exchange import Reply, Script, Seen, read_request

Predicate = Callable[[Seen], bool]
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)


class FakeUplink:
    """One registry. The port survives `stop` and `start`, so that an outage can be played."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.packages: dict[str, dict[str, Any]] = {}
        self.tarballs: dict[str, bytes] = {}
        self.advisories: dict[str, list[dict[str, Any]]] = {}
        self.attestations: dict[str, list[dict[str, Any]]] = {}
        self.keys: list[dict[str, Any]] = []
        self.supports_abbreviated = True
        self.supports_gzip = True
        self.supports_range = True
        self.supports_head = True
        self.sends_etag = True
        self.sends_last_modified = True
        self.revalidates = True
        self.token: str | None = None
        self.requests: list[Seen] = []
        self._tls = tls
        self._host = host
        self._port = 0
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._scripts: list[tuple[Predicate, deque[Script]]] = []
        self._standing: list[tuple[Predicate, Script]] = []
        self._released = asyncio.Event()
        self._released.set()
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the port of the last time if there was one."""
        self._server = await asyncio.start_server(
            self._serve, self._host, self._port, ssl=self._tls, limit=1 << 20, backlog=512
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut every connection; the next dial is refused."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        await self.drop_connections()

    async def drop_connections(self) -> None:
        """Cut every open connection, idle or busy; new ones are still welcome."""
        tasks = list(self._connections)
        for task, writer in self._connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def url(self) -> str:
        """The base address, without a trailing slash."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    # --- what it publishes ------------------------------------------------------------------------

    def publish(
        self,
        name: str,
        version: str,
        *,
        files: dict[str, bytes] | None = None,
        tarball: bytes | None = None,
        tag: str | None = "latest",
        published_at: datetime | None = None,
        tarball_url: str | None = None,
        **manifest_fields: Any,
    ) -> bytes:
        """Add a version with a real tarball; returns the tarball's bytes.

        `tarball_url` is what dist.tarball says: an absolute URL (served here under its path as
        well), or a path of ours. `tag=None` sets no dist-tag. Other keywords are fields of the
        manifest, e.g. `dependencies={...}`.
        """
        manifest = {"name": name, "version": version, **manifest_fields}
        data = packing.tarball(manifest, files or {}) if tarball is None else tarball
        bare = name.rpartition("/")[2]
        address = tarball_url or f"/{name}/-/{bare}-{version}.tgz"
        absolute = self.url + address if address.startswith("/") else address
        self.tarballs[urlsplit(absolute).path] = data
        published_at = published_at or EPOCH + timedelta(days=len(self.packages.get(name, ())))
        entry = packing.manifest(manifest, data, absolute)
        packing.add(self.packages, entry, tag=tag, published_at=published_at)
        return data

    # --- what it is told to do wrong --------------------------------------------------------------

    def script(self, where: str | Predicate, *scripts: Script, forever: bool = False) -> None:
        """Queue behaviours for the next requests to a path, or that a predicate takes.

        A path is raw or decoded, without the query. Each script is used once, in order, then the
        registry answers again. With `forever` the (one) script stays until `clear_scripts`; queued
        ones come first.
        """
        predicate = where if callable(where) else _path_is(where)
        if forever:
            self._standing += [(predicate, script) for script in scripts]
        else:
            self._scripts.append((predicate, deque(scripts)))

    def clear_scripts(self) -> None:
        self._scripts.clear()
        self._standing.clear()

    def pause(self) -> None:
        """Hold every answer, scripted ones too, until `resume`; requests are still recorded."""
        self._released.clear()

    def resume(self) -> None:
        self._released.set()

    # --- what it has seen -------------------------------------------------------------------------

    def count(self, path_prefix: str = "/") -> int:
        """How many requests had a path (raw or decoded) that begins so."""
        return len(self.seen(path_prefix))

    def seen(self, path_prefix: str = "/") -> list[Seen]:
        prefix = unquote(path_prefix)
        return [request for request in self.requests if request.decoded_path.startswith(prefix)]

    async def wait_for(self, requests: int, path_prefix: str = "/") -> None:
        """Return when that many requests to the prefix have come, paused or not; 5 s at most."""
        async with asyncio.timeout(5), self._arrived:
            await self._arrived.wait_for(lambda: self.count(path_prefix) >= requests)

    # --- connections ------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            while not writer.is_closing() and (request := await read_request(reader)):
                await self._exchange(reader, writer, *request)
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass  # the client left, or the test stopped us
        finally:
            writer.close()
            del self._connections[task]

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        plain = Seen(method, target, headers, body)
        request = Seen(method, target, headers, body, answer=lambda: self.answer(plain))
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        script = self._next_script(request)
        await self._released.wait()
        if script is not None:
            await script(reader, writer, request)
            return
        writer.write(request.answer().whole())
        await writer.drain()

    def _next_script(self, request: Seen) -> Script | None:
        for predicate, queue in self._scripts:
            if queue and predicate(request):
                return queue.popleft()
        return next((script for fits, script in self._standing if fits(request)), None)

    def answer(self, request: Seen) -> Reply:
        """What the registry says to this request when nothing is scripted."""
        return answers.answer(self, request)


def _path_is(path: str) -> Predicate:
    return lambda request: request.matches(path)
