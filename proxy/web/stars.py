"""Stars, in the three ways clients ask for them. Only names that the caller may read are told."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from proxy import errors
from proxy.npm import names, wire
from proxy.npm.names import PackageName
from proxy.web import fields, replies
from proxy.web.keys import EXCHANGE, STARRING
from proxy.web.receipts import receipt


async def put_star(request: web.Request) -> web.StreamResponse:
    """`PUT /-/user/v1/star`, of `{"package"}` or `{"name"}`; and by the package's own address."""
    return await _set(request, is_starred=True)


async def delete_star(request: web.Request) -> web.StreamResponse:
    """`DELETE /-/user/v1/star`, of `{"package"}` or `{"name"}`; and by the package's address."""
    return await _set(request, is_starred=False)


async def get_own(request: web.Request) -> web.StreamResponse:
    """`GET /-/user/v1/star`: `{name: true}` of the caller's stars."""
    return _marks(await request.app[STARRING].of(request[EXCHANGE].caller))


async def get_of_user(request: web.Request) -> web.StreamResponse:
    """`GET /-/user/{user}/stars`: `{name: true}`."""
    return _marks(await _of(request, request.match_info["user"]))


async def get_view(request: web.Request) -> web.StreamResponse:
    """`GET /-/_view/starredByUser?key="{user}"`: `{rows: [{value}]}`, as npm asks."""
    try:
        user = wire.loads(request.query.get("key", "").encode())
    except (wire.Undecodable, UnicodeEncodeError):
        user = None
    if not isinstance(user, str):
        raise errors.InvalidRequest(reason='key has to be a user as a JSON string, such as "ann"')
    rows = [{"value": name} for name in await _of(request, user)]
    return replies.json(wire.dumps({"rows": rows}))


async def _of(request: web.Request, user: str) -> Sequence[str]:
    return await request.app[STARRING].of(request[EXCHANGE].caller, user)


async def _set(request: web.Request, *, is_starred: bool) -> web.StreamResponse:
    name = await _named(request)
    rev = await request.app[STARRING].set(request[EXCHANGE].caller, name, is_starred=is_starred)
    return receipt(name, rev)


async def _named(request: web.Request) -> PackageName:
    in_address = request.match_info.get("package")
    if in_address is not None:
        return names.parse(in_address)
    found = await fields.read(request)
    return names.parse(fields.text(found, "package" if "package" in found else "name"))


def _marks(starred: Sequence[str]) -> web.Response:
    return replies.json(wire.dumps(dict.fromkeys(starred, True)))
