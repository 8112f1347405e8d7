"""A registry with people in it, and what they ask of it.

What tests begin with is written to the database of the data folder, as another process would.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from proxy.npm import tokens
from proxy.npm.policy import EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Deed
from proxy.storage.identity import TokenKind, TokenRecord, UserRecord
from proxy.storage.people import SqlitePeople
from tests.hosting import a_version
from tests.registry import Answer, Registry

RULES = Rules((Rule(("@acme/*", "tools"), HOSTED), Rule((EVERYTHING,), Origin("npm"))))


@dataclass(frozen=True)
class Person:
    """Somebody with a token, on the way to a registry."""

    registry: Registry
    name: str
    token: str

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request with their token; `body` is sent as JSON."""
        data = None if body is None else json.dumps(body).encode()
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        given = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        return await self.registry.ask(method, path, given | sent, data)

    async def get(self, path: str) -> Any:
        """The JSON of an answer that has to be 200."""
        reply = await self.ask("GET", path)
        assert reply.status == 200, reply.body
        return reply.json()

    async def do(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """The JSON of an answer that has to be a success."""
        reply = await self.ask(method, path, body, **headers)
        assert reply.status in {200, 201}, reply.body
        return reply.json()

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """Status and sentence of an answer that has to be an error."""
        reply = await self.ask(method, path, body)
        assert reply.status >= 400, reply.body
        return reply.status, reply.json()["error"]


@dataclass(frozen=True)
class Town:
    """A running registry, and its data as another process has them."""

    registry: Registry
    hosted: SqliteHosted
    people: SqlitePeople

    async def person(
        self, name: str, *, user: Mapping[str, Any] | None = None, **token: Any
    ) -> Person:
        """Somebody new, or a new token of somebody; `user` and `token` are more facts of either."""
        deed = Deed("root", datetime.now(UTC))
        if await self.people.user(name) is None:
            await self.people.add_user(UserRecord(name, deed.at, deed.at, **(user or {})), deed)
        text = tokens.new()
        record = TokenRecord(tokens.hash_of(text), text[:12], name, TokenKind.GRANULAR, "", deed.at)
        await self.people.add_token(replace(record, **token), deed)
        return Person(self.registry, name, text)

    async def publish(self, name: str, by: str, version: str = "1.0.0", **changes: Any) -> None:
        """A version that `by` has published, without its tarball."""
        deed = Deed(by, datetime.now(UTC))
        await self.hosted.publish(a_version(version, name, **changes), deed)


@asynccontextmanager
async def inhabited(
    folder: Path, uplink_url: str, *, rules: Rules = RULES, **auth: Any
) -> AsyncIterator[Town]:
    """A registry whose administrator is `root`."""
    registry = Registry(folder, uplink_url)
    registry.config = replace(registry.config, rules=rules)
    registry.set("auth", **{"admins": ("root",), **auth})
    async with registry, open_database(folder / "hosted.sqlite") as database:
        yield Town(registry, SqliteHosted(database), SqlitePeople(database))
