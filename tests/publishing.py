"""Publishing over HTTP: what clients send, and who sends it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from yarl import URL

from proxy.npm import tokens
from proxy.storage.hosted import open_database
from proxy.storage.hosting import Deed
from proxy.storage.identity import People, TokenKind, TokenRecord, UserRecord
from proxy.storage.people import SqlitePeople
from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.process import Process
from tests.registry import Answer, Clock, Registry
from tests.routed import route

Document = dict[str, Any]
UI = "@acme/ui"


@dataclass(frozen=True)
class Publish:
    """One publish as npm 11 sends it. `document` may be changed before it is sent."""

    document: Document
    tarball: bytes

    @property
    def body(self) -> bytes:
        return json.dumps(self.document).encode()

    @property
    def manifest(self) -> Document:
        """The one manifest in it."""
        (found,) = self.document["versions"].values()
        return dict(found)

    @property
    def attachment(self) -> Document:
        """The tarball's attachment, to be changed."""
        found: Document = next(iter(self.document["_attachments"].values()))
        return found


def a_publish(
    version: str = "1.0.0",
    name: str = UI,
    *,
    tag: str = "latest",
    tarball: bytes | None = None,
    files: Mapping[str, bytes] | None = None,
    **fields: Any,
) -> Publish:
    """What `npm publish` sends; `fields` are those of package.json."""
    package = {"name": name, "version": version, **fields}
    data = tarball or packing.tarball(package, dict(files or {"index.js": b"module.exports = 1"}))
    url = f"http://registry.example/{name}/-/{name}-{version}.tgz"
    manifest = {
        **package,
        "_id": f"{name}@{version}",
        "readme": f"# {name}\n",
        "readmeFilename": "README.md",
        "_nodeVersion": "22.0.0",
        "_npmVersion": "11.0.0",
        "dist": {
            "integrity": packing.sri(data),
            "shasum": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
            "tarball": url,
        },
    }
    document = {
        "_id": name,
        "name": name,
        "description": fields.get("description", ""),
        "dist-tags": {tag: version},
        "versions": {version: manifest},
        "access": None,
        "_attachments": {f"{name}-{version}.tgz": attached(data)},
    }
    return Publish(document, data)


def attached(data: bytes) -> Document:
    return {
        "content_type": "application/octet-stream",
        "data": base64.b64encode(data).decode(),
        "length": len(data),
    }


def address(name: str) -> str:
    """The target of a PUT, as npm writes it."""
    return "/" + quote(name, safe="@").replace("%2F", "%2f")


async def add_user(
    people: People, user: str, *, password_hash: str | None = None, **changes: Any
) -> str:
    """A user who is logged in; their token."""
    now, token = datetime.now(UTC), tokens.new()
    deed = Deed(user, now)
    email = f"{user}@registry.example"
    added = UserRecord(user, now, now, email=email, password_hash=password_hash)
    await people.add_user(added, deed)
    record = TokenRecord(
        tokens.hash_of(token), token[:8], user, TokenKind.LOGIN, tokens.shown(token), now, **changes
    )
    await people.add_token(record, deed)
    return token


async def add_users(data: Path, *users: str) -> dict[str, str]:
    """Users of a data folder that no registry has open, or any has; their tokens by name."""
    data.mkdir(parents=True, exist_ok=True)
    async with open_database(data / "hosted.sqlite") as database:
        people = SqlitePeople(database)
        return {user: await add_user(people, user) for user in users}


@dataclass(frozen=True)
class Home:
    """A registry where `@acme/*` and `ours-*` live, the rest comes from `uplink`.

    ann, bob and eve are logged in; `tokens` are theirs.
    """

    registry: Registry
    uplink: FakeUplink
    tokens: dict[str, str]

    @property
    def data(self) -> Path:
        return self.registry.config.storage.path

    async def put(
        self,
        publish: Publish | bytes | Document,
        name: str = UI,
        *,
        user: str | None = "ann",
        path: str | None = None,
        **headers: str,
    ) -> Answer:
        """One PUT."""
        body = publish.body if isinstance(publish, Publish) else publish
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **self.authorization(user)}
        sent |= {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.registry.ask("PUT", path or address(name), sent, io.BytesIO(data))

    async def get(self, path: str, user: str | None = "ann", **headers: str) -> Answer:
        """One GET."""
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        return await self.registry.ask("GET", path, {**self.authorization(user), **sent})

    async def packument(self, name: str = UI, user: str | None = "ann") -> Document:
        """The full packument; {} if there is none."""
        found = await self.get(address(name), user, accept="application/json")
        return dict(found.json()) if found.status == 200 else {}

    def authorization(self, user: str | None) -> dict[str, str]:
        return {} if user is None else {"authorization": f"Bearer {self.tokens[user]}"}

    def stored(self) -> list[str]:
        """Every file with bytes of tarballs, finished or not."""
        folder = self.data / "hosted"
        return sorted(path.name for path in folder.rglob("*") if path.is_file())


@asynccontextmanager
async def home(
    folder: Path, uplink: FakeUplink, clock: Clock, **server: Any
) -> AsyncIterator[Home]:
    """Run such a registry in `folder`; `server` are settings."""
    registry = Registry(folder, uplink.url, clock=clock)
    route(registry, ("@acme/*", "hosted"), ("ours-*", "hosted"), ("*", "npm"))
    if server:
        registry.set("server", **server)
    found = await add_users(folder, "ann", "bob", "eve")
    async with registry:
        yield Home(registry, uplink, found)


HOSTED_RULES = json.dumps([{"match": "@acme/*", "from": "hosted"}, {"match": "*", "from": "npm"}])
"""For PACKHOUSE_RULES of a process: `@acme/*` lives there."""


class Publisher:
    """Somebody who publishes to a process, on connections that are kept alive."""

    def __init__(self, process: Process, token: str) -> None:
        self._process = process  # whose port changes when it starts again
        self._headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}

    @property
    def url(self) -> str:
        return self._process.url

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=60)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def put(self, body: bytes | AsyncIterator[bytes], name: str = UI) -> tuple[int, Document]:
        """Status and JSON of a PUT. Raises aiohttp.ClientError where none comes."""
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        url = URL(self.url + address(name), encoded=True)
        async with self._session.put(url, data=data) as reply:
            return reply.status, await reply.json()

    async def get(self, path: str) -> tuple[int, bytes]:
        async with self._session.get(URL(self.url + path, encoded=True)) as reply:
            return reply.status, await reply.read()

    async def versions(self, name: str = UI) -> Document:
        """The versions of a package, whole manifests by version."""
        status, body = await self.get(address(name))
        return dict(json.loads(body)["versions"]) if status == 200 else {}


@asynccontextmanager
async def hosting(
    folder: Path, uplink_url: str, *users: str, **options: Any
) -> AsyncIterator[tuple[Process, dict[str, str]]]:
    """The product as people run it, with these users; and their tokens."""
    settings = {"RULES": HOSTED_RULES, **options.pop("settings", {})}
    process = Process(folder, uplink_url, settings=settings, **options)
    found = await add_users(process.data, *(users or ("ann",)))
    async with process:
        yield process, found


def blobs(process: Process) -> set[str]:
    """The digests of all tarballs of a process, and the names of unfinished files."""
    return {path.name for path in (process.data / "hosted").rglob("*") if path.is_file()}
