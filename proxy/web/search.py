"""Text search."""

from __future__ import annotations

from aiohttp import web

from proxy.web import replies
from proxy.web.keys import EXCHANGE, SEARCHING


async def get_search(request: web.Request) -> web.StreamResponse:
    """`GET /-/v1/search?text=...`: `{objects, total, time}`."""
    exchange = request[EXCHANGE]
    found = await request.app[SEARCHING].search(
        exchange.caller, list(request.query.items()), exchange.address.base_url, exchange.id
    )
    return await replies.document(request, found, cache_control=replies.NO_STORE)
