"""The answer to a search (`/-/v1/search`).

Its shape is `{"objects": [{"package": {"name": ...}}], "total": 1, "time": "..."}`.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.npm import wire


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
