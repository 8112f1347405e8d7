"""Any sequence of calls: the real Index and Blobs answer what plain dicts answer."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from proxy.npm.forms import Form
from proxy.storage.base import Blobs, Incoming, Index, PackumentRecord, TarballRecord
from proxy.storage.files import FileBlobs
from proxy.storage.sqlite import SqliteIndex
from tests.fakes.memory import MemoryBlobs, MemoryIndex

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
# Few of everything, so that calls meet each other.
uplinks = st.sampled_from(["npm", "other"])
names = st.sampled_from(["a", "ab", "@a/b"])
files = st.sampled_from(["1.tgz", "2.tgz"])
digests = st.sampled_from(["aa" * 64, "bb" * 64, "cc" * 64])
instants = st.integers(0, 10).map(lambda minutes: NOON + timedelta(minutes=minutes))
forms = st.sampled_from(Form)
contents = st.sampled_from([b"", b"one", b"two", b"three" * 40_000])


class Together(RuleBasedStateMachine):
    """Runs each call on both and compares."""

    folder: tempfile.TemporaryDirectory[str]
    real: Any
    plain: Any

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.runner.run(self.real.__aenter__())

    def teardown(self) -> None:
        self.runner.run(self.real.__aexit__(None, None, None))
        self.runner.close()
        self.folder.cleanup()

    def both(self, call: Callable[[Any], Awaitable[Any]]) -> Any:
        """The answer of both to `call`, which must be one."""

        async def ask() -> tuple[Any, Any]:
            return await call(self.real), await call(self.plain)

        real, plain = self.runner.run(ask())
        assert real == plain
        return real


class IndexMachine(Together):
    """SqliteIndex against MemoryIndex."""

    def __init__(self) -> None:
        self.plain: Index = MemoryIndex()
        self.folder = tempfile.TemporaryDirectory()
        self.real: Index = SqliteIndex(Path(self.folder.name) / "index.sqlite")
        super().__init__()

    @rule(uplink=uplinks, name=names, form=forms, digest=digests, at=instants)
    def put_packument(self, uplink: str, name: str, form: Form, digest: str, at: datetime) -> None:
        size_bytes = int(digest[:2], 16)
        facts = (uplink, name, form, Form.FULL, digest, digest[:4], size_bytes, None, None)
        self.both(lambda index: index.put_packument(PackumentRecord(*facts, at, at, at)))

    @rule(name=names, uplink=uplinks | st.none())
    def drop_packuments(self, name: str, uplink: str | None) -> None:
        async def drop(index: Index) -> list[str]:
            return sorted(await index.drop_packuments(name, uplink))

        self.both(drop)

    @rule(uplink=uplinks, name=names, file=files, digest=digests, at=instants)
    def put_tarball(self, uplink: str, name: str, file: str, digest: str, at: datetime) -> None:
        record = TarballRecord(uplink, name, file, "1", digest, int(digest[:2], 16), at, at)
        self.both(lambda index: index.put_tarball(record))

    @rule(name=names, file=files)
    def drop_tarball(self, name: str, file: str) -> None:
        self.both(lambda index: index.drop_tarball(name, file))

    @rule(used=st.lists(st.tuples(names, files, instants), max_size=4))
    def mark_used(self, used: list[tuple[str, str, datetime]]) -> None:
        self.both(lambda index: index.mark_used(used))

    @rule(steps=st.integers(0, 6))
    def changes(self, steps: int) -> None:
        async def recent(index: Index) -> list[str]:
            latest, _ = await index.changes(-1)
            return sorted((await index.changes(latest - steps))[1])

        self.both(recent)

    @rule(uplink=uplinks, name=names, form=forms, file=files, digest=digests)
    def look(self, uplink: str, name: str, form: Form, file: str, digest: str) -> None:
        self.both(lambda index: index.packument(uplink, name, form))
        self.both(lambda index: index.tarball(name, file))
        self.both(lambda index: index.tarballs(name))
        self.both(lambda index: index.is_referenced(digest))
        self.both(lambda index: index.names("@" if name == "ab" else ""))

    @invariant()
    def usage_agrees(self) -> None:
        self.both(lambda index: index.usage())


class BlobsMachine(Together):
    """FileBlobs against MemoryBlobs."""

    writing = Bundle("writing")

    def __init__(self) -> None:
        self.plain: Blobs = MemoryBlobs()
        self.folder = tempfile.TemporaryDirectory()
        self.real: Blobs = FileBlobs(Path(self.folder.name))
        super().__init__()

    @rule(data=contents)
    def put(self, data: bytes) -> None:
        self.both(lambda blobs: blobs.put(data, _digest(data)))

    @rule(data=contents)
    def delete(self, data: bytes) -> None:
        self.both(lambda blobs: blobs.delete(_digest(data)))

    @rule(target=writing, data=contents)
    def write(self, data: bytes) -> tuple[dict[type, Incoming], str]:
        made: dict[type, Incoming] = {}

        async def begin(blobs: Blobs) -> None:
            incoming = made[type(blobs)] = await blobs.create("key")
            await incoming.write(data)

        self.both(begin)
        return made, _digest(data)

    @rule(incoming=consumes(writing))
    def commit(self, incoming: tuple[dict[type, Incoming], str]) -> None:
        made, digest = incoming

        async def end(blobs: Blobs) -> None:
            await made[type(blobs)].commit(digest)
            await made[type(blobs)].discard()

        self.both(end)

    @rule(incoming=consumes(writing))
    def discard(self, incoming: tuple[dict[type, Incoming], str]) -> None:
        made, _ = incoming
        self.both(lambda blobs: made[type(blobs)].discard())

    @rule(data=contents, size_bytes=st.none() | st.sampled_from([0, 3, 200_000]))
    def look(self, data: bytes, size_bytes: int | None) -> None:
        async def content(blobs: Blobs) -> bytes | None:
            blob = await blobs.open(_digest(data), size_bytes)
            if blob is None:
                return None
            try:
                return await blob.read(0, blob.size_bytes)
            finally:
                await blob.close()

        assert self.both(content) in {None, data}

    @invariant()
    def lists_agree(self) -> None:
        async def listed(blobs: Blobs) -> list[tuple[str, int]]:
            return sorted([(digest, size) async for digest, size, _ in blobs.digests()])

        async def has_growing(blobs: Blobs) -> bool:
            found = await blobs.growing("key")
            if found is not None:
                await found[0].close()
            return found is not None

        self.both(listed)
        self.both(has_growing)


def _digest(data: bytes) -> str:
    return hashlib.sha512(data).hexdigest()


# Disks are as fast as they are: no deadline. Thirty examples of thirty calls take a few seconds.
_limits = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestIndexMachine = IndexMachine.TestCase
TestIndexMachine.settings = _limits
TestBlobsMachine = BlobsMachine.TestCase
TestBlobsMachine.settings = _limits
