"""A text search (`/-/v1/search`): what it asks for, and its answer.

The answer's shape is `{"objects": [{"package": {"name": ...}}], "total": 1, "time": "..."}`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from proxy.npm import wire

_BETWEEN = re.compile(r"[\s,]+")
_SCOPE = "scope:"


def names(text: str) -> Iterator[str]:
    """Every word of a search's text that a package or a scope may be called.

    A scope (`@acme`, `scope:acme`) is given as `@acme/`, which the patterns of that scope match. Of
    a qualifier (`author:ann`) the value is given, because it may be a secret just as well.
    """
    for part in _BETWEEN.split(text):
        word = part.strip("\"'").lstrip("+-")
        if word.startswith(_SCOPE):
            word = "@" + word.removeprefix(_SCOPE).removeprefix("@")
        word = word.rpartition(":")[2]
        if word:
            yield f"{word}/" if word.startswith("@") and "/" not in word else word


def only(answer: bytes, keep: Callable[[str], bool]) -> bytes:
    """The answer without packages that `keep` refuses.

    Every result's `maintainers` is a list, because npm iterates it.

    `total` is lowered by what was taken out of this page. Raises wire.Undecodable if it is no
    search result.
    """
    value = wire.loads(answer)
    objects = value.get("objects") if isinstance(value, dict) else None
    if not isinstance(objects, list):
        message = "not a search result: it has no list of objects"
        raise wire.Undecodable(message)
    kept = [entry for entry in objects if keep(_name(entry))]
    for entry in kept:
        if not isinstance(entry["package"].get("maintainers"), list):
            entry["package"]["maintainers"] = []
    total = value.get("total")
    if isinstance(total, int):
        value["total"] = total - (len(objects) - len(kept))
    return wire.dumps({**value, "objects": kept})


def _name(entry: object) -> str:
    package = entry.get("package") if isinstance(entry, dict) else None
    name = package.get("name") if isinstance(package, dict) else None
    if not isinstance(name, str):
        message = "a search result without a package name"
        raise wire.Undecodable(message)
    return name
