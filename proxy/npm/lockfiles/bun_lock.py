"""bun.lock, versions 0 to 2: JSON with trailing commas and, by hand, comments.

Source: bun's documentation and its own files. `packages` maps a place in the project to a list: a
package of a registry is `["name@1.0.0", "registry", {dependencies, os, cpu …}, "integrity"]`; what
comes from elsewhere has its address behind the `@`. Bun writes `none` for a platform it does not
know, and installs nothing that is for another platform, optional or not.
"""

from __future__ import annotations

import re
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

_PIECES = re.compile(r'("(?:[^"\\]|\\.)*+")|//[^\n]*+|/\*.*?\*/', re.DOTALL)
_COMMAS = re.compile(r'("(?:[^"\\]|\\.)*+")|,(?=\s*+[}\]])', re.DOTALL)
_OF_REGISTRY = 4  # items


def plain(text: str) -> str:
    """The same as JSON: without comments, and without commas before a closing bracket."""
    return _COMMAS.sub(r"\1", _PIECES.sub(r"\1", text))


def read(document: Mapping[str, Any]) -> Lockfile:
    """Read a decoded lockfile. Raises Unfit."""
    gathering = Gathering()
    for path, value in table(document.get("packages"), "packages").items():
        where = place("packages", path)
        if not isinstance(value, list) or not value:
            raise Unfit(where, "it should be a list that begins with name@version")
        _package(value, where, gathering)
    return gathering.end(Kind.BUN)


def _package(items: list[Any], where: str, gathering: Gathering) -> None:
    spec = text(items[0], where)
    name, reference = sources.split(spec)
    found = sources.asked(name, reference)
    if isinstance(found, str) or len(items) != _OF_REGISTRY:
        gathering.leave_out(spec, found if isinstance(found, str) else sources.FROM_ELSEWHERE)
        return
    facts = table(items[2], where)
    os, cpu, libc = (texts(facts.get(key), place(where, key)) for key in ("os", "cpu", "libc"))
    wanted = Wanted(
        name=name,
        version=reference,
        integrity=text(items[3], where) or None,
        is_optional=bool(os or cpu or libc),
        os=os,
        cpu=cpu,
        libc=libc,
    )
    gathering.want(wanted, where)
