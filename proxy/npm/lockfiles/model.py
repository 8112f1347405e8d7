"""What a lockfile says, whatever wrote it; and what its readers begin with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from proxy.errors import InvalidName
from proxy.npm import names

_LONGEST_VERSION = 256  # characters, as npm's semver has it
_SHOWN = 100  # characters of a refused value that are worth repeating


class Kind(Enum):
    """What wrote the file, in words a person reads."""

    NPM = "npm lockfile"
    PNPM = "pnpm lockfile"
    YARN_CLASSIC = "yarn 1 lockfile"
    YARN_BERRY = "yarn lockfile"
    BUN = "bun lockfile"
    CYCLONEDX = "CycloneDX"
    SPDX = "SPDX"
    MANIFEST = "package.json"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One version of one package that comes from a registry, under its real name.

    `integrity` is an SRI string of the tarball. `os`, `cpu` and `libc` are as in a manifest,
    `!win32` included; empty where the file says nothing of them. One that is optional is left out
    on a platform it is not for. `tarball` is the address the file has for it, if it has one.
    """

    name: str
    version: str
    integrity: str | None = None
    is_optional: bool = False
    os: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()
    libc: tuple[str, ...] = ()
    tarball: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A package of which some version is wanted: a range, a version or a dist-tag."""

    name: str
    range: str
    is_optional: bool = False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What no registry has, and why: `it comes from git`."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Lockfile:
    """What a file says, everything once and in its order."""

    kind: Kind
    wanted: tuple[Wanted, ...]
    asked: tuple[Asked, ...]
    left_out: tuple[LeftOut, ...]


class Unfit(ValueError):
    """The file is not what it should be: `where` in it, and `what` is wrong."""

    def __init__(self, where: str, what: str) -> None:
        self.where = where
        self.what = what
        super().__init__(f"{where}: {what}")


class Gathering:
    """What has been read of a file so far. What is said twice counts once."""

    def __init__(self) -> None:
        self._wanted: dict[tuple[str, str, str | None], Wanted] = {}
        self._asked: dict[Asked, None] = {}
        self._left_out: dict[str, LeftOut] = {}

    def want(self, wanted: Wanted, where: str) -> None:
        """Note a version. Optional is what nobody wants otherwise. Raises Unfit."""
        _check_name(wanted.name, where)
        version = wanted.version
        if not version or len(version) > _LONGEST_VERSION or not version.isprintable():
            raise Unfit(where, f"{version[:_SHOWN]!r} is not a version")
        key = (wanted.name, version, wanted.integrity)
        known = self._wanted.get(key)
        if known is None:
            self._wanted[key] = wanted
        elif known.is_optional and not wanted.is_optional:
            self._wanted[key] = replace(known, is_optional=False)

    def ask(self, asked: Asked, where: str) -> None:
        """Note a range. Raises Unfit."""
        _check_name(asked.name, where)
        self._asked[asked] = None

    def leave_out(self, what: str, why: str) -> None:
        """Note what no registry has."""
        self._left_out.setdefault(what, LeftOut(what, why))

    def end(self, kind: Kind) -> Lockfile:
        """All of it."""
        found = tuple(self._wanted.values()), tuple(self._asked), tuple(self._left_out.values())
        return Lockfile(kind, *found)


def united(files: Iterable[Lockfile]) -> Sequence[Wanted]:
    """The versions of several files, each once for each integrity that any file has for it.

    Optional is what is so in all of them, and of what they say of platforms the longest counts.
    """
    found: dict[tuple[str, str], dict[str | None, Wanted]] = {}
    for wanted in (each for file in files for each in file.wanted):
        alike = found.setdefault((wanted.name, wanted.version), {})
        known = alike.get(wanted.integrity, wanted)
        fuller = max(known, wanted, key=lambda each: len((*each.os, *each.cpu, *each.libc)))
        is_optional = known.is_optional and wanted.is_optional
        alike[wanted.integrity] = replace(fuller, is_optional=is_optional)
    return [each for alike in found.values() for each in _informed(alike)]


def _informed(alike: Mapping[str | None, Wanted]) -> Iterable[Wanted]:
    """What one file says without an integrity is no other thing than what another says with one."""
    is_optional = all(each.is_optional for each in alike.values())
    for integrity, wanted in alike.items():
        if integrity is not None or len(alike) == 1:
            yield replace(wanted, is_optional=is_optional)


def table(value: Any, where: str) -> Mapping[str, Any]:
    """The object a value is; an absent one is empty. Raises Unfit."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unfit(where, "it should be an object")
    return value


def text(value: Any, where: str) -> str:
    """The text a value is. Raises Unfit."""
    if not isinstance(value, str):
        raise Unfit(where, "it should be a text")
    return value


def texts(value: Any, where: str) -> tuple[str, ...]:
    """The texts of a list, or the only one; none where it is absent. Raises Unfit."""
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise Unfit(where, "it should be a list of texts")
    return tuple(text(each, where) for each in value)


def place(*keys: str) -> str:
    """Where in a document: `packages["node_modules/a"].version`."""
    first, *rest = keys
    written = (f".{key}" if key.isidentifier() else f'["{key[:_SHOWN]}"]' for key in rest)
    return first + "".join(written)


def _check_name(name: str, where: str) -> None:
    try:
        names.parse(name)
    except InvalidName as error:
        raise Unfit(where, str(error)) from error
