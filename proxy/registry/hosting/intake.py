"""A publish body on its way in: taken apart as it comes, its tarball into an unfinished file.

A batch of some hundred kilobytes is decoded, hashed and looked into in a thread, then written; then
the next is waited for. So a body of any size costs a few batches of memory, and the loop is never
held up. What the pure parts refuse becomes an error of the house here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from proxy import errors
from proxy.npm.archive import BadArchive, Contents, Limits, Reader
from proxy.npm.documents import BadPublish
from proxy.npm.publish import Attachment
from proxy.npm.splitting import BUNDLE_ENDING, TARBALL, BadBody, Splitter, TooBig
from proxy.storage.base import Blobs, Incoming

_BATCH_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """The slowest a body may come: so many bytes a second, averaged over `over`.

    Who sends nothing at all is given up after `over`. Only the time that we wait counts.
    """

    over: timedelta = timedelta(seconds=30)
    bytes_per_second: int = 1024


class Body:
    """A body as it arrives, in batches. `chunks` may be asked on after it was interrupted."""

    def __init__(self, chunks: AsyncIterator[bytes], pace: Pace) -> None:
        self._chunks = chunks
        self._pace = pace
        self._seconds = pace.over.total_seconds()  # that we still wait; what comes earns more

    async def batch(self) -> bytes:
        """The next bytes; b"" at the end. Raises InvalidRequest if they come too slowly."""
        held = bytearray()
        while len(held) < _BATCH_BYTES:
            chunk = await self._chunk()
            if not chunk:
                break
            held += chunk
        return bytes(held)

    async def _chunk(self) -> bytes:
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(self._seconds):
                chunk = await anext(self._chunks, b"")
        except TimeoutError:
            raise errors.InvalidRequest(
                reason="the body came too slowly and was given up; publish again"
            ) from None
        earned = len(chunk) / self._pace.bytes_per_second
        left = self._seconds - (clock() - began) + earned
        self._seconds = min(left, self._pace.over.total_seconds())
        return chunk


@dataclass(frozen=True, slots=True)
class Taken:
    """What a body was: its JSON without the attachments' data, and what was seen of those."""

    metadata: bytes
    attachments: Mapping[str, Attachment]


class Sieve:
    """Takes a body apart: decodes, hashes, and looks into the tarball. Blocks; for a thread."""

    def __init__(self, tarball_limit_bytes: int) -> None:
        self._splitter = Splitter(tarball_limit_bytes=tarball_limit_bytes)
        unpacked_bytes = max(Limits().unpacked_bytes, tarball_limit_bytes)
        self._reader = Reader(Limits(unpacked_bytes=unpacked_bytes))
        self._sha512, self._sha1 = hashlib.sha512(), hashlib.sha1(usedforsecurity=False)
        self._bundle = bytearray()

    @property
    def tarball(self) -> str | None:
        """The key of the tarball's attachment, once it has begun."""
        keys = self._splitter.sizes_bytes
        return next((key for key in keys if not key.endswith(BUNDLE_ENDING)), None)

    def feed(self, batch: bytes) -> bytes:
        """Take the next bytes of the body; the bytes of the tarball that were in them."""
        found = []
        with refusals():
            for piece in self._splitter.feed(batch):
                if piece.key.endswith(BUNDLE_ENDING):
                    self._bundle += piece.data
                    continue
                self._sha512.update(piece.data)
                self._sha1.update(piece.data)
                self._reader.feed(piece.data)
                found.append(piece.data)
        return b"".join(found)

    def finish(self) -> Taken:
        """What it was, if it was whole."""
        with refusals():
            metadata = self._splitter.finish()
        keys = self._splitter.sizes_bytes
        return Taken(metadata, {key: self._seen(key) for key in keys})

    def contents(self) -> Contents:
        """What the tarball holds, if it is whole and sound."""
        with refusals():
            return self._reader.finish()

    def _seen(self, key: str) -> Attachment:
        size_bytes = self._splitter.sizes_bytes[key]
        if not key.endswith(BUNDLE_ENDING):
            return Attachment(size_bytes, self._sha512.digest(), self._sha1.digest())
        data = bytes(self._bundle)
        sha1 = hashlib.sha1(data, usedforsecurity=False).digest()
        return Attachment(size_bytes, hashlib.sha512(data).digest(), sha1, data.decode())


class Upload:
    """One body, and the unfinished file its tarball goes into. Always to be closed."""

    def __init__(self, *, blobs: Blobs, key: str, tarball_limit_bytes: int) -> None:
        self._blobs = blobs
        self._key = key
        self._sieve = Sieve(tarball_limit_bytes)
        self._incoming: Incoming | None = None

    async def receive(self, body: Body, admit: Callable[[str], Awaitable[None]]) -> Taken:
        """Take all of it; `admit` is asked, by its key, whether a tarball may come."""
        while batch := await body.batch():
            data = await asyncio.to_thread(self._sieve.feed, batch)
            if self._incoming is None and self._sieve.tarball is not None:
                await admit(self._sieve.tarball)
                self._incoming = await self._blobs.create(self._key, is_durable=True)
            if self._incoming is not None and data:
                await self._incoming.write(data)
        return self._sieve.finish()

    def contents(self) -> Contents:
        """What the tarball holds. Raises Unprocessable."""
        return self._sieve.contents()

    async def commit(self, digest: str) -> None:
        """Store the tarball for good."""
        if self._incoming is None:
            raise errors.InvalidRequest(reason="no tarball is attached")
        await self._incoming.commit(digest)

    async def close(self) -> None:
        """Remove what was not committed."""
        if self._incoming is not None:
            await self._incoming.discard()


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the pure parts refuse into errors whose sentence a publisher reads."""
    try:
        yield
    except TooBig as error:
        if error.part == TARBALL:
            raise too_large(error.limit_bytes) from None
        raise errors.PublishTooLarge(reason=str(error), limit_bytes=error.limit_bytes) from None
    except BadArchive as error:
        raise errors.Unprocessable(field="the tarball", reason=error.reason) from None
    except (BadBody, BadPublish) as error:
        raise errors.InvalidRequest(reason=str(error)) from None


def too_large(limit_bytes: int) -> errors.PublishTooLarge:
    """The refusal of a tarball that is larger than may be published."""
    return errors.PublishTooLarge(
        reason=f"the tarball is larger than the {limit_bytes} bytes that may be published here; "
        "leave files out of it (npm pack --dry-run lists them), or have server.max_publish_size "
        "raised",
        limit_bytes=limit_bytes,
    )
