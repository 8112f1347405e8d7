"""Audits are passed on to the uplinks the names come from.

Names that are nobody's business but ours are taken out first.

An audit whose uplink is away is an error: an empty answer would read as "0 vulnerabilities". The
deadline is short, because `npm install` waits for it and then goes on without.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from proxy import errors
from proxy.npm import audit, encoding
from proxy.registry.mirroring import services
from proxy.registry.routing import Guard, Routing

_DEADLINE = timedelta(seconds=8)
_LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
_BULK = "-/npm/v1/security/advisories/bulk"
_JSON_GZIP = {"content-type": "application/json", "content-encoding": "gzip"}

_Share = dict[str, list[object]]


class Audits:
    """Bulk, quick and full audits."""

    def __init__(self, *, routing: Routing) -> None:
        self._routing = routing

    async def bulk(self, body: bytes, request_id: str = "") -> bytes:
        """Advisories by name, for `{"name": ["1.0.0"]}` (identity JSON in and out)."""
        try:
            shares = self._shares(audit.bulk(body), await self._routing.guard())
        except audit.BadAudit as fault:
            raise errors.InvalidRequest(reason=str(fault)) from fault
        answers = await asyncio.gather(
            *(self._advisories(uplink, share, request_id) for uplink, share in shares.items())
        )
        known = [answer for answer in answers if answer is not None]
        if shares and not known:
            raise errors.NotFound(reason="no uplink of these packages offers audits")
        return audit.merged(known)

    async def tree(self, path: str, body: bytes, request_id: str = "") -> bytes:
        """A quick or full audit.

        `path` is the address below the registry's root, `body` a tree like a lockfile's.
        """
        guard = await self._routing.guard()
        rest = guard.rest
        if rest is None:
            raise errors.NotFound(reason="no uplink answers audits here")
        try:
            pruned = audit.without(body, lambda name: guard.origin_of(name).uplink == rest)
        except audit.BadAudit as fault:
            raise errors.InvalidRequest(reason=str(fault)) from fault
        answer = await self._ask(rest, path, pruned, request_id)
        try:
            return audit.check_report(answer)
        except audit.BadAudit as fault:
            raise errors.UplinkBroken(uplink=rest, reason=str(fault)) from fault

    @staticmethod
    def _shares(asked: _Share, guard: Guard) -> dict[str, _Share]:
        """What each uplink is to be asked; a hosted name is in nobody's share."""
        shares: dict[str, _Share] = {}
        for name, versions in asked.items():
            uplink = guard.origin_of(name).uplink
            if uplink is not None:
                shares.setdefault(uplink, {})[name] = versions
        return shares

    async def _advisories(
        self, uplink: str, share: _Share, request_id: str
    ) -> audit.Advisories | None:
        """What one uplink knows of its share; None from one that offers no audits.

        Registries of one's own rarely do. The uplink of all other names must: without it, nearly
        everything would seem free of advisories.
        """
        body = self._body(share)
        try:
            answer = await self._ask(uplink, _BULK, body, request_id)
            return audit.advisories(answer, asked=share)
        except errors.NotFound:
            if uplink == (await self._routing.guard()).rest:
                raise
            return None
        except audit.BadAudit as fault:
            raise errors.UplinkBroken(uplink=uplink, reason=str(fault)) from fault

    def _body(self, share: _Share) -> bytes:
        try:
            return audit.encode(share)
        except audit.BadAudit as fault:
            raise errors.InvalidRequest(reason=str(fault)) from fault

    async def _ask(self, uplink: str, path: str, body: bytes, request_id: str) -> bytes:
        return await services.ask(
            self._routing.mirrors[uplink].uplink,
            "POST",
            path,
            what="audit",
            body=encoding.gzip(body),
            headers=_JSON_GZIP,
            timeout=_DEADLINE,
            limit_bytes=_LARGEST_ANSWER_BYTES,
            request_id=request_id,
        )
