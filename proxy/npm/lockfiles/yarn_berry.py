"""yarn.lock as Yarn 2 and later write it: YAML, and each entry with its `resolution`.

`name@npm:1.2.3` comes from a registry. A patched package (`name@patch:…`) stands in an entry of its
own beside the one it is made of. `checksum` is of Yarn's own archive, never of the tarball, so that
there is no integrity. Packages for certain platforms have `conditions`: `os=linux & cpu=x64`,
`(os=darwin | os=linux) & !libc=musl`. One that has a checksum nevertheless is fetched on every
platform: it is what a patched package is made of (fsevents).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from proxy.npm.lockfiles import sources
from proxy.npm.lockfiles.model import Gathering, Kind, Lockfile, Unfit, Wanted, place, table, text

_METADATA = "__metadata"
_ELSEWHERE = sources.FROM_ELSEWHERE
_CONDITION = re.compile(r"(!?)(os|cpu|libc)=([\w.-]+)")


def read(document: Mapping[str, Any]) -> Lockfile:
    """Read a decoded lockfile. Raises Unfit."""
    gathering = Gathering()
    table(document.get(_METADATA), _METADATA)
    for key, value in document.items():
        if key != _METADATA:
            _entry(key, table(value, place("entry", key)), gathering)
    return gathering.end(Kind.YARN_BERRY)


def _entry(key: str, entry: Mapping[str, Any], gathering: Gathering) -> None:
    where = place("entry", key)
    if "resolution" not in entry:
        raise Unfit(where, "it has no resolution")
    resolution = text(entry["resolution"], place(where, "resolution"))
    name, reference = sources.split(resolution)
    if reference.startswith(("patch:", "virtual:")):
        return
    if not reference.startswith("npm:"):
        gathering.leave_out(resolution.partition("::")[0], sources.refusal(reference) or _ELSEWHERE)
        return
    version, _, bindings = reference.removeprefix("npm:").partition("::")
    conditions = text(entry.get("conditions", ""), place(where, "conditions"))
    wanted = Wanted(
        name=name,
        version=version,
        is_optional=bool(conditions) and "checksum" not in entry,
        os=_of(conditions, "os"),
        cpu=_of(conditions, "cpu"),
        libc=_of(conditions, "libc"),
        tarball=next(iter(parse_qs(bindings).get("__archiveUrl", ())), None),
    )
    gathering.want(wanted, where)


def _of(conditions: str, field: str) -> tuple[str, ...]:
    found = _CONDITION.findall(conditions)
    return tuple(f"{negated}{value}" for negated, named, value in found if named == field)
