"""pnpm-lock.yaml, versions 5 to 9.

Source: pnpm's own files and its documentation of the format. Each key of `packages` is a package
and what its peers were: `/name/1.0.0_react@17.0.2` (5), `/name@1.0.0(react@18.2.0)` (6),
`name@1.0.0` (9, where the peers stand in `snapshots`). What a registry has, has nothing but an
`integrity` in its `resolution`, or an address with the path of a registry's tarball.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.npm.lockfiles import sources
from proxy.npm.lockfiles.model import (
    Gathering,
    Kind,
    Lockfile,
    Unfit,
    Wanted,
    place,
    table,
    text,
    texts,
)

_OLDEST, _NEWEST = 5, 9
_TYPES = {"git": sources.FROM_GIT, "directory": sources.FROM_PROJECT}
_NO_PACKAGE = "it is no package of a registry"
_GROUPS = ("dependencies", "devDependencies", "optionalDependencies")


def read(documents: list[Any]) -> Lockfile:
    """Read a decoded lockfile: pnpm may put its own tools into a document before the project's.

    Raises Unfit.
    """
    gathering = Gathering()
    for value in documents:
        _document(table(value, "the lockfile"), gathering)
    return gathering.end(Kind.PNPM)


def _document(document: Mapping[str, Any], gathering: Gathering) -> None:
    major = _major(document)
    needed = _needed(table(document.get("snapshots"), "snapshots"))
    for key, value in table(document.get("packages"), "packages").items():
        where = place("packages", key)
        entry = table(value, where)
        is_optional = entry.get("optional") == "true" if major < _NEWEST else key not in needed
        _package(key, entry, major, gathering, is_optional=is_optional)
    for name in _linked(document):
        gathering.leave_out(name, sources.FROM_PROJECT)


def _major(document: Mapping[str, Any]) -> int:
    version = text(document.get("lockfileVersion"), "lockfileVersion").removeprefix("env-")
    major = version.partition(".")[0]
    if not major.isdecimal() or not _OLDEST <= int(major) <= _NEWEST:
        known = f"{_OLDEST} to {_NEWEST}"
        raise Unfit("lockfileVersion", f"{version[:20]!r} is not one of {known}, which are read")
    return int(major)


def _needed(snapshots: Mapping[str, Any]) -> frozenset[str]:
    """The packages that somebody needs in whatever combination of peers (version 9)."""
    return frozenset(
        key.partition("(")[0]
        for key, value in snapshots.items()
        if table(value, place("snapshots", key)).get("optional") != "true"
    )


def _package(
    key: str, entry: Mapping[str, Any], major: int, gathering: Gathering, *, is_optional: bool
) -> None:
    where = place("packages", key)
    resolution = table(entry.get("resolution"), place(where, "resolution"))
    why = _refusal(resolution, where)
    if why is not None:
        gathering.leave_out(key.removeprefix("/"), why)
        return
    name, version = _split(key, major, where)
    integrity, address = resolution.get("integrity"), resolution.get("tarball")
    wanted = Wanted(
        name=text(entry.get("name", name), place(where, "name")),
        version=text(entry.get("version", version), place(where, "version")),
        integrity=None if integrity is None else text(integrity, place(where, "integrity")),
        is_optional=is_optional,
        os=texts(entry.get("os"), place(where, "os")),
        cpu=texts(entry.get("cpu"), place(where, "cpu")),
        libc=texts(entry.get("libc"), place(where, "libc")),
        tarball=None if address is None else text(address, place(where, "tarball")),
    )
    gathering.want(wanted, where)


def _refusal(resolution: Mapping[str, Any], where: str) -> str | None:
    """Why no registry has it; None if one does."""
    if "type" in resolution:
        said = text(resolution["type"], place(where, "resolution", "type"))
        return _TYPES.get(said, _NO_PACKAGE)
    if "tarball" in resolution:
        address = text(resolution["tarball"], place(where, "resolution", "tarball"))
        # An address without a host is one of the registry, written by old versions.
        return sources.refusal(address) if ":" in address else None
    return None if "integrity" in resolution else _NO_PACKAGE


def _split(key: str, major: int, where: str) -> tuple[str, str]:
    """Name and version of a key. Before the first slash may be the host of another registry."""
    path = key.partition("(")[0].partition("/")[2] if major < _NEWEST else key.partition("(")[0]
    name, _, version = path.rpartition("/") if major == _OLDEST else _at_last(path)
    if not name or not version:
        raise Unfit(where, "the key is not a name and a version")
    return name, version.partition("_")[0] if major == _OLDEST else version


def _at_last(path: str) -> tuple[str, str, str]:
    at = path.rfind("@")
    return (path[:at], "@", path[at + 1 :]) if at > 0 else ("", "", "")


def _linked(document: Mapping[str, Any]) -> Iterator[str]:
    """The names of what is linked from folders of the project."""
    importers = table(document.get("importers"), "importers") or {".": document}
    for path, value in importers.items():
        importer = table(value, place("importers", path))
        for group in _GROUPS:
            for name, said in table(importer.get(group), place("importers", path, group)).items():
                version = said.get("version") if isinstance(said, dict) else said
                if isinstance(version, str) and version.startswith("link:"):
                    yield name
