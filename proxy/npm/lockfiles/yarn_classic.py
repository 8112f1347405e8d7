"""yarn.lock as Yarn 1 writes it: a format of its own, by indentation.

    "@scope/name@^1.0.0", "@scope/name@^1.2.0":
      version "1.2.3"
      resolved "https://registry.example/@scope/name/-/name-1.2.3.tgz#shasum"
      integrity sha512-...
      dependencies:
        other "^1.0.0"

It says nothing of platforms, and Yarn 1 fetches all that its lockfile names before it looks for
which of them it is. So nothing in it is optional.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from proxy.npm import integrity as promises
from proxy.npm.lockfiles import sources
from proxy.npm.lockfiles.model import Gathering, Kind, Lockfile, Unfit, Wanted, place

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*+)"|([^\s",:][^\s",]*+)')
_ESCAPE = re.compile(r"\\(.)")
_BLOCK = 4  # columns, of what stands in a block of an entry


@dataclass(slots=True)
class _Entry:
    """What stands under one line of patterns."""

    where: str
    patterns: list[str]
    fields: dict[str, str] = field(default_factory=dict)


def read(text: str) -> Lockfile:
    """Read a lockfile. Raises Unfit."""
    gathering = Gathering()
    for entry in _entries(text):
        _take(entry, gathering)
    return gathering.end(Kind.YARN_CLASSIC)


def _entries(text: str) -> Iterator[_Entry]:
    entry: _Entry | None = None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        words, indent = _words(stripped), len(line) - len(line.lstrip(" "))
        if indent == 0:
            if entry is not None:
                yield entry
            entry = _Entry(f"line {number}", _patterns(stripped, words, number))
        elif entry is None or not words:
            raise Unfit(f"line {number}", "it belongs to no entry")
        elif indent < _BLOCK:
            entry.fields[words[0]] = words[1] if len(words) > 1 else ""
    if entry is not None:
        yield entry


def _patterns(line: str, words: list[str], number: int) -> list[str]:
    if not line.endswith(":") or not words:
        raise Unfit(f"line {number}", "an entry of a yarn lockfile should begin here, with a colon")
    return words


def _words(line: str) -> list[str]:
    found = (_ESCAPE.sub(r"\1", quoted) or plain for quoted, plain in _TOKEN.findall(line))
    return [word.removesuffix(":") for word in found]


def _take(entry: _Entry, gathering: Gathering) -> None:
    pattern = entry.patterns[0]
    name, spec = sources.split(pattern)
    address = entry.fields.get("resolved")
    why = _refusal(spec, address)
    if why is not None:
        gathering.leave_out(pattern, why)
        return
    if spec.startswith("npm:"):
        name = sources.split(spec.removeprefix("npm:"))[0]
    version = entry.fields.get("version")
    if not version:
        raise Unfit(entry.where, f"{pattern} has no version")
    wanted = Wanted(
        name=name,
        version=version,
        integrity=entry.fields.get("integrity") or _shasum(address),
        tarball=None if address is None else address.partition("#")[0],
    )
    gathering.want(wanted, place(entry.where, pattern))


def _refusal(spec: str, address: str | None) -> str | None:
    if address is not None:
        return sources.refusal(address)
    found = sources.asked("-", spec)
    return found if isinstance(found, str) else None


def _shasum(address: str | None) -> str | None:
    """The SHA-1 behind the address, which is all that old versions wrote."""
    expected = promises.parse(None, (address or "").partition("#")[2])
    return None if expected is None else expected.sri
