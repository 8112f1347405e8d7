"""One uplink over real sockets: what it says is taken exactly, and each fault has its name."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from proxy import errors
from proxy.npm import names
from proxy.npm.forms import ABBREVIATED_TYPE, Form
from proxy.upstream.base import Answer, Document, Missing, NotModified, TarballGone
from proxy.upstream.client import HttpUplink, UplinkSettings
from tests.fakes import faults
from tests.fakes.byzantine import byzantine
from tests.fakes.certificates import Authority
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink

# What must time out does so soon; what must not has time even on a busy machine.
SOON = timedelta(seconds=0.3)
IMPATIENT: dict[str, Any] = {"timeout": SOON, "connect_timeout": SOON, "deadline": 3 * SOON}
PATIENT: dict[str, Any] = dict.fromkeys(IMPATIENT, timedelta(seconds=5))
NAME = "a"
TARBALL = "/a/-/a-1.0.0.tgz"


@dataclass
class Kept:
    """A sink that keeps what it gets."""

    data: bytearray = field(default_factory=bytearray)

    async def write(self, chunk: bytes) -> None:
        self.data += chunk

    async def restart(self) -> None:
        self.data.clear()


@dataclass
class Ticks:
    """A monotonic clock that can be put forward."""

    ahead: float = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class Asked:
    """A client, its sink, its clock and what it told the metrics."""

    client: HttpUplink
    ticks: Ticks
    calls: list[tuple[str, str, int]] = field(default_factory=list)
    sink: Kept = field(default_factory=Kept)

    async def packument(
        self, name: str = NAME, form: Form = Form.FULL, **validators: str | None
    ) -> NotModified | Missing | Document:
        self.sink = Kept()
        known: dict[str, Any] = {"etag": None, "last_modified": None, **validators}
        return await self.client.packument(names.parse(name), form, sink=self.sink, **known)

    async def tarball(self, url: str, **resume: Any) -> bytes:
        async with self.client.tarball(url, **resume) as stream:
            return b"".join([chunk async for chunk in stream.chunks()])

    async def forward(self, path: str, method: str = "GET", **more: Any) -> Answer:
        given: dict[str, Any] = {"body": None, "headers": {}, "limit_bytes": 100_000, **more}
        given.setdefault("timeout", timedelta(seconds=5))
        return await self.client.forward(method, path, **given)


@asynccontextmanager
async def asking(url: str, **settings: Any) -> AsyncIterator[Asked]:
    """A client of its own."""
    given = {**PATIENT, **settings}
    asked: list[Asked] = []
    client = HttpUplink(
        UplinkSettings(name="main", url=url, **given),
        clock=(ticks := Ticks()),
        rand=lambda: 0.0,
        on_request=lambda _, kind, outcome, __, size: asked[0].calls.append((kind, outcome, size)),
    )
    async with client:
        asked.append(Asked(client, ticks))
        yield asked[0]


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


# --- the good day ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "framing", [None, faults.chunked, faults.no_length, faults.gzip_unlabelled]
)
async def test_a_packument_comes_whole(
    published: FakeUplink, asked: Asked, framing: Script | None
) -> None:
    """Its identity bytes go to the sink, however they were sent, and its validators are told."""
    if framing is not None:
        published.script("/a", framing)

    answer = await asked.packument()

    assert isinstance(answer, Document)
    assert json.loads(asked.sink.data) == published.packages[NAME]
    assert answer.size_bytes == len(asked.sink.data)
    assert answer.content_type == "application/json"
    assert answer.etag is not None
    assert answer.last_modified is not None
    assert asked.calls == [("packument", "ok", answer.size_bytes)]


async def test_each_form_is_asked_for_by_accept(published: FakeUplink, asked: Asked) -> None:
    """The abbreviated form by its type with a fallback, the full one as JSON; always gzip."""
    abbreviated = await asked.packument(form=Form.ABBREVIATED)
    await asked.packument(form=Form.FULL)

    assert isinstance(abbreviated, Document)
    assert abbreviated.content_type == ABBREVIATED_TYPE
    assert [request.headers["accept"] for request in published.requests] == [
        "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*",
        "application/json",
    ]
    assert {request.headers["accept-encoding"] for request in published.requests} == {"gzip"}
    assert published.requests[0].headers["user-agent"] == f"packhouse/{version('packhouse')}"


async def test_a_scoped_name_is_asked_for_with_an_escaped_slash(
    uplink: FakeUplink, asked: Asked
) -> None:
    """The target is /@scope%2fname, byte for byte."""
    uplink.publish("@acme/ui", "1.0.0")

    await asked.packument("@acme/ui")

    assert uplink.requests[-1].target == "/@acme%2fui"


@pytest.mark.parametrize("kind", ["etag", "last_modified"])
async def test_validators_bring_304(published: FakeUplink, asked: Asked, kind: str) -> None:
    """Either validator alone is enough; nothing goes to the sink, and they are told again."""
    first = await asked.packument()
    assert isinstance(first, Document)

    again = await asked.packument(**{kind: getattr(first, kind)})

    assert again == NotModified(first.etag, first.last_modified)
    assert asked.sink.data == b""
    assert asked.calls[-1] == ("packument", "not_modified", 0)


@pytest.mark.parametrize("status", [404, 410, 451])
async def test_what_is_missing_is_missing(published: FakeUplink, asked: Asked, status: int) -> None:
    """The uplink's word that there is no such package is an answer, not a fault."""
    published.script("/a", faults.status(status))

    assert await asked.packument() == Missing(status)
    assert asked.client.state == "closed"


async def test_connections_are_kept(published: FakeUplink, asked: Asked) -> None:
    """Ten answers, misses among them, need one connection."""
    for name in [NAME, "missing"] * 5:
        await asked.packument(name)

    assert published.open_connections == 1


async def test_a_tarball_comes_whole(published: FakeUplink, asked: Asked) -> None:
    """Byte for byte, with its size known before; identity is asked for."""
    dist = published.packages[NAME]["versions"]["1.0.0"]["dist"]
    url = asked.client.tarball_url(dist["tarball"], names.parse(NAME), "1.0.0")

    async with asked.client.tarball(url) as stream:
        data = b"".join([chunk async for chunk in stream.chunks()])

    assert data == published.tarballs[TARBALL]
    assert (stream.status, stream.offset, stream.total_bytes) == (200, 0, len(data))
    assert published.requests[-1].headers["accept-encoding"] == "identity"
    assert asked.calls == [("tarball", "ok", len(data))]


async def test_a_tarball_is_resumed(published: FakeUplink, asked: Asked) -> None:
    """With the ETag of the first part the rest comes, and says so."""
    url, whole = published.url + TARBALL, published.tarballs[TARBALL]
    async with asked.client.tarball(url) as first:
        etag = first.etag

    async with asked.client.tarball(url, offset=100, etag=etag) as rest:
        data = b"".join([chunk async for chunk in rest.chunks()])

    assert (rest.status, rest.offset, rest.total_bytes) == (206, 100, len(whole))
    assert data == whole[100:]
    assert published.requests[-1].headers["if-range"] == etag


@pytest.mark.parametrize("why", ["changed", "no ranges", "too far"])
async def test_a_tarball_that_cannot_be_resumed_starts_over(
    published: FakeUplink, asked: Asked, why: str
) -> None:
    """The stream says that it starts at 0, and brings everything."""
    whole = published.tarballs[TARBALL]
    published.supports_range = why != "no ranges"
    offset = len(whole) + 5 if why == "too far" else 100
    etag = '"other"' if why == "changed" else None

    async with asked.client.tarball(published.url + TARBALL, offset=offset, etag=etag) as stream:
        data = b"".join([chunk async for chunk in stream.chunks()])

    assert (stream.offset, data) == (0, whole)


async def test_a_weak_etag_is_no_condition_for_a_range(published: FakeUplink, asked: Asked) -> None:
    """If-Range wants strong validators (RFC 9110 13.1.5)."""
    await asked.tarball(published.url + TARBALL, offset=100, etag='W/"x"')

    assert "if-range" not in published.requests[-1].headers


@pytest.mark.parametrize("status", [404, 410, 451])
async def test_a_tarball_that_is_gone_is_gone(
    published: FakeUplink, asked: Asked, status: int
) -> None:
    """The story is told, with the status, as a TarballNotFound."""
    published.script(TARBALL, faults.status(status))

    with pytest.raises(TarballGone) as gone:
        await asked.tarball(published.url + TARBALL)

    assert gone.value.facts["status"] == status
    assert isinstance(gone.value, errors.TarballNotFound)
    assert asked.calls == [("tarball", "missing", 0)]


async def test_services_are_forwarded(published: FakeUplink, asked: Asked) -> None:
    """Method, path, query and body as given; of the client's headers only the harmless ones."""
    published.advisories[NAME] = [{"id": 1}]
    headers = {
        "Content-Type": "application/json",
        "npm-command": "audit",
        "Authorization": "Bearer client",
        "cookie": "a=b",
        "x-forwarded-for": "10.0.0.1",
    }
    path = "-/npm/v1/security/advisories/bulk?x=%2f"

    answer = await asked.forward(
        path, "POST", body=b'{"a":["1.0.0"]}', headers=headers, request_id="r1"
    )

    seen = published.requests[-1]
    assert json.loads(answer.body) == {"a": [{"id": 1}]}
    assert (seen.method, seen.target, seen.body) == ("POST", f"/{path}", b'{"a":["1.0.0"]}')
    assert seen.headers["npm-command"] == "audit"
    assert seen.headers["x-request-id"] == "r1"
    assert not {"authorization", "cookie", "x-forwarded-for"} & set(seen.headers)


async def test_refusals_of_services_are_handed_on(published: FakeUplink, asked: Asked) -> None:
    """A 4xx, and a 501 for what it never had, are answers; their body may be anything."""
    for status in (400, 404, 405, 422, 501):
        published.script("/-/v1/search", faults.status(status, {"content-type": "text/html"}))

        assert (await asked.forward("-/v1/search")).status == status
    assert asked.client.state == "closed"


async def test_the_smallest_body_is_whole(published: FakeUplink, asked: Asked) -> None:
    """One byte is too short to look for gzip in, and comes all the same."""
    published.script("/-/v1/search", faults.body(b"1"))

    assert (await asked.forward("-/v1/search")).body == b"1"


async def test_a_path_that_cannot_be_sent_is_the_callers_fault(asked: Asked) -> None:
    """Control characters never reach the wire."""
    with pytest.raises(errors.InvalidRequest):
        await asked.forward("-/v1/search?text=a\r\nx: y")


# --- the fault rows -------------------------------------------------------------------------------

BROKEN, AWAY, TIMEOUT = errors.UplinkBroken, errors.UplinkAway, errors.UplinkTimeout
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


# --- tarballs that go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (faults.truncate_length, BROKEN),
        (faults.truncate_chunked, BROKEN),
        (faults.reset_mid_body, BROKEN),
        (faults.stall_mid_body, TIMEOUT),
    ],
)
async def test_a_cut_tarball_is_an_error_after_its_bytes(
    published: FakeUplink, fault: Script, raised: type[errors.UplinkError]
) -> None:
    """What came is handed on, then the error; the story resumes from there."""
    published.script(TARBALL, fault)
    whole, data = published.tarballs[TARBALL], b""

    async with asking(published.url, **(IMPATIENT if raised is TIMEOUT else {})) as asked:
        with pytest.raises(raised):
            async with asked.client.tarball(published.url + TARBALL) as stream:
                async for chunk in stream.chunks():
                    data += chunk

    assert whole.startswith(data)
    assert 0 < len(data) < len(whole)


async def test_a_tarball_without_a_length_says_so(published: FakeUplink, asked: Asked) -> None:
    """total_bytes is None: only a digest can tell whether it is whole."""
    published.script(TARBALL, faults.no_length)

    async with asked.client.tarball(published.url + TARBALL) as stream:
        assert stream.total_bytes is None


@pytest.mark.parametrize(
    "headers",
    [
        {"content-encoding": "gzip"},
        {"content-encoding": "br"},
        {"content-type": "text/html; charset=utf-8"},
    ],
)
async def test_a_tarball_in_disguise_is_refused(
    published: FakeUplink, asked: Asked, headers: dict[str, str]
) -> None:
    """Compressed for transfer, or a web page."""
    published.script(TARBALL, faults.status(200, headers, b"x" * 100))

    with pytest.raises(errors.UplinkBroken):
        await asked.tarball(published.url + TARBALL)


@pytest.mark.parametrize("part", ["bytes 0-99/500", "bytes 100-199/500", "bytes 100-1/500", None])
async def test_another_part_than_asked_is_refused(
    published: FakeUplink, asked: Asked, part: str | None
) -> None:
    """Another start, not up to the end, or no Content-Range at all."""
    headers = {} if part is None else {"content-range": part}
    published.script(TARBALL, faults.status(206, headers, b"x" * 100))

    with pytest.raises(errors.UplinkBroken):
        await asked.tarball(published.url + TARBALL, offset=100)


async def test_a_tarball_that_drips_is_given_up(published: FakeUplink) -> None:
    """Slower than the minimum rate over its window, although it never stalls."""
    published.script(TARBALL, faults.drip(0.02, size=1))
    async with asking(
        published.url, min_rate_bytes=1000, min_rate_over=timedelta(seconds=0.3)
    ) as asked:
        with pytest.raises(errors.UplinkTimeout, match="too slowly"):
            await asked.tarball(published.url + TARBALL)


async def test_a_slow_reader_is_not_a_slow_uplink(published: FakeUplink) -> None:
    """Time we spend ourselves between chunks is not held against the uplink."""
    published.tarballs[TARBALL] = bytes(2_000_000)
    async with (
        asking(published.url, min_rate_bytes=10**9, min_rate_over=timedelta(seconds=0.5)) as asked,
        asked.client.tarball(published.url + TARBALL) as stream,
    ):
        size = 0
        async for chunk in stream.chunks():
            size += len(chunk)
            await asyncio.sleep(0.06)

    assert size == 2_000_000


async def test_server_errors_of_tarballs_are_tried_once_more(
    published: FakeUplink, asked: Asked
) -> None:
    """Before the first byte a second try costs nobody anything."""
    published.script(TARBALL, faults.status(502))

    assert await asked.tarball(published.url + TARBALL) == published.tarballs[TARBALL]


async def test_tarballs_leave_room_for_packuments(published: FakeUplink) -> None:
    """With every tarball slot taken by a stalled download, packuments still come."""
    published.script(TARBALL, *[faults.stall_mid_body] * 8)
    async with asking(published.url, concurrency=4) as asked:
        downloads = [asyncio.create_task(asked.tarball(published.url + TARBALL)) for _ in range(8)]
        await published.wait_for(3, TARBALL)

        answers = [await asked.packument() for _ in range(3)]

        assert published.count(TARBALL) == 3
        for download in downloads:
            download.cancel()
        await asyncio.gather(*downloads, return_exceptions=True)
    assert all(isinstance(answer, Document) for answer in answers)


async def test_concurrency_is_bounded(published: FakeUplink) -> None:
    """The fifth of four gets its turn, or a time-out; it is never dialled for meanwhile."""
    async with asking(published.url, concurrency=4) as asked:
        published.pause()
        calls = [asyncio.create_task(asked.packument()) for _ in range(9)]
        await published.wait_for(4)
        await asyncio.sleep(0.05)
        assert published.count() == 4

        published.resume()

        assert all(isinstance(answer, Document) for answer in await asyncio.gather(*calls))


async def test_waiting_for_a_turn_ends_with_the_deadline(published: FakeUplink) -> None:
    """A question that never got its turn is a time-out that nobody dialled for."""
    settings = {"concurrency": 1, "deadline": SOON}
    async with asking(published.url, **settings) as asked:
        published.script(TARBALL, faults.stall_mid_body)
        download = asyncio.create_task(asked.tarball(published.url + TARBALL))
        await published.wait_for(1)

        with pytest.raises(errors.UplinkTimeout, match="under way"):
            await asked.packument()

        assert published.count("/a") == 1
        assert asked.client.state == "closed"
        download.cancel()
        await asyncio.gather(download, return_exceptions=True)


# --- bombs and giants -----------------------------------------------------------------------------


async def test_threat_24_a_bomb_stops_early(published: FakeUplink) -> None:
    """A gigabyte of spaces in one megabyte is refused, and no more than the limit is kept."""
    published.script("/a", faults.gzip_bomb(2**30))
    limit_bytes = 64 * 2**20
    async with asking(published.url, max_packument_bytes=limit_bytes) as asked:
        with pytest.raises(errors.UplinkBroken):
            await asked.packument()

    assert len(asked.sink.data) <= limit_bytes


@pytest.mark.parametrize("framing", [None, faults.chunked])
async def test_threat_13_a_giant_is_refused(published: FakeUplink, framing: Script | None) -> None:
    """By its length before a byte is read, or when the limit is passed."""
    published.supports_gzip = False
    if framing is not None:
        published.script("/a", framing)
    async with asking(published.url, max_packument_bytes=10_000) as asked:
        with pytest.raises(errors.UplinkBroken, match="larger than 10000 bytes"):
            await asked.packument()

    assert len(asked.sink.data) <= 10_000


async def test_answers_of_services_are_bounded(published: FakeUplink, asked: Asked) -> None:
    """`limit_bytes` counts identity bytes."""
    published.script("/-/v1/search", faults.gzip_bomb(2**20))

    with pytest.raises(errors.UplinkBroken, match="larger than"):
        await asked.forward("-/v1/search")


# --- where it goes, and what it says there --------------------------------------------------------

SECRETS = {"X-Registry-Token": "s3cret-header", "Cookie": "s3cret-cookie"}


def secrets_seen(uplink: FakeUplink) -> list[str]:
    """Every header value of every request that holds a secret or a validator."""
    return [
        f"{name}: {value}"
        for request in uplink.requests
        for name, value in request.headers.items()
        if "s3cret" in value or name in ("authorization", "if-none-match", "if-modified-since")
    ]


@pytest.mark.parametrize("who", [{"token": "s3cret"}, {"basic": ("user", "s3cret-password")}])
async def test_credentials_are_sent_home(published: FakeUplink, who: dict[str, Any]) -> None:
    """The token or the user, and every configured header."""
    async with asking(published.url, headers=SECRETS, **who) as asked:
        await asked.packument()

    seen = published.requests[0].headers
    expected = {"token": "Bearer s3cret", "basic": "Basic dXNlcjpzM2NyZXQtcGFzc3dvcmQ="}
    assert seen["authorization"] == expected[next(iter(who))]
    assert seen["x-registry-token"] == "s3cret-header"


@pytest.mark.parametrize("what", ["packument", "tarball"])
async def test_threat_6_no_secret_leaves_with_a_redirect(published: FakeUplink, what: str) -> None:
    """A listed origin is followed to without credentials, validators or our request id.

    Nor does the way back home bring them along.
    """
    path = {"packument": "/a", "tarball": TARBALL}[what]
    async with FakeUplink() as other:
        other.publish(NAME, "1.0.0")
        published.script(path, faults.redirect(f"{other.url}{path}"))
        other.script(path, faults.redirect(f"{published.url}/back"))
        published.script("/back", faults.redirect(f"{other.url}{path}", 307))
        async with asking(
            published.url, origins=(other.url,), token="s3cret", headers=SECRETS
        ) as asked:
            if what == "packument":
                answer = await asked.packument(etag='"known"', last_modified="then")
                assert isinstance(answer, Document)
                assert (answer.etag, answer.last_modified) == (None, None)
            else:
                await asked.tarball(published.url + path, offset=5, etag='"known"')

        assert other.count(path) == 2
        assert secrets_seen(other) == []
        assert all("x-request-id" not in request.headers for request in other.requests)
    assert [line for line in secrets_seen(published) if "back" in line] == []
    back = published.seen("/back")[0]
    assert not {"authorization", "x-registry-token", "cookie", "if-none-match"} & set(back.headers)


async def test_row_37_a_304_from_elsewhere_proves_nothing(published: FakeUplink) -> None:
    """Only the origin that gave a validator may answer to it."""
    async with FakeUplink() as other:
        published.script("/a", faults.redirect(f"{other.url}/a"))
        other.script("/a", faults.not_modified_unasked)
        async with asking(published.url, origins=(other.url,)) as asked:
            with pytest.raises(errors.UplinkBroken):
                await asked.packument(etag='"known"')


async def test_redirects_within_the_origin_keep_everything(published: FakeUplink) -> None:
    """The same origin is the same trust."""
    published.script("/a", faults.redirect("/elsewhere"))
    published.script("/elsewhere", faults.status(304))
    async with asking(published.url, token="s3cret") as asked:
        answer = await asked.packument(etag='"known"')

    assert answer == NotModified('"known"', None)
    assert published.requests[-1].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(("code", "is_followed"), [(302, False), (303, False), (307, True)])
async def test_a_post_is_never_turned_into_a_get(
    published: FakeUplink, asked: Asked, code: int, *, is_followed: bool
) -> None:
    """Only redirects that keep the method are followed."""
    bulk = "/-/npm/v1/security/advisories/bulk"
    published.script("/here", faults.redirect(bulk, code))

    call = asked.forward("here", "POST", body=b"{}", headers={"content-type": "application/json"})
    if is_followed:
        assert (await call).body == b"{}"
    else:
        with pytest.raises(errors.UplinkBroken):
            await call
    assert published.count(bulk) == int(is_followed)


LOOPBACK = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "127.0.0.1.",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "①②⑦.0.0.1",
    "127。0。0。1",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("how", ["dist.tarball", "redirect"])
async def test_threat_5_no_spelling_of_loopback_is_reached(
    published: FakeUplink, tmp_path: Path, host: str, how: str
) -> None:
    """Neither by dist.tarball nor by a redirect; the canary is not even dialled."""
    dialled: list[object] = []

    async def canary(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.append(1)
        writer.close()

    server = await asyncio.start_server(canary, None, 0, family=2)
    port = server.sockets[0].getsockname()[1]
    url = f"https://{host}:{port}/a.tgz"
    async with server, asking(published.url) as asked:
        if how == "redirect":
            location = faults.redirect(url.encode().decode("latin-1"))
            published.script(TARBALL, location, forever=True)
            url = published.url + TARBALL
        with pytest.raises(errors.UplinkError):
            await asked.tarball(url)

    assert dialled == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.tgz", "ftp://x/a.tgz", "file:///a", "a b"])
async def test_plain_http_to_a_stranger_is_refused(asked: Asked, url: str) -> None:
    """Only https, and only addresses that are addresses."""
    with pytest.raises(errors.UplinkBroken):
        await asked.tarball(url)


async def test_listed_origins_may_be_private(published: FakeUplink) -> None:
    """What the operator names is dialled wherever it is, without credentials."""
    async with FakeUplink() as cdn:
        data = cdn.publish(NAME, "1.0.0")
        async with asking(published.url, origins=(cdn.url,), token="s3cret") as asked:
            assert await asked.tarball(cdn.url + TARBALL) == data

        assert secrets_seen(cdn) == []


async def test_a_broken_cdn_does_not_stop_packuments(published: FakeUplink) -> None:
    """Each origin has a breaker of its own."""
    async with FakeUplink() as cdn:
        cdn.script(TARBALL, faults.status(500), forever=True)
        async with asking(published.url, origins=(cdn.url,)) as asked:
            for _ in range(4):
                with pytest.raises(errors.UplinkError):
                    await asked.tarball(cdn.url + TARBALL)

            assert asked.client.state == "closed"
            assert isinstance(await asked.packument(), Document)
        assert cdn.count() == 5


async def test_requests_go_through_the_proxy(published: FakeUplink) -> None:
    """The proxy sees an absolute target and is dialled although it is private."""
    async with FakeUplink() as relay:
        relay.script(lambda _: True, faults.body(b'{"name":"a"}'))
        async with asking("http://registry.example", proxy=relay.url) as asked:
            await asked.packument()

        assert relay.requests[0].target == "http://registry.example/a"


async def test_no_cookie_comes_back(published: FakeUplink) -> None:
    """What an uplink sets is forgotten."""
    published.script("/a", faults.body(b"{}", set_cookie="a=b; Path=/"))

    # By name, because a jar keeps no cookies of IP addresses.
    async with asking(f"http://localhost:{published.port}") as asked:
        await asked.packument()
        await asked.packument()

    assert "cookie" not in published.requests[-1].headers


# --- leaving --------------------------------------------------------------------------------------


async def test_cancelling_ends_the_request(published: FakeUplink, asked: Asked) -> None:
    """A cancelled call passes CancelledError on, frees its slot and closes its connection."""
    published.script("/a", faults.stall_mid_body)
    call = asyncio.create_task(asked.packument())
    await published.wait_for(1)
    await asyncio.sleep(0.05)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await asyncio.sleep(0.05)
    assert published.open_connections == 0
    assert asked.calls == [("packument", "abandoned", 0)]


async def test_a_tarball_left_half_way_is_closed(published: FakeUplink, asked: Asked) -> None:
    """A reader that stops early leaves no connection behind."""
    published.tarballs[TARBALL] = bytes(5_000_000)
    async with asked.client.tarball(published.url + TARBALL) as stream:
        async for _ in stream.chunks():
            break

    await asyncio.sleep(0.05)
    gc.collect()
    assert published.open_connections == 0


async def test_an_error_of_the_sink_is_not_the_uplinks(published: FakeUplink, asked: Asked) -> None:
    """It passes through as it is, and the breaker does not hear of it."""

    class Full(Kept):
        async def write(self, chunk: bytes) -> None:
            raise errors.StorageFull(reason="no room")

    for _ in range(6):
        with pytest.raises(errors.StorageFull):
            await asked.client.packument(
                names.parse(NAME), Form.FULL, etag=None, last_modified=None, sink=Full()
            )

    assert asked.client.state == "closed"
    assert asked.calls[0] == ("packument", "abandoned", 0)


def test_secrets_are_not_shown() -> None:
    """The settings may be printed or logged."""
    settings = UplinkSettings(name="main", url="http://x", token="s3cret", headers=SECRETS)

    shown = repr(replace(settings, basic=("u", "s3cret"), proxy="http://u:s3cret@p"))

    assert "s3cret" not in shown
