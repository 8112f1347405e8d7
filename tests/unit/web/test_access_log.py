"""The access log: what a line shows, what it hides, and what a full disk does to it."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.web.access_log import AccessLog, Entry, as_json, as_text, masked

ENTRY = Entry(
    at=1_777_863_721.5,
    request_id="ab-1",
    method="GET",
    path="/lodash?text=secret",
    status=200,
    sent_bytes=1234,
    seconds=0.0123456,
    client_ip="192.0.2.1",
    user_agent='npm/11 "quoted" \\',
    cache="hit",
    uplink="main",
    is_cut=False,
)


class FullDisk(io.BytesIO):
    """A stream that cannot be written to until `is_full` is False."""

    is_full = True

    def write(self, data: object) -> int:
        if self.is_full:
            raise OSError(28, "No space left on device")
        return super().write(data)  # type: ignore[arg-type]


def test_a_line_is_one_json_object() -> None:
    """A line holds what is known of the request, without its query."""
    line = as_json(ENTRY)

    assert line.endswith(b"}\n")
    assert json.loads(line) == {
        "time": "2026-05-04T03:02:01.500Z",
        "request_id": "ab-1",
        "client": "192.0.2.1",
        "method": "GET",
        "path": "/lodash",
        "status": 200,
        "bytes": 1234,
        "seconds": 0.012346,
        "cache": "hit",
        "uplink": "main",
        "user_agent": 'npm/11 "quoted" \\',
    }


def test_a_reply_that_was_cut_is_marked() -> None:
    """A body that broke off is told apart from a whole one."""
    cut = replace(ENTRY, is_cut=True)

    assert json.loads(as_json(cut))["cut"] is True
    assert b"CUT" in as_text(cut)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/lodash", "/lodash"),
        ("/lodash?token=abc", "/lodash"),
        ("/lodash#abc", "/lodash"),
        ("/-/user/token/abcdef", "/-/user/token/***"),
        ("/npm/-/user/token/abcdef?x", "/npm/-/user/token/***"),
        ("/-/USER/token/abcdef/more", "/-/USER/token/***/more"),
        ("/-/npm/v1/tokens/token/abcdef", "/-/npm/v1/tokens/token/***"),
        ("/-/v1/done/abcdef", "/-/v1/done/***"),
        ("/npm/-/login/abcdef?next=x", "/npm/-/login/***"),
        ("/x/npm_abcdefghijklmnop0123456789ABCDEFGHIJ/y", "/x/npm_***/y"),
        ("/npm_lifecycle", "/npm_lifecycle"),
    ],
)
def test_tokens_are_masked(target: str, shown: str) -> None:
    """Neither a query nor a token in a path is written down."""
    assert masked(target) == shown


def test_a_token_in_a_user_agent_is_masked() -> None:
    """A token that a client puts into its User-Agent is not written down either."""
    entry = replace(ENTRY, user_agent="x npm_abcdefghijklmnop0123456789ABCDEFGHIJ")

    assert b"abcdefghij" not in as_json(entry)


@given(st.text(), st.text())
def test_no_text_forges_a_line(path: str, agent: str) -> None:
    """Whatever clients send, an entry is one line, and JSON with the same fields."""
    entry = replace(ENTRY, path=path, user_agent=agent)

    assert as_json(entry).count(b"\n") == 1
    assert json.loads(as_json(entry)).keys() == json.loads(as_json(ENTRY)).keys()
    assert as_text(replace(ENTRY, user_agent=agent)).count(b"\n") == 1


def test_bytes_that_are_no_text_are_written_somehow() -> None:
    """Header bytes that are no UTF-8 do not lose the line."""
    assert b"ab-1" in as_json(replace(ENTRY, user_agent="\udcff"))
    assert b"ab-1" in as_json(replace(ENTRY, user_agent="\ud800"))


async def test_lines_are_written_when_the_log_closes() -> None:
    """What has been taken is on the stream when the log is left."""
    stream = io.BytesIO()
    async with AccessLog(stream) as log:
        log.add(ENTRY)
        log.add(ENTRY)

    assert stream.getvalue() == as_json(ENTRY) * 2
    assert log.lost == 0


async def test_a_full_disk_loses_lines_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """A log that cannot be written counts what is lost, says so once, and goes on when it can."""
    stream = FullDisk()
    log = AccessLog(stream)

    for _ in range(3):
        log.add(ENTRY)
        await log.flush()
    stream.is_full = False
    log.add(ENTRY)
    await log.flush()

    assert log.lost == 3
    assert stream.getvalue() == as_json(ENTRY)
    assert [record.message for record in caplog.records] == ["the access log cannot be written"]


async def test_a_closed_stream_is_survived() -> None:
    """A log whose stream is gone does not fail the request or the shutdown."""
    stream = io.BytesIO()
    stream.close()
    async with AccessLog(stream) as log:
        log.add(ENTRY)

    assert log.lost == 1


async def test_a_stuck_log_holds_a_bounded_number_of_lines() -> None:
    """Lines beyond the bound are counted and dropped."""
    log = AccessLog(io.BytesIO())

    for _ in range(20_010):
        log.add(ENTRY)

    assert log.lost == 10
