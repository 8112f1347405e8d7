"""The names of settings: dotted, as variables, and the nearest to one that does not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator

from proxy.config.settings import (
    DEFAULT_UPLINK,
    LISTS,
    SECTIONS,
    UPLINKS,
    Uplink,
    settings_of,
)

PREFIX = "PACKHOUSE_"
FILE_VARIABLE = "PACKHOUSE_CONFIG"
FLAGS = {
    "server.listen": "--listen",
    "server.workers": "--workers",
    "server.offline": "--offline",
    "storage.path": "--data",
    "uplink": "--uplink",
}
# Ways to say one thing: the strongest source that says it in any of them is the one that counts.
WAYS = {
    "token": ("token", "token_env", "token_file"),
    "password": ("password", "password_env", "password_file"),
}
UPLINK_SETTINGS = tuple(row.name for row in settings_of(Uplink))
_UPLINK_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def dotted(path: Iterable[str | int]) -> str:
    """A path of keys as one name."""
    return ".".join(map(str, path))


def variable_of(name: str) -> str:
    """The variable that sets `name`: PACKHOUSE_CACHE_MAX_AGE for cache.max_age."""
    return PREFIX + re.sub(r"[.-]", "_", name).upper()


def of_variable(variable: str, uplinks: Iterable[str]) -> str | None:
    """The setting that `variable` sets, or None.

    An underscore may belong to an uplink's name or to a setting's. Uplinks that exist come first,
    then the longest setting; the name of a new uplink is in small letters with hyphens.
    """
    for name in (*_fixed(), *_of_uplinks(uplinks)):
        if variable_of(name) == variable:
            return name
    for setting in sorted(UPLINK_SETTINGS, key=len, reverse=True):
        found = re.fullmatch(f"{PREFIX}UPLINKS_([A-Z0-9_]+)_{setting.upper()}", variable)
        name = found[1].lower().replace("_", "-") if found else ""
        if name and not flaw_of_uplink_name(name):
            return f"{UPLINKS}.{name}.{setting}"
    return None


def flaw_of_uplink_name(name: str) -> str | None:
    """Why an uplink cannot be called `name`, which stands in variables, addresses and metrics."""
    if name == "hosted":
        return 'cannot be the name of an uplink: "hosted" means what is published here'
    if not _UPLINK_NAME.fullmatch(name):
        return "is not a name for an uplink; use small letters, digits, - and _, at most 64"
    return None


def uplinks_in(given: Iterable[str]) -> tuple[str, ...]:
    """The names of the uplinks that any of these dotted names is about, in order."""
    found = (name.split(".") for name in given if name.startswith(f"{UPLINKS}."))
    return tuple(dict.fromkeys(parts[1] for parts in found))


def did_you_mean(name: str) -> str:
    """The nearest setting to a dotted name, as the end of a sentence; empty if none is near.

    A name that is right but for its section is nearer than one that is spelt alike.
    """
    table, _, key = name.rpartition(".")
    listed = LISTS.get(table.partition(".")[0], ())
    if listed:
        return _nearest(name, [f"{table}.{each}" for each in listed])
    known = [*_fixed(), *_of_uplinks(uplinks_in([name]) or ["NAME"])]
    elsewhere = [each for each in known if each.rpartition(".")[2] == key]
    return _nearest(name, elsewhere[:1]) or _nearest(name, [*known, *LISTS, UPLINKS, *SECTIONS])


def nearest_variable(variable: str, uplinks: Iterable[str]) -> str:
    """The nearest variable there is, as the end of a sentence; empty if none is near."""
    known = (*_fixed(), *_of_uplinks([*uplinks, DEFAULT_UPLINK]), *LISTS)
    return _nearest(variable, [*map(variable_of, known), FILE_VARIABLE])


def _nearest(name: str, choices: list[str]) -> str:
    near = choices if len(choices) == 1 else difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _fixed() -> Iterator[str]:
    for section, table in SECTIONS.items():
        yield from (f"{section}.{row.name}" for row in settings_of(table))


def _of_uplinks(uplinks: Iterable[str]) -> Iterator[str]:
    for uplink in uplinks:
        yield from (f"{UPLINKS}.{uplink}.{setting}" for setting in UPLINK_SETTINGS)
