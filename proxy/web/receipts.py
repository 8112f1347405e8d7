"""What the writer of a package is told: that it is done, and the revision to go on from."""

from __future__ import annotations

from aiohttp import web

from proxy.npm import wire
from proxy.npm.names import PackageName
from proxy.web import replies


def receipt(name: PackageName, rev: str, *, status: int = 200) -> web.Response:
    """`{ok, success, id, rev}`; clients look at one of them each."""
    body = {"ok": True, "success": True, "id": name.full, "rev": rev}
    return replies.json(wire.dumps(body), status=status)
