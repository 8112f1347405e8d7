"""search: what a text names, and an answer without what is not its uplink's."""

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
        ("scope:acme", ["@acme/"]),
        ("scope:@acme button", ["@acme/", "button"]),
        ("keywords:acme-ui,-react", ["acme-ui", "react"]),
        ("author:ann +not:unstable", ["ann", "unstable"]),
        ('"@acme/ui"', ["@acme/ui"]),
        ("author:", []),
    ],
)
def test_what_may_be_a_name_is_found(text: str, names: list[str]) -> None:
    """Words, scopes and the values of qualifiers are given; a scope ends with its slash."""
    assert list(search.names(text)) == names


def _answer(*packages: object, **more: object) -> bytes:
    return json.dumps({"objects": [{"package": each} for each in packages], **more}).encode()


def test_what_is_refused_is_taken_out_and_not_counted() -> None:
    """A package of another origin disappears from the results and from their total."""
    answer = _answer({"name": "a"}, {"name": "@acme/b"}, {"name": "c"}, total=40, time="now")

    found = json.loads(search.only(answer, lambda name: not name.startswith("@acme/")))

    assert [entry["package"]["name"] for entry in found["objects"]] == ["a", "c"]
    assert (found["total"], found["time"]) == (39, "now")


@pytest.mark.parametrize(
    "package", [{"name": "a"}, {"name": "a", "maintainers": None}, {"name": "a", "maintainers": {}}]
)
def test_91_maintainers_are_always_a_list(package: dict[str, object]) -> None:
    """A result without maintainers gets an empty list of them, because npm iterates it."""
    found = json.loads(search.only(_answer(package), lambda _: True))

    assert found["objects"][0]["package"]["maintainers"] == []


def test_maintainers_and_unknown_fields_stay() -> None:
    """What a result says beyond its name passes through, and so does a total that is no number."""
    package = {"name": "a", "maintainers": [{"username": "ann"}], "new": [1, None]}
    answer = _answer(package, total="many", extra=1)

    found = json.loads(search.only(answer, lambda _: True))

    assert found == {"objects": [{"package": package}], "total": "many", "extra": 1}


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
        search.only(answer, lambda _: True)
