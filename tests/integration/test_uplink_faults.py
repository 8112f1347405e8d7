"""Every way an uplink can fail to bring a packument has its error, and its row."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from proxy import errors
from proxy.upstream.base import Document, TarballGone
from tests.fakes import faults
from tests.fakes.asker import IMPATIENT, NAME, SOON, TARBALL, Asked, asking
from tests.fakes.byzantine import byzantine
from tests.fakes.certificates import Authority
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink

BROKEN, AWAY, TIMEOUT = errors.UplinkBroken, errors.UplinkAway, errors.UplinkTimeout


@pytest.fixture
async def published(uplink: FakeUplink) -> FakeUplink:
    """An uplink with one package of one version, about 100 kB large."""
    uplink.publish(NAME, "1.0.0", files={"index.js": bytes(range(256)) * 4})
    uplink.packages[NAME]["readme"] = "".join(f"line {number}\n" for number in range(9000))
    return uplink


@pytest.fixture
async def asked(published: FakeUplink) -> AsyncIterator[Asked]:
    """A client of that uplink."""
    async with asking(published.url) as one:
        yield one


ROWS: list[tuple[str, Script, type[errors.UplinkError], int]] = [
    # (row, what the uplink does each time, what is raised, how often it is asked)
    ("5 slow headers", faults.slow_headers, TIMEOUT, 1),
    ("5 no headers", faults.black_hole, TIMEOUT, 1),
    ("6 drip", faults.drip(0.05), TIMEOUT, 1),
    ("7 stall", faults.stall_mid_body, TIMEOUT, 1),
    ("8 truncated, length", faults.truncate_length, BROKEN, 2),
    ("9 truncated, chunked", faults.truncate_chunked, BROKEN, 2),
    ("11 reset, length", faults.reset_mid_body, BROKEN, 2),
    ("12 reset, no length", faults.reset_no_length, BROKEN, 1),
    ("14 closed before a byte", faults.close_before_byte, BROKEN, 2),
    ("14 reset before a byte", faults.refuse, BROKEN, 2),
    ("15 not HTTP", faults.not_http, BROKEN, 1),
    ("16 status line only", faults.status_line_only, BROKEN, 2),
    ("17 gzip garbage", faults.gzip_garbage, BROKEN, 1),
    ("18 gzip cut", faults.gzip_cut, BROKEN, 1),
    ("19 gzip without trailer", faults.gzip_no_trailer, BROKEN, 1),
    ("20 gzip wrong CRC", faults.gzip_bad_crc, BROKEN, 1),
    ("20 gzip trailing junk", faults.gzip_trailing_junk, BROKEN, 1),
    ("21 brotli", faults.brotli, BROKEN, 2),
    ("22 unknown coding", faults.unknown_encoding, BROKEN, 2),
    ("23 big header", faults.big_header, BROKEN, 1),
    ("23 many headers", faults.many_headers, BROKEN, 1),
    ("24 two lengths", faults.double_length, BROKEN, 1),
    ("24 length and chunked", faults.length_and_chunked, BROKEN, 1),
    ("26 HTML", faults.html, BROKEN, 1),
    ("26 HTML as JSON", faults.html_as_json, BROKEN, 1),
    ("30 401", faults.status(401), BROKEN, 1),
    ("30 403", faults.status(403), BROKEN, 1),
    ("31 429", faults.status(429), AWAY, 1),
    ("31 503 with Retry-After", faults.status(503, {"retry-after": "9"}), AWAY, 1),
    ("32 500", faults.status(500), BROKEN, 2),
    ("32 502", faults.status(502), BROKEN, 2),
    ("32 503", faults.status(503), BROKEN, 2),
    ("34 redirect loop", faults.redirect_loop, BROKEN, 6),
    ("35 redirect to a stranger", faults.redirect("https://registry.example/a"), BROKEN, 1),
    ("36 redirect to file:", faults.redirect("file:///etc/passwd"), BROKEN, 1),
    ("36 redirect to a private address", faults.redirect("http://10.0.0.1/"), BROKEN, 1),
    ("37 304 unasked", faults.not_modified_unasked, BROKEN, 1),
    ("a teapot", faults.status(418), BROKEN, 1),
    ("a part unasked", faults.status(206), BROKEN, 1),
    ("no content", faults.status(204, body=b""), BROKEN, 1),
]


@pytest.mark.parametrize(
    ("fault", "raised", "tries"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
async def test_every_fault_has_its_error(
    published: FakeUplink, fault: Script, raised: type[errors.UplinkError], tries: int
) -> None:
    """The error is of its class, names the uplink, and came after as many requests as it should."""
    published.script("/a", fault, forever=True)

    async with asking(published.url, **(IMPATIENT if raised is TIMEOUT else {})) as asked:
        with pytest.raises(errors.UplinkError) as caught:
            await asked.packument()

    assert type(caught.value) is raised
    assert caught.value.facts["uplink"] == "main"
    assert published.count("/a") == tries
    outcome = {BROKEN: "broken", AWAY: "away", TIMEOUT: "timeout"}[raised]
    assert asked.calls == [("packument", outcome, 0)]


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncate_length,
        faults.truncate_chunked,
        faults.reset_mid_body,
        faults.close_before_byte,
        faults.brotli,
        faults.status(500),
        faults.status(408),
    ],
)
async def test_what_may_pass_is_tried_once_more(
    published: FakeUplink, asked: Asked, fault: Script
) -> None:
    """After one fault the second answer is used, and nothing of the first is left in the sink."""
    published.script("/a", fault)

    answer = await asked.packument()

    assert isinstance(answer, Document)
    assert json.loads(asked.sink.data) == published.packages[NAME]
    assert published.count("/a") == 2


async def test_codings_are_retried_as_identity(published: FakeUplink, asked: Asked) -> None:
    """Row 21: who answers br to gzip is asked for no coding at all."""
    published.script("/a", faults.brotli)

    await asked.packument()

    assert [seen.headers["accept-encoding"] for seen in published.requests] == ["gzip", "identity"]


async def test_row_1_a_refused_dial_is_away(published: FakeUplink, asked: Asked) -> None:
    """After five refusals nobody dials for 30 s; then one probe closes the breaker."""
    await published.stop()
    for _ in range(3):
        with pytest.raises(errors.UplinkAway):
            await asked.packument()
    assert asked.client.state == "open"

    await published.start()
    with pytest.raises(errors.UplinkAway) as caught:
        await asked.packument()
    assert published.requests == []
    assert caught.value.retry_after is not None
    assert timedelta(0) < caught.value.retry_after <= timedelta(seconds=30)

    asked.ticks.ahead = 31
    assert asked.client.state == "half-open"
    assert isinstance(await asked.packument(), Document)
    assert asked.client.state == "closed"


async def test_row_2_a_name_that_does_not_resolve_is_away() -> None:
    """The reason names the host."""
    too_long = ".".join(["a" * 60] * 5)  # fails in the resolver, before any packet
    async with asking(f"http://{too_long}") as asked:
        with pytest.raises(errors.UplinkAway, match="does not resolve"):
            await asked.packument()


@pytest.mark.parametrize("problem", ["expired", "wrong name", "unknown authority"])
async def test_row_3_tls_is_never_given_up(problem: str, tmp_path: Path) -> None:
    """A certificate that proves nothing is refused, once; no request is seen."""
    authority = Authority(tmp_path)
    tls = authority.server(
        address="127.0.0.2" if problem == "wrong name" else "127.0.0.1",
        days=-1 if problem == "expired" else 2,
    )
    ca_file = None if problem == "unknown authority" else authority.ca_file
    async with FakeUplink(tls=tls) as uplink, asking(uplink.url, ca_file=ca_file) as asked:
        with pytest.raises(errors.UplinkBroken, match="TLS"):
            await asked.packument()

    assert uplink.requests == []


async def test_a_certificate_of_a_known_authority_is_fine(tmp_path: Path) -> None:
    """`ca_file` is what is trusted."""
    authority = Authority(tmp_path)
    async with FakeUplink(tls=authority.server()) as uplink:
        uplink.publish(NAME, "1.0.0")
        async with asking(uplink.url, ca_file=authority.ca_file) as asked:
            assert isinstance(await asked.packument(), Document)


async def test_our_certificate_is_shown_at_home_only(tmp_path: Path) -> None:
    """The uplink sees who we are; a listed origin that asks is not told, and hangs up."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client")
    tls = authority.server(asks_who=True)
    async with FakeUplink(tls=tls) as home, FakeUplink(tls=tls) as other:
        data = home.publish(NAME, "1.0.0")
        other.publish(NAME, "1.0.0")
        async with asking(
            home.url,
            origins=(other.url,),
            ca_file=authority.ca_file,
            client_cert=certificate,
            client_key=key,
        ) as asked:
            assert await asked.tarball(home.url + TARBALL) == data
            with pytest.raises(errors.UplinkBroken):
                await asked.tarball(other.url + TARBALL)

    assert other.requests == []


async def test_a_certificate_that_cannot_be_read_is_a_mistake_of_the_operator(
    tmp_path: Path,
) -> None:
    """It is told at start, with the name of the uplink."""
    with pytest.raises(errors.ConfigError, match=r"uplinks\.main"):
        async with asking("https://registry.example", ca_file=tmp_path / "none.pem"):
            pass


async def test_row_4_a_dial_that_is_swallowed_times_out() -> None:
    """Within the connect timeout, not the system's."""
    with faults.unreachable() as url:
        async with asking(url, **IMPATIENT) as asked:
            began_at = time.monotonic()
            with pytest.raises(errors.UplinkTimeout):
                await asked.packument()

    assert time.monotonic() - began_at < 1


@pytest.mark.parametrize("fault", [faults.truncate_no_length, faults.invalid_json])
async def test_rows_10_and_25_are_left_to_the_reader_of_the_json(
    published: FakeUplink, asked: Asked, fault: Script
) -> None:
    """What HTTP cannot tell from a whole body is handed on; it is no JSON."""
    published.supports_gzip = False
    published.script("/a", fault)

    assert isinstance(await asked.packument(), Document)
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        json.loads(asked.sink.data)


async def test_row_13_bytes_past_the_length_do_not_reach_the_next_answer(
    published: FakeUplink, asked: Asked
) -> None:
    """A body longer than promised is an error or cut at its length; the next answer is clean."""
    published.supports_gzip = False
    published.script("/a", faults.longer_than_length)
    try:
        await asked.packument()
    except errors.UplinkBroken:
        asked.sink.data.clear()
    assert len(asked.sink.data) < len(json.dumps(published.packages[NAME]))

    await asked.packument()

    assert json.loads(asked.sink.data) == published.packages[NAME]


async def test_row_14_an_idle_connection_that_was_closed_is_no_fault(
    published: FakeUplink,
) -> None:
    """Even without retries one silent one is made, on a new connection."""
    async with asking(published.url, retries=0) as asked:
        await asked.packument()
        published.script("/a", faults.close_before_byte)

        assert isinstance(await asked.packument(), Document)
        assert asked.client.state == "closed"


@pytest.mark.parametrize(
    ("value", "seconds"), [("2", 2), ("3600", 60), ("junk", 5), (None, 5), ("0", 1)]
)
async def test_row_31_nobody_is_asked_before_retry_after(
    published: FakeUplink, asked: Asked, value: str | None, seconds: int
) -> None:
    """The wait is told, no request goes out meanwhile, and one does afterwards."""
    headers = {} if value is None else {"retry-after": value}
    published.script("/a", faults.status(429, headers))

    with pytest.raises(errors.UplinkAway) as first:
        await asked.packument()
    with pytest.raises(errors.UplinkAway) as second:
        await asked.packument()

    assert first.value.retry_after == timedelta(seconds=seconds)
    assert second.value.retry_after is not None
    assert second.value.retry_after <= timedelta(seconds=seconds)
    assert published.count("/a") == 1
    asked.ticks.ahead = seconds + 0.1
    assert isinstance(await asked.packument(), Document)


async def test_row_31_rationed_search_does_not_stop_installs(
    published: FakeUplink, asked: Asked
) -> None:
    """A 429 for a service holds services only."""
    published.script("/-/v1/search", faults.status(429))
    with pytest.raises(errors.UplinkAway):
        await asked.forward("-/v1/search?text=a")

    assert isinstance(await asked.packument(), Document)


async def test_row_33_every_third_answer_may_fail(published: FakeUplink, asked: Asked) -> None:
    """Thirty questions, thirty answers."""
    published.script(lambda _: len(published.requests) % 3 == 0, faults.status(503), forever=True)

    answers = [await asked.packument() for _ in range(30)]

    assert all(isinstance(answer, Document) for answer in answers)


async def test_row_39_early_hints_are_passed_over(published: FakeUplink, asked: Asked) -> None:
    """Two thousand 103 answers before the real one change nothing."""
    published.script("/a", faults.early_hints)

    assert isinstance(await asked.packument(), Document)


async def test_row_42_an_uplink_that_is_down_costs_no_timeouts(published: FakeUplink) -> None:
    """After the fifth time-out every question fails at once."""
    soon = timedelta(seconds=0.1)
    async with asking(published.url, timeout=soon, connect_timeout=soon) as asked:
        published.script("/a", faults.black_hole, forever=True)
        for _ in range(5):
            with pytest.raises(errors.UplinkTimeout):
                await asked.packument()

        began_at = time.monotonic()
        for _ in range(100):
            with pytest.raises(errors.UplinkAway):
                await asked.packument()

        assert time.monotonic() - began_at < 0.5
        assert published.count("/a") == 5


async def test_a_cancelled_probe_leaves_room_for_the_next(published: FakeUplink) -> None:
    """A client that leaves while its request is the probe does not keep the breaker open."""
    async with asking(published.url) as asked:
        await published.stop()
        for _ in range(3):
            with pytest.raises(errors.UplinkAway):
                await asked.packument()
        await published.start()
        asked.ticks.ahead = 31
        published.pause()
        probe = asyncio.create_task(asked.packument())
        await published.wait_for(1)

        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        published.resume()

        assert isinstance(await asked.packument(), Document)


async def test_wild_answers_are_answers_or_errors_of_the_uplink(published: FakeUplink) -> None:
    """Six hundred answers put together by chance: no other exception, no connection left open."""
    published.script(lambda _: True, byzantine(random.Random(3514)), forever=True)
    kinds: set[type] = set()
    async with asking(published.url, retries=0, **dict.fromkeys(IMPATIENT, SOON / 3)) as asked:
        for _ in range(200):
            asked.ticks.ahead += 600  # past every pause and hold
            for call in (
                asked.packument(etag='"known"'),
                asked.tarball(published.url + TARBALL, offset=5),
                asked.forward("-/v1/search?text=a", timeout=SOON / 3),
            ):
                try:
                    kinds.add(type(await call))
                except (errors.UplinkError, TarballGone) as error:
                    kinds.add(type(error))

    await asyncio.sleep(0.05)
    assert {BROKEN, AWAY, Document, bytes} <= kinds
    assert published.open_connections == 0
