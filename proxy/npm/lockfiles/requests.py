"""What names ranges and no versions: a list of `name@range`, and a package.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.npm.lockfiles import sources
from proxy.npm.lockfiles.model import Asked, Gathering, Kind, Lockfile, place, table, text

_GROUPS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")


def listed(lines: str) -> Lockfile:
    """Read a list: one `name@range` a line, `#` begins a comment, `latest` without a range.

    Raises Unfit.
    """
    gathering = Gathering()
    for number, line in enumerate(lines.splitlines(), 1):
        spec = f" {line}".partition(" #")[0].strip()
        if spec:
            name, wanted = sources.split(spec)
            _ask(name, wanted, f"line {number}", gathering, is_optional=False)
    return gathering.end(Kind.LIST)


def manifest(document: Mapping[str, Any]) -> Lockfile:
    """Read a package.json: what it depends on, and what it overrides. Raises Unfit."""
    gathering = Gathering()
    for group in _GROUPS:
        for name, value in table(document.get(group), group).items():
            where = place(group, name)
            is_optional = group == "optionalDependencies" or _is_optional_peer(document, name)
            _ask(name, text(value, where), where, gathering, is_optional=is_optional)
    for name, spec in _overrides(document):
        _ask(name, spec, f"the override of {name}", gathering, is_optional=False)
    return gathering.end(Kind.MANIFEST)


def _ask(name: str, spec: str, where: str, gathering: Gathering, *, is_optional: bool) -> None:
    found = sources.asked(name, spec)
    if isinstance(found, str):
        gathering.leave_out(f"{name}@{spec}", found)
    else:
        gathering.ask(Asked(*found, is_optional), where)


def _is_optional_peer(document: Mapping[str, Any], name: str) -> bool:
    facts = table(document.get("peerDependenciesMeta"), "peerDependenciesMeta").get(name)
    is_dependency = any(name in table(document.get(group), group) for group in _GROUPS[:2])
    return isinstance(facts, dict) and facts.get("optional") is True and not is_dependency


def _overrides(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The overrides of a whole package by a range: `overrides` of npm, `resolutions` of Yarn.

    Narrower ones name packages that are asked for anyway.
    """
    for group in ("overrides", "resolutions"):
        for key, value in table(document.get(group), group).items():
            name = sources.split(key.removeprefix("**/"))[0]
            is_whole = name.count("/") == name.startswith("@")
            if is_whole and isinstance(value, str) and not value.startswith("$"):
                yield name, value
