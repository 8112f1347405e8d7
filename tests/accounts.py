"""People at a running registry: signing up, logging in, and asking with what they got."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Clock, Registry

PASSWORD = "correct horse"


@asynccontextmanager
async def opened(
    folder: Path, uplink: FakeUplink, clock: Clock, **auth: Any
) -> AsyncIterator[Registry]:
    """A registry where people sign up, unless `auth` says otherwise."""
    registry = Registry(folder, uplink.url, clock=clock)
    registry.set("auth", **{"signup": True, **auth})
    async with registry:
        yield registry


async def log_in(
    registry: Registry,
    name: str = "ann",
    password: str = PASSWORD,
    *,
    headers: dict[str, str] | None = None,
    path: str = "",
    **more: Any,
) -> Answer:
    """The one request of npm login, npm adduser and yarn login."""
    user = f"org.couchdb.user:{name}"
    body = {"_id": user, "name": name, "password": password, "type": "user", "roles": [], **more}
    return await registry.ask("PUT", f"/-/user/{user}{path}", headers, json.dumps(body).encode())


@dataclass
class Person:
    """Somebody with a token."""

    registry: Registry
    token: str
    agent: str = "npm/12.2.0 node/v24"

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {
            "authorization": f"Bearer {self.token}",
            "user-agent": self.agent,
            **{key.replace("_", "-"): value for key, value in headers.items()},
        }
        data = None if body is None else json.dumps(body).encode()
        return await self.registry.ask(method, path, sent, data)

    async def create(self, **body: Any) -> Answer:
        """A token, asked for as `npm token create` does."""
        return await self.ask("POST", "/-/npm/v1/tokens", {"password": PASSWORD, **body})

    async def change(self, otp: str | None = None, **body: Any) -> Answer:
        """The profile, changed as `npm profile` does."""
        headers = {} if otp is None else {"npm_otp": otp}
        return await self.ask("POST", "/-/npm/v1/user", body, **headers)


async def join(registry: Registry, name: str = "ann", **more: Any) -> Person:
    """Somebody who has just logged in, or signed up."""
    answer = await log_in(registry, name, **more)
    assert answer.status == 201, answer.body
    return Person(registry, answer.json()["token"])
