"""Packuments, single manifests and dist-tags."""

from __future__ import annotations

from aiohttp import hdrs, web

from proxy.npm import names
from proxy.npm.forms import Form
from proxy.web import negotiation, replies
from proxy.web.keys import AHEAD, EXCHANGE, READING, expect
from proxy.web.targets import Manifest, Packument


async def get_packument(request: web.Request) -> web.StreamResponse:
    """`GET /{package}`: all versions, full or abbreviated as Accept says.

    `?write=true` comes before a write (npm unpublish asks so with an Accept for the abbreviated
    form): it is given the full form, and nobody keeps it.
    """
    exchange = request[EXCHANGE]
    target = expect(exchange, Packument)
    is_for_write = "?" in request.raw_path and request.query.get("write") == "true"
    form = Form.FULL if is_for_write else negotiation.form(request.headers.get(hdrs.ACCEPT))
    found = await request.app[READING].document(
        exchange.caller, target.name, form, exchange.address.base_url, exchange.id
    )
    cache_control = replies.NO_STORE if is_for_write else None
    reply = await replies.document(request, found, cache_control=cache_control)
    if reply.status == 200 and request.method == hdrs.METH_GET:
        request.app[AHEAD].follow(target.name, form, found.freshness)
    return reply


async def get_manifest(request: web.Request) -> web.StreamResponse:
    """`GET /{package}/{version}`: one version's manifest, by version or dist-tag."""
    exchange = request[EXCHANGE]
    target = expect(exchange, Manifest)
    found = await request.app[READING].manifest(
        exchange.caller, target.name, target.spec, exchange.address.base_url, exchange.id
    )
    return await replies.document(request, found)


async def get_dist_tags(request: web.Request) -> web.StreamResponse:
    """`GET /-/package/{package}/dist-tags`: `{tag: version}`; npm reads it before it writes."""
    name = names.parse(request.match_info["package"])
    exchange = request[EXCHANGE]
    found = await request.app[READING].dist_tags(exchange.caller, name, exchange.id)
    return await replies.document(request, found, cache_control=replies.NO_STORE)
