"""One uplink over real sockets, on a good day: what it says is taken exactly."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.metadata import version

import pytest

from proxy import errors
from proxy.npm import names
from proxy.npm.forms import ABBREVIATED_TYPE, Form
from proxy.upstream.base import Document, Missing, NotModified, TarballGone
from proxy.upstream.client import UplinkSettings
from tests.fakes import faults
from tests.fakes.asker import NAME, TARBALL, Asked, Kept, asking
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink


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
    headers = {"x-registry-token": "s3cret"}
    settings = UplinkSettings(name="main", url="http://x", token="s3cret", headers=headers)

    shown = repr(replace(settings, basic=("u", "s3cret"), proxy="http://u:s3cret@p"))

    assert "s3cret" not in shown
