"""Answers from memory: promises about length are kept, or there is a fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from proxy import errors
from proxy.upstream.addresses import Kind, parse
from proxy.upstream.asking import Ask, Patience, conditions, credentials, from_offset, passed_on
from proxy.upstream.bodies import MinimumRate
from proxy.upstream.breaker import Breaker, State
from proxy.upstream.faults import Fault, Faults, outcome
from proxy.upstream.responses import Response, TarballStream
from proxy.upstream.settings import UplinkSettings
from proxy.upstream.tries import Tries

FAULTS = Faults("main")


@dataclass
class Canned:
    """An answer in memory: a raw response, and its content."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    is_closed: bool = False

    @property
    def content(self) -> Canned:
        return self

    async def readany(self) -> bytes:
        if self.chunks and self.chunks[0] == b"odd":
            raise ValueError("odd")
        return self.chunks.pop(0) if self.chunks else b""

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def translated() -> Iterator[None]:
    """What a client does: one error of a library is nobody's failure."""
    try:
        yield
    except ValueError as error:
        raise FAULTS.unusable("odd") from error


def response(canned: Canned, breaker: Breaker, kind: Kind = Kind.METADATA) -> Response:
    passed = breaker.enter(0)
    assert passed is not None
    return Response(
        canned,
        ask=Ask(method="GET", kind=kind, address=parse("http://h/")),
        is_home=True,
        passed=passed,
        patience=Patience(clock=lambda: 0.0, connect=1, silence=1),
        faults=FAULTS,
        translated=translated,
    )


def stream(canned: Canned, offset: int = 0) -> TarballStream:
    return TarballStream(
        response(canned, Breaker(), Kind.TARBALL),
        asked_offset=offset,
        rate=MinimumRate(rate_bytes=1, over=timedelta(seconds=1)),
        faults=FAULTS,
    )


async def test_a_body_shorter_than_promised_is_a_failure() -> None:
    """Whatever the library thinks of it; the breaker counts it."""
    breaker = Breaker(threshold=1)
    short = response(Canned(headers={"content-length": "10"}, chunks=[b"12345"]), breaker)

    with pytest.raises(Fault, match="5 of 10 bytes came"):
        [chunk async for chunk in short.chunks()]

    assert breaker.state(0) is State.OPEN


async def test_a_fault_that_is_nobodys_failure_does_not_count() -> None:
    """The breaker counts failures of the origin only."""
    breaker = Breaker(threshold=1)
    odd = response(Canned(chunks=[b"odd"]), breaker)

    with pytest.raises(Fault, match="odd"):
        [chunk async for chunk in odd.chunks()]
    await odd.close()

    assert breaker.state(0) is State.CLOSED


async def test_a_probe_that_is_closed_unread_makes_room_for_the_next() -> None:
    """A caller that leaves in the middle of a body does not keep the breaker half-open."""
    breaker = Breaker(threshold=1, first_pause=timedelta(seconds=9))
    failing = breaker.enter(-9)
    assert failing is not None
    failing.failed(-9)
    probe = response(Canned(chunks=[b"{}"]), breaker)
    assert breaker.enter(0) is None

    await probe.close()

    following = breaker.enter(0)
    assert following is not None
    assert following.is_probe


async def test_closing_reads_what_is_left_of_a_short_refusal() -> None:
    """So that its connection can be used again."""
    refusal = Canned(status=404, headers={"content-length": "9"}, chunks=[b"not", b" found"])

    await response(refusal, Breaker()).close()

    assert refusal.chunks == []
    assert refusal.is_closed


async def test_closing_does_not_read_a_long_refusal() -> None:
    """Its connection is closed instead."""
    refusal = Canned(status=404, headers={"content-length": "100000"}, chunks=[b"x"])

    await response(refusal, Breaker()).close()

    assert refusal.chunks == [b"x"]
    assert refusal.is_closed


async def test_closing_ends_with_a_refusal_that_does_not() -> None:
    """At most 64 KiB are read of a body without a length."""
    refusal = Canned(status=404, chunks=[b"x" * 16_384] * 100)

    await response(refusal, Breaker()).close()

    assert len(refusal.chunks) == 96


def test_a_part_whose_lengths_disagree_is_refused() -> None:
    """Content-Range and Content-Length have to say the same."""
    headers = {"content-range": "bytes 5-9/10", "content-length": "4"}

    with pytest.raises(Fault, match="disagree"):
        stream(Canned(status=206, headers=headers), offset=5)


async def test_a_part_without_a_length_must_come_whole() -> None:
    """Chunked, it is measured by its Content-Range."""
    headers = {"content-range": "bytes 5-9/*"}
    part = stream(Canned(status=206, headers=headers, chunks=[b"123"]), offset=5)

    with pytest.raises(errors.UplinkBroken, match="8 of 10 bytes came"):
        [chunk async for chunk in part.chunks()]


@pytest.mark.parametrize("length", ["", "-1", "1e3", "٣"])
def test_odd_lengths_are_none(length: str) -> None:
    """Only ASCII digits are a length."""
    assert response(Canned(headers={"content-length": length}), Breaker()).length_bytes is None


# --- asking ---------------------------------------------------------------------------------------


def test_configured_headers_do_not_replace_the_token() -> None:
    """Who we are is said by the token, then the user, then nothing; names are in lower case."""
    settings = UplinkSettings(
        name="main", url="http://h", token="t", basic=("u", "p"), headers={"X-A": "1"}
    )

    assert credentials(settings) == {"x-a": "1", "authorization": "Bearer t"}


def test_away_from_home_only_the_plain_headers_are_sent() -> None:
    """Credentials, validators and the request id stay behind."""
    ask = Ask(
        method="GET",
        kind=Kind.METADATA,
        address=parse("http://h/"),
        headers={"accept": "x"},
        validators=conditions('"e"', None),
        request_id="r",
    )

    assert ask.headers_for(None) == {"accept": "x"}
    assert ask.headers_for({"authorization": "t"}) == {
        "authorization": "t",
        "x-request-id": "r",
        "accept": "x",
        "if-none-match": '"e"',
    }


def test_only_harmless_headers_are_passed_on() -> None:
    """Four names, whatever their case."""
    given = {"Accept": "a", "NPM-Command": "audit", "Host": "h", "Authorization": "x"}

    assert passed_on(given) == {"accept": "a", "npm-command": "audit"}


def test_the_start_of_a_file_is_asked_for_without_a_range() -> None:
    """Offset 0 changes nothing."""
    ask = Ask(method="GET", kind=Kind.TARBALL, address=parse("http://h/"))

    assert from_offset(ask, 0, '"e"') is ask


# --- tries ----------------------------------------------------------------------------------------


async def test_no_retry_outlasts_the_deadline() -> None:
    """A pause longer than what is left is not begun."""
    tries = Tries(retries=5, clock=lambda: 0.0, rand=lambda: 0.0)
    asked = []

    async def attempt(coding: str) -> None:
        asked.append(coding)
        raise FAULTS.away("gone")

    patience = Patience(clock=lambda: 0.0, connect=1, silence=1, until=0.04)
    with pytest.raises(Fault, match="gone"):
        await tries.run(attempt, patience)

    assert asked == ["gzip"]


async def test_a_spent_budget_ends_the_tries() -> None:
    """In a burst of 200 failures a hundred are retried, and a tenth besides."""
    tries = Tries(retries=1, clock=lambda: 0.0, rand=lambda: -0.2)  # no pause, to be quick
    asked = []

    async def attempt(coding: str) -> None:
        asked.append(coding)
        raise FAULTS.away("gone")

    for _ in range(200):
        with pytest.raises(Fault):
            await tries.run(attempt, Patience(clock=lambda: 0.0, connect=1, silence=1))

    assert 300 <= len(asked) <= 320


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (errors.UplinkTimeout(uplink="u", reason="r"), "timeout"),
        (errors.UplinkAway(uplink="u", reason="r"), "away"),
        (errors.UplinkBroken(uplink="u", reason="r"), "broken"),
        (errors.TarballNotFound(name="n", file="f"), "missing"),
        (KeyboardInterrupt(), "abandoned"),
    ],
)
def test_outcomes_have_a_word(error: BaseException, word: str) -> None:
    """One for each class of error, and one for all that is not the uplink's."""
    assert outcome(error) == word
