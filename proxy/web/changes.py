"""Changes to what is published that have addresses of their own: removals and owners."""

from __future__ import annotations

from aiohttp import web

from proxy.npm import names
from proxy.npm.updates import Update, WholeRemoval
from proxy.web import fields
from proxy.web.keys import CHANGING, EXCHANGE, OWNING, expect
from proxy.web.receipts import receipt
from proxy.web.targets import Revision, TarballRevision


async def delete_package(request: web.Request) -> web.StreamResponse:
    """`DELETE /{package}/-rev/{revision}`: unpublish all versions."""
    exchange = request[EXCHANGE]
    target = expect(exchange, Revision)
    update = Update((WholeRemoval(),), target.revision)
    rev = await request.app[CHANGING].apply(exchange.caller, target.name, update)
    return receipt(target.name, rev)


async def delete_tarball(request: web.Request) -> web.StreamResponse:
    """`DELETE /{package}/-/{file}/-rev/{revision}`: the end of `npm unpublish` of one version."""
    exchange = request[EXCHANGE]
    target = expect(exchange, TarballRevision)
    rev = await request.app[CHANGING].remove_tarball(
        exchange.caller, target.name, target.file, target.revision
    )
    return receipt(target.name, rev)


async def put_owner(request: web.Request) -> web.StreamResponse:
    """`PUT /-/package/{package}/owners`: `{"user"}` becomes an owner too."""
    name = names.parse(request.match_info["package"])
    user = fields.text(await fields.read(request), "user")
    rev = await request.app[OWNING].add(request[EXCHANGE].caller, name, user)
    return receipt(name, rev, status=201)


async def delete_owner(request: web.Request) -> web.StreamResponse:
    """`DELETE /-/package/{package}/owners/{user}`."""
    name, user = names.parse(request.match_info["package"]), request.match_info["user"]
    rev = await request.app[OWNING].remove(request[EXCHANGE].caller, name, user)
    return receipt(name, rev)
