"""What is passed on from the uplink as it is: signing keys, attestations, download counts."""

from __future__ import annotations

from aiohttp import web

from proxy import errors
from proxy.web import replies
from proxy.web.keys import RELAY

_HOURLY = "public, max-age=3600"


async def get_keys(request: web.Request) -> web.StreamResponse:
    """`GET /-/npm/v1/keys`: the keys that `npm audit signatures` checks with."""
    return replies.json(await request.app[RELAY].get("keys"), cache_control=_HOURLY)


async def get_attestations(request: web.Request) -> web.StreamResponse:
    """`GET /-/npm/v1/attestations/{name}@{version}`: provenance, byte for byte."""
    name, at, version = request.match_info["package"].rpartition("@")
    if not at or not name or not version:
        raise errors.NotFound(reason="attestations are asked for by name@version")
    return replies.json(
        await request.app[RELAY].get("attestations", name, version), cache_control=_HOURLY
    )


async def get_downloads(request: web.Request) -> web.StreamResponse:
    """`GET /downloads/{kind}/{period}/{package}`: download counts, for web tools."""
    found = request.match_info
    return replies.json(
        await request.app[RELAY].get("downloads", found["kind"], found["period"], found["package"])
    )
