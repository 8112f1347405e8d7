"""What the pages say is what the program does; test_repo.py sees to links and host names."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import prometheus_client
import pytest

from proxy import cli, errors
from proxy.config import Found, names, problems
from proxy.config.settings import (
    LISTS,
    RULE_KEYS,
    SECTIONS,
    MirrorRule,
    Setting,
    Uplink,
    settings_of,
)
from proxy.npm import clients
from proxy.registry.answers import CacheState, Freshness
from proxy.registry.mirroring.arriving import HOLD_BACK_BYTES
from proxy.serving import worker, workers
from proxy.upstream import breaker
from proxy.web import access_log, audits, bodies, connections, middleware, replies, routes
from proxy.web.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
FOUND = Found("https://registry.example", "the test")

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
MODULE = re.compile(r"(?:[a-z_]+/)*[a-z_]+\.py|(?:[a-z_]+/)+")
SETTING = re.compile(r"(?:server|storage|cache|auth|hosting|log|uplinks\.\w+|mirror)\.\w+")
VARIABLE = re.compile(r"PACKHOUSE_[A-Z_]+")
OTHERS = {"bun", "cp", "curl", "npm", "pip", "pnpm", "python3", "sed", "tar", "yarn"}
"""Programs that are not ours and that a page may tell people to run."""
PACKAGES = {
    "npm": r"npm\d+",
    "pnpm": r"pnpm\d+|@pnpm/exe\..*",
    "yarn 1": "yarn1",
    "yarn berry": "berry",
    "bun": r"@oven/bun-.*",
}
"""Clients as docs/clients.md calls them, and as tests/clients/tools installs them."""


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def named(path: Path) -> str:
    """Name a test after the page it reads."""
    return str(path.relative_to(ROOT))


def blocks(language: str) -> list[Any]:
    """List every fenced block of one language on every page."""
    return [
        pytest.param(body, id=f"{named(path)}-{number}")
        for path in PAGES
        for number, (kind, body) in enumerate(FENCE.findall(path.read_text(encoding="utf-8")))
        if kind == language
    ]


def first_cells(text: str) -> list[str]:
    """List what stands in code in the first cell of each row of every table."""
    rows = re.findall(r"^\| *(`.*?`) *\|", text, re.MULTILINE)
    return [code for row in rows for code in CODE.findall(row)]


# --- settings -------------------------------------------------------------------------------------


def settings_table() -> str:
    """Write down the settings as docs/configuration.md has to show them."""
    lines = ["| setting | default | what it does |", "|---|---|---|"]
    tables = [*SECTIONS.items(), ("uplinks.NAME", Uplink), ("mirror", MirrorRule)]
    for section, table in tables:
        lines += [_row(f"{section}.{row.name}", row) for row in settings_of(table)]
    return "\n".join(lines)


def _row(name: str, row: Setting) -> str:
    default = "has to be given" if row.default is None else f"`{_toml(row.default)}`"
    return f"| `{name}` | {'' if row.default == '' else default} | {row.about} |"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def test_settings() -> None:
    """The table of settings holds each one with its default and its explanation, in order."""
    shown = re.search(
        r"<!-- settings:.*?-->\n(.*?)\n?<!-- end of settings -->",
        page("docs/configuration.md"),
        re.DOTALL,
    )

    assert shown is not None
    assert shown[1] == settings_table()


def test_rule_keys() -> None:
    """The table of a rule's keys holds each one with its explanation, in order."""
    rows = re.findall(
        r"^\| `(\w+)` \| [^|]+ \| (.*) \|$",
        page("docs/configuration.md").partition("\n## Rules\n")[2].partition("\n## ")[0],
        re.MULTILINE,
    )

    assert rows == list(RULE_KEYS.items())


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_named_settings_exist(path: Path) -> None:
    """Every setting and every variable that a page names is one."""
    text = path.read_text(encoding="utf-8")
    known = {
        f"{section}.{row.name}" for section in SECTIONS for row in settings_of(SECTIONS[section])
    }
    known |= {f"uplinks.{row.name}" for row in settings_of(Uplink)}
    known |= {f"mirror.{row.name}" for row in settings_of(MirrorRule)}
    shown = [code for code in CODE.findall(prose(text)) if SETTING.fullmatch(code)]
    fixed = {names.FILE_VARIABLE, names.PREFIX, *map(names.variable_of, LISTS)}

    assert [code for code in shown if re.sub(r"^uplinks\.\w+", "uplinks", code) not in known] == []
    assert [
        variable
        for variable in set(VARIABLE.findall(text)) - fixed
        if names.of_variable(variable, ["npm"]) is None
    ] == []


@pytest.mark.parametrize("body", blocks("toml"))
def test_configurations_load(body: str, tmp_path: Path) -> None:
    """Every configuration on a page is one that the program takes."""
    file = tmp_path / "config.toml"
    file.write_text(body, encoding="utf-8")
    environ = dict.fromkeys(re.findall(r'token_env = "(\w+)"', body), "secret")

    assert tomllib.loads(body)
    assert problems(file=file, environ=environ, find_registry=lambda: FOUND) == []


# --- the interface --------------------------------------------------------------------------------


def test_routes() -> None:
    """The page of the API has every route of the table, and no other."""
    shown = [code for code in first_cells(page("docs/http-api.md")) if " /" in code]

    assert sorted(shown) == sorted(f"{row.method} {row.path}" for row in routes.TABLE)


def test_cache_status() -> None:
    """The page of the API has every Cache-Status an answer can carry."""
    shown = first_cells(page("docs/http-api.md"))

    for state in CacheState:
        said = replies.cache_status(Freshness(state, reason=None))
        assert re.sub(r"stale-.*", "stale-...", said) in shown


def test_error_codes() -> None:
    """The page of troubles has every error's code with the status it is answered with."""
    shown = re.findall(r"^\| `(E\w+)` \| (\d+) \|", page("docs/troubleshooting.md"), re.MULTILINE)
    known = {kind.code: _status(kind) for kind in _tree(errors.RegistryError)}

    assert dict(shown) == {code: str(status) for code, status in known.items()}
    assert len(shown) == len(known)


def _tree(kind: type[errors.RegistryError]) -> Iterator[type[errors.RegistryError]]:
    """Yield an error of errors.py and all that are derived from it there."""
    if kind.__module__ == errors.__name__:
        yield kind
    for heir in kind.__subclasses__():
        yield from _tree(heir)


def _status(kind: type[errors.RegistryError]) -> int:
    return next(replies.STATUSES[each] for each in kind.__mro__ if each in replies.STATUSES)


def test_metrics() -> None:
    """The page of operating has every metric with its labels, and no other."""
    rows = re.findall(
        r"^\| `(packhouse_\w+)` \| ([^|]*)\|", page("docs/operating.md"), re.MULTILINE
    )
    shown = {name: tuple(filter(None, labels.strip().split(", "))) for name, labels in rows}

    assert shown == {_sample(each): tuple(each._labelnames) for each in _collectors()}


def _collectors() -> Iterator[Any]:
    """Yield what a process counts with."""
    for value in vars(Metrics()).values():
        if isinstance(value, prometheus_client.metrics.MetricWrapperBase):
            yield value


def _sample(collector: Any) -> str:
    """Name a metric as it is scraped: a counter's name has an ending."""
    return f"{collector._name}_total" if collector._type == "counter" else collector._name


def test_access_log() -> None:
    """The page of operating explains every field of a line of the access log."""
    entry = access_log.Entry(
        at=0, request_id="1", method="GET", path="/", status=200, sent_bytes=0, seconds=0,
        client_ip="127.0.0.1", user_agent="", cache=None, uplink=None, is_cut=True,
    )  # fmt: skip
    fields = re.findall(rb'"(\w+)":', access_log.as_json(entry))
    shown = first_cells(page("docs/operating.md"))

    assert [field for field in map(bytes.decode, fields) if field not in shown] == []


def test_clients() -> None:
    """The page of clients names the major versions that the tests install with, and no other."""
    shown = re.findall(
        r"^\| ([a-z]+(?: \w+)?) \| ([\d, ]+) \|$", page("docs/clients.md"), re.MULTILINE
    )

    assert dict(shown) == {name: ", ".join(map(str, _majors(at))) for name, at in PACKAGES.items()}


def _majors(pattern: str) -> list[int]:
    """List the major versions of the packages of this name that the tests install."""
    package = json.loads(page("tests/clients/tools/package.json"))
    installed = package["dependencies"] | package["optionalDependencies"]
    found = [at for name, at in installed.items() if re.fullmatch(pattern, name)]
    return sorted({int(at.rpartition("@")[2].partition(".")[0]) for at in found})


def test_lines_for_clients() -> None:
    """The page of clients has every line that the start page and `packhouse setup` show."""
    text = page("docs/clients.md")
    told = clients.guides("https://npm.example.com", ["@acme/*"])

    assert [
        line for each in told for step in each.steps for line in step.lines if line not in text
    ] == []


FIGURES = {
    "README.md": [f"the last {HOLD_BACK_BYTES // 1024} KiB wait"],
    "docs/http-api.md": [
        f"{audits.LIMIT_BYTES // 1024**2} MiB at most, counted unpacked",
        f"{connections.LINE_BYTES // 1024} KiB; {connections.HEADERS} headers",
        f"{middleware.DEADLINE.seconds} s, then 504",
        f"{bodies.PATIENCE.seconds} s, then the connection is cut",
        f"time for a request body | {bodies.READING.seconds} s",
        f"is kept for | {connections.KEEPALIVE_SECONDS:g} s",
    ],
    "docs/operating.md": [
        f"({worker.GRACE.seconds} s at most)",
        f"{workers._DEATHS} deaths within {workers._WITHIN_SECONDS:g} seconds",
        f"After {breaker.THRESHOLD} failures in a row",
        f"left alone for {breaker.FIRST_PAUSE.seconds} seconds",
        f"the pause grows to {breaker.LONGEST_PAUSE.seconds // 60} minutes",
    ],
}


@pytest.mark.parametrize("name", FIGURES)
def test_figures(name: str) -> None:
    """The limits that are no settings stand on the pages as they are in the program."""
    text = " ".join(page(name).split())

    assert [figure for figure in FIGURES[name] if figure not in text] == []


# --- commands -------------------------------------------------------------------------------------


def commands(block: str) -> Iterator[list[str]]:
    """Yield the words of every command in a block of sh; comments are passed over."""
    for line in block.replace("\\\n", " ").splitlines():
        for command in re.split(r" (?:&&|\|) ", line):
            if words := shlex.split(command, comments=True):
                yield words


@pytest.mark.parametrize("block", blocks("sh"))
def test_commands_exist(block: str) -> None:
    """Every command a page tells people to run exists, with the options it is given."""
    assert [flaw for words in commands(block) if (flaw := _flaw(words))] == []


@pytest.mark.parametrize("block", blocks("ini"))
def test_services_start(block: str) -> None:
    """The command that a service runs exists, with the options it is given."""
    started = re.findall(r"^ExecStart=(.*)$", block, re.MULTILINE)

    assert len(started) == 1
    assert _flaw(shlex.split(started[0])) is None


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_commands_in_the_text_exist(path: Path) -> None:
    """Every command of ours that the text of a page mentions exists."""
    mentioned = [shlex.split(code) for code in CODE.findall(prose(path.read_text(encoding="utf-8")))
                 if code.startswith(("packhouse ", "scripts/"))
                 and not code.startswith("packhouse;")]  # fmt: skip

    assert [flaw for words in mentioned if (flaw := _flaw(words))] == []


def test_every_command_is_explained() -> None:
    """The pages show each command of the command line."""
    shown = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)

    assert [name for name in _all_commands(cli.main, "packhouse") if name not in shown] == []


def _all_commands(command: click.Command, name: str) -> Iterator[str]:
    if not isinstance(command, click.Group):
        yield name
        return
    for heir, inner in command.commands.items():
        yield from _all_commands(inner, f"{name} {heir}")


def _flaw(words: list[str]) -> str | None:
    """Say what is wrong with one command, if anything is."""
    program = words[0]
    if program == "scripts/serve":
        return _flaw_of_ours(["serve", *words[1:]])
    if program.startswith("scripts/"):
        return None if (ROOT / program).is_file() else f"there is no {program}"
    if program.rpartition("/")[2] == "packhouse":
        return _flaw_of_ours(words[1:])
    is_known = program.rpartition("/")[2] in OTHERS
    return None if is_known else f"{program} is not a program we tell people to run"


def _flaw_of_ours(words: list[str]) -> str | None:
    """Have click itself judge a command of ours, without running it."""
    command: click.Command = cli.main
    context = click.Context(command, info_name="packhouse")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        inner = command.get_command(context, words[0])
        if inner is None:
            return f"packhouse has no command {words[0]}"
        command, words = inner, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    try:
        command.make_parser(context).parse_args(list(words))
    except click.UsageError as error:
        return f"{command.name}: {error.format_message()}"
    return None


# --- the map and the decisions --------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_modules_exist(path: Path) -> None:
    """Every module and every folder of the program that a page names exists."""
    text = prose(path.read_text(encoding="utf-8"))
    shown = [code for code in CODE.findall(text) if MODULE.fullmatch(code)]
    # these are of the data folder
    folders = {"blobs/", "incoming/", "cache/", "metrics/", "keys/", "hosted/"}

    assert [
        code
        for code in shown
        if code not in folders
        and not any((base / code).exists() for base in (ROOT / "proxy", ROOT))
    ] == []


def test_map_is_complete() -> None:
    """The map has every floor of the program, and walks three requests through them."""
    text = page("docs/architecture.md")
    floors = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "proxy").iterdir()
        if path.name[0] not in "_."
    }

    assert floors <= set(CODE.findall(text))
    assert len(re.findall(r"^## (?:GET /|packhouse )", text, re.MULTILINE)) == 3


@pytest.mark.parametrize("path", DECISIONS, ids=lambda path: path.stem)
def test_decisions(path: Path) -> None:
    """A decision has its four parts in at most thirty lines, and stands in the list."""
    text = path.read_text(encoding="utf-8")
    title = re.match(r"# (.*)\n", text)

    assert re.findall(r"^\*\*(.*?)\.\*\*", text, re.MULTILINE) == [
        "Faced", "Chosen", "Given up", "Would change our mind",
    ]  # fmt: skip
    assert text.count("\n") <= 30
    assert title is not None
    assert f"- [{title[1]}]({path.name})" in page("docs/decisions/README.md")


def test_decisions_are_counted() -> None:
    """Decisions are numbered from 1 without a gap."""
    assert [int(path.name[:4]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
