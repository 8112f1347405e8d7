"""Dist-tags by their own addresses."""

from __future__ import annotations

from aiohttp import web

from proxy import errors
from proxy.npm import names, wire
from proxy.web import bodies, fields
from proxy.web.keys import EXCHANGE, TAGS
from proxy.web.receipts import receipt


async def put_tag(request: web.Request) -> web.StreamResponse:
    """`PUT /-/package/{package}/dist-tags/{tag}`: the body is the version, a JSON string."""
    name, tag = names.parse(request.match_info["package"]), request.match_info["tag"]
    version = _version(await bodies.read(request, fields.LIMIT_BYTES))
    rev = await request.app[TAGS].set(request[EXCHANGE].caller, name, tag, version)
    return receipt(name, rev, status=201)


async def delete_tag(request: web.Request) -> web.StreamResponse:
    """`DELETE /-/package/{package}/dist-tags/{tag}`."""
    name, tag = names.parse(request.match_info["package"]), request.match_info["tag"]
    rev = await request.app[TAGS].drop(request[EXCHANGE].caller, name, tag)
    return receipt(name, rev)


async def put_tags(request: web.Request) -> web.StreamResponse:
    """`PUT /-/package/{package}/dist-tags`: these tags, and of the others `latest` only."""
    name, tags = names.parse(request.match_info["package"]), await _tags(request)
    rev = await request.app[TAGS].replace(request[EXCHANGE].caller, name, tags)
    return receipt(name, rev)


async def post_tags(request: web.Request) -> web.StreamResponse:
    """`POST /-/package/{package}/dist-tags`: these tags beside the others."""
    name, tags = names.parse(request.match_info["package"]), await _tags(request)
    rev = await request.app[TAGS].merge(request[EXCHANGE].caller, name, tags)
    return receipt(name, rev)


def _version(body: bytes) -> str:
    """A version as a JSON string, white space around it or not, whatever its content type."""
    try:
        version = wire.loads(body)
    except wire.Undecodable:
        version = None
    if not isinstance(version, str) or not version:
        raise errors.InvalidRequest(
            reason='the body has to be a version as a JSON string, such as "1.0.0"'
        )
    return version


async def _tags(request: web.Request) -> dict[str, str]:
    found = await fields.read(request)
    return {tag: fields.text(found, tag) for tag in found}
