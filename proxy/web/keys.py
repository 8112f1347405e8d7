"""Where a handler finds its story: one AppKey each; and what is known of its request.

The protocols say what a handler may ask of a story; `app.py` puts the stories of `registry/` behind
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aiohttp import web

from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.registry.answers import Document, Freshness, Tarball
from proxy.web.addresses import Address
from proxy.web.targets import Target


class Packuments(Protocol):
    """All that is known of a package, in the forms npm's clients ask for."""

    async def document(
        self, name: PackageName, form: Form, base_url: str, request_id: str
    ) -> Document:
        """The packument, gzip."""

    async def manifest(
        self, name: PackageName, spec: str, base_url: str, request_id: str
    ) -> Document:
        """The manifest of one version or dist-tag, identity JSON."""

    async def dist_tags(self, name: PackageName, request_id: str) -> Document:
        """`{tag: version}`, identity JSON."""


class Tarballs(Protocol):
    """Tarballs by package and file name."""

    async def open(self, name: PackageName, file: str, request_id: str) -> Tarball:
        """The tarball; whoever gets it closes it."""


class Search(Protocol):
    """Text search; the keys of a query are npm's: text, size, from and more."""

    async def search(self, query: Mapping[str, str]) -> bytes: ...


class Audits(Protocol):
    """Security advisories. Bodies are JSON without content coding; answers are JSON."""

    async def bulk(self, body: bytes) -> bytes: ...

    async def quick(self, body: bytes) -> bytes: ...

    async def full(self, body: bytes) -> bytes: ...


class Relay(Protocol):
    """What is passed on from the uplink as it is.

    Kinds and their parts: "keys" () · "attestations" (name, version) · "downloads" (point|range,
    period, names).
    """

    async def get(self, kind: str, *parts: str) -> bytes: ...


@dataclass(slots=True)
class Exchange:
    """One request and what has become of it so far, for the access log and the metrics.

    `route` is the pattern of the row that answers; `is_cut` whether the reply broke off.
    """

    id: str
    target: Target
    address: Address
    route: str
    freshness: Freshness | None = None
    form: Form | None = None
    is_cut: bool = False


PACKUMENTS: web.AppKey[Packuments] = web.AppKey("packuments", Packuments)
TARBALLS: web.AppKey[Tarballs] = web.AppKey("tarballs", Tarballs)
SEARCH: web.AppKey[Search] = web.AppKey("search", Search)
AUDITS: web.AppKey[Audits] = web.AppKey("audits", Audits)
RELAY: web.AppKey[Relay] = web.AppKey("relay", Relay)

EXCHANGE: web.RequestKey[Exchange] = web.RequestKey("exchange", Exchange)

T = TypeVar("T", bound=Target)


def expect(exchange: Exchange, kind: type[T]) -> T:
    """The target as the kind its route is for."""
    if not isinstance(exchange.target, kind):
        raise TypeError(f"the route {exchange.route} does not lead to a {kind.__name__}")
    return exchange.target
