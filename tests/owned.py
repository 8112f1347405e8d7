"""A registry whose names live here, at an uplink, or at both; versions are put in past publishing.

They are written by connections of their own, as another worker would write them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from proxy.npm import names, signing
from proxy.npm.policy import HOSTED, Origin, Rule, Rules
from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Access, Deed, NewVersion
from proxy.storage.people import SqlitePeople
from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.publishing import add_user
from tests.registry import FULL, Answer, Clock, Registry

FORK = Rule(("lodash", "@fork/*"), Origin("npm", True), read=("$all",))
OURS = Rule(("@acme/*", "acme-*"), HOSTED)
REST = Rule(("*",), Origin("npm"))


@dataclass(frozen=True)
class Owned:
    """The registry, its uplink, and what is kept of hosted packages."""

    registry: Registry
    uplink: FakeUplink
    hosted: SqliteHosted
    people: SqlitePeople
    blobs: FileBlobs
    tokens: dict[str, str]

    async def publish(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        tag: str = "latest",
        user: str = "ann",
        at: datetime | None = None,
        access: Access | None = None,
        files: Mapping[str, bytes] | None = None,
        keywords: Sequence[str] = (),
        is_signed: bool = False,
        excerpt: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> bytes:
        """Add a version as publishing would, with a real tarball, which is returned."""
        package = {"name": name, "version": version, **fields}
        data = packing.tarball(package, dict(files or {"who.txt": b"ours"}))
        file = names.tarball_file(names.parse(name), version)
        manifest = packing.manifest(package, data, f"/{name}/-/{file}")
        if is_signed:
            pem = (self.data / "keys" / "0001.pem").read_bytes().partition(b"\n")[2]
            integrity = manifest["dist"]["integrity"]
            signature = signing.sign(pem, names.parse(name), version, integrity)
            manifest["dist"]["signatures"] = [signature]
        digest = hashlib.sha512(data).hexdigest()
        await self.blobs.put(data, digest, is_durable=True)
        new = NewVersion(
            name=name,
            version=version,
            tag=tag,
            manifest=json.dumps(manifest, separators=(",", ":")).encode(),
            file=file,
            digest=digest,
            size_bytes=len(data),
            integrity=manifest["dist"]["integrity"],
            shasum=manifest["dist"]["shasum"],
            access=access,
            readme=fields.get("readme", "# ours\n"),
            description=fields.get("description", ""),
            keywords=tuple(keywords),
            excerpt=json.dumps(excerpt or {}).encode(),
        )
        await self.hosted.publish(new, Deed(user, at or self.registry.clock.now()))
        return data

    @property
    def data(self) -> Path:
        return self.registry.config.storage.path

    def blob(self, data: bytes, folder: str = "hosted") -> Path:
        """Where a tarball is on the disk."""
        digest = hashlib.sha512(data).hexdigest()
        return self.data / folder / "blobs" / digest[:2] / digest

    async def get(self, path: str, user: str | None = None, **headers: str) -> Answer:
        """One GET by a user, or by nobody."""
        sent = {} if user is None else {"authorization": f"Bearer {self.tokens[user]}"}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.registry.ask("GET", path, sent)

    async def document(self, name: str, user: str | None = None, accept: str = FULL) -> Any:
        """A packument."""
        found = await self.get(f"/{name}", user, accept=accept)
        assert found.status == 200, found.body
        return found.json()


@asynccontextmanager
async def owned(
    folder: Path, uplink: FakeUplink, clock: Clock, rules: Sequence[Rule] = (FORK, OURS, REST)
) -> AsyncIterator[Owned]:
    """Run such a registry in `folder`. ann, bob and eve are logged in."""
    registry = Registry(folder, uplink.url, clock=clock)
    registry.config = replace(registry.config, rules=Rules(tuple(rules)))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(registry)
        database = await stack.enter_async_context(open_database(folder / "hosted.sqlite"))
        blobs = await stack.enter_async_context(FileBlobs(folder / "hosted"))
        people = SqlitePeople(database)
        tokens = {user: await add_user(people, user) for user in ("ann", "bob", "eve")}
        yield Owned(registry, uplink, SqliteHosted(database), people, blobs, tokens)


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
