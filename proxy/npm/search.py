"""A text search (`/-/v1/search`): what it asks for, and its answer.

The answer's shape is `{"objects": [{"package": {"name": ...}}], "total": 1, "time": "..."}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.npm import wire

_BETWEEN = re.compile(r"[\s,+]+")
_SCOPE = "scope:"
_AROUND = "\"'()[]{}<>"


def names(text: str) -> Iterator[str]:
    """Every word of a search's text that a package or a scope may be called.

    A scope (`@acme`, `scope:acme`) is given as `@acme/`, which the patterns of that scope match. Of
    a qualifier (`author:ann`) the value is given, because it may be a secret just as well. What is
    written with capitals is given without too: those who search are not asked for the exact name.
    """
    for part in _BETWEEN.split(text):
        word = part.strip(_AROUND).lstrip("-").strip(_AROUND)
        if not (value := word.rpartition(":")[2].strip(_AROUND)):
            continue
        if word.startswith(_SCOPE) and not value.startswith("@"):
            yield f"@{value}/"
        yield from dict.fromkeys(_whole(each) for each in (value, value.lower()))


def _whole(word: str) -> str:
    """A scope alone with its slash; a name as it is."""
    return f"{word}/" if word.startswith("@") and "/" not in word else word


@dataclass(frozen=True, slots=True)
class Found:
    """A page of results: each with the name of its package, and how many there are in all.

    `more` is what else the answer says, `time` among it.
    """

    objects: tuple[tuple[str, dict[str, Any]], ...]
    total: int
    more: Mapping[str, Any]


def read(answer: bytes) -> Found:
    """Read an uplink's answer. Every result's `maintainers` is a list, because npm iterates it.

    Raises wire.Undecodable if it is no search result.
    """
    value = wire.loads(answer)
    objects = value.get("objects") if isinstance(value, dict) else None
    if not isinstance(objects, list):
        message = "not a search result: it has no list of objects"
        raise wire.Undecodable(message)
    named = tuple((_name(entry), entry) for entry in objects)
    for _, entry in named:
        if not isinstance(entry["package"].get("maintainers"), list):
            entry["package"]["maintainers"] = []
    more = {key: each for key, each in value.items() if key not in {"objects", "total"}}
    total = value.get("total")
    return Found(named, max(total, len(named)) if isinstance(total, int) else len(named), more)


def _name(entry: object) -> str:
    package = entry.get("package") if isinstance(entry, dict) else None
    name = package.get("name") if isinstance(package, dict) else None
    if not isinstance(name, str):
        message = "a search result without a package name"
        raise wire.Undecodable(message)
    return name
