"""Which uplinks are asked, for administrators."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from proxy import errors
from proxy.npm import wire
from proxy.registry.offline.switching import Asking
from proxy.web import fields, replies
from proxy.web.keys import EXCHANGE, SWITCHING


async def get_offline(request: web.Request) -> web.Response:
    """`GET /-/packhouse/offline`: `{offline, uplinks: {name: {offline, why, since, by}}}`."""
    return _told(await request.app[SWITCHING].status(request[EXCHANGE].caller))


async def put_offline(request: web.Request) -> web.Response:
    """`PUT /-/packhouse/offline`: takes `{offline, uplink?}`, answers as GET does."""
    body = await fields.read(request)
    is_offline = body.get("offline")
    if not isinstance(is_offline, bool):
        raise errors.InvalidRequest(reason='"offline" has to be true or false in the body')
    uplink = None if body.get("uplink") is None else fields.text(body, "uplink")
    switching = request.app[SWITCHING]
    return _told(await switching.switch(request[EXCHANGE].caller, uplink, is_offline=is_offline))


def _told(status: Sequence[Asking]) -> web.Response:
    uplinks = {each.uplink: _fields(each) for each in status}
    body = {"offline": all(each.is_offline for each in status), "uplinks": uplinks}
    return replies.json(wire.dumps(body))


def _fields(asking: Asking) -> dict[str, object]:
    return {
        "offline": asking.is_offline,
        "why": asking.why and asking.why.value,
        "since": asking.since and replies.instant(asking.since),
        "by": asking.by,
    }
