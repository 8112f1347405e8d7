"""Who may do what with a package: `npm access`, and what pnpm and lerna ask."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from proxy import errors
from proxy.npm import names, wire
from proxy.npm.names import PackageName
from proxy.storage.hosting import Access
from proxy.storage.identity import Permission
from proxy.web import fields, replies
from proxy.web.keys import ACCESS, EXCHANGE

_ACCESSES = {access.value: access for access in Access}


async def get_visibility(request: web.Request) -> web.Response:
    """`GET /-/package/{package}/visibility`: `{public}`."""
    access = await request.app[ACCESS].of(request[EXCHANGE].caller, _name(request))
    return replies.json(wire.dumps({"public": access is Access.PUBLIC}))


async def get_access(request: web.Request) -> web.Response:
    """`GET /-/package/{package}/access`: `{access}`, which is "public" or "restricted"."""
    access = await request.app[ACCESS].of(request[EXCHANGE].caller, _name(request))
    return replies.json(wire.dumps({"access": access.value}))


async def post_access(request: web.Request) -> web.Response:
    """`POST /-/package/{package}/access`: `{access}` to `{ok, access}`."""
    body = await fields.read(request)
    if "publish_requires_tfa" in body or "automation_token_overrides_tfa" in body:
        raise errors.InvalidRequest(
            reason="a second factor cannot be asked of one package here; every account can have it"
            " asked for all that it writes: npm profile enable-2fa auth-and-writes"
        )
    access = fields.word(body, "access", _ACCESSES)
    await request.app[ACCESS].set(request[EXCHANGE].caller, _name(request), access)
    return replies.json(wire.dumps({"ok": True, "access": access.value}))


async def get_collaborators(request: web.Request) -> web.Response:
    """`GET /-/package/{package}/collaborators`: `{user: "write" or "read"}`; `?user=` for one."""
    found = await request.app[ACCESS].collaborators(request[EXCHANGE].caller, _name(request))
    only = request.query.get("user")
    return permissions({user: p for user, p in found.items() if only in {None, user}})


async def get_user_packages(request: web.Request) -> web.Response:
    """`GET /-/user/{user}/package`: `{package: "write" or "read"}`."""
    user = request.match_info["user"]
    return permissions(await request.app[ACCESS].packages_of(request[EXCHANGE].caller, user))


def permissions(found: Mapping[str, Permission]) -> web.Response:
    """Permissions by name, in npm's words."""
    return replies.json(wire.dumps({name: permission.value for name, permission in found.items()}))


def _name(request: web.Request) -> PackageName:
    return names.parse(request.match_info["package"])
