"""The example names every setting with its real default, and works as it stands."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Config, Found, Uplink, load, names
from proxy.config.settings import MIRROR_KEYS, RULE_KEYS, SECTIONS, MirrorRule, settings_of
from proxy.npm.policy import HOSTED, Action, Origin, Rule, Rules
from proxy.npm.selectors import Selector

EXAMPLE = Path(__file__).parents[3] / "config.example.toml"
FOUND = Found("https://registry.example", "the test")
TABLES = [*SECTIONS.items(), ("uplinks.npm", Uplink)]
UPLINK = Uplink(name="npm", url="https://registry.example")


def uncommented() -> str:
    """The example with every setting and header taken out of its comment."""
    text = EXAMPLE.read_text(encoding="utf-8")
    return re.sub(r"^# (?=[a-z_]+ = |\[)", "", text, flags=re.MULTILINE)


def loaded(file: Path) -> Config:
    return load(file=file, environ={}, find_registry=lambda: FOUND)


@pytest.mark.parametrize(("section", "table"), TABLES)
def test_every_setting_stands_there_with_its_default(section: str, table: type) -> None:
    """A section of the example holds exactly its settings, each with the default in force."""
    shown: Any = tomllib.loads(uncommented())
    for key in section.split("."):
        shown = shown[key]
    defaults = {row.name: row.default for row in settings_of(table) if row.default is not None}

    assert {key: shown[key] for key in shown if key != "url"} == defaults


@pytest.mark.parametrize(("section", "table"), TABLES)
def test_every_setting_is_explained(section: str, table: type) -> None:
    """Each row of the table says what its setting is for, in one line."""
    abouts = [row.about for row in settings_of(table)]

    assert all(10 < len(about) < 100 and "\n" not in about for about in abouts), section


def test_the_first_rule_shows_the_defaults() -> None:
    """The lists of the example's hosted rule are those that are in force without them."""
    shown, *_ = tomllib.loads(uncommented())["rules"]
    rule = Rule(tuple(shown["match"]), HOSTED)

    assert {action: (shown[action.value],) for action in Action} == {
        action: rule.listed(action) for action in Action
    }


def test_every_key_of_a_rule_stands_there() -> None:
    """The rules of the example use every key a rule can have."""
    shown = tomllib.loads(uncommented())["rules"]

    assert {key for rule in shown for key in rule} == set(RULE_KEYS)


def test_a_mirror_rule_stands_there_with_its_defaults() -> None:
    """The mirror rule of the example uses every key there is, and shows the defaults."""
    (shown,) = tomllib.loads(uncommented())["mirror"]
    defaults = {row.name: row.default for row in settings_of(MirrorRule)}

    assert set(shown) == set(MIRROR_KEYS)
    keys = ("platforms", "max_requests", "max_bytes_per_second")
    assert {key: shown[key] for key in keys} == {key: defaults[key] for key in keys}


def test_the_example_loads() -> None:
    """As it stands the example changes nothing but the folder, which is beside the file."""
    config = loaded(EXAMPLE)

    expected = Config(uplinks=(UPLINK,), rules=Rules((Rule(("*",), Origin("npm")),)))
    storage = replace(expected.storage, path=EXAMPLE.parent / "packhouse-data")
    assert config == replace(expected, storage=storage)


def test_the_uncommented_example_loads(tmp_path: Path) -> None:
    """With every line in force, only the rules of both kinds are added to the defaults."""
    file = tmp_path / "config.toml"
    file.write_text(uncommented(), encoding="utf-8")
    (tmp_path / "lockfiles").mkdir()

    config = loaded(file)

    anyone = ("$authenticated",)
    ours = Rule(("@acme/*", "acme-*"), HOSTED, anyone, anyone, anyone)
    fork = Rule(("left-pad",), Origin("npm", is_merged=True), ("$all",), ("@acme:core", "ann"))
    rest = Rule(("*",), Origin("npm"))
    nightly = MirrorRule(
        name="nightly",
        packages=(Selector("react"), Selector("@types/*"), Selector("lodash", "^4")),
        lockfiles=tmp_path / "lockfiles",
        at=(time(2), time(14)),
    )
    expected = Config(uplinks=(UPLINK,), rules=Rules((ours, fork, rest)), mirror=(nightly,))
    storage = replace(expected.storage, path=tmp_path / "packhouse-data")
    assert config == replace(expected, storage=storage)


def test_every_default_stands_in_the_environment_too() -> None:
    """Each setting has a variable of its own, and the variable leads back to it."""
    rows = [f"{section}.{row.name}" for section, table in TABLES for row in settings_of(table)]
    variables = [names.variable_of(row) for row in rows]

    assert len(set(variables)) == len(rows)
    assert [names.of_variable(variable, ["npm"]) for variable in variables] == rows
