"""Logging in with a password, logging out, and who somebody is."""

from __future__ import annotations

from aiohttp import web

from proxy import errors
from proxy.npm import users, wire
from proxy.storage.identity import UserRecord
from proxy.web import fields, replies
from proxy.web.keys import ACCOUNTS, EXCHANGE


async def put_user(request: web.Request) -> web.StreamResponse:
    """`PUT /-/user/org.couchdb.user:{name}`: 201 with a token, for who is known or signs up.

    The body is npm's `{name, password, email?, ...}`. Never 409: npm would read the user and send
    all of it once more.
    """
    name = _name_in(request)
    body = await fields.read(request)
    if body.get("name", name) != name:
        raise errors.InvalidRequest(reason="the name in the body is not the one in the address")
    password, email = body.get("password"), body.get("email") or None
    if not isinstance(password, str) or not (email is None or isinstance(email, str)):
        raise errors.InvalidRequest(reason="a login is {name, password, email?}, each a text")
    caller = request[EXCHANGE].caller
    user, token = await request.app[ACCOUNTS].log_in(
        name, password, email=email, otp=caller.otp, client_ip=caller.client_ip
    )
    answer = {"ok": True, "id": f"{users.PREFIX}{name}", "rev": _revision(user), "token": token}
    return replies.json(wire.dumps(answer), status=201)


async def get_user(request: web.Request) -> web.StreamResponse:
    """`GET /-/user/org.couchdb.user:{name}`: who that is, for whoever is logged in."""
    user = await request.app[ACCOUNTS].user(request[EXCHANGE].caller, _name_in(request))
    shown: dict[str, object] = {
        "_id": f"{users.PREFIX}{user.name}",
        "_rev": _revision(user),
        "name": user.name,
        "email": user.email,
        "type": "user",
        "roles": [],
    }
    return replies.json(wire.dumps(shown))


async def delete_token(request: web.Request) -> web.StreamResponse:
    """`DELETE /-/user/token/{token}`: log out. The token in the path is in no log."""
    await request.app[ACCOUNTS].log_out(request[EXCHANGE].caller, request.match_info["token"])
    return replies.json(b'{"ok":true}')


async def get_whoami(request: web.Request) -> web.StreamResponse:
    """`GET /-/whoami`: `{username}`, or 401."""
    return replies.json(wire.dumps({"username": request[EXCHANGE].caller.require()}))


def _name_in(request: web.Request) -> str:
    piece = request.match_info["user"]
    name = piece.removeprefix(users.PREFIX)
    if name == piece or not name:
        raise errors.NotFound(reason=f"users are at /-/user/{users.PREFIX}NAME")
    return name


def _revision(user: UserRecord) -> str:
    return f"1-{int(user.updated_at.timestamp() * 1_000_000):x}"
