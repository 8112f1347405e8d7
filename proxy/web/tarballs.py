"""Tarballs."""

from __future__ import annotations

from aiohttp import web

from proxy.web import replies
from proxy.web.keys import EXCHANGE, READING, expect
from proxy.web.targets import TarballFile


async def get_tarball(request: web.Request) -> web.StreamResponse:
    """`GET /{package}/-/{file}`: the bytes, whole or one range of them."""
    exchange = request[EXCHANGE]
    target = expect(exchange, TarballFile)
    found = await request.app[READING].tarball(
        exchange.caller, target.name, target.file, exchange.id
    )
    return await replies.tarball(request, found)
