"""Hypothesis strategies for what npm's world holds: names, versions, JSON as text, packuments.

JSON is made as text, not as values, because white space, the spelling of numbers and of strings,
and the order of keys are what a faithful copyist must not touch; `exact` reads such text so that
two readings are equal only if all of that content is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from proxy.npm.names import PackageName

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_LEGACY = _LETTERS + "ABCXYZ-_.!~*'()"
_NUMBER = r"-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,3})?"
_RESERVED = {"node_modules", "favicon.ico", "-"}


def name_parts() -> st.SearchStrategy[str]:
    """One part of a name, legacy spellings included."""
    starts = st.sampled_from(_LETTERS + "ABC-_")
    parts = st.builds(str.__add__, starts, st.text(_LEGACY, max_size=12))
    return parts.filter(lambda part: part.lower() not in _RESERVED)


def package_names() -> st.SearchStrategy[PackageName]:
    """Names that can be read, half of them scoped."""
    scoped = st.builds("@{}/{}".format, name_parts(), name_parts())
    return st.builds(PackageName, name_parts() | scoped)


def versions() -> st.SearchStrategy[str]:
    """Versions: mostly sound ones, some that only old packages have."""
    number = st.integers(0, 300)
    plain = st.builds("{}.{}.{}".format, number, number, number)
    ends = st.sampled_from(["", "", "-beta.1", "-rc-2", "+build.5", "-a+b"])
    return st.builds("{}{}{}".format, st.sampled_from(["", "", "", "v", "0"]), plain, ends)


def spaces() -> st.SearchStrategy[str]:
    """White space JSON allows between tokens, mostly none."""
    return st.sampled_from(["", "", "", " ", "\n  ", "\t"])


@st.composite
def json_strings(draw: st.DrawFn) -> str:
    """A string token, non-ASCII escaped or not, a slash sometimes escaped."""
    text = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=12))
    token = json.dumps(text, ensure_ascii=draw(st.booleans()))
    return token.replace("/", "\\/") if draw(st.booleans()) else token


@st.composite
def objects(draw: st.DrawFn, fields: dict[str, str]) -> str:
    """The text of an object with these keys and value texts, with white space somewhere."""
    space = draw(spaces())
    members = [f"{json.dumps(key)}{space}:{space}{value}" for key, value in fields.items()]
    return "{" + space + f",{space}".join(members) + space + "}"


def json_values() -> st.SearchStrategy[str]:
    """The text of any JSON value, numbers in every spelling."""
    plain = st.sampled_from(["null", "true", "false"]) | st.from_regex(_NUMBER, fullmatch=True)
    keys = st.text('abct"\\/é', max_size=6) | st.sampled_from(["dist", "tarball", "name"])
    return st.recursive(
        plain | json_strings(),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
            | st.dictionaries(keys, inner, max_size=3).flatmap(objects)
        ),
        max_leaves=4,
    )


@st.composite
def manifests(draw: st.DrawFn, name: PackageName, version: str) -> str:
    """The text of a full manifest whose tarball's address may stand in other fields too."""
    url = json.dumps(f"https://registry.example/{name.full}/-/{name.bare}-{version}.tgz")
    dist = {"integrity": '"sha512-x=="', "tarball": url, "unpackedSize": "1.50e3"}
    dist_text = draw(objects(dist))
    decoys = {
        "_resolved": url,
        "keywords": f'["tarball", {url}]',
        "dependencies": '{"tarball":' + url + ', "dist": "1.0.0"}',
        "_dist": dist_text,
        "readme": json.dumps('see "tarball": ' + url),
        "x": draw(json_values()),
    }
    chosen = draw(st.lists(st.sampled_from(sorted(decoys)), unique=True))
    fields = {"name": json.dumps(name.full), "version": json.dumps(version), "dist": dist_text}
    fields |= {key: decoys[key] for key in chosen}
    order = draw(st.permutations(sorted(fields)))
    return draw(objects({key: fields[key] for key in order}))


@dataclass(frozen=True)
class Sample:
    """A packument's text and what it is about."""

    name: PackageName
    versions: list[str]
    body: bytes


@st.composite
def packuments(draw: st.DrawFn) -> Sample:
    """A full packument with unknown fields, in any order of keys."""
    name = draw(package_names())
    listed = draw(st.lists(versions(), min_size=1, max_size=3, unique=True))
    held = {version: draw(manifests(name, version)) for version in listed}
    fields = {
        "_id": json.dumps(name.full),
        "name": json.dumps(name.full),
        "dist-tags": draw(objects({"latest": json.dumps(listed[-1]), "odd": "7"})),
        "versions": draw(objects(held)),
        "time": draw(objects(dict.fromkeys(listed, '"2021-02-03T04:05:06.789Z"'))),
        "unknown": draw(json_values()),
    }
    order = draw(st.permutations(sorted(fields)))
    text = draw(objects({key: fields[key] for key in order}))
    return Sample(name, listed, text.encode())


@dataclass(frozen=True)
class Number:
    """A number as it was written."""

    text: str


def exact(body: bytes) -> Any:
    """Read JSON with nothing lost: objects as pairs in order, numbers as they were written."""
    return json.loads(body, object_pairs_hook=tuple, parse_int=Number, parse_float=Number)


def replaced(value: Any, path: tuple[str, ...], new: Any) -> Any:
    """An `exact` value with the one at `path` (keys of objects) replaced."""
    if not path:
        return new
    return tuple((k, replaced(v, path[1:], new) if k == path[0] else v) for k, v in value)


def selected(value: Any, *path: str) -> Any:
    """What stands at `path` in an `exact` value."""
    for key in path:
        value = dict(value)[key]
    return value
