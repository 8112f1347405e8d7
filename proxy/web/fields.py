"""The fields of a small JSON body, of which every one that is asked for has to make sense.

A DELETE has one too: npm names there what is to be taken away.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from aiohttp import web

from proxy import errors
from proxy.npm import wire
from proxy.web import bodies

E = TypeVar("E", bound=Enum)

LIMIT_BYTES = 64 * 1024


async def read(request: web.Request) -> Mapping[str, Any]:
    """The JSON object that is the body. Raises InvalidRequest, TooLarge."""
    body = await bodies.read(request, LIMIT_BYTES)
    try:
        found = wire.loads(body)
    except wire.Undecodable as error:
        raise errors.InvalidRequest(reason=f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise errors.InvalidRequest(reason="the body is not a JSON object")
    return found


def text(fields: Mapping[str, Any], key: str) -> str:
    """A text that has to be there. Raises InvalidRequest."""
    value = fields.get(key)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise errors.InvalidRequest(reason=f'"{key}" has to be one line of text in the body')
    return value


def word(fields: Mapping[str, Any], key: str, words: Mapping[str, E]) -> E:
    """One of a few words that has to be there. Raises InvalidRequest."""
    value = fields.get(key)
    if not isinstance(value, str) or value not in words:
        known = ", ".join(words)
        raise errors.InvalidRequest(reason=f'"{key}" has to be one of {known} in the body')
    return words[value]
