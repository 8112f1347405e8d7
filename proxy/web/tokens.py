"""`npm token`: list, create, revoke."""

from __future__ import annotations

from aiohttp import web

from proxy import errors
from proxy.npm import token_requests, wire
from proxy.registry.people.own_tokens import Page
from proxy.storage.identity import TokenRecord
from proxy.web import fields, replies
from proxy.web.keys import EXCHANGE, TOKENS

_PAGE_LENGTH = 100
_LARGEST_NUMBER = 1_000_000


async def get_tokens(request: web.Request) -> web.StreamResponse:
    """`GET /-/npm/v1/tokens[?page=&perPage=]`: `{objects, total, urls: {next?, prev?}}`."""
    number = _number(request, "page", 0, least=0)
    length = min(_number(request, "perPage", _PAGE_LENGTH, least=1), _PAGE_LENGTH)
    page = await request.app[TOKENS].page(request[EXCHANGE].caller, number, length)
    body = {
        "objects": [_shown(token) for token in page.tokens],
        "total": page.total,
        "urls": _urls(request, page, number, length),
    }
    return replies.json(wire.dumps(body))


async def post_token(request: web.Request) -> web.StreamResponse:
    """`POST /-/npm/v1/tokens`: a new token, whole for this once."""
    story, caller = request.app[TOKENS], request[EXCHANGE].caller
    caller.require()
    asked = token_requests.read(await fields.read(request), story.now())
    token, record = await story.create(caller, asked)
    return replies.json(wire.dumps({**_shown(record), "token": token}), status=201)


async def delete_token(request: web.Request) -> web.StreamResponse:
    """`DELETE /-/npm/v1/tokens/token/{key}`: 204; the key, the hash or the token itself."""
    await request.app[TOKENS].revoke(request[EXCHANGE].caller, request.match_info["key"])
    return web.Response(status=204, headers=replies.json(b"").headers)


def _shown(token: TokenRecord) -> dict[str, object]:
    """A token as npm lists it. npm takes `token` for a beginning of the token, and adds dots."""
    expires_at = token.expires_at
    return {
        "token": token.shown.partition("…")[0],
        "key": token.key,
        "name": token.name or token.kind.value,
        "description": token.description,
        "readonly": token.is_readonly,
        "automation": token.is_otp_exempt,
        "bypass_2fa": token.is_otp_exempt,
        "packages": list(token.packages),
        "scopes": list(token.scopes),
        # npm shows a list that is empty as well.
        "cidr_whitelist": list(token.cidrs) or None,
        "created": replies.instant(token.created_at),
        "updated": replies.instant(token.used_at or token.created_at),
        "last_used": None if token.used_at is None else replies.instant(token.used_at),
        "expires": None if expires_at is None else replies.instant(expires_at),
    }


def _urls(request: web.Request, page: Page, number: int, length: int) -> dict[str, str | None]:
    address = f"{request[EXCHANGE].address.base_url}/-/npm/v1/tokens?perPage={length}&page="
    return {
        "next": f"{address}{number + 1}" if page.has_more else None,
        "prev": f"{address}{number - 1}" if number else None,
    }


def _number(request: web.Request, key: str, default: int, *, least: int) -> int:
    text = request.query.get(key, str(default))
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1
    if not least <= number <= _LARGEST_NUMBER:
        raise errors.InvalidRequest(reason=f"{key}: a number from {least} on is expected")
    return number
