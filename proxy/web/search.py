"""Text search."""

from __future__ import annotations

from aiohttp import web

from proxy.web import replies
from proxy.web.keys import SEARCH


async def get_search(request: web.Request) -> web.StreamResponse:
    """`GET /-/v1/search?text=...`: `{objects, total, time}`."""
    return replies.json(await request.app[SEARCH].search(request.query))
