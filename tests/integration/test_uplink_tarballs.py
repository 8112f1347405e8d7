"""Tarballs that go wrong, bodies that are too large, and how many may be under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from proxy import errors
from proxy.upstream.base import Document
from tests.fakes import faults
from tests.fakes.asker import IMPATIENT, NAME, SOON, TARBALL, Asked, asking
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
