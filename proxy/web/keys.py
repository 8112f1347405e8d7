"""Where a handler finds its story: one AppKey each; and what is known of its request.

The protocols say what a handler may ask of a story; `app/` puts the stories of `registry/` behind
them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from aiohttp import web

from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.policy import Rules
from proxy.npm.profile_requests import ProfileChange
from proxy.npm.token_requests import TokenRequest
from proxy.npm.updates import Update
from proxy.registry.answers import Document, Freshness, Held, Tarball
from proxy.registry.hosting.publishing import Written
from proxy.registry.offline.switching import Asking
from proxy.registry.offline.warming import Warm
from proxy.registry.people.callers import ANONYMOUS, Caller
from proxy.registry.people.logins import Asker, Begun, Proof, Question
from proxy.registry.people.own_tokens import Page
from proxy.storage.hosting import Access
from proxy.storage.identity import Permission, Role, TeamRecord, TokenRecord, UserRecord
from proxy.web.addresses import Address
from proxy.web.targets import Target


class Callers(Protocol):
    """Who sent a request."""

    async def resolve(self, authorization: str | None, client_ip: str, otp: str | None) -> Caller:
        """Never raises: whom we do not know is a caller without a user."""

    async def refused(self, caller: Caller) -> None:
        """Count a 401 for credentials that are not good. Raises TooManyRequests."""


class Ahead(Protocol):
    """Has asked now what a client will ask next."""

    def follow(self, name: PackageName, form: Form, freshness: Freshness) -> None:
        """A client was sent this packument whole."""


class Reading(Protocol):
    """All that may be read of a package, by whoever asks."""

    async def document(
        self, caller: Caller, name: PackageName, form: Form, base_url: str, request_id: str
    ) -> Document:
        """The packument, gzip."""

    async def manifest(
        self, caller: Caller, name: PackageName, spec: str, base_url: str, request_id: str
    ) -> Document:
        """The manifest of one version or dist-tag, identity JSON."""

    async def dist_tags(self, caller: Caller, name: PackageName, request_id: str) -> Document:
        """`{tag: version}`, identity JSON."""

    async def tarball(
        self, caller: Caller, name: PackageName, file: str, request_id: str
    ) -> Tarball:
        """The tarball; whoever gets it closes it."""

    async def attestations(
        self, caller: Caller, name: PackageName, version: str, request_id: str
    ) -> Document:
        """The provenance of one version."""


class AtHand(Protocol):
    """What may be read without waiting for anything; None for what may not."""

    async def document_at_hand(
        self, caller: Caller, name: PackageName, form: Form, base_url: str
    ) -> Document | None:
        """The packument, gzip."""

    async def tarball_at_hand(self, caller: Caller, name: PackageName, file: str) -> Held | None:
        """The tarball."""


class Publishing(Protocol):
    """The PUT of a package."""

    async def publish(
        self,
        caller: Caller,
        name: PackageName,
        chunks: AsyncIterator[bytes],
        *,
        size_bytes: int | None,
        revision: str | None,
    ) -> Written:
        """Do what the body in `chunks` asks for; `revision` is the one in the address."""


class PackageAccess(Protocol):
    """Who may do what with a package that lives here."""

    async def of(self, caller: Caller, name: PackageName) -> Access:
        """Whether it is public or restricted."""

    async def set(self, caller: Caller, name: PackageName, access: Access) -> None:
        """Make it public or restricted."""

    async def collaborators(self, caller: Caller, name: PackageName) -> Mapping[str, Permission]:
        """By user, owners included."""

    async def packages_of(self, caller: Caller, user: str) -> Mapping[str, Permission]:
        """By package, of those that the caller may read."""


class Teams(Protocol):
    """Organisations, their members, and their teams with what they were granted."""

    async def members(self, caller: Caller, org: str) -> Mapping[str, Role]:
        """Everybody in it."""

    async def set_member(self, caller: Caller, org: str, user: str, role: Role) -> int:
        """Take somebody in; returns how many members there are."""

    async def drop_member(self, caller: Caller, org: str, user: str) -> None:
        """Take somebody out."""

    async def teams(self, caller: Caller, org: str) -> Sequence[TeamRecord]:
        """Its teams."""

    async def set_team(self, caller: Caller, org: str, team: str, description: str | None) -> None:
        """Make a team."""

    async def drop_team(self, caller: Caller, org: str, team: str) -> None:
        """Remove a team."""

    async def team_members(self, caller: Caller, org: str, team: str) -> Sequence[str]:
        """Who is in a team."""

    async def set_team_member(self, caller: Caller, org: str, team: str, user: str) -> None:
        """Put somebody into a team."""

    async def drop_team_member(self, caller: Caller, org: str, team: str, user: str) -> None:
        """Take somebody out of a team."""

    async def org_packages(self, caller: Caller, org: str) -> Mapping[str, Permission]:
        """What any of its teams was granted."""

    async def team_packages(self, caller: Caller, org: str, team: str) -> Mapping[str, Permission]:
        """What a team was granted."""

    async def grant(
        self, caller: Caller, org: str, team: str, name: PackageName, permission: Permission
    ) -> None:
        """Grant a package to a team."""

    async def revoke(self, caller: Caller, org: str, team: str, name: PackageName) -> None:
        """Take a grant back."""


class Changing(Protocol):
    """What changes of a package that lives here; all return its revision."""

    async def apply(self, caller: Caller, name: PackageName, update: Update) -> str:
        """Make changes, all or none."""

    async def remove_tarball(
        self, caller: Caller, name: PackageName, file: str, revision: str
    ) -> str:
        """Remove the version of a tarball, if it is still there."""


class Tags(Protocol):
    """Dist-tags of a package that lives here; all return its revision."""

    async def set(self, caller: Caller, name: PackageName, tag: str, version: str) -> str:
        """Point a tag at a version."""

    async def drop(self, caller: Caller, name: PackageName, tag: str) -> str:
        """Remove a tag."""

    async def merge(self, caller: Caller, name: PackageName, tags: Mapping[str, str]) -> str:
        """Set many tags; all others stay."""

    async def replace(self, caller: Caller, name: PackageName, tags: Mapping[str, str]) -> str:
        """Set many tags; all others but `latest` go."""


class Owning(Protocol):
    """Owners of a package that lives here; both return its revision."""

    async def add(self, caller: Caller, name: PackageName, user: str) -> str:
        """Make somebody an owner."""

    async def remove(self, caller: Caller, name: PackageName, user: str) -> str:
        """Take an owner away."""


class Starring(Protocol):
    """Stars."""

    async def set(self, caller: Caller, name: PackageName, *, is_starred: bool) -> str:
        """Give or take away the caller's star; returns the package's revision."""

    async def of(self, caller: Caller, user: str | None = None) -> Sequence[str]:
        """Names of what a user (None: the caller) has starred and the caller may read."""


class Switching(Protocol):
    """Which uplinks are asked; for administrators."""

    async def status(self, caller: Caller) -> Sequence[Asking]:
        """Each uplink."""

    async def switch(
        self, caller: Caller, uplink: str | None, *, is_offline: bool
    ) -> Sequence[Asking]:
        """Take an uplink (None: all) offline or back."""


class Warming(Protocol):
    """Prefetches that are asked for, for whoever is logged in."""

    def require(self, caller: Caller) -> str:
        """The caller's name, if one may begin now."""

    async def begin(
        self, caller: Caller, file: str, data: bytes, fit: Sequence[str], request_id: str
    ) -> Warm:
        """Begin to bring what a lockfile called `file` names; whoever gets it closes it."""


class Audits(Protocol):
    """Security advisories. Bodies are JSON without content coding; answers are JSON."""

    async def bulk(self, body: bytes, request_id: str) -> bytes:
        """Advisories for `{name: [version]}`."""

    async def tree(self, path: str, body: bytes, request_id: str) -> bytes:
        """A quick or full audit; `path` is its address below the registry's root."""


class Searching(Protocol):
    """Text search."""

    async def search(
        self, caller: Caller, query: Sequence[tuple[str, str]], base_url: str, request_id: str
    ) -> Document:
        """Search results; `query` are the pairs of a query string."""


class Signatures(Protocol):
    """Signing keys, the uplinks' and ours."""

    async def keys(self, request_id: str) -> Document:
        """The keys that `npm audit signatures` checks with."""


class Relay(Protocol):
    """What is passed on from an uplink and remembered."""

    async def downloads(self, path: str, request_id: str) -> Document:
        """Download counts; `path` has no leading slash."""


class Routing(Protocol):
    """The rules in force."""

    def replace(self, rules: Rules) -> None:
        """Put other rules in force."""

    def claimed(self) -> Sequence[str]:
        """The patterns of the names that live here by rule."""


class Logins(Protocol):
    """Logins that a person allows on a web page, and writes that they confirm there."""

    @property
    def can_sign_up(self) -> bool:
        """Whether people may make accounts by themselves."""

    async def begin(self, asker: Asker, user: str | None = None) -> Begun:
        """Begin a login, or have a write of `user` confirmed."""

    async def question(self, page: str) -> Question:
        """What the page of this id asks."""

    async def allow(self, page: str, form: str, proof: Proof) -> str:
        """Let the client have what it asks for; returns the user's name."""

    async def sign_up(self, page: str, form: str, proof: Proof, email: str | None) -> str:
        """Make a user and let the client log in as them; returns their name."""

    async def refuse(self, page: str, form: str) -> None:
        """End it without a token."""

    async def poll(self, done: str, client_ip: str) -> str | None:
        """The token, once; None while nobody has answered."""


class Accounts(Protocol):
    """Logging in with a password, signing up, logging out."""

    async def log_in(
        self, name: str, password: str, *, email: str | None, otp: str | None, client_ip: str
    ) -> tuple[UserRecord, str]:
        """The user and a new token of theirs; who is new may be signed up."""

    async def log_out(self, caller: Caller, token: str) -> None:
        """Revoke a token of the caller's own."""

    async def user(self, caller: Caller, name: str) -> UserRecord:
        """Somebody, for whoever is logged in."""


class OwnTokens(Protocol):
    """The tokens of whoever asks."""

    def now(self) -> datetime:
        """The time by which a request is read that asks for days."""

    async def page(self, caller: Caller, number: int, length: int) -> Page:
        """A page of them, newest first; the first is number 0."""

    async def create(self, caller: Caller, request: TokenRequest) -> tuple[str, TokenRecord]:
        """A new token, and what is kept of it."""

    async def revoke(self, caller: Caller, which: str) -> None:
        """Revoke one by its key, its hash or itself."""


class Profiles(Protocol):
    """The profile of whoever asks."""

    async def own(self, caller: Caller) -> UserRecord:
        """The caller themselves."""

    async def change(self, caller: Caller, change: ProfileChange) -> UserRecord:
        """Say something else, or take another password."""

    async def change_factor(self, caller: Caller, password: str, mode: str) -> str | None:
        """Begin with a second factor (its address), give it another mode, or take it away."""

    async def confirm_factor(self, caller: Caller, code: str) -> list[str]:
        """Put the second factor in force; returns codes to recover with."""


@dataclass(slots=True)
class Drain:
    """Whether this worker goes down: then every reply ends its connection, none is cut off."""

    is_on: bool = False


@dataclass(slots=True)
class Exchange:
    """One request and what has become of it so far, for the access log and the metrics.

    `route` is the pattern of the row that answers, which may take its time if it `is_patient` and
    asks nobody who they are if it `is_open`; `is_cut` says whether the reply broke off.
    """

    id: str
    method: str
    raw_path: str
    user_agent: str
    target: Target
    address: Address
    route: str
    is_patient: bool = False
    is_open: bool = False
    caller: Caller = ANONYMOUS
    freshness: Freshness | None = None
    form: Form | None = None
    is_cut: bool = False


CALLERS: web.AppKey[Callers] = web.AppKey("callers", Callers)
AHEAD: web.AppKey[Ahead] = web.AppKey("ahead", Ahead)
READING: web.AppKey[Reading] = web.AppKey("reading", Reading)
PUBLISHING: web.AppKey[Publishing] = web.AppKey("publishing", Publishing)
ACCESS: web.AppKey[PackageAccess] = web.AppKey("access", PackageAccess)
TEAMS: web.AppKey[Teams] = web.AppKey("teams", Teams)
CHANGING: web.AppKey[Changing] = web.AppKey("changing", Changing)
TAGS: web.AppKey[Tags] = web.AppKey("tags", Tags)
OWNING: web.AppKey[Owning] = web.AppKey("owning", Owning)
STARRING: web.AppKey[Starring] = web.AppKey("starring", Starring)
SWITCHING: web.AppKey[Switching] = web.AppKey("switching", Switching)
WARMING: web.AppKey[Warming] = web.AppKey("warming", Warming)
AUDITS: web.AppKey[Audits] = web.AppKey("audits", Audits)
RELAY: web.AppKey[Relay] = web.AppKey("relay", Relay)
SEARCHING: web.AppKey[Searching] = web.AppKey("searching", Searching)
SIGNATURES: web.AppKey[Signatures] = web.AppKey("signatures", Signatures)
ROUTING: web.AppKey[Routing] = web.AppKey("routing", Routing)
ACCOUNTS: web.AppKey[Accounts] = web.AppKey("accounts", Accounts)
TOKENS: web.AppKey[OwnTokens] = web.AppKey("tokens", OwnTokens)
PROFILES: web.AppKey[Profiles] = web.AppKey("profiles", Profiles)
LOGINS: web.AppKey[Logins] = web.AppKey("logins", Logins)
DRAIN: web.AppKey[Drain] = web.AppKey("drain", Drain)

EXCHANGE: web.RequestKey[Exchange] = web.RequestKey("exchange", Exchange)

T = TypeVar("T", bound=Target)


def expect(exchange: Exchange, kind: type[T]) -> T:
    """The target as the kind its route is for."""
    if not isinstance(exchange.target, kind):
        raise TypeError(f"the route {exchange.route} does not lead to a {kind.__name__}")
    return exchange.target
