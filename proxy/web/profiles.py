"""`npm profile`: what users say of themselves, their password, their second factor."""

from __future__ import annotations

import re

from aiohttp import hdrs, web

from proxy.npm import profile_requests, users, wire
from proxy.npm.profile_requests import DISABLE, FactorChange, FactorCode
from proxy.storage.identity import UserRecord
from proxy.web import fields, replies
from proxy.web.keys import EXCHANGE, PROFILES

# Up to npm 10 a changed mode is told by a null; later ones want to see the mode.
_WANTS_NULL = re.compile(r"npm/(?:[6-9]|10)\.")


async def get_profile(request: web.Request) -> web.StreamResponse:
    """`GET /-/npm/v1/user`: the caller's profile."""
    return _reply(await request.app[PROFILES].own(request[EXCHANGE].caller))


async def post_profile(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/user`: the profile as it is then; `tfa` says what became of a second factor.

    That is the `otpauth://` address of a new one, the codes to recover with once it is confirmed,
    or its mode.
    """
    story, caller = request.app[PROFILES], request[EXCHANGE].caller
    caller.require()
    asked = profile_requests.read(await fields.read(request))
    match asked:
        case FactorChange(password, mode):
            address = await story.change_factor(caller, password, mode)
            user = await story.own(caller)
            if address is None and mode != DISABLE and _is_old(request):
                return _reply(user, tfa=None)
            return _reply(user) if address is None else _reply(user, tfa=address)
        case FactorCode(code):
            codes = await story.confirm_factor(caller, code)
            return _reply(await story.own(caller), tfa=codes)
    return _reply(await story.change(caller, asked))


def _reply(user: UserRecord, **instead: object) -> web.Response:
    body = {
        "name": user.name,
        "email": user.email,
        "email_verified": False,
        "tfa": _factor(user),
        "created": replies.instant(user.created_at),
        "updated": replies.instant(user.updated_at),
        "cidr_whitelist": None,
        **{key: user.profile.get(key, "") for key in users.PROFILE},
    }
    return replies.json(wire.dumps({**body, **instead}))


def _factor(user: UserRecord) -> dict[str, object] | bool:
    mode = user.totp_mode or user.totp_asked
    return False if mode is None else {"mode": mode, "pending": user.totp_mode is None}


def _is_old(request: web.Request) -> bool:
    return _WANTS_NULL.match(request.headers.get(hdrs.USER_AGENT, "")) is not None
