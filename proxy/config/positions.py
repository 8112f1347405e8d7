"""The line on which each key of a TOML document stands; tomllib does not say.

The document has been parsed before, so that this scanner only has to find keys, not faults: it
reads headers and keys, and steps over values (strings of all four kinds, arrays, inline tables,
comments). What an inline table or an inline list of tables holds counts as standing at its key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|[A-Za-z0-9_-]+')
_DOT = re.compile(r"[ \t]*\.[ \t]*")
# What a value is made of, as far as its end is concerned. The three-quote forms come first, and
# may end in up to five quotes, of which the last three close them.
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*",
    re.DOTALL,
)


def lines_of(text: str) -> Mapping[Path, int]:
    """The line, from 1, of every table header and key. The n-th `[[rules]]` is ("rules", n)."""
    return _Scanner(text).scan()


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of `path`, or of the nearest thing around it that has one."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


class _Scanner:
    """One pass over one document: the header in force, and how many tables each list has so far."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._table: Path = ()
        self._counts: dict[Path, int] = {}
        self._lines: dict[Path, int] = {}
        self._counted_to = 0
        self._line = 1

    def scan(self) -> Mapping[Path, int]:
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                self._header()
            else:
                self._pair()
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> None:
        line = self._line_here()
        is_list = self._text.startswith("[[", self._at)
        self._at += 2 if is_list else 1
        keys = self._keys()
        if is_list:
            self._table = (*self._resolve(keys[:-1]), keys[-1])
            self._counts[self._table] = self._counts.get(self._table, -1) + 1
            self._table += (self._counts[self._table],)
        else:
            self._table = self._resolve(keys)
        self._note(self._table, line)
        self._at = self._text.index("]", self._at) + (2 if is_list else 1)

    def _pair(self) -> None:
        line = self._line_here()
        self._note(self._table + self._keys(), line)
        self._at = self._text.index("=", self._at) + 1
        self._value()

    def _keys(self) -> Path:
        keys: list[str] = []
        self._skip(_SPACE)
        while found := _KEY.match(self._text, self._at):
            keys.append(_unquoted(found[0]))
            self._at = found.end()
            if not (dot := _DOT.match(self._text, self._at)):
                break
            self._at = dot.end()
        return tuple(keys)

    def _value(self) -> None:
        """Step over one value, to the end of the line on which its last bracket closes."""
        depth = 0
        while self._at < len(self._text):
            if string := _STRING.match(self._text, self._at):
                self._at = string.end()
                continue
            sign = self._text[self._at]
            if sign == "\n" and depth <= 0:
                return
            depth += (sign in "[{") - (sign in "]}")
            self._at += 1

    def _resolve(self, keys: Path) -> Path:
        """`keys` with the number of the table last begun behind the name of each list of tables."""
        path: Path = ()
        for key in keys:
            path += (key,)
            if path in self._counts:
                path += (self._counts[path],)
        return path

    def _note(self, path: Path, line: int) -> None:
        for end in range(1, len(path) + 1):
            self._lines.setdefault(path[:end], line)

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted_to, self._at)
        self._counted_to = self._at
        return self._line

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if found := pattern.match(self._text, self._at):
            self._at = found.end()


def _unquoted(key: str) -> str:
    if key[0] in "\"'":
        return next(iter(tomllib.loads(f"{key} = 0")))
    return key
