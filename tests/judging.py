"""Whom tests of permissions judge, and over what: packages and people in dicts.

In the tables of these tests a row is a package and a column somebody:

    nobody   not logged in           bob   reads two packages as a collaborator
    ann      owns what there is      cat   writes to them by the team acme:core
    dan      another of acme         root  administers the registry

    yes   they may            who   401, they have to log in        up   403, it is an uplink's
    -     404, as of nothing  no    403
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Any

from proxy import errors
from proxy.npm import names
from proxy.npm.policy import HOSTED, Action, Origin, Rule, Rules
from proxy.registry.people.callers import Caller, Proof
from proxy.registry.people.permissions import Permissions
from proxy.registry.routing import Routing
from proxy.storage.hosting import Access
from proxy.storage.identity import Permission, Role, TeamRecord, TokenKind, TokenRecord
from tests.fakes.memory_hosting import MemoryHosted, MemoryStore
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON, a_version

NPM, FORK = Origin("npm"), Origin("npm", is_merged=True)
RULES = Rules(
    (
        Rule(("@acme/*",), HOSTED),
        Rule(("open", "open-*"), HOSTED, ("$all",), ("@acme",), ("ann",)),
        Rule(("staff",), HOSTED, ("@acme",), ("$authenticated",)),
        Rule(("locked",), HOSTED, (), (), ()),
        Rule(("fork",), FORK),
        Rule(("corp",), NPM, ("@acme",)),
        Rule(("*",), NPM),
    )
)
PEOPLE = {
    "nobody": Caller(),
    "ann": Caller(user="ann", groups=frozenset({"acme"})),
    "bob": Caller(user="bob"),
    "cat": Caller(user="cat", groups=frozenset({"acme", "acme:core"})),
    "dan": Caller(user="dan", groups=frozenset({"acme"})),
    "root": Caller(user="root", is_admin=True),
}
OWNER, READER, WRITER, MEMBER, ROOT = (PEOPLE[who] for who in ("ann", "bob", "cat", "dan", "root"))
AWAY = errors.StorageAway(reason="the database of people is away")
UNKNOWN = Caller(fault=AWAY)
REJECTED = Caller(is_rejected=True)
TOKEN = TokenRecord("00" * 32, "k1", "ann", TokenKind.GRANULAR, "phs_...", NOON)
WORDS = {
    errors.PackageNotFound: "-",
    errors.NotFound: "-",
    errors.Unauthenticated: "who",
    errors.Forbidden: "no",
    errors.NotHosted: "up",
    errors.OneTimePasswordRequired: "otp",
    errors.StorageAway: "away",
}


@dataclass
class Codes:
    """The second factor: `good` is the right code; remembers who was asked."""

    good: str = "123456"
    asked: list[str | None] = field(default_factory=list)

    async def require(self, caller: Caller) -> None:
        self.asked.append(caller.user)
        if caller.otp != self.good:
            raise errors.OneTimePasswordRequired

    async def require_if_set(self, caller: Caller) -> None:
        await self.require(caller)


@dataclass(frozen=True)
class House:
    """Permissions, and what they are judged by."""

    hosted: MemoryHosted
    people: MemoryPeople
    codes: Codes
    permissions: Permissions

    async def read(self, caller: Caller, name: str) -> str:
        return await outcome(self.permissions.require_read(caller, names.parse(name)))

    async def write(self, caller: Caller, name: str, action: Action = Action.PUBLISH) -> str:
        return await outcome(self.permissions.require(caller, action, names.parse(name)))

    async def change(self, caller: Caller, name: str) -> str:
        judged = self.permissions.require_change(caller, Action.PUBLISH, names.parse(name))
        return await outcome(judged)


async def outcome(judgement: Awaitable[Any]) -> str:
    try:
        await judgement
    except errors.RegistryError as refusal:
        return WORDS[type(refusal)]
    return "yes"


async def furnished() -> House:
    """What ann has published, and whom she has given something."""
    store = MemoryStore()
    hosted, people, codes = MemoryHosted(store), MemoryPeople(store), Codes()
    for name in ("@acme/ui", "@acme/secret", "@acme/gone", "open", "open-secret", "kept"):
        access = Access.RESTRICTED if name.endswith(("secret", "gone")) else Access.PUBLIC
        await hosted.publish(a_version(name=name, access=access), ANN)
    await hosted.remove_package("@acme/gone", ANN)
    await people.set_team(TeamRecord("acme", "core", ""), ANN)
    await people.set_member("acme", "cat", Role.DEVELOPER, ANN)
    await people.set_team_member("acme", "core", "cat", ANN)
    for name in ("@acme/ui", "@acme/secret"):
        await people.set_collaborator(name, "bob", Permission.READ, ANN)
        await people.set_grant("acme", "core", name, Permission.WRITE, ANN)
    routing = Routing(rules=RULES, mirrors={}, published=hosted)
    permissions = Permissions(routing=routing, hosted=hosted, people=people, second_factor=codes)
    return House(hosted, people, codes, permissions)


def rows(table: str) -> list[tuple[str, list[str]]]:
    head, *lines = (line.split() for line in table.strip("\n").splitlines())
    assert head == list(PEOPLE)
    return [(name, cells) for name, *cells in lines]


def carrying(caller: Caller, **changes: Any) -> Caller:
    return replace(caller, token=replace(TOKEN, **changes))


def careful(caller: Caller, otp: str | None = None) -> Caller:
    return replace(caller, needs_otp=True, otp=otp, proof=Proof())
