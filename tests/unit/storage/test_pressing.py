"""What the pressing process answers, without the process."""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from proxy.npm import encoding, names, packument
from proxy.storage import pressing

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def failing(error: Exception) -> Callable[[str], Callable[..., object]]:
    def step(**_: object) -> object:
        raise error

    return lambda _: step


def test_value_is_answered() -> None:
    """A step gets the request's facts, and its value is the answer."""

    def step(**facts: Any) -> object:
        return facts

    answer = pressing.answer({"step": "any", "name": "a"}, lambda _: step)

    assert answer == {"value": {"name": "a"}}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (packument.Malformed("odd"), "malformed"),
        (packument.Empty("none"), "empty"),
        (pressing.Lost("gone"), "lost"),
        (FileNotFoundError("gone"), "lost"),
        (OSError(errno.ENOSPC, "full"), "disk"),
        (ZeroDivisionError("oops"), "bug"),
    ],
)
def test_every_failure_is_an_answer(error: Exception, kind: str) -> None:
    """Whatever a step raises is told by its kind: the process goes on."""
    answer = pressing.answer({"step": "any"}, failing(error))

    assert isinstance(answer, dict)
    assert answer["error"] == kind


@pytest.mark.parametrize(
    "stored", [b"", b"{}", encoding.gzip(b"{}")[:-1], encoding.gzip(b"{}") + b"\0\0\0\0"]
)
def test_what_is_not_our_gzip_is_lost(stored: bytes) -> None:
    """A stored body that is empty, not gzip, cut, or followed by more is Lost."""
    with pytest.raises(pressing.Lost):
        pressing.unpack(stored)


def test_what_compresses_well_is_unpacked() -> None:
    """A body of our own is unpacked whatever its ratio: it was judged when it came in."""
    body = b" " * 40_000_000

    assert pressing.unpack(encoding.gzip(body)) == body


def test_stored_body_of_another_package_is_lost() -> None:
    """A stored body that is no packument of its name is Lost, not Malformed: the uplink is fine."""
    with pytest.raises(pressing.Lost):
        pressing.parse(b'{"name":"b","versions":{}}', names.parse("a"), NOON)
