"""Text search."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from proxy.web import replies
from proxy.web.keys import EXCHANGE, RELAY


async def get_search(request: web.Request) -> web.StreamResponse:
    """`GET /-/v1/search?text=...`: `{objects, total, time}`."""
    # Decoded and encoded again: one spelling of a query, and nothing in it that is not one.
    query = urlencode(list(request.query.items()))
    found = await request.app[RELAY].search(query, request[EXCHANGE].id)
    return await replies.document(request, found, cache_control=replies.NO_STORE)
