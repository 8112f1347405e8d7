"""What uplinks say besides packuments and tarballs, kept for when they cannot be asked.

That is an uplink's signing keys, and the attestations of versions: what clients verify packages
with. Each answer takes the place of the last one.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from urllib.parse import quote

from proxy import errors
from proxy.npm import wire
from proxy.npm.forms import JSON_TYPE
from proxy.npm.names import PackageName
from proxy.registry.mirroring import services
from proxy.storage.base import Blobs, DocumentRecord, Index
from proxy.upstream.base import Uplink

_log = logging.getLogger(__name__)

KEYS = "-/npm/v1/keys"
LARGEST_BYTES = 16 * 1024 * 1024
_NO_KEYS = b'{"keys":[]}'
_DEADLINE = timedelta(seconds=15)


def attestations_path(name: PackageName, version: str) -> str:
    """Where an uplink has the attestations of one version."""
    return f"-/npm/v1/attestations/{name.escaped}@{quote(version, safe='')}"


class Documents:
    """Asks for such documents, keeps them, and gives those that are kept."""

    def __init__(
        self,
        *,
        index: Index,
        blobs: Blobs,
        uplinks: Mapping[str, Uplink],
        clock: Callable[[], datetime],
    ) -> None:
        self._index = index
        self._blobs = blobs
        self._uplinks = uplinks
        self._clock = clock

    async def ask(self, uplink: Uplink, path: str, what: str, request_id: str = "") -> bytes:
        """What an uplink says at `path` now, which is kept. `what` is its name in errors.

        Raises NotFound if the uplink has no such thing, InvalidRequest if it refuses to say, else
        an UplinkError.
        """
        body = await _asked(uplink, path, what, request_id)
        try:
            await self.keep(uplink.name, path, body)
        except errors.StorageAway as fault:
            _log.warning("a document is not kept", extra={"path": path, "reason": str(fault)})
        return body

    async def ask_keys(self, uplink: Uplink, request_id: str = "") -> bytes:
        """The signing keys of an uplink, `{"keys": [...]}`. Raises UplinkError."""
        try:
            return await self.ask(uplink, KEYS, "signing keys", request_id)
        except (errors.NotFound, errors.InvalidRequest):
            await self.keep(uplink.name, KEYS, _NO_KEYS)
            return _NO_KEYS

    async def keys(self, uplink: str) -> bytes | None:
        """The same, or what it said last; None if that is nothing."""
        try:
            return await self.ask_keys(self._uplinks[uplink])
        except errors.UplinkError:
            return await self.kept(uplink, KEYS)

    async def attestations(self, uplink: str, name: PackageName, version: str) -> bytes | None:
        """The attestations of a version: those that are kept, else what the uplink says now.

        None if it says nothing of them, or cannot be asked.
        """
        path = attestations_path(name, version)
        held = await self.kept(uplink, path)
        if held is not None:
            return held
        try:
            return await self.ask(self._uplinks[uplink], path, "attestations")
        except (errors.NotFound, errors.InvalidRequest, errors.UplinkError):
            return None

    async def kept(self, uplink: str, path: str) -> bytes | None:
        """What is kept; None if nothing is, or if its bytes have changed."""
        record = await self._index.document(uplink, path)
        blob = None if record is None else await self._blobs.open(record.digest, record.size_bytes)
        if record is None or blob is None:
            return None
        try:
            body = await blob.read(0, record.size_bytes)
        finally:
            await blob.close()
        return body if hashlib.sha512(body).hexdigest() == record.digest else None

    async def keep(self, uplink: str, path: str, body: bytes) -> None:
        """Keep what an uplink has said."""
        held = await self._index.document(uplink, path)
        record = await self.stored(uplink, path, body)
        if held is None or held.digest != record.digest:
            await self._index.put_document(record)

    async def stored(self, uplink: str, path: str, body: bytes) -> DocumentRecord:
        """Store the body, and give the record that is to be put for it."""
        digest = hashlib.sha512(body).hexdigest()
        await self._blobs.put(body, digest)
        return DocumentRecord(uplink, path, digest, len(body), self._clock())


async def _asked(uplink: Uplink, path: str, what: str, request_id: str) -> bytes:
    body = await services.ask(
        uplink,
        "GET",
        path,
        what=what,
        headers={"accept": JSON_TYPE},
        timeout=_DEADLINE,
        limit_bytes=LARGEST_BYTES,
        request_id=request_id,
    )
    try:
        wire.check_text(body)
        wire.envelope(body)
    except wire.Undecodable as fault:
        # A web page, say, must not be remembered.
        raise errors.UplinkBroken(uplink=uplink.name, reason=f"{what}: {fault}") from fault
    return body
