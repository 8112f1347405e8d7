"""Bytes of YAML to plain values: the door to PyYAML.

Only what lockfiles are made of: mappings, lists and scalars, and every scalar stays the text it is,
so that the version `1.10` is not the number 1.1. Values are put together from libyaml's events,
which takes a tenth of the time that a loader of PyYAML takes. Anchors, aliases and tags are
refused: no lockfile has them, and a few lines of aliases can stand for more than any memory holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import yaml

Value: TypeAlias = "str | list[Value] | dict[str, Value]"

DEEPEST = 64
"""Levels of nesting; no lockfile has ten."""


class Undecodable(ValueError):
    """The text is not the YAML that was asked for; says what is wrong and where."""


def documents(text: str) -> list[Value]:
    """Every document of a text; an empty one is "". Raises Undecodable."""
    loader = yaml.CSafeLoader(text)
    try:
        return list(_documents(_events(loader)))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = "" if mark is None else f"line {mark.line + 1}: "
        raise Undecodable(f"{place}{error.problem}") from error
    except yaml.YAMLError as error:
        raise Undecodable(" ".join(str(error).split())) from error
    finally:
        loader.dispose()


def _events(loader: yaml.CSafeLoader) -> Iterator[yaml.Event]:
    while (event := loader.get_event()) is not None:
        yield event


class _Building:
    """The document that is being put together: the open collections, and the key each waits with.

    A list waits with no key, a mapping that has just opened with none yet.
    """

    def __init__(self) -> None:
        self.top: Value = ""
        self._open: list[tuple[Any, list[str]]] = []

    def add(self, value: Value, event: yaml.Event) -> None:
        if not self._open:
            self.top = value
            return
        parent, keys = self._open[-1]
        if isinstance(parent, list):
            parent.append(value)
        elif keys:
            parent[keys.pop()] = value
        else:
            keys.append(_key(parent, value, event))

    def begin(self, value: Value, event: yaml.Event) -> None:
        if len(self._open) >= DEEPEST:
            raise Undecodable(f"{_line(event)}: nested deeper than {DEEPEST} levels")
        self.add(value, event)
        self._open.append((value, []))

    def end(self) -> None:
        self._open.pop()


def _documents(events: Iterator[yaml.Event]) -> Iterator[Value]:
    building = _Building()
    for event in events:
        if isinstance(event, yaml.ScalarEvent):
            _check_plain(event)
            building.add(event.value, event)
        elif isinstance(event, yaml.MappingStartEvent):
            _check_plain(event)
            building.begin({}, event)
        elif isinstance(event, yaml.SequenceStartEvent):
            _check_plain(event)
            building.begin([], event)
        elif isinstance(event, yaml.CollectionEndEvent):
            building.end()
        elif isinstance(event, yaml.AliasEvent):
            raise Undecodable(f"{_line(event)}: an alias (*{event.anchor}), which is refused")
        elif isinstance(event, yaml.DocumentEndEvent):
            yield building.top
            building = _Building()


def _check_plain(event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
    if event.anchor is not None:
        raise Undecodable(f"{_line(event)}: an anchor (&{event.anchor}), which is refused")
    if event.tag is not None:
        raise Undecodable(f"{_line(event)}: a tag ({event.tag[:100]}), which is refused")


def _key(parent: dict[str, Value], key: Value, event: yaml.Event) -> str:
    if not isinstance(key, str):
        raise Undecodable(f"{_line(event)}: a key that is not a plain text")
    if key in parent:
        raise Undecodable(f"{_line(event)}: the key {key[:100]!r} occurs twice")
    return key


def _line(event: yaml.Event) -> str:
    mark = event.start_mark
    return "line ?" if mark is None else f"line {mark.line + 1}"
