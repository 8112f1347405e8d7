"""search: what a text names, and an uplink's answer, read."""

from __future__ import annotations

import json

import pytest

from proxy.npm import search, wire


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("  ,\t", []),
        ("react router", ["react", "router"]),
        ("@acme/ui", ["@acme/ui"]),
        ("@acme", ["@acme/"]),
        ("scope:acme", ["@acme/", "acme"]),
        ("scope:@acme button", ["@acme/", "button"]),
        ("keywords:acme-ui,-react", ["acme-ui", "react"]),
        ("author:ann +not:unstable", ["ann", "unstable"]),
        ('"@acme/ui"', ["@acme/ui"]),
        ('-"@acme/ui"', ["@acme/ui"]),
        ('author:"ann"', ["ann"]),
        ("(Acme-UI)", ["Acme-UI", "acme-ui"]),
        ("keywords:a+acme-ui", ["a", "acme-ui"]),
        ("author:", []),
    ],
)
def test_what_may_be_a_name_is_found(text: str, names: list[str]) -> None:
    """Words, scopes and the values of qualifiers are given; a scope ends with its slash."""
    assert list(search.names(text)) == names


def _answer(*packages: object, **more: object) -> bytes:
    return json.dumps({"objects": [{"package": each} for each in packages], **more}).encode()


@pytest.mark.parametrize(
    "package", [{"name": "a"}, {"name": "a", "maintainers": None}, {"name": "a", "maintainers": {}}]
)
def test_91_maintainers_are_always_a_list(package: dict[str, object]) -> None:
    """A result without maintainers gets an empty list of them, because npm iterates it."""
    ((name, entry),) = search.read(_answer(package)).objects

    assert name == "a"
    assert entry["package"]["maintainers"] == []


def test_maintainers_and_unknown_fields_stay() -> None:
    """What a result and the answer say beyond what we know is there to be passed on."""
    package = {"name": "a", "maintainers": [{"username": "ann"}], "new": [1, None]}

    found = search.read(_answer(package, total=40, time="now", extra=1))

    assert found.objects == (("a", {"package": package}),)
    assert (found.total, found.more) == (40, {"time": "now", "extra": 1})


@pytest.mark.parametrize(("total", "counted"), [("many", 2), (None, 2), (1, 2), (3, 3)])
def test_a_total_is_never_less_than_what_is_shown(total: object, counted: int) -> None:
    """A total that is no number, or less than the results there are, is their number."""
    assert search.read(_answer({"name": "a"}, {"name": "b"}, total=total)).total == counted


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"[]",
        b"{}",
        b'{"objects":{}}',
        b'{"objects":["a"]}',
        b'{"objects":[{"package":"a"}]}',
        b'{"objects":[{"package":{"name":1}}]}',
    ],
)
def test_what_is_no_search_result_is_refused(answer: bytes) -> None:
    """An answer that is not a list of packages with names cannot be used."""
    with pytest.raises(wire.Undecodable):
        search.read(answer)
