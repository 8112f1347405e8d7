"""The web floor on a real socket, over stories in memory: how its tests ask it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

ABBREVIATED = "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"
SMALL = b'{"name":"small"}'
BIG = json.dumps({"name": "big", "numbers": list(range(200_000))}).encode()
TARBALL = bytes(range(256)) * 4000
SINCE = "Mon, 04 May 2026 03:02:01 GMT"


@dataclass(frozen=True)
class Reply:
    """A whole reply, its body as it was sent."""

    status: int
    reason: str | None
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


async def ask(
    port: int,
    path: str,
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    data: bytes | None = None,
) -> Reply:
    """Ask on a connection of its own, with no headers but the given ones."""
    url = URL(f"http://127.0.0.1:{port}{path}", encoded=True)
    skipped = ["Accept", "Accept-Encoding"]
    async with (
        aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=skipped) as session,
        session.request(method, url, headers=headers, data=data) as reply,
    ):
        return Reply(reply.status, reply.reason, reply.headers, await reply.read())
