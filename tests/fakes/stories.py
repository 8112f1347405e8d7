"""The stories of floor 3 in memory, scriptable: what the web floor is tested against."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from proxy import errors
from proxy.npm import encoding, render
from proxy.npm.forms import CONTENT_TYPES, JSON_TYPE, Form
from proxy.npm.names import PackageName
from proxy.registry.answers import CacheState, Document, Freshness
from proxy.registry.people.callers import Caller
from proxy.web import keys, middleware, ops, routes
from proxy.web.access_log import AccessLog
from proxy.web.addresses import Addresses
from proxy.web.connections import Runner
from proxy.web.metrics import Metrics

MODIFIED_AT = datetime(2026, 5, 4, 3, 2, 1, 987654, tzinfo=UTC)
HIT = Freshness(CacheState.HIT, age=timedelta(seconds=7), uplink="main")


@dataclass
class Bytes:
    """Stored bytes, and a tarball; `wait` makes every read slow, `fail_at` makes one fail."""

    data: bytes
    etag: str | None = '"0123456789abcdef"'
    modified_at: datetime | None = MODIFIED_AT
    freshness: Freshness = HIT
    fail_at: int | None = None
    wait: float = 0
    closed: int = 0
    is_private: bool = False
    largest_read: int = 0
    announced_bytes: int | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.data) if self.announced_bytes is None else self.announced_bytes

    async def read(self, offset: int, length: int) -> bytes:
        await asyncio.sleep(self.wait)
        self.largest_read = max(self.largest_read, length)
        if self.fail_at is not None and offset + length > self.fail_at:
            if offset >= self.fail_at:
                raise errors.UplinkBroken(uplink="main", reason="the body was cut short")
            length = self.fail_at - offset
        return self.data[offset : offset + length]

    async def close(self) -> None:
        self.closed += 1


@dataclass
class Stories:
    """All stories at once: `documents` by name, `tarballs` by file; `failure` fails every call."""

    documents: dict[str, bytes] = field(default_factory=dict)
    tarballs: dict[str, Bytes] = field(default_factory=dict)
    failure: Exception | None = None
    stored: Bytes | None = None
    is_private: bool = False
    freshness: Freshness = HIT
    wait: float = 0
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    async def _called(self, *what: Any) -> None:
        self.calls.append(what)
        await asyncio.sleep(self.wait)
        if self.failure is not None:
            raise self.failure

    def follow(self, name: PackageName, form: Form, freshness: Freshness) -> None:
        self.calls.append(("follow", name.full, form, freshness.state))

    async def document(
        self, caller: Caller, name: PackageName, form: Form, base_url: str, request_id: str
    ) -> Document:
        await self._called("document", name.full, form, base_url, request_id)
        body = self._found(name).replace(b"{base_url}", base_url.encode())
        packed = encoding.gzip(body)
        if self.stored is not None:
            self.stored.data = packed
        return Document(
            body=packed if self.stored is None else self.stored,
            is_gzip=True,
            identity_bytes=len(body),
            etag=render.etag(name.full, form.value, base_url),
            modified_at=MODIFIED_AT,
            content_type=CONTENT_TYPES[form],
            freshness=self.freshness,
            form=form,
            is_private=self.is_private,
        )

    async def manifest(
        self, caller: Caller, name: PackageName, spec: str, base_url: str, request_id: str
    ) -> Document:
        await self._called("manifest", name.full, spec, base_url, request_id)
        return self._plain(self._found(name).replace(b"{base_url}", base_url.encode()))

    async def dist_tags(self, caller: Caller, name: PackageName, request_id: str) -> Document:
        await self._called("dist_tags", name.full, request_id)
        self._found(name)
        return self._plain(b'{"latest":"1.0.0"}')

    async def tarball(self, caller: Caller, name: PackageName, file: str, request_id: str) -> Bytes:
        await self._called("open", name.full, file, request_id)
        found = self.tarballs.get(file)
        if found is None:
            raise errors.TarballNotFound(name=name.full, file=file)
        return found

    async def resolve(self, authorization: str | None, client_ip: str, otp: str | None) -> Caller:
        return Caller(client_ip=client_ip)

    async def refused(self, caller: Caller) -> None:
        await self._called("refused", caller.client_ip)

    async def log_out(self, caller: Caller, token: str) -> None:
        await self._called("log out")
        raise errors.NotFound(reason="you have no such token")

    async def bulk(self, body: bytes, request_id: str) -> bytes:
        await self._called("bulk", body, request_id)
        return b"{}"

    async def tree(self, path: str, body: bytes, request_id: str) -> bytes:
        await self._called("tree", path, body, request_id)
        return b'{"actions":[]}'

    async def keys(self, request_id: str) -> Document:
        await self._called("keys", request_id)
        return self._plain(b'{"keys":[]}')

    async def attestations(
        self, caller: Caller, name: PackageName, version: str, request_id: str
    ) -> Document:
        await self._called("attestations", name.full, version, request_id)
        return self._plain(b'{"attestations":[]}')

    async def search(
        self, caller: Caller, query: Sequence[tuple[str, str]], base_url: str, request_id: str
    ) -> Document:
        await self._called("search", list(query), base_url, request_id)
        return self._plain(b'{"objects":[],"total":0,"time":"now"}')

    async def downloads(self, path: str, request_id: str) -> Document:
        await self._called("downloads", path, request_id)
        return self._plain(b'{"downloads":1}')

    def claimed(self) -> list[str]:
        return ["@acme/*", "@acme/secret", "lonely"]

    def _found(self, name: PackageName) -> bytes:
        body = self.documents.get(name.full)
        if body is None:
            raise errors.PackageNotFound(name=name.full)
        return body

    def _plain(self, body: bytes) -> Document:
        return Document(
            body=body,
            is_gzip=False,
            identity_bytes=len(body),
            etag=render.etag(body.decode()),
            modified_at=MODIFIED_AT,
            content_type=JSON_TYPE,
            freshness=self.freshness,
        )


class Closed:
    """A story that wants to know who asks, whatever it is asked; nobody here is known."""

    def __getattr__(self, name: str) -> Any:
        async def refuse(*_: object, **__: object) -> None:
            raise errors.Unauthenticated(reason="you have to log in first")

        return refuse


WRITERS = (
    keys.PUBLISHING,
    keys.ACCESS,
    keys.TEAMS,
    keys.CHANGING,
    keys.TAGS,
    keys.OWNING,
    keys.STARRING,
    keys.TOKENS,
    keys.PROFILES,
    keys.LOGINS,
    keys.ACCOUNTS,
)


@asynccontextmanager
async def serve(
    stories: Stories,
    *,
    public_url: str | None = None,
    trusted_proxies: tuple[str, ...] = (),
    log: AccessLog | None = None,
    drain: keys.Drain | None = None,
    probe: ops.Probe | None = None,
    deadline: timedelta = middleware.DEADLINE,
) -> AsyncIterator[int]:
    """The web floor over `stories` on a loopback port, which is given."""
    metrics = Metrics()
    guard = middleware.guard(
        log=log, metrics=metrics, drain=drain or keys.Drain(), deadline=deadline
    )
    app = web.Application(middlewares=[guard])
    for key in (
        keys.CALLERS,
        keys.AHEAD,
        keys.READING,
        keys.AUDITS,
        keys.RELAY,
        keys.SEARCHING,
        keys.SIGNATURES,
    ):
        app[key] = stories
    for key in WRITERS:
        app[key] = Closed()
    app[keys.ROUTING] = stories
    app[ops.METRICS] = metrics
    app[ops.PROBE] = probe or ops.Probe(version="1.2.3", checks={}, uplinks=dict)
    routes.mount(
        app,
        routes.Reception(Addresses(public_url=public_url, trusted_proxies=trusted_proxies)),
    )
    runner = Runner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
