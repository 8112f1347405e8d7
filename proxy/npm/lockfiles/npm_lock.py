"""package-lock.json and npm-shrinkwrap.json, versions 1, 2 and 3.

Source: npm's documentation of package-lock.json. From version 2 on `packages` maps each place in
the project to what stands there (version 2 repeats it for old clients in `dependencies`); version 1
has a tree of `dependencies`. What is bundled comes inside of another package's tarball.
"""

from __future__ import annotations

from collections.abc import Mapping
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

_FOLDER = "node_modules/"


def read(document: Mapping[str, Any]) -> Lockfile:
    """Read a decoded lockfile. Raises Unfit."""
    gathering = Gathering()
    if "packages" in document:
        _packages(table(document["packages"], "packages"), gathering)
    else:
        _tree(table(document.get("dependencies"), "dependencies"), gathering)
    return gathering.end(Kind.NPM)


def _packages(packages: Mapping[str, Any], gathering: Gathering) -> None:
    for path, value in packages.items():
        where = place("packages", path)
        entry = table(value, where)
        name = path.rpartition(_FOLDER)[2]
        if _FOLDER not in path or entry.get("inBundle") is True:
            continue  # a folder of the project itself, or what its parent brings
        if entry.get("link") is True:
            gathering.leave_out(name, sources.FROM_PROJECT)
            continue
        named = text(entry.get("name", name), place(where, "name"))
        is_optional = entry.get("optional") is True or entry.get("devOptional") is True
        _take(named, _version(entry, where), entry, where, gathering, is_optional=is_optional)


def _tree(top: Mapping[str, Any], gathering: Gathering) -> None:
    """All of a tree, however deep: what is still to be looked at waits in a list."""
    waiting = [(top, "dependencies")]
    while waiting:
        level, at = waiting.pop()
        for key, value in level.items():
            where = place(at, key)
            entry = table(value, where)
            inner = table(entry.get("dependencies"), place(where, "dependencies"))
            if inner:
                waiting.append((inner, place(where, "dependencies")))
            if entry.get("bundled") is not True:
                _branch(key, entry, where, gathering)


def _branch(key: str, entry: Mapping[str, Any], where: str, gathering: Gathering) -> None:
    name, version = key, _version(entry, where)
    if version.startswith("npm:"):
        name, version = sources.split(version.removeprefix("npm:"))
    elif ":" in version or "/" in version:
        gathering.leave_out(f"{key}@{version}", sources.refusal(version) or sources.FROM_ELSEWHERE)
        return
    _take(name, version, entry, where, gathering, is_optional=entry.get("optional") is True)


def _take(
    name: str,
    version: str,
    entry: Mapping[str, Any],
    where: str,
    gathering: Gathering,
    *,
    is_optional: bool,
) -> None:
    address = _address(entry, where)
    why = None if address is None else sources.refusal(address)
    if why is not None:
        gathering.leave_out(f"{name}@{address}", why)
        return
    integrity = entry.get("integrity")
    wanted = Wanted(
        name=name,
        version=version,
        integrity=None if integrity is None else text(integrity, place(where, "integrity")),
        is_optional=is_optional,
        os=texts(entry.get("os"), place(where, "os")),
        cpu=texts(entry.get("cpu"), place(where, "cpu")),
        libc=texts(entry.get("libc"), place(where, "libc")),
        tarball=address,
    )
    gathering.want(wanted, where)


def _version(entry: Mapping[str, Any], where: str) -> str:
    if "version" not in entry:
        raise Unfit(where, "it has no version")
    return text(entry["version"], place(where, "version"))


def _address(entry: Mapping[str, Any], where: str) -> str | None:
    """None where npm was told to write no addresses; `resolved: true` stood for that once."""
    said = entry.get("resolved")
    return None if said is None or isinstance(said, bool) else text(said, place(where, "resolved"))
