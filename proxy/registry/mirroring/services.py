"""Asking an uplink for what is neither packument nor tarball: audits, search, keys, counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from proxy import errors
from proxy.upstream import base as upstream

_ABSENT = frozenset({404, 405, 501})
_REFUSED = frozenset({400, 413, 422})


async def ask(
    uplink: upstream.Uplink,
    method: str,
    path: str,
    *,
    what: str,
    headers: Mapping[str, str],
    timeout: timedelta,
    limit_bytes: int,
    body: bytes | None = None,
    request_id: str = "",
) -> bytes:
    """The body of the uplink's 200 to what is asked below its base; `what` is its name in errors.

    Raises NotFound if the uplink offers no such service, InvalidRequest if it refuses what is
    asked, else an UplinkError: UplinkAway too if no connection comes about. Nothing of a service is
    broken then, and a 503 tells clients to come back.
    """
    try:
        answer = await uplink.forward(
            method,
            path,
            body=body,
            headers=headers,
            timeout=timeout,
            limit_bytes=limit_bytes,
            request_id=request_id,
        )
    except errors.UplinkUnreachable as fault:
        raise errors.UplinkAway(retry_after=fault.retry_after, **fault.facts) from fault
    return _body(answer, uplink.name, what)


def _body(answer: upstream.Answer, uplink: str, what: str) -> bytes:
    if answer.status == 200:
        return answer.body
    if answer.status in _ABSENT:
        raise errors.NotFound(reason=f"uplink {uplink} offers no {what}")
    if answer.status in _REFUSED:
        raise errors.InvalidRequest(reason=f"uplink {uplink} refuses this {what} ({answer.status})")
    raise errors.UplinkBroken(uplink=uplink, reason=f"{what} answered {answer.status}")
