"""Every route of the table that has to do with packages, and everybody who may ask.

`ASKS` says of each such route how it is asked and what right it takes; `WHO` says who has which
rights. A route that is in neither `ASKS` nor `NAMELESS` fails a test: whoever adds one says here
who may use it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from proxy.npm import tokens
from proxy.npm.policy import EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Access, Deed
from proxy.storage.identity import AuditQuery, Permission, Role, TeamRecord
from proxy.storage.people import SqlitePeople
from tests.fakes.uplink import FakeUplink
from tests.hosting import a_version
from tests.publishing import a_publish
from tests.registry import Answer, Clock, Registry
from tests.town import Person, Town

OPEN, SECRET, MIRRORED = "@acme/ui", "@acme/secret", "lodash"
RULES = Rules(
    (
        Rule(
            ("@acme/*",),
            HOSTED,
            read=("@staff", "@readers"),
            publish=("@staff",),
            unpublish=("@staff",),
        ),
        Rule((EVERYTHING,), Origin("npm")),
    )
)
BOGUS = "1-00000000000000000000000000000000"


class Right(Enum):
    """What a route asks for, of the package it is asked about."""

    READ = "read"
    KNOWN = "read, by somebody who is logged in"
    LIST = "nothing: it names those packages that may be read"
    STAR = "read, and a token that writes"
    NEW = "publish"
    WRITE = "own"
    GRANT = "own, and change the organisation"
    NEVER = "none: nobody is told"


READS = {Right.READ, Right.KNOWN, Right.LIST, Right.NEVER}


@dataclass(frozen=True)
class Package:
    """What an ask is about."""

    name: str
    rev: str = BOGUS

    @property
    def file(self) -> str:
        return f"{self.name.rpartition('/')[2]}-1.0.0.tgz"


Body = Callable[[Package], object]


@dataclass(frozen=True)
class Ask:
    """A way to ask a route. `path` is filled in with the package, and `words` with more."""

    right: Right
    method: str
    path: str
    body: Body | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    query: str = ""

    def target(self, package: Package) -> str:
        escaped = package.name.replace("/", "%2f")
        known = {"package": escaped, "file": package.file, "revision": package.rev}
        path = self.path
        for word, text in {**known, **self.words}.items():
            path = path.replace(f"{{{word}}}", text)
        return path + self.query.replace("{package}", escaped)


def _new(package: Package) -> object:
    return a_publish("2.0.0", package.name).document


def _document(package: Package, **fields: Any) -> dict[str, Any]:
    manifest = {"name": package.name, "version": "1.0.0"}
    return {"_id": package.name, "name": package.name, "versions": {"1.0.0": manifest}, **fields}


def _deprecation(package: Package) -> object:
    found = _document(package)
    found["versions"]["1.0.0"]["deprecated"] = "use another one"
    return found


def _star(package: Package) -> object:
    return {"package": package.name}


def _grant(package: Package) -> object:
    return {"package": package.name, "permissions": "read-write"}


def _lockfile(package: Package) -> object:
    packages = {f"node_modules/{package.name}": {"version": "1.0.0"}}
    return {"lockfileVersion": 3, "packages": packages}


_TAGS, _REV = "/-/package/{package}/dist-tags", "/{package}/-rev/{revision}"
_TEAM = {"org": "acme", "team": "core"}
_OLGA = {"user": "olga"}

ASKS = (
    Ask(Right.READ, "GET", "/{package}"),
    Ask(Right.READ, "GET", "/{package}", query="?write=true"),
    Ask(Right.READ, "GET", "/{package}/-/{file}"),
    Ask(Right.READ, "GET", "/{package}/{version}", words={"version": "1.0.0"}),
    Ask(Right.READ, "GET", "/{package}/{version}", words={"version": "latest"}),
    Ask(Right.READ, "GET", _TAGS),
    Ask(Right.READ, "GET", "/-/npm/v1/attestations/{package}", words={"package": "{name}@1.0.0"}),
    Ask(Right.READ, "GET", "/-/package/{package}/visibility"),
    Ask(Right.READ, "GET", "/-/package/{package}/access"),
    Ask(Right.KNOWN, "GET", "/-/package/{package}/collaborators"),
    Ask(
        Right.NEVER,
        "GET",
        "/downloads/{kind}/{period}/{package}",
        words={"kind": "point", "period": "last-week"},
    ),
    Ask(Right.LIST, "GET", "/-/v1/search", query="?text={package}"),
    Ask(Right.LIST, "GET", "/-/v1/search", query="?text=maintainer:olga"),
    Ask(Right.LIST, "GET", "/-/user/v1/star"),
    Ask(Right.LIST, "GET", "/-/user/{user}/stars", words=_OLGA),
    Ask(Right.LIST, "GET", "/-/_view/starredByUser", query='?key="olga"'),
    Ask(Right.LIST, "GET", "/-/user/{user}/package", words=_OLGA),
    Ask(Right.LIST, "GET", "/-/org/{org}/package", words=_TEAM),
    Ask(Right.LIST, "GET", "/-/team/{org}/{team}/package", words=_TEAM),
    Ask(
        Right.LIST,
        "POST",
        "/-/npm/v1/security/advisories/bulk",
        lambda package: {package.name: ["1.0.0"]},
    ),
    Ask(
        Right.LIST,
        "POST",
        "/-/npm/v1/security/audits/quick",
        lambda package: {"requires": {package.name: "1.0.0"}, "dependencies": {}},
    ),
    Ask(
        Right.LIST,
        "POST",
        "/-/npm/v1/security/audits",
        lambda package: {"requires": {package.name: "1.0.0"}, "dependencies": {}},
    ),
    Ask(Right.LIST, "POST", "/-/packhouse/prefetch", _lockfile),
    Ask(Right.STAR, "PUT", "/-/user/v1/star", _star),
    Ask(Right.STAR, "DELETE", "/-/user/v1/star", _star),
    Ask(Right.STAR, "PUT", "/-/user/package/{package}/star"),
    Ask(Right.STAR, "DELETE", "/-/user/package/{package}/star"),
    Ask(Right.NEW, "PUT", "/{package}", _new),
    Ask(Right.WRITE, "PUT", "/{package}", _deprecation),
    Ask(Right.WRITE, "PUT", "/{package}", lambda package: _document(package, readme="# other")),
    Ask(
        Right.WRITE,
        "PUT",
        "/{package}",
        lambda package: _document(package, maintainers=[{"name": "pat"}]),
    ),
    Ask(Right.WRITE, "PUT", _REV, lambda package: _document(package, versions={})),
    Ask(Right.WRITE, "PUT", _REV, _deprecation),
    Ask(Right.WRITE, "DELETE", _REV),
    Ask(Right.WRITE, "DELETE", "/{package}/-/{file}/-rev/{revision}"),
    Ask(Right.WRITE, "PUT", _TAGS, lambda _: {"beta": "1.0.0"}),
    Ask(Right.WRITE, "POST", _TAGS, lambda _: {"beta": "1.0.0"}),
    Ask(Right.WRITE, "PUT", f"{_TAGS}/{{tag}}", lambda _: "1.0.0", {"tag": "beta"}),
    Ask(Right.WRITE, "DELETE", f"{_TAGS}/{{tag}}", None, {"tag": "next"}),
    Ask(Right.WRITE, "PUT", "/-/package/{package}/owners", lambda _: {"user": "pat"}),
    Ask(Right.WRITE, "DELETE", "/-/package/{package}/owners/{user}", None, {"user": "omar"}),
    Ask(Right.WRITE, "POST", "/-/package/{package}/access", lambda _: {"access": "restricted"}),
    Ask(Right.GRANT, "PUT", "/-/team/{org}/{team}/package", _grant, _TEAM),
    Ask(Right.GRANT, "DELETE", "/-/team/{org}/{team}/package", _star, _TEAM),
)

NAMELESS: Mapping[str, str] = {
    "/": "says who answers",
    "/-/ping": "says that somebody answers",
    "/-/health": "of the process",
    "/-/ready": "of the process",
    "/-/packhouse/offline": "of uplinks",
    "/-/metrics": "numbers by route; a test of metrics sees that no name is in them",
    "/-/npm/v1/keys": "keys, which are the same for all packages",
    "/-/v1/login": "of a login",
    "/-/v1/done/{id}": "of a login",
    "/-/login/{id}": "of a login",
    "/-/user/{user}": "of an account",
    "/-/user/{user}/-rev/{revision}": "of an account",
    "/-/user/token/{token}": "of an account",
    "/-/whoami": "of an account",
    "/-/npm/v1/tokens": "of an account",
    "/-/npm/v1/tokens/token/{key}": "of an account",
    "/-/npm/v1/user": "of an account",
    "/-/org/{org}/user": "of an organisation",
    "/-/org/{org}/team": "of an organisation",
    "/-/team/{org}/{team}": "of an organisation",
    "/-/team/{org}/{team}/user": "of an organisation",
}
"""Routes that neither take nor tell a package's name, and what they are about."""


@dataclass(frozen=True)
class Who:
    """Somebody: their account, the facts of their token, and what they may do.

    `reads` and `stars` name packages; whoever `owns` may do everything that takes only that.
    `user` None sends no credentials; a `token` is sent as it is.
    """

    user: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    stars: tuple[str, ...] = ()
    owns: bool = False
    grants: bool = False
    is_known: bool = True
    token: str | None = None
    is_disabled: bool = False

    def may(self, right: Right, name: str) -> bool:
        match right:
            case Right.READ | Right.KNOWN | Right.LIST:
                return name in self.reads
            case Right.STAR:
                return name in self.stars
            case Right.NEW | Right.WRITE:
                return self.owns
            case Right.GRANT:
                return self.grants
        return False


BOTH = (OPEN, SECRET)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WHO: Mapping[str, Who] = {
    "anonymous": Who(is_known=False),
    "a token nobody has": Who(token=tokens.new(), is_known=False),
    "no token at all": Who(token="of-another-registry", is_known=False),
    "a token of the owner that expired": Who("olga", {"expires_at": LONG_AGO}, is_known=False),
    "a token of the owner elsewhere": Who("olga", {"cidrs": ("192.0.2.0/24",)}, is_known=False),
    "an owner who is disabled": Who("omar", is_known=False, is_disabled=True),
    "somebody in no group": Who("sam"),
    "somebody of another organisation": Who("eve"),
    "a token of somebody in no group to read with": Who("sam", {"is_readonly": True}),
    "a reader": Who("rita", reads=BOTH, stars=BOTH),
    "a reader who was granted nothing": Who("rex", reads=(OPEN,), stars=(OPEN,)),
    "a publisher who is no owner": Who("pat", reads=(OPEN,), stars=(OPEN,)),
    "a token of a publisher to read with": Who("pat", {"is_readonly": True}, reads=(OPEN,)),
    "a token of the owner to read with": Who("olga", {"is_readonly": True}, reads=BOTH),
    "a token of the owner for another package": Who("olga", {"packages": ("@acme/else",)}),
    "a token of the owner for another scope": Who("olga", {"scopes": ("@other",)}),
    "a token of the owner for the scope": Who("olga", {"scopes": ("@acme",)}, BOTH, BOTH, True),
    "the owner": Who("olga", {}, BOTH, BOTH, True, True),
    "the administrator": Who("root", {}, BOTH, BOTH, True, True),
}


@dataclass(frozen=True)
class World:
    """A registry with all of them in it, and nothing published yet."""

    town: Town
    clock: Clock
    blobs: FileBlobs
    people: Mapping[str, Person]

    async def publish(self, name: str) -> Package:
        """A package of olga and omar: a version, a tag, a star, a grant and a collaborator."""
        deed, tarball = Deed("olga", datetime.now(UTC)), name.encode()
        digest = hashlib.sha512(tarball).hexdigest()
        await self.blobs.put(tarball, digest, is_durable=True)
        access = Access.PUBLIC if name.startswith(OPEN) else Access.RESTRICTED
        version = a_version(name=name, access=access, digest=digest, size_bytes=len(tarball))
        hosted, people = self.town.hosted, self.town.people
        await hosted.publish(replace(version, readme="# it", attestations=b"{}"), deed)
        await hosted.set_owners(name, ["olga", "omar"], deed)
        await hosted.set_tag(name, "next", "1.0.0", deed)
        await people.set_grant("acme", "core", name, Permission.READ, deed)
        await people.set_collaborator(name, "rita", Permission.READ, deed)
        return Package(name, await hosted.star(name, "olga", True, deed))

    async def ask(self, who: str, ask: Ask, package: Package) -> Answer:
        """One request. Some time passes, so that no limit of bad credentials is reached."""
        self.clock.advance(seconds=5)
        person = self.people[who]
        words = {key: text.replace("{name}", package.name) for key, text in ask.words.items()}
        target = replace(ask, words=words).target(package)
        headers = {"content-type": "application/json", "accept": "application/json"}
        if person.token:
            headers["authorization"] = f"Bearer {person.token}"
        data = None if ask.body is None else json.dumps(ask.body(package)).encode()
        return await self.town.registry.ask(ask.method, target, headers, data)

    async def state(self) -> object:
        """All that was ever written: no write is without a row."""
        rows = await self.town.people.audit(AuditQuery(), limit=1)
        names = await self.town.hosted.owned()
        revisions = {name: await self.town.hosted.revision_of(name) for name in names}
        return [row.number for row in rows], revisions


@asynccontextmanager
async def world(folder: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[World]:
    """Run such a registry in `folder`; `lodash` is the uplink's."""
    uplink.publish(MIRRORED, "1.0.0")
    uplink.attestations[f"{MIRRORED}@1.0.0"] = [{"predicateType": "it"}]
    registry = Registry(folder, uplink.url, clock=clock)
    registry.config = replace(registry.config, rules=RULES)
    registry.set("auth", admins=("root",))
    registry.set("hosting", unpublish=timedelta(days=30))
    async with (
        registry,
        open_database(folder / "hosted.sqlite") as database,
        FileBlobs(folder / "hosted") as blobs,
    ):
        town = Town(registry, SqliteHosted(database), SqlitePeople(database))
        yield World(town, clock, blobs, await _people(town))


async def _people(town: Town) -> dict[str, Person]:
    people = {name: await _person(town, who) for name, who in WHO.items()}
    deed = Deed("root", datetime.now(UTC))
    if await town.people.user("omar") is not None:
        await town.people.set_disabled("omar", True, deed)
    for org, user, role in (
        ("staff", "pat", Role.DEVELOPER),
        ("staff", "olga", Role.DEVELOPER),
        ("staff", "omar", Role.DEVELOPER),
        ("readers", "rita", Role.DEVELOPER),
        ("readers", "rex", Role.DEVELOPER),
        ("other", "eve", Role.DEVELOPER),
        ("acme", "olga", Role.OWNER),
    ):
        await town.people.set_member(org, user, role, deed)
    await town.people.set_team(TeamRecord("acme", "core", ""), deed)
    return people


async def _person(town: Town, who: Who) -> Person:
    if who.user is None:
        return Person(town.registry, "", who.token or "")
    return await town.person(who.user, **who.facts)
