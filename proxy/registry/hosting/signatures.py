"""Signatures of what is published here, and the keys that clients verify all packages with.

A client has one list of keys for this registry, and looks in it for the key of every signature
that a package has; one that is not there ends `npm audit signatures` at once. So the list is the
uplinks' keys and ours; ours alone if packages live here and no uplink has any (decision 0014); and
an error while theirs cannot be had, because then clients would call every mirrored package a fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from proxy import errors
from proxy.npm import signing, wire
from proxy.npm.names import PackageName
from proxy.registry.answers import CacheState, Document, Freshness, plain
from proxy.registry.mirroring.relay import Relay
from proxy.registry.routing import Routing


class _Theirs(wire.Struct):
    keys: list[wire.Raw]


_THEIRS = wire.Reader(_Theirs)


class Key(Protocol):
    """One key of ours (storage/keyring.py)."""

    @property
    def pem(self) -> bytes: ...

    @property
    def expires_at(self) -> datetime | None: ...


class Keyring(Protocol):
    """Our keys; the last one signs."""

    def listed(self) -> Sequence[Key]: ...


class Signatures:
    """Signs versions, and publishes the keys."""

    def __init__(self, *, keyring: Keyring, relay: Relay, routing: Routing) -> None:
        self._keyring = keyring
        self._relay = relay
        self._routing = routing

    def sign(self, name: PackageName, version: str, integrity: str) -> dict[str, str]:
        """The entry for `dist.signatures`, `{keyid, sig}`, by the key in use (200 µs).

        Raises StorageCorrupt if the key is damaged or gone.
        """
        return signing.sign(self._keyring.listed()[-1].pem, name, version, integrity)

    def own_keys(self) -> list[dict[str, str | None]]:
        """The public halves of our keys, as clients find them, the oldest first."""
        return [
            signing.key_document(key.pem, expires_at=key.expires_at)
            for key in self._keyring.listed()
        ]

    async def keys(self, request_id: str = "") -> Document:
        """`{"keys": [...]}`: the uplinks' keys as they wrote them, then ours.

        NotFound if no uplink has any and nothing lives here: clients then skip the check. An
        UplinkError if an uplink's are not to be had.
        """
        ours = [wire.dumps(key) for key in self.own_keys()]
        guard = await self._routing.guard()
        if not guard.uplinks:
            return plain(_list(ours), Freshness(CacheState.HIT))
        try:
            theirs = await self._relay.keys(request_id)
        except errors.NotFound:
            if not guard.takes_versions:
                raise
            return plain(_list(ours), Freshness(CacheState.MISS))
        assert isinstance(theirs.body, bytes)  # noqa: S101  # what is relayed is in memory
        body = _list([*map(bytes, _THEIRS.read(theirs.body).keys), *ours])
        return replace(theirs, body=body, identity_bytes=len(body))


def _list(keys: Sequence[bytes]) -> bytes:
    return b'{"keys":[' + b",".join(keys) + b"]}"
