"""Request targets: the raw line the client sent, to the one thing it names.

Every spelling of a thing gives the same value: a scope's slash literal or encoded, the doubled
scope and `/download/` of old lockfiles, trailing and repeated slashes, a query. The target is split
at literal slashes first and each piece is percent-decoded exactly once, so that no encoded slash or
dot ever changes where a piece ends. Nothing here raises: what names nothing is `Unknown`, which is
answered 404 (a package manager reads the body of a 400 as a packument).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from proxy import errors
from proxy.npm import names
from proxy.npm.names import PackageName

_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_PATH = re.compile(r"[^?#]*")
# Control characters, what separates or climbs, what a shell or a glob would expand: in no tarball's
# name.
_NO_FILE = re.compile(r"[\x00-\x1f\x7f\\/*?\[\]{}<>\"|%]|^\.|^$")
_NO_SPEC = re.compile(r"[\x00-\x1f\x7f\\/%]|^$")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_LONGEST_SPEC = 256
_LONGEST_FILE = 600
# Beside /-/: paths of the download-count service, which cannot be packages (more pieces than one
# has).
_COUNTS = frozenset({"point", "range"})
_REVISION = "-rev"
_RESERVED = frozenset({"favicon.ico", "robots.txt"})


@dataclass(frozen=True, slots=True)
class Root:
    """The registry itself."""


@dataclass(frozen=True, slots=True)
class Api:
    """Something that cannot be a package: all decoded pieces of the path, "-" first mostly."""

    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Packument:
    """All that is known of one package."""

    name: PackageName


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of a package; `spec` is a version or a dist-tag, as it was written."""

    name: PackageName
    spec: str


@dataclass(frozen=True, slots=True)
class TarballFile:
    """One tarball of a package, by its file name."""

    name: PackageName
    file: str


@dataclass(frozen=True, slots=True)
class Revision:
    """A package at a revision somebody has read, to be written to (`/-rev/{revision}`)."""

    name: PackageName
    revision: str


@dataclass(frozen=True, slots=True)
class TarballRevision:
    """A tarball of a package at a revision somebody has read, to be removed."""

    name: PackageName
    file: str
    revision: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nothing. `name` is set if the reason is that no package can be called so."""

    reason: str
    name: str | None = None


Target = Root | Api | Packument | Manifest | TarballFile | Revision | TarballRevision | Unknown

_NOTHING_HERE = Unknown("there is nothing at this address")


def parse(raw: str, prefix: str = "") -> Target:
    """Read the target of a request line.

    `raw` is the target as it was sent (origin or absolute form, the latter's authority is passed
    over); `prefix` is the path this registry is mounted under ("" or "/npm"). A target without the
    prefix means the same as with it: front proxies strip it or not, and some clients lose it.
    """
    # What is asked for again and again is short; what is long is not worth its memory.
    return _cached(raw, prefix) if len(raw) <= 200 else _parse(raw, prefix)


def _parse(raw: str, prefix: str) -> Target:
    pieces = _pieces(raw)
    if isinstance(pieces, Unknown):
        return pieces
    mount = tuple(part for part in prefix.split("/") if part)
    if not mount or pieces[: len(mount)] != mount or _is_of_package(pieces, mount):
        return _target(pieces)
    return _target(pieces[len(mount) :])


_cached = lru_cache(maxsize=16384)(_parse)


def _pieces(raw: str) -> tuple[str, ...] | Unknown:
    path = raw
    if not raw.startswith("/"):
        authority = _AUTHORITY.match(raw)
        if authority is None:
            return _NOTHING_HERE
        path = raw[authority.end() :]
    matched = _PATH.match(path)
    parts = (matched.group() if matched else "").split("/")
    try:
        return tuple(_decoded(part) for part in parts if part)
    except UnicodeError:
        return Unknown("the address is not UTF-8")


def _decoded(piece: str) -> str:
    # Nearly every piece is plain; what is not must be UTF-8 without gaps (no overlong forms, no
    # surrogates).
    if "%" not in piece:
        piece.encode("utf-8")
        return piece
    return unquote_to_bytes(piece).decode("utf-8")


def _is_of_package(pieces: tuple[str, ...], mount: tuple[str, ...]) -> bool:
    # Mounted under "/npm" behind a front proxy that strips the prefix, "/npm/-/npm-10.9.0.tgz" is
    # npm's own tarball.
    if len(mount) != 1 or len(pieces) < 3:
        return False
    return pieces[1] == "-" and pieces[-1].endswith(".tgz")


def _target(pieces: tuple[str, ...]) -> Target:
    if not pieces:
        return Root()
    first = pieces[0]
    if first == "-" or (first == "downloads" and len(pieces) > 3 and pieces[1] in _COUNTS):
        return Api(pieces)
    if len(pieces) == 1 and first in _RESERVED:
        return _NOTHING_HERE
    text, rest = _name_and_rest(pieces)
    try:
        name = names.parse(text)
    except errors.InvalidName as error:
        return Unknown(str(error.facts.get("reason", "impossible")), name=text[:100])
    return _of_package(name, rest)


def _name_and_rest(pieces: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    first = pieces[0]
    if first.startswith("@") and "/" not in first and len(pieces) > 1:
        return f"{first}/{pieces[1]}", pieces[2:]
    return first, pieces[1:]


def _of_package(name: PackageName, rest: tuple[str, ...]) -> Target:
    if not rest:
        return Packument(name)
    if len(rest) == 1:
        return _manifest(name, rest[0])
    if rest[0] == _REVISION:
        return _revised(Packument(name), rest[1:])
    if rest[0] in {"-", "download"} and _REVISION in rest:
        at = rest.index(_REVISION)
        return _revised(_tarball(name, "/".join(rest[1:at])), rest[at + 1 :])
    if rest[0] in {"-", "download"}:
        return _tarball(name, "/".join(rest[1:]))
    return _NOTHING_HERE


def _revised(of: Target, rest: tuple[str, ...]) -> Target:
    """What is written to at a revision. npm and pnpm paste it in as they have read it."""
    if len(rest) != 1 or len(rest[0]) > _LONGEST_SPEC:
        return _NOTHING_HERE
    match of:
        case Packument(name):
            return Revision(name, rest[0])
        case TarballFile(name, file):
            return TarballRevision(name, file, rest[0])
    return of


def _manifest(name: PackageName, spec: str) -> Target:
    if len(spec) > _LONGEST_SPEC or _NO_SPEC.search(spec) or spec == "-":
        return _refused(spec, "that is neither a version nor a dist-tag")
    return Manifest(name, spec)


def _tarball(name: PackageName, file: str) -> Target:
    if name.scope is not None:
        file = file.removeprefix(f"@{name.scope}/")
    if len(file) > _LONGEST_FILE or _NO_FILE.search(file):
        return _refused(file, f"no tarball of {name.full} is called so")
    return TarballFile(name, file)


def _refused(text: str, reason: str) -> Unknown:
    if _ENCODED.search(text):
        return Unknown("the address is double-encoded: a percent sign is left after decoding once")
    return Unknown(reason)
