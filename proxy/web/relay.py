"""What is passed on from an uplink: attestations, download counts; and all signing keys."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from proxy import errors
from proxy.npm import names
from proxy.web import replies
from proxy.web.keys import EXCHANGE, READING, RELAY, SIGNATURES

_HOURLY = "public, max-age=3600"
# A client that has not heard of a new key yet fails on every version it signed.
_EACH_MINUTE = "public, max-age=60"


async def get_keys(request: web.Request) -> web.StreamResponse:
    """`GET /-/npm/v1/keys`: the keys that `npm audit signatures` checks with."""
    found = await request.app[SIGNATURES].keys(request[EXCHANGE].id)
    return await replies.document(request, found, cache_control=_EACH_MINUTE)


async def get_attestations(request: web.Request) -> web.StreamResponse:
    """`GET /-/npm/v1/attestations/{name}@{version}`: provenance, byte for byte."""
    name, _, version = request.match_info["package"].rpartition("@")
    if not name or not version:
        raise errors.NotFound(reason="attestations are asked for by name@version")
    exchange = request[EXCHANGE]
    found = await request.app[READING].attestations(
        exchange.caller, names.parse(name), version, exchange.id
    )
    return await replies.document(request, found, cache_control=_HOURLY)


async def get_downloads(request: web.Request) -> web.StreamResponse:
    """`GET /downloads/{kind}/{period}/{package}`: download counts, for web tools."""
    words = request.match_info
    path = "/".join(quote(words[key], safe="@,/:") for key in ("kind", "period", "package"))
    found = await request.app[RELAY].downloads(f"downloads/{path}", request[EXCHANGE].id)
    return await replies.document(request, found, cache_control=_HOURLY)
