"""proxy.npm.ahead: what a client asks a registry for when it has taken a version."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.npm import ahead, choosing
from proxy.npm.choosing import Choice


def taken(**fields: Any) -> Choice:
    """The version 1.0.0, whose manifest has these fields."""
    manifest = json.dumps({"name": "n", "version": "1.0.0", **fields}).encode()
    chosen = choosing.choose({"1.0.0": manifest}, {"latest": "1.0.0"}, exact=["1.0.0"])
    return chosen.choices[0]


def wants(**dependencies: Any) -> list[tuple[str, str]]:
    """What one version with these dependencies wants."""
    found = ahead.wants(taken(dependencies=dependencies))
    return [(want.name.full, want.spec) for want in found]


@pytest.mark.parametrize("spec", ["^1.0.0", "latest", "1.x || >=2 <3"])
def test_ranges_and_tags(spec: str) -> None:
    """A dependency is wanted in the range or by the tag that the manifest states."""
    assert wants(a=spec) == [("a", spec)]


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        ("npm:other@^1", ("other", "^1")),
        ("npm:@s/other@2", ("@s/other", "2")),
        ("npm:@s/other", ("@s/other", "latest")),
        ("npm:other", ("other", "latest")),
    ],
)
def test_aliases(spec: str, want: tuple[str, str]) -> None:
    """An alias wants the package that it stands for."""
    assert wants(alias=spec) == [want]


@pytest.mark.parametrize(
    "spec",
    ["git+https://host.example/a.git", "user/repo", "file:../a", "http://host.example/a.tgz", 7],
)
def test_what_no_registry_has(spec: object) -> None:
    """A dependency from elsewhere is asked of no registry."""
    assert wants(a=spec) == []


@pytest.mark.parametrize("name", ["../a", "A b", "", "@s", "node_modules"])
def test_impossible_names(name: str) -> None:
    """What can be no package's name is passed over."""
    assert wants(**{name: "1"}) == []


def test_so_many_and_no_more() -> None:
    """Of a manifest with ten thousand dependencies two hundred are wanted."""
    assert len(wants(**{f"d{n}": "1" for n in range(10_000)})) == 200


@pytest.mark.parametrize("field", ["os", "cpu", "libc"])
def test_platforms(field: str) -> None:
    """What names a platform is not for all; what names none is."""
    assert not ahead.is_for_all(taken(**{field: ["any"]}))
    assert ahead.is_for_all(taken(**{field: []}))
