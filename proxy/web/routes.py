"""The whole API as one table: method, path, handler.

`{package}` takes a package name in one piece (`lodash`, `@scope%2fname`) or two (`@scope/name`),
any other `{word}` one piece. The paths of `_KINDS` are every spelling of a package's address and
are found by what the target is (targets.py); the others by their pieces. HEAD goes where GET goes.

aiohttp sees one resource that matches everything: its own routing decodes paths, and answers what
it does not know in its own words.
"""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from yarl import URL

from proxy import errors
from proxy.web import audits, login, ops, packuments, relay, search, tarballs
from proxy.web.addresses import Addresses
from proxy.web.keys import EXCHANGE, Exchange
from proxy.web.middleware import Handler
from proxy.web.targets import (
    Api,
    Manifest,
    Packument,
    Revision,
    Root,
    TarballFile,
    TarballRevision,
    Target,
    Unknown,
    parse,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the API.

    One that `is_patient` takes as long as its body does, in or out; every other ends by the
    deadline of a handler.
    """

    method: str
    path: str
    handler: Handler
    is_patient: bool = False


async def refuse_method(request: web.Request) -> NoReturn:
    """Say which methods there are."""
    raise errors.MethodNotAllowed(method=request.method, allowed=request.match_info["allowed"])


async def refuse_target(request: web.Request) -> NoReturn:
    """Say that there is nothing, and why."""
    target = request[EXCHANGE].target
    if not isinstance(target, Unknown):
        raise errors.NotFound(reason="there is nothing at this address")
    if target.name is not None:
        raise errors.InvalidName(name=target.name, reason=target.reason)
    raise errors.NotFound(reason=target.reason)


_KINDS: Mapping[str, type[Target]] = {
    "/": Root,
    "/{package}": Packument,
    "/{package}/{version}": Manifest,
    "/{package}/-/{file}": TarballFile,
    "/{package}/-rev/{revision}": Revision,
    "/{package}/-/{file}/-rev/{revision}": TarballRevision,
}

TABLE = (
    Row("GET", "/{package}", packuments.get_packument),
    Row("GET", "/{package}/-/{file}", tarballs.get_tarball, is_patient=True),
    Row("GET", "/{package}/{version}", packuments.get_manifest),
    Row("GET", "/-/package/{package}/dist-tags", packuments.get_dist_tags),
    Row("POST", "/-/npm/v1/security/advisories/bulk", audits.post_bulk),
    Row("POST", "/-/npm/v1/security/audits/quick", audits.post_tree),
    Row("POST", "/-/npm/v1/security/audits", audits.post_tree),
    Row("GET", "/-/npm/v1/keys", relay.get_keys),
    Row("GET", "/-/npm/v1/attestations/{package}", relay.get_attestations),
    Row("GET", "/downloads/{kind}/{period}/{package}", relay.get_downloads),
    Row("GET", "/-/v1/search", search.get_search),
    Row("POST", "/-/v1/login", login.post_login),
    Row("GET", "/-/v1/done/{id}", login.get_done),
    Row("GET", "/-/login/{id}", login.get_login),
    Row("POST", "/-/login/{id}", login.post_answer),
    Row("GET", "/-/whoami", ops.get_whoami),
    Row("GET", "/-/ping", ops.get_ping),
    Row("GET", "/-/health", ops.get_health),
    Row("GET", "/-/ready", ops.get_ready),
    Row("GET", "/-/metrics", ops.get_metrics),
    Row("GET", "/", ops.get_root),
)


@dataclass(frozen=True, slots=True)
class Match:
    """What answers a request: the handler, the pattern of its row, and what its words stood for."""

    handler: Handler
    path: str
    words: Mapping[str, str]
    is_patient: bool = False


class Table:
    """Rows to search: two look-ups for a package's address, a few comparisons for the rest."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self._by_kind: dict[type[Target], dict[str, Match]] = {}
        self._by_pieces: dict[str, list[tuple[tuple[str, ...], dict[str, Row]]]] = {}
        for row in rows:
            self._add(row)

    def find(self, method: str, target: Target) -> Match:
        """The match; where there is no row, its handler raises MethodNotAllowed or NotFound."""
        if isinstance(target, Api):
            return self._find_api(method, target.pieces)
        if isinstance(target, Unknown):
            return _NOTHING
        rows = self._by_kind.get(type(target), {})
        match = rows.get("GET" if method == "HEAD" else method)
        if match is not None:
            return match
        return _not_allowed(rows) if rows else _NOTHING

    def _add(self, row: Row) -> None:
        kind = _KINDS.get(row.path)
        if kind is not None:
            self._by_kind.setdefault(kind, {})[row.method] = Match(
                row.handler, row.path, {}, row.is_patient
            )
            return
        pattern = tuple(row.path[1:].split("/"))
        candidates = self._by_pieces.setdefault(_bucket(pattern), [])
        for known, rows in candidates:
            if known == pattern:
                rows[row.method] = row
                return
        candidates.append((pattern, {row.method: row}))

    def _find_api(self, method: str, pieces: tuple[str, ...]) -> Match:
        for pattern, rows in self._by_pieces.get(_bucket(pieces), ()):
            words = _words(pattern, pieces)
            if words is None:
                continue
            row = rows.get("GET" if method == "HEAD" else method)
            return (
                _not_allowed(rows)
                if row is None
                else Match(row.handler, row.path, words, row.is_patient)
            )
        return _NOTHING


def mount(app: web.Application, addresses: Addresses) -> None:
    """Make `app` answer every request by the table."""
    app.router.register_resource(_Everything(Table(TABLE), addresses))


class _Everything(web.AbstractResource):
    """The one resource aiohttp sees: matches any target and says which handler it is for."""

    def __init__(self, table: Table, addresses: Addresses) -> None:
        super().__init__()
        self._table = table
        self._addresses = addresses
        self._ids = _request_ids()
        self._routes: dict[Handler, web.ResourceRoute] = {}

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo, set[str]]:
        headers, protocol, peer = request.headers, request.protocol, request.remote or ""
        address = self._addresses.of(headers, peer, _own(protocol.sockname))
        target = parse(request.raw_path, address.prefix)
        match = self._table.find(request.method, target)
        said = headers.get("X-Request-Id") if self._addresses.is_trusted(peer) else None
        request[EXCHANGE] = Exchange(
            id=said if said and _SANE_ID.fullmatch(said) else next(self._ids),
            target=target,
            address=address,
            route=match.path,
            is_patient=match.is_patient,
        )
        return UrlMappingMatchInfo(dict(match.words), self._route(match.handler)), set()

    def _route(self, handler: Handler) -> web.ResourceRoute:
        route = self._routes.get(handler)
        if route is None:
            route = web.ResourceRoute("*", handler, self, expect_handler=_go_on)
            self._routes[handler] = route
        return route

    @property
    def canonical(self) -> str:
        return "/"

    def url_for(self, **_kwargs: str) -> URL:
        raise ValueError("this resource has no one address")

    def add_prefix(self, prefix: str) -> None:  # noqa: ARG002  # aiohttp names it
        raise ValueError("a prefix is part of the public address (server.public_url)")

    def get_info(self) -> Any:
        return {"path": "/"}

    def raw_match(self, path: str) -> bool:  # noqa: ARG002  # aiohttp names it
        return False

    def __len__(self) -> int:
        return len(self._routes)

    def __iter__(self) -> Iterator[web.ResourceRoute]:
        return iter(self._routes.values())


_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOTHING = Match(refuse_target, "(nothing)", {})


def _request_ids() -> Iterator[str]:
    # Unique among workers and restarts without asking the kernel for randomness each time.
    worker = secrets.token_hex(4)
    return (f"{worker}-{number:x}" for number in itertools.count(1))


async def _go_on(request: web.Request) -> None:
    # Other expectations are passed over: nobody has any, and aiohttp refuses them in its own words.
    is_asked = request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"
    if is_asked and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _own(sockname: object) -> str:
    if not isinstance(sockname, tuple):
        return "localhost"
    host, port = sockname[0], sockname[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bucket(pieces: tuple[str, ...]) -> str:
    return "/".join(pieces[:2]) if pieces[0] == "-" else pieces[0]


def _words(pattern: tuple[str, ...], pieces: tuple[str, ...]) -> dict[str, str] | None:
    words: dict[str, str] = {}
    at = 0
    for part in pattern:
        if at >= len(pieces):
            return None
        piece = pieces[at]
        at += 1
        if part == "{package}" and piece.startswith("@") and "/" not in piece and at < len(pieces):
            piece = f"{piece}/{pieces[at]}"
            at += 1
        if part.startswith("{"):
            words[part[1:-1]] = piece
        elif part != piece:
            return None
    return words if at == len(pieces) else None


def _not_allowed(rows: Mapping[str, object]) -> Match:
    allowed = ", ".join(sorted({*rows, "HEAD"} if "GET" in rows else rows))
    return Match(refuse_method, "(method)", {"allowed": allowed})
