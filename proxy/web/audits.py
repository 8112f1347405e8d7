"""Security advisories: what npm, pnpm, berry, bun and deno ask after an install."""

from __future__ import annotations

from aiohttp import web

from proxy.web import bodies, replies
from proxy.web.keys import AUDITS, EXCHANGE

# A lockfile of 20,000 packages makes a body of 4 MiB; what comes gzipped is counted unpacked.
LIMIT_BYTES = 16 * 1024 * 1024


async def post_bulk(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/security/advisories/bulk`: `{name: [version]}` to `{name: [advisory]}`."""
    body = await bodies.read(request, LIMIT_BYTES)
    return replies.json(await request.app[AUDITS].bulk(body, request[EXCHANGE].id))


async def post_tree(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/security/audits[/quick]`: a lockfile's tree to what is wrong in it.

    Answers `{actions, advisories, muted, metadata}`.
    """
    body = await bodies.read(request, LIMIT_BYTES)
    exchange = request[EXCHANGE]
    path = exchange.route.removeprefix("/")
    return replies.json(await request.app[AUDITS].tree(path, body, exchange.id))
