"""What was given and where: the file, the environment and the command line, each as dotted names.

A source is read without judging values; a name nobody knows is a problem at once, with the nearest
one there is. Names are `server.listen`, `uplinks.NAME.url`, `rules.0.match` and `mirror.0.at`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config import names, positions, values
from proxy.config.names import FILE_VARIABLE, PREFIX
from proxy.config.settings import DEFAULT_UPLINK, LISTS, RULES, SECTIONS, UPLINKS, settings_of

# What a table of a list has to say, and what a whole list looks like in the environment.
_LEAST = {"rules": "match and from", "mirror": "name, at, and packages or lockfiles"}
_AS_JSON = {
    "rules": '[{"match": "@acme/*", "from": "hosted"}]',
    "mirror": '[{"name": "nightly", "packages": ["react"], "at": ["02:00"]}]',
}
# What Kubernetes sets for a Service called "packhouse", and Docker for a linked container.
_PLATFORM = re.compile(r"PACKHOUSE_(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")


@dataclass(frozen=True, slots=True)
class Given:
    """A value as it was written, its place in words, and the folder a path in it counts from."""

    value: object = field(repr=False)
    place: str
    folder: Path

    def says(self, name: str, reason: str) -> str:
        """A problem with its place, and with the setting's name unless the place tells it."""
        is_told = self.place.startswith("--") or self.place == names.variable_of(name)
        return f"{self.place}: {reason}" if is_told else f"{self.place}: {name}: {reason}"


def is_blank(value: object) -> bool:
    """Whether a text says that its setting is not set."""
    return isinstance(value, str) and not value.strip()


@dataclass(slots=True)
class Source:
    """What one source gave, by dotted name, and what is wrong with its names."""

    given: dict[str, Given] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


# --- the file ---------------------------------------------------------------------------------


def read_file(file: Path) -> Source:
    """What a TOML file says. A file that cannot be read or parsed is its only problem."""
    source = Source()
    text = ""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        source.problems.append(f"{file}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        source.problems.append(f"{file}: is not UTF-8 (byte {error.start}); save it as UTF-8")
    except tomllib.TOMLDecodeError as error:
        source.problems.append(_syntax(file, text, str(error)))
    else:
        _FileReader(file, source, positions.lines_of(text)).read(document)
    return source


def _syntax(file: Path, text: str, message: str) -> str:
    """The parser's message, its line in front where an editor looks for it."""
    found = re.search(r" \(at line (\d+), (column \d+)\)", message)
    if not found:  # the parser says "at end of document"
        return f"{file}:{text.rstrip().count(chr(10)) + 1}: is not TOML: {message}"
    reason = message.replace(found[0], "")
    return f"{file}:{found[1]}: is not TOML: {reason} ({found[2]})"


class _FileReader:
    """Flattens a document into dotted names, the line of each beside it."""

    def __init__(self, file: Path, source: Source, lines: Mapping[positions.Path, int]) -> None:
        self._file = file
        self._folder = file.absolute().parent
        self._source = source
        self._lines = lines

    def read(self, document: Mapping[str, object]) -> None:
        for key, value in document.items():
            if key in LISTS:
                self._list(key, value)
            elif key == UPLINKS:
                self._uplinks(value)
            elif key in SECTIONS:
                self._table((key,), value, [row.name for row in settings_of(SECTIONS[key])])
            else:
                self._unknown((key,))

    def _uplinks(self, table: object) -> None:
        for name, settings in self._entries((UPLINKS,), table):
            path = (UPLINKS, name)
            if not isinstance(settings, dict):
                self._problem(path, f"belongs to no uplink; write [{UPLINKS}.NAME] above it")
            elif reason := names.flaw_of_uplink_name(name):
                self._problem(path, reason)
            else:
                self._table(path, settings, names.UPLINK_SETTINGS)

    def _list(self, name: str, tables: object) -> None:
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            advice = f"write [[{name}]] above each rule"
            self._problem((name,), f"is not a list of tables; {advice}")
            return
        for index, table in enumerate(tables):
            if not table:
                self._problem((name, index), f"is empty; say {_LEAST[name]}")
            self._table((name, index), table, LISTS[name])

    def _table(self, path: positions.Path, table: object, known: Iterable[str]) -> None:
        for key, value in self._entries(path, table):
            if key not in known:
                self._unknown((*path, key))
            elif path[0] == RULES or not is_blank(value):
                self._source.given[names.dotted((*path, key))] = self._given((*path, key), value)

    def _entries(self, path: positions.Path, table: object) -> Iterable[tuple[str, object]]:
        if isinstance(table, dict):
            return table.items()
        self._problem(path, f"is not a table; write [{names.dotted(path)}] and its settings below")
        return ()

    def _unknown(self, path: positions.Path) -> None:
        self._problem(path, f"is not a setting{names.did_you_mean(names.dotted(path))}")

    def _problem(self, path: positions.Path, reason: str) -> None:
        self._source.problems.append(
            f"{self._given(path, None).place}: {names.dotted(path)} {reason}"
        )

    def _given(self, path: positions.Path, value: object) -> Given:
        line = positions.line_of(self._lines, path)
        place = f"{self._file}:{line}" if line else str(self._file)
        return Given(value, place, self._folder)


# --- the environment --------------------------------------------------------------------------


def read_environment(environ: Mapping[str, str], folder: Path, uplinks: Iterable[str]) -> Source:
    """What variables say. Empty ones count as not set. `uplinks` are the names known so far."""
    source = Source()
    known = sorted(uplinks)
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(PREFIX) or variable == FILE_VARIABLE or is_blank(text):
            continue
        given = Given(text, variable, folder)
        lists = [each for each in LISTS if variable == names.variable_of(each)]
        if lists:
            _read_list(lists[0], given, source)
        elif name := names.of_variable(variable, known):
            source.given[name] = given
        elif not _PLATFORM.fullmatch(variable):
            nearest = names.nearest_variable(variable, known)
            source.problems.append(f"{variable}: is not a setting{nearest}")
    return source


def _read_list(table: str, given: Given, source: Source) -> None:
    """A list of tables as a JSON array, each an object with the keys that the file has."""
    try:
        rules = values.read_json(str(given.value))
    except values.Unfit as error:
        source.problems.append(f"{given.place}: {error}")
        return
    if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
        advice = f"write a JSON array of rules, as in {_AS_JSON[table]}"
        source.problems.append(f"{given.place}: {advice}")
        return
    for index, rule in enumerate(rules):
        if not rule:
            source.problems.append(f"{given.place}: {table}.{index} is empty; say {_LEAST[table]}")
        for key, value in rule.items():
            name = f"{table}.{index}.{key}"
            if key in LISTS[table]:
                source.given[name] = Given(value, given.place, given.folder)
            else:
                source.problems.append(
                    f"{given.place}: {name} is not a setting{names.did_you_mean(name)}"
                )


# --- the command line -------------------------------------------------------------------------


def read_overrides(overrides: Mapping[str, object], folder: Path, uplinks: Iterable[str]) -> Source:
    """What the command line says; None stands for an option that was not given.

    `uplink` is the address of the one uplink there is, or of a first one with the usual name.
    """
    source = Source()
    known = sorted(uplinks)
    for name, value in overrides.items():
        if value is None or is_blank(value):
            continue
        given = Given(value, names.FLAGS.get(name, name), folder)
        if name != "uplink":
            source.given[name] = given
        elif len(known) <= 1:
            source.given[f"{UPLINKS}.{known[0] if known else DEFAULT_UPLINK}.url"] = given
        else:
            variables = " or ".join(
                names.variable_of(f"{UPLINKS}.{uplink}.url") for uplink in known
            )
            source.problems.append(f"--uplink: there are several uplinks; set {variables}")
    return source


# --- one over another -------------------------------------------------------------------------


def lay(weaker: Source, stronger: Source) -> Source:
    """Both together; what the stronger says replaces what the weaker says of the same thing.

    Lists are replaced as a whole, for half of two lists would mean what neither says.
    """
    kept = {name: given for name, given in weaker.given.items() if not _is_replaced(name, stronger)}
    return Source(kept | stronger.given, weaker.problems + stronger.problems)


def _is_replaced(name: str, stronger: Source) -> bool:
    table, _, key = name.rpartition(".")
    root = name.partition(".")[0]
    if root in LISTS:
        return any(each.startswith(f"{root}.") for each in stronger.given)
    ways = next((ways for ways in names.WAYS.values() if key in ways), (key,))
    return any(f"{table}.{way}" in stronger.given for way in ways)
