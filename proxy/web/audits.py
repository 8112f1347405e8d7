"""Security advisories: what npm, pnpm, berry, bun and deno ask after an install."""

from __future__ import annotations

from aiohttp import web

from proxy.web import bodies, replies
from proxy.web.keys import AUDITS

# A lockfile of 20,000 packages makes a body of 4 MiB; npm and bun send theirs gzipped, counted here
# unpacked.
LIMIT_BYTES = 16 * 1024 * 1024


async def post_bulk(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/security/advisories/bulk`: `{name: [version]}` to `{name: [advisory]}`."""
    body = await bodies.read(request, LIMIT_BYTES)
    return replies.json(await request.app[AUDITS].bulk(body))


async def post_quick(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/security/audits/quick`: a lockfile's tree to what is wrong in it.

    Answers `{actions, advisories, muted, metadata}`.
    """
    body = await bodies.read(request, LIMIT_BYTES)
    return replies.json(await request.app[AUDITS].quick(body))


async def post_full(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/security/audits`: as quick, fuller."""
    body = await bodies.read(request, LIMIT_BYTES)
    return replies.json(await request.app[AUDITS].full(body))
