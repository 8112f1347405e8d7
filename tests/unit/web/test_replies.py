"""Errors and freshness as HTTP."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from proxy import errors
from proxy.registry.answers import CacheState, Freshness
from proxy.web import replies

EXAMPLES: list[tuple[errors.RegistryError, int]] = [
    (errors.InvalidRequest(reason="no"), 400),
    (errors.TooLarge(limit_bytes=1), 413),
    (errors.PublishTooLarge(reason="the tarball is too large", limit_bytes=1), 413),
    (errors.Busy(reason="later"), 503),
    (errors.Unauthenticated(reason="who?"), 401),
    (errors.WrongPassword(reason="wrong"), 401),
    (errors.Forbidden(reason="blocked"), 403),
    (errors.MethodNotAllowed(method="PUT", allowed="GET, HEAD"), 405),
    (errors.Conflict(reason="Document update conflict."), 409),
    (errors.VersionExists(name="n", version="1.0.0"), 403),
    (errors.NotFound(reason="nothing"), 404),
    (errors.InvalidName(name="a b", reason="it contains ' '"), 404),
    (errors.PackageNotFound(name="n"), 404),
    (errors.VersionNotFound(name="n", version="1"), 404),
    (errors.TarballNotFound(name="n", file="n-1.tgz"), 404),
    (errors.UplinkError(uplink="main", reason="odd"), 502),
    (errors.UplinkBroken(uplink="main", reason="HTML"), 502),
    (errors.IntegrityMismatch(uplink="main", name="n", file="f", reason="sha512"), 502),
    (errors.UplinkUnreachable(uplink="main", reason="refused"), 502),
    (errors.UplinkAway(uplink="main", reason="too many requests"), 503),
    (errors.UplinkTimeout(uplink="main", reason="slow"), 504),
    (errors.StorageAway(reason="/secret/path: EIO"), 503),
    (errors.StorageFull(reason="/secret/path: full"), 507),
    (errors.StorageCorrupt(reason="/secret/path: odd"), 500),
    (errors.ConfigError(problems=["/secret/path"]), 500),
    (errors.RegistryError(), 500),
    (errors.OneTimePasswordRequired(), 401),
    (errors.NotHosted(name="n", origin="npm"), 403),
    (errors.Unprocessable(field="bin", reason="differs"), 422),
    (errors.TooManyRequests(reason="slower", retry_after=timedelta(seconds=9)), 429),
]


def _body(reply: web.Response) -> dict[str, object]:
    assert isinstance(reply.body, bytes)
    found = json.loads(reply.body)
    assert isinstance(found, dict)
    return found


def test_every_error_has_an_example_here() -> None:
    """No class of errors.py goes without a status that a test has looked at."""
    classes = {
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.RegistryError)
    }

    assert classes <= {type(example) for example, _ in EXAMPLES}


@pytest.mark.parametrize(("raised", "status"), EXAMPLES)
def test_an_error_is_a_status_and_a_sentence(raised: errors.RegistryError, status: int) -> None:
    """An error's reply has its status, its code, the sentence twice, and is not stored."""
    reply = replies.error(raised, request_id="id-1")

    assert reply.status == status
    body = _body(reply)
    assert body.keys() == {"error", "message", "code", "request_id"}
    assert body["error"] == body["message"]
    assert body["code"] == raised.code
    assert body["request_id"] == "id-1"
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(("raised", "status"), EXAMPLES)
def test_a_retry_is_asked_for_when_it_may_help(raised: errors.RegistryError, status: int) -> None:
    """Retry-After stands on 502, 503 and 504, and nowhere else."""
    reply = replies.error(raised, request_id="id-1")

    assert ("Retry-After" in reply.headers) is (status in {502, 503, 504, 507, 429})


@pytest.mark.parametrize(
    ("known", "seconds"),
    [(None, "5"), (timedelta(0), "1"), (timedelta(seconds=6.2), "7"), (timedelta(hours=1), "60")],
)
def test_a_retry_is_at_most_a_minute_away(known: timedelta | None, seconds: str) -> None:
    """Retry-After is what the breaker knows, in whole seconds from one to sixty."""
    raised = errors.UplinkAway(uplink="main", reason="refused", retry_after=known)

    assert replies.error(raised, request_id="x").headers["Retry-After"] == seconds


@pytest.mark.parametrize(
    "raised", [error for error, _ in EXAMPLES if isinstance(error, replies._OURS)]
)
def test_our_own_faults_show_nothing_of_this_machine(raised: errors.RegistryError) -> None:
    """What went wrong with our storage is for the log, not for the caller."""
    reply = replies.error(raised, request_id="x")

    assert isinstance(reply.body, bytes)
    assert b"secret" not in reply.body
    assert "secret" not in reply.reason


def test_a_refused_write_is_told_as_a_failure() -> None:
    """Writes are answered with "success": false, as publishing clients expect it."""
    raised = errors.NotHosted(name="lodash", origin="npm")

    reply = replies.error(raised, request_id="x", is_write=True)

    assert _body(reply)["success"] is False
    assert "lodash comes from the uplink npm" in str(_body(reply)["error"])


def test_a_second_factor_is_asked_for_by_a_header() -> None:
    """npm, pnpm and yarn ask for a one-time password when the challenge says OTP."""
    reply = replies.error(errors.OneTimePasswordRequired(), request_id="x", is_write=True)

    assert reply.headers["WWW-Authenticate"] == "OTP"
    assert "one-time pass" in str(_body(reply)["error"])


def test_who_fails_too_often_is_told_how_long_to_wait() -> None:
    """Limits say when to come back."""
    raised = errors.TooManyRequests(reason="slower", retry_after=timedelta(seconds=9))

    assert replies.error(raised, request_id="x").headers["Retry-After"] == "9"


def test_a_policy_is_told_in_the_reason_phrase() -> None:
    """Why something is forbidden stands where pnpm before 11 shows it."""
    reply = replies.error(errors.Forbidden(reason="quarantined\r\nfor 3 días"), request_id="x")

    assert reply.reason == "quarantined for 3 d as"


def test_a_refused_name_is_shown_without_what_a_name_cannot_hold() -> None:
    """An answer never shows an address that a sender has made up."""
    raised = errors.InvalidName(name="http://evil.example", reason="it contains ':'")

    assert "://" not in str(_body(replies.error(raised, request_id="x"))["error"])


def test_errors_of_aiohttp_are_told_in_our_words() -> None:
    """A refusal that aiohttp makes is JSON too."""
    reply = replies.error(web.HTTPRequestEntityTooLarge(1, 2), request_id="x")

    assert reply.status == 413
    assert _body(reply)["code"] == "E413"


@given(st.text())
def test_a_reason_phrase_is_one_short_line(text: str) -> None:
    """Any text becomes printable ASCII of at most 120 characters."""
    phrase = replies.phrase(text)

    assert len(phrase) <= 120
    assert all(" " <= c <= "~" for c in phrase)


def test_a_long_reason_phrase_ends_with_a_clause() -> None:
    """A sentence that is too long loses whole clauses; one without any is cut."""
    assert replies.phrase(f"it is so; {'do this, ' * 20}") == "it is so"
    assert replies.phrase("x" * 200) == "x" * 120


@pytest.mark.parametrize(
    ("freshness", "expected"),
    [
        (Freshness(CacheState.HIT), "packhouse; hit"),
        (Freshness(CacheState.MISS), "packhouse; fwd=miss; stored"),
        (
            Freshness(CacheState.MISS, reason="no room to store it"),
            "packhouse; fwd=miss; detail=no-room-to-store-it",
        ),
        (Freshness(CacheState.REVALIDATED), "packhouse; fwd=stale; fwd-status=304"),
        (Freshness(CacheState.STALE), "packhouse; hit; detail=stale-uplink-away"),
        (
            Freshness(CacheState.STALE, reason='Uplink "main": timed\r\nout'),
            "packhouse; hit; detail=stale-uplink-main-timed-out",
        ),
        (Freshness(CacheState.STALE, reason="é"), "packhouse; hit; detail=stale-unknown"),
    ],
)
def test_the_cache_status_says_how_an_answer_came(freshness: Freshness, expected: str) -> None:
    """Cache-Status tells hit, miss, revalidation and why a stale answer was sent."""
    assert replies.cache_status(freshness) == expected
