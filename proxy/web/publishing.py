"""The PUT of a package: a new version, or changes to what is published."""

from __future__ import annotations

from aiohttp import hdrs, web

from proxy import errors
from proxy.web.keys import EXCHANGE, PUBLISHING
from proxy.web.receipts import receipt
from proxy.web.targets import Packument, Revision


async def put_package(request: web.Request) -> web.StreamResponse:
    """`PUT /{package}` and `PUT /{package}/-rev/{revision}`: publish, or change."""
    exchange = request[EXCHANGE]
    match exchange.target:
        case Packument(name):
            revision = None
        case Revision(name, revision):
            pass
        case _:
            raise TypeError(f"the route {exchange.route} does not lead to a package")
    _require_plain(request)
    written = await request.app[PUBLISHING].publish(
        exchange.caller,
        name,
        Received(request),
        size_bytes=request.content_length,
        revision=revision,
    )
    return receipt(name, written.rev, status=201)


def _require_plain(request: web.Request) -> None:
    """Raise InvalidRequest for a coded body: it could unpack to any size."""
    coding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if coding not in {"", "identity"}:
        raise errors.InvalidRequest(
            reason=f"a publish is sent without content-encoding, not with {coding[:40]}"
        )


class Received:
    """The chunks of a request's body, as they come. Who stops waiting may ask again."""

    def __init__(self, request: web.Request) -> None:
        self._content = request.content

    def __aiter__(self) -> Received:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes. Raises InvalidRequest if the client has gone before the end."""
        try:
            chunk = await self._content.readany()
        except (web.RequestPayloadError, ConnectionError):
            raise errors.InvalidRequest(reason="the body is damaged or cut short") from None
        if not chunk:
            raise StopAsyncIteration
        return chunk
