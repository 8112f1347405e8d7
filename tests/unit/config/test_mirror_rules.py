"""`[[mirror]]`: packages that are kept fresh at given hours."""

from __future__ import annotations

import json
from datetime import time

import pytest

from proxy.config import describe
from proxy.config.settings import MirrorRule
from proxy.npm.lockfiles.platforms import Platform
from proxy.npm.selectors import Selector
from tests.fakes.desk import UPLINK, Desk

LEAST = 'name = "a"\npackages = "react"\nat = "02:00"\n'


def rule(text: str) -> str:
    return f"{UPLINK}[[mirror]]\n{text}"


def test_a_rule_is_read(desk: Desk) -> None:
    """Every key is read; times are in order and each there once, a folder counts from the file."""
    (desk.folder / "locks").mkdir()
    text = """
name = "nightly"
packages = ["react", "lodash@^4"]
lockfiles = "locks"
at = ["14:00", "2:00", "02:00"]
platforms = ["linux/x64/musl"]
max_requests = 7
max_bytes_per_second = "1MB"
"""
    assert desk.load(rule(text)).mirror == (
        MirrorRule(
            name="nightly",
            packages=(Selector("react"), Selector("lodash", "^4")),
            lockfiles=desk.folder / "locks",
            at=(time(2), time(14)),
            platforms=(Platform("linux", "x64", "musl"),),
            max_requests=7,
            max_bytes_per_second=10**6,
        ),
    )


def test_rules_in_the_environment_replace_the_files(desk: Desk) -> None:
    """PACKHOUSE_MIRROR is a JSON array, and takes the place of all rules of the file."""
    given = [{"name": "b", "packages": ["x"], "at": ["03:00"]}]

    found = desk.load(rule(LEAST), {"PACKHOUSE_MIRROR": json.dumps(given)}).mirror

    assert [each.name for each in found] == ["b"]


def test_rules_are_described(desk: Desk) -> None:
    """What is in force is shown with its place."""
    rows = describe(desk.load(rule(LEAST)))

    assert ("mirror.0.at", "02:00", f"{desk.file}:6") in rows
    assert ("mirror.0.max_bytes_per_second", "10000000B", "default") in rows


MISTAKES = [
    ("", "mirror.0 is empty; say name, at, and packages or lockfiles"),
    ('packages = "react"\nat = "02:00"', "mirror.0: says no name"),
    ('name = "a"\nat = "02:00"', "mirror.0: says no packages and no lockfiles"),
    ('name = "a"\npackages = "react"', "mirror.0: says no at"),
    (LEAST + "pakcages = 1", "mirror.0.pakcages is not a setting; did you mean mirror.0.packages?"),
    (LEAST.replace("02:00", "24:00"), '"24:00" is not a time of day; write one as in "02:00"'),
    (LEAST.replace('"02:00"', "[]"), "is no time at all"),
    (LEAST.replace("react", "@types"), '"@types" matches no package: a scope is written'),
    (LEAST.replace('"a"', '"A b"'), '"A b" is not a name; use small letters'),
    (LEAST + 'platforms = "linux"', "is not a platform, as in linux/x64/glibc"),
    (LEAST + "max_requests = 0", "is not a whole number from 1"),
    (LEAST + 'max_bytes_per_second = "0B"', "is nothing at all; write something like"),
    (LEAST + "[[mirror]]\n" + LEAST, 'another rule is called "a"'),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_told(desk: Desk, text: str, said: str) -> None:
    """Each mistake is told with its line and what to write."""
    found = desk.problems(rule(text))

    assert any(each.startswith("config.toml:") and said in each for each in found), found


def test_a_folder_that_is_not_there_is_warned_of(desk: Desk) -> None:
    """A folder of lockfiles may come later: a missing one is a warning."""
    config = desk.load(rule(LEAST + 'lockfiles = "locks"'))

    assert any("there is no folder" in each for each in config.warnings)
