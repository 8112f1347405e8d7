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
from functools import lru_cache
from typing import Any, NoReturn

from aiohttp import hdrs, web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo
from yarl import URL

from proxy import errors
from proxy.web import (
    access,
    accounts,
    audits,
    changes,
    login,
    offline,
    ops,
    packuments,
    prefetch,
    profiles,
    publishing,
    relay,
    search,
    stars,
    tags,
    tarballs,
    teams,
    tokens,
)
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
    deadline of a handler. One that `is_open` is for who logs in: clients send their old token
    along, or the password that stands in the body, and neither is looked at.
    """

    method: str
    path: str
    handler: Handler
    is_patient: bool = False
    is_open: bool = False


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
    Row("PUT", "/{package}", publishing.put_package, is_patient=True),
    Row("PUT", "/{package}/-rev/{revision}", publishing.put_package, is_patient=True),
    Row("DELETE", "/{package}/-rev/{revision}", changes.delete_package),
    Row("DELETE", "/{package}/-/{file}/-rev/{revision}", changes.delete_tarball),
    Row("GET", "/{package}/-/{file}", tarballs.get_tarball, is_patient=True),
    Row("GET", "/{package}/{version}", packuments.get_manifest),
    Row("GET", "/-/package/{package}/dist-tags", packuments.get_dist_tags),
    Row("PUT", "/-/package/{package}/dist-tags", tags.put_tags),
    Row("POST", "/-/package/{package}/dist-tags", tags.post_tags),
    Row("PUT", "/-/package/{package}/dist-tags/{tag}", tags.put_tag),
    Row("DELETE", "/-/package/{package}/dist-tags/{tag}", tags.delete_tag),
    Row("PUT", "/-/package/{package}/owners", changes.put_owner),
    Row("DELETE", "/-/package/{package}/owners/{user}", changes.delete_owner),
    Row("GET", "/-/user/v1/star", stars.get_own),
    Row("PUT", "/-/user/v1/star", stars.put_star),
    Row("DELETE", "/-/user/v1/star", stars.delete_star),
    Row("PUT", "/-/user/package/{package}/star", stars.put_star),
    Row("DELETE", "/-/user/package/{package}/star", stars.delete_star),
    Row("GET", "/-/user/{user}/stars", stars.get_of_user),
    Row("GET", "/-/_view/starredByUser", stars.get_view),
    Row("POST", "/-/npm/v1/security/advisories/bulk", audits.post_bulk),
    Row("POST", "/-/npm/v1/security/audits/quick", audits.post_tree),
    Row("POST", "/-/npm/v1/security/audits", audits.post_tree),
    Row("GET", "/-/npm/v1/keys", relay.get_keys),
    Row("GET", "/-/npm/v1/attestations/{package}", relay.get_attestations),
    Row("GET", "/downloads/{kind}/{period}/{package}", relay.get_downloads),
    Row("GET", "/-/v1/search", search.get_search),
    Row("POST", "/-/v1/login", login.post_login, is_open=True),
    Row("GET", "/-/v1/done/{id}", login.get_done, is_open=True),
    Row("GET", "/-/login/{id}", login.get_login, is_open=True),
    Row("POST", "/-/login/{id}", login.post_answer, is_open=True),
    Row("PUT", "/-/user/{user}", accounts.put_user, is_open=True),
    Row("PUT", "/-/user/{user}/-rev/{revision}", accounts.put_user, is_open=True),
    Row("GET", "/-/user/{user}", accounts.get_user),
    Row("DELETE", "/-/user/token/{token}", accounts.delete_token),
    Row("GET", "/-/whoami", accounts.get_whoami),
    Row("GET", "/-/npm/v1/tokens", tokens.get_tokens),
    Row("POST", "/-/npm/v1/tokens", tokens.post_token),
    Row("DELETE", "/-/npm/v1/tokens/token/{key}", tokens.delete_token),
    Row("GET", "/-/npm/v1/user", profiles.get_profile),
    Row("POST", "/-/npm/v1/user", profiles.post_profile),
    Row("GET", "/-/package/{package}/visibility", access.get_visibility),
    Row("GET", "/-/package/{package}/access", access.get_access),
    Row("POST", "/-/package/{package}/access", access.post_access),
    Row("GET", "/-/package/{package}/collaborators", access.get_collaborators),
    Row("GET", "/-/user/{user}/package", access.get_user_packages),
    Row("GET", "/-/org/{org}/user", teams.get_members),
    Row("PUT", "/-/org/{org}/user", teams.put_member),
    Row("DELETE", "/-/org/{org}/user", teams.delete_member),
    Row("GET", "/-/org/{org}/package", teams.get_org_packages),
    Row("GET", "/-/org/{org}/team", teams.get_teams),
    Row("PUT", "/-/org/{org}/team", teams.put_team),
    Row("DELETE", "/-/team/{org}/{team}", teams.delete_team),
    Row("GET", "/-/team/{org}/{team}/user", teams.get_team_members),
    Row("PUT", "/-/team/{org}/{team}/user", teams.put_team_member),
    Row("DELETE", "/-/team/{org}/{team}/user", teams.delete_team_member),
    Row("GET", "/-/team/{org}/{team}/package", teams.get_team_packages),
    Row("PUT", "/-/team/{org}/{team}/package", teams.put_team_package),
    Row("DELETE", "/-/team/{org}/{team}/package", teams.delete_team_package),
    Row("GET", "/-/packhouse/offline", offline.get_offline),
    Row("PUT", "/-/packhouse/offline", offline.put_offline),
    Row("POST", "/-/packhouse/prefetch", prefetch.post_prefetch, is_patient=True),
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
    is_open: bool = False


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
                row.handler, row.path, {}, row.is_patient, row.is_open
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
                else Match(row.handler, row.path, words, row.is_patient, row.is_open)
            )
        return _NOTHING


class Reception:
    """Takes down what every request says of itself before anybody answers it."""

    def __init__(self, addresses: Addresses, rows: tuple[Row, ...] = TABLE) -> None:
        self._addresses = addresses
        self._table = Table(rows)
        self._ids = _request_ids()

    def receive(
        self, method: str, raw_path: str, headers: Mapping[str, str], peer: str, sockname: object
    ) -> tuple[Exchange, Match]:
        """The exchange that begins, and what answers it; `peer` and `sockname` are the socket's."""
        address = self._addresses.of(headers, peer, _own(sockname))
        target = parse(raw_path, address.prefix)
        match = self._table.find(method, target)
        said = headers.get("X-Request-Id") if self._addresses.is_trusted(peer) else None
        exchange = Exchange(
            id=said if said and _SANE_ID.fullmatch(said) else next(self._ids),
            method=method,
            raw_path=raw_path,
            user_agent=headers.get(hdrs.USER_AGENT, ""),
            target=target,
            address=address,
            route=match.path,
            is_patient=match.is_patient,
            is_open=match.is_open,
        )
        return exchange, match


def mount(app: web.Application, reception: Reception) -> None:
    """Make `app` answer every request by the table."""
    app.router.register_resource(_Everything(reception))


class _Everything(web.AbstractResource):
    """The one resource aiohttp sees: matches any target and says which handler it is for."""

    def __init__(self, reception: Reception) -> None:
        super().__init__()
        self._reception = reception
        self._routes: dict[Handler, web.ResourceRoute] = {}

    async def resolve(self, request: web.Request) -> tuple[UrlMappingMatchInfo, set[str]]:
        exchange, match = self._reception.receive(
            request.method,
            request.raw_path,
            request.headers,
            request.remote or "",
            request.protocol.sockname,
        )
        request[EXCHANGE] = exchange
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


@lru_cache(maxsize=64)
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
