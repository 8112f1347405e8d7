"""Press: an uplink's body to a stored one, and a stored one to what is asked of it.

Where a step runs depends on the size of the body's JSON. Up to 256 KiB it runs at once: it takes
three milliseconds at most, and a thread would take longer and hold the interpreter all the same. Up
to 4 MiB it runs in a thread. Above, it runs in the pressing process, and the body is in a file all
the way, so that neither the loop nor our memory feels it. Parsed packuments of the first two kinds
are kept for a while by revision: fifty tarballs of one package are looked up in one reading of it.

A disk that takes nothing is no reason to send nothing: a body that cannot be stored is kept parsed
as well, up to 16 MiB, and whoever asked for it is answered from there.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self, TypeVar

from proxy.errors import StorageAway, StorageCorrupt, StorageFull
from proxy.npm import encoding, names, render, wire
from proxy.npm.choosing import Chosen
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Dist, Packument
from proxy.storage import pressing
from proxy.storage.base import Blobs, Damaged, Incoming, PackumentRecord
from proxy.storage.parsed import Parsed
from proxy.storage.presser import Presser
from proxy.storage.pressing import Shown

T = TypeVar("T")

SMALL_BYTES = 256 * 1024
BIG_BYTES = 4 * 1024 * 1024
_PARSED_BYTES = 16 * 1024 * 1024
_IN_MEMORY_BYTES = 1024 * 1024  # a rendered reply that is larger is handed on as a file
# A body in a file, and what is made of it; less than that is no room to work in.
_ROOM_BYTES = 64 * 1024 * 1024
_TAIL_BYTES = 4
_NONE: Mapping[str, str] = MappingProxyType({})


class BodyLost(StorageCorrupt):
    """A record's body is gone or damaged: fetch the packument again. Facts: name, reason."""


class LocalBlobs(Blobs, Protocol):
    """Blobs that other processes of this node can open by a path."""

    def path(self, digest: str) -> Path: ...


@dataclass(frozen=True, slots=True)
class Settled:
    """A body that was found sound and is stored; the facts of its future PackumentRecord.

    `unhashed` are the dists in it that name a tarball and no hash, most wanted first. If not
    `is_stored` the disk did not take it: it can be rendered for a while, and is on no disk.
    """

    revision: str
    digest: str
    size_bytes: int
    body_form: Form
    modified_at: datetime
    unhashed: tuple[Dist, ...] = ()
    is_stored: bool = True


class Press:
    """The pure steps on packument bodies, each in the right place. An async context manager."""

    def __init__(self, *, blobs: LocalBlobs) -> None:
        self._blobs = blobs
        self._presser = Presser()
        self._parsed = Parsed(limit_bytes=_PARSED_BYTES)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._presser.close()

    def intake(self) -> Intake:
        """Somewhere to write a body as it arrives."""
        return Intake(self._blobs)

    async def settle(
        self,
        intake: Intake,
        *,
        name: PackageName,
        fetched_at: datetime,
        shasums: Mapping[str, str] = _NONE,
    ) -> Settled:
        """Check a body, compress it, store it. The same body may be settled again.

        `shasums` (version to SHA-1 in hex) are stated in what is stored; they are of versions that
        were found unhashed. Raises packument.Malformed and Empty, and StorageAway for a body that
        neither the disk takes nor our memory.
        """
        if intake.file is not None:
            return await self._settle_file(intake, intake.file, name, fetched_at, shasums)
        body = intake.body
        checked, read = await _run(len(body), lambda: _checked(body, name, fetched_at, shasums))
        digest = hashlib.sha512(checked.gzipped).hexdigest()
        revision, is_stored = checked.revision or intake.revision, True
        # Whoever had it fetched asks for something of it next.
        self._parsed.keep(revision, read, len(body))
        try:
            await self._blobs.put(checked.gzipped, digest)
        except StorageAway:
            if len(body) > _PARSED_BYTES:
                raise
            is_stored = False
        return Settled(
            revision=revision,
            digest=digest,
            size_bytes=len(checked.gzipped),
            body_form=checked.judged.form,
            modified_at=checked.judged.modified_at,
            unhashed=checked.judged.unhashed,
            is_stored=is_stored,
        )

    async def _settle_file(
        self,
        intake: Intake,
        body: Incoming,
        name: PackageName,
        fetched_at: datetime,
        shasums: Mapping[str, str],
    ) -> Settled:
        out = await self._blobs.create(f"settled {intake.revision}")
        facts = {"name": name.full, "at": fetched_at.isoformat()}
        try:
            said = await self._presser.ask(
                "settle", body=str(body.path), out=str(out.path), shasums=dict(shasums), **facts
            )
            await out.commit(said["digest"])
        except pressing.Lost as error:
            raise BodyLost(name=name.full, reason=str(error)) from error
        finally:
            await out.discard()
        return Settled(
            revision=said["revision"] or intake.revision,
            digest=said["digest"],
            size_bytes=said["size_bytes"],
            body_form=Form(said["body_form"]),
            modified_at=datetime.fromisoformat(said["modified_at"]),
            unhashed=tuple(Dist(version, url, None, None) for version, url in said["unhashed"]),
        )

    async def has(self, record: PackumentRecord) -> bool:
        """Whether the record's body is there, and whole as far as its size tells."""
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            return False
        await blob.close()
        return True

    async def discard(self, digest: str) -> None:
        """Remove a damaged body, so that the same one can be stored again."""
        await self._blobs.delete(digest)

    async def render(
        self, record: PackumentRecord, *, form: Form, base_url: str
    ) -> bytes | Rendered:
        """The document in the form asked for, gzip; as a file if it is large. Raises BodyLost."""

        def work(of: Packument) -> bytes:
            return encoding.gzip(render.render(of, form, base_url))

        async def big() -> bytes | Rendered:
            facts = {"form": form.value, "base_url": base_url}
            return await self._render_file(record, facts)

        return await self._of(record, names.parse(record.name), work, big)

    async def _render_file(
        self, record: PackumentRecord, facts: dict[str, str]
    ) -> bytes | Rendered:
        out = await self._blobs.create(f"rendered {record.revision}")
        try:
            size_bytes = await self._ask("render", record, out=str(out.path), **facts)
        except BaseException:
            await out.discard()
            raise
        rendered = Rendered(out, size_bytes)
        if size_bytes > _IN_MEMORY_BYTES:
            return rendered
        data = await rendered.read()
        await rendered.close()
        return data

    async def manifest(
        self, record: PackumentRecord, name: PackageName, spec: str, base_url: str
    ) -> bytes | None:
        """The manifest of a version or dist-tag, identity JSON; None if there is no such version.

        Raises BodyLost.
        """

        async def big() -> bytes | None:
            said = await self._ask("manifest", record, spec=spec, base_url=base_url)
            return None if said is None else str(said).encode()

        return await self._of(record, name, lambda of: pressing.manifest(of, spec, base_url), big)

    async def dist(self, record: PackumentRecord, name: PackageName, file: str) -> Dist | None:
        """What the packument promises of a tarball; None if it knows none. Raises BodyLost."""

        async def big() -> Dist | None:
            said = await self._ask("dist", record, file=file)
            return None if said is None else Dist(*said)

        return await self._of(record, name, lambda of: pressing.dist(of, name, file), big)

    async def dist_tags(self, record: PackumentRecord, name: PackageName) -> bytes:
        """`{tag: version}`, identity JSON. Raises BodyLost."""

        async def big() -> bytes:
            return str(await self._ask("dist_tags", record)).encode()

        return await self._of(record, name, render.dist_tags, big)

    async def choose(
        self,
        record: PackumentRecord,
        name: PackageName,
        *,
        exact: Sequence[str] = (),
        specs: Sequence[str] = (),
        likely: Sequence[str] = (),
    ) -> Chosen:
        """The versions that are asked for (npm/choosing.py). Raises BodyLost."""

        async def big() -> Chosen:
            said = await self._ask(
                "choose", record, exact=list(exact), specs=list(specs), likely=list(likely)
            )
            return wire.Reader(Chosen).read(str(said).encode())

        return await self._of(
            record, name, lambda of: pressing.choose(of, exact, specs, likely), big
        )

    async def narrowed(
        self, record: PackumentRecord, held: Collection[str], view: Mapping[str, str]
    ) -> Shown:
        """A view (pressing.narrowed) of the packument with the versions that are `held` alone.

        Raises BodyLost.
        """

        async def big() -> Shown:
            out = await self._blobs.create(f"narrowed {record.revision}")
            try:
                said = await self._ask(
                    "narrowed", record, out=str(out.path), held=sorted(held), view=view
                )
                size_bytes = said["size_bytes"]
                body = None if size_bytes is None else await out.read(0, size_bytes)
                return Shown(body, said["hidden"], said["shown"], said["is_whole"])
            finally:
                await out.discard()

        name = names.parse(record.name)
        return await self._of(record, name, lambda of: pressing.narrowed(of, held, view), big)

    async def _of(
        self,
        record: PackumentRecord,
        name: PackageName,
        work: Callable[[Packument], T],
        big: Callable[[], Awaitable[T]],
    ) -> T:
        """Do `work` on the packument here, or `big` if it is too large for that."""
        kept = self._parsed.get(record.revision)
        if kept is None:
            size_bytes = await self._identity_bytes(record)
            if size_bytes > BIG_BYTES:
                return await big()
            load = partial(self._load, record, name, size_bytes)
            kept = await self._parsed.load(record.revision, load)
        read, size_bytes = kept
        return await _run(size_bytes, lambda: work(read))

    async def _load(
        self, record: PackumentRecord, name: PackageName, size_bytes: int
    ) -> tuple[Packument, int]:
        gzipped, at = await self._gzipped(record, 0), record.modified_at
        try:
            return await _run(size_bytes, lambda: _parsed(gzipped, name, at)), size_bytes
        except pressing.Lost as error:
            raise BodyLost(name=record.name, reason=str(error)) from error

    async def _identity_bytes(self, record: PackumentRecord) -> int:
        tail = await self._gzipped(record, max(0, record.size_bytes - _TAIL_BYTES))
        return int.from_bytes(tail, "little")

    async def _gzipped(self, record: PackumentRecord, offset: int) -> bytes:
        blob = await self._blobs.open(record.digest, record.size_bytes)
        if blob is None:
            raise BodyLost(name=record.name, reason=f"the body of {record.name} is not there")
        try:
            return await blob.read(offset, record.size_bytes - offset)
        except Damaged as error:
            raise BodyLost(name=record.name, reason=str(error)) from error
        finally:
            await blob.close()

    async def _ask(
        self, step: str, record: PackumentRecord, **facts: str | Mapping[str, str] | Sequence[str]
    ) -> Any:
        path, at = str(self._blobs.path(record.digest)), record.modified_at.isoformat()
        try:
            return await self._presser.ask(step, body=path, name=record.name, at=at, **facts)
        except pressing.Lost as error:
            raise BodyLost(name=record.name, reason=str(error)) from error


class Intake:
    """A body on its way in: identity bytes, in memory at first, in a file past BIG_BYTES.

    Where there is no room for a file it stays in memory, up to 16 MiB. An async context manager; at
    its end whatever was not settled is gone.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._chunks: list[bytes] = []
        self._file: Incoming | None = None
        self._is_cramped = False
        self._size_bytes = 0
        self._hash = hashlib.blake2b(digest_size=pressing.REVISION_BYTES)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.discard()

    @property
    def size_bytes(self) -> int:
        """How much was written."""
        return self._size_bytes

    @property
    def revision(self) -> str:
        """Names what was written (blake2b, 16 bytes, hex)."""
        return self._hash.hexdigest()

    @property
    def body(self) -> bytes:
        """What was written, while it is in memory."""
        return b"".join(self._chunks)

    @property
    def file(self) -> Incoming | None:
        """The file that holds what was written, once it is large."""
        return self._file

    async def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises StorageAway, StorageFull."""
        self._hash.update(chunk)
        self._size_bytes += len(chunk)
        if self._file is not None:
            await self._file.write(chunk)
            return
        self._chunks.append(chunk)
        if self._size_bytes > BIG_BYTES and await self._is_due():
            self._file = await self._blobs.create("intake")
            await self._file.write(self.body)
            self._chunks.clear()

    async def _is_due(self) -> bool:
        """Whether what is in memory goes to a file now: a file that fills the disk is lost."""
        if not self._is_cramped:
            self._is_cramped = await self._blobs.free_bytes() < _ROOM_BYTES
        if self._is_cramped and self._size_bytes > _PARSED_BYTES:
            raise StorageFull(reason="no room for a packument of more than 16 MiB")
        return not self._is_cramped

    async def restart(self) -> None:
        """Forget what was written; the body starts again."""
        await self.discard()
        self._size_bytes = 0
        self._hash = hashlib.blake2b(digest_size=pressing.REVISION_BYTES)

    async def discard(self) -> None:
        """Let go of what was written; may be called again."""
        self._chunks.clear()
        if self._file is not None:
            await self._file.discard()
            self._file = None


class Rendered:
    """A rendered reply in a temporary file, which goes when this is closed or forgotten."""

    def __init__(self, file: Incoming, size_bytes: int) -> None:
        self._file = file
        self.size_bytes = size_bytes

    @property
    def path(self) -> Path:
        """Where it is; copy it before closing."""
        return self._file.path

    async def read(self) -> bytes:
        """All of it."""
        return await self._file.read(0, self.size_bytes)

    async def close(self) -> None:
        """Remove the file; may be called again."""
        await self._file.discard()


def _checked(
    body: bytes, name: PackageName, fetched_at: datetime, shasums: Mapping[str, str]
) -> tuple[pressing.Checked, Packument]:
    checked = pressing.check(body, name, fetched_at, shasums)
    return checked, pressing.parse(checked.body, name, checked.judged.modified_at)


def _parsed(gzipped: bytes, name: PackageName, fetched_at: datetime) -> Packument:
    return pressing.parse(pressing.unpack(gzipped), name, fetched_at)


async def _run(size_bytes: int, work: Callable[[], T]) -> T:
    """Do `work` on so much JSON at once, or in a thread if it would hold the loop."""
    return work() if size_bytes <= SMALL_BYTES else await asyncio.to_thread(work)
