"""Where a handler finds its story: one AppKey each; and what is known of its request.

The protocols say what a handler may ask of a story; `app.py` puts the stories of `registry/` behind
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aiohttp import web

from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.policy import Rules
from proxy.registry.answers import Document, Freshness, Tarball
from proxy.registry.callers import ANONYMOUS, Caller
from proxy.registry.logins import Asker, Begun, Proof, Question
from proxy.web.addresses import Address
from proxy.web.targets import Target


class Callers(Protocol):
    """Who sent a request."""

    async def resolve(self, authorization: str | None, client_ip: str, otp: str | None) -> Caller:
        """Never raises: whom we do not know is a caller without a user."""


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


class Audits(Protocol):
    """Security advisories. Bodies are JSON without content coding; answers are JSON."""

    async def bulk(self, body: bytes, request_id: str) -> bytes:
        """Advisories for `{name: [version]}`."""

    async def tree(self, path: str, body: bytes, request_id: str) -> bytes:
        """A quick or full audit; `path` is its address below the registry's root."""


class Signatures(Protocol):
    """Signing keys, the uplinks' and ours."""

    async def keys(self, request_id: str) -> Document:
        """The keys that `npm audit signatures` checks with."""


class Relay(Protocol):
    """What is passed on from an uplink and remembered."""

    async def search(self, query: str, request_id: str) -> Document:
        """Search results; `query` is a query string."""

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


@dataclass(slots=True)
class Drain:
    """Whether this worker goes down: then every reply ends its connection, none is cut off."""

    is_on: bool = False


@dataclass(slots=True)
class Exchange:
    """One request and what has become of it so far, for the access log and the metrics.

    `route` is the pattern of the row that answers, which may take its time if it `is_patient`;
    `is_cut` says whether the reply broke off.
    """

    id: str
    target: Target
    address: Address
    route: str
    is_patient: bool = False
    caller: Caller = ANONYMOUS
    freshness: Freshness | None = None
    form: Form | None = None
    is_cut: bool = False


CALLERS: web.AppKey[Callers] = web.AppKey("callers", Callers)
READING: web.AppKey[Reading] = web.AppKey("reading", Reading)
AUDITS: web.AppKey[Audits] = web.AppKey("audits", Audits)
RELAY: web.AppKey[Relay] = web.AppKey("relay", Relay)
SIGNATURES: web.AppKey[Signatures] = web.AppKey("signatures", Signatures)
ROUTING: web.AppKey[Routing] = web.AppKey("routing", Routing)
LOGINS: web.AppKey[Logins] = web.AppKey("logins", Logins)
DRAIN: web.AppKey[Drain] = web.AppKey("drain", Drain)

EXCHANGE: web.RequestKey[Exchange] = web.RequestKey("exchange", Exchange)

T = TypeVar("T", bound=Target)


def expect(exchange: Exchange, kind: type[T]) -> T:
    """The target as the kind its route is for."""
    if not isinstance(exchange.target, kind):
        raise TypeError(f"the route {exchange.route} does not lead to a {kind.__name__}")
    return exchange.target
