"""What is published, and people who change it as clients do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from proxy.npm.policy import EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.identity import AuditQuery
from proxy.storage.people import SqlitePeople
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Document, a_publish, address
from tests.registry import Answer, Clock, Registry
from tests.town import Person, Town

OURS = Rule(("@acme/*",), HOSTED)
FORK = Rule(("lodash",), Origin("npm", True), read=("$all",))
REST = Rule((EVERYTHING,), Origin("npm"))
BOGUS = "1-00000000000000000000000000000000"


@dataclass(frozen=True)
class Shop:
    """A registry where `@acme/*` lives, `lodash` is a fork, and the rest comes from the uplink.

    ann has published @acme/ui in 1.0.0 and 1.1.0 (`latest`); bob and eve are users, root is the
    administrator.
    """

    town: Town
    clock: Clock
    uplink: FakeUplink
    ann: Person
    bob: Person
    eve: Person
    root: Person

    async def publish(self, version: str, name: str = UI, **fields: Any) -> None:
        """One more version by ann."""
        body = a_publish(version, name, **fields).document
        await self.ann.do("PUT", address(name), body)

    async def document(self, name: str = UI) -> Document:
        """The document as npm reads it before it writes."""
        found = await self.ann.get(f"{address(name)}?write=true")
        assert isinstance(found, dict)
        return found

    async def rev(self, name: str = UI) -> str:
        return str((await self.document(name))["_rev"])

    async def tags(self, name: str = UI) -> Document:
        return dict(await self.ann.get(f"/-/package{address(name)}/dist-tags"))

    async def versions(self, name: str = UI) -> list[str]:
        return list((await self.document(name))["versions"])

    async def audit(self, name: str = UI) -> list[tuple[str, str]]:
        """(user, action) of what was done to a package, the last deed first."""
        rows = await self.town.people.audit(AuditQuery(subject=name))
        return [(row.deed.user, row.action.value) for row in rows]


@asynccontextmanager
async def shop(
    folder: Path,
    uplink: FakeUplink,
    clock: Clock,
    *,
    rules: tuple[Rule, ...] = (OURS, FORK, REST),
    unpublish: timedelta | None = timedelta(hours=72),
) -> AsyncIterator[Shop]:
    """Run such a registry in `folder`."""
    registry = Registry(folder, uplink.url, clock=clock)
    registry.config = replace(registry.config, rules=Rules(rules))
    registry.set("auth", admins=("root",))
    registry.set("hosting", unpublish=unpublish)
    async with registry, open_database(folder / "hosted.sqlite") as database:
        town = Town(registry, SqliteHosted(database), SqlitePeople(database))
        people = {who: await _user(town, who) for who in ("ann", "bob", "eve", "root")}
        opened = Shop(town=town, clock=clock, uplink=uplink, **people)
        await opened.publish("1.0.0")
        await opened.publish("1.1.0")
        yield opened


async def _user(town: Town, name: str) -> Person:
    return await town.person(name, user={"email": f"{name}@registry.example"})


def is_told(reply: Answer, name: str = UI) -> bool:
    """Whether the reply says that a write is done, and with which revision."""
    told = reply.json()
    rest = {key: told[key] for key in ("ok", "success", "id")}
    return reply.status in {200, 201} and rest == {"ok": True, "success": True, "id": name}
