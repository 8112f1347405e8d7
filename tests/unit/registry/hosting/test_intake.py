"""proxy.registry.hosting.intake: the pace of a body, and what it is taken apart into."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from proxy.errors import InvalidRequest, PublishTooLarge, Unprocessable
from proxy.registry.hosting.intake import Body, Pace, Sieve
from tests.fakes import packing
from tests.publishing import UI, a_publish

SOON = Pace(timedelta(seconds=0.05), bytes_per_second=1_000_000)
MIB = 1024 * 1024


async def chunks(*pieces: bytes, then: float = 0) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    await asyncio.sleep(then)


async def test_a_body_comes_in_batches() -> None:
    """Chunks are gathered to batches of 256 KiB or a little more; the last one is the rest."""
    body = Body(chunks(*[b"x" * 100_000] * 5), Pace())

    sizes = [len(batch) for batch in [await body.batch() for _ in range(3)]]

    assert sizes == [300_000, 200_000, 0]


async def test_a_body_that_stops_coming() -> None:
    """Who sends nothing for as long as the average is taken is given up."""
    body = Body(chunks(b"x", then=30), SOON)

    with pytest.raises(InvalidRequest, match="too slowly"):
        await body.batch()


async def test_our_own_time_does_not_count() -> None:
    """However long we work on a batch, the client has the whole time for the next."""
    body = Body(chunks(*[b"x" * 300_000] * 2), SOON)

    first = await body.batch()
    await asyncio.sleep(0.2)

    assert (len(first), len(await body.batch())) == (300_000, 300_000)


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000_000])
def test_a_body_is_taken_apart(size: int) -> None:
    """Cut anywhere, a body gives the tarball's bytes, their digests, and the rest as metadata."""
    publish = a_publish(files={"data": bytes(range(256)) * 8})
    sieve, body = Sieve(MIB), publish.body

    data = b"".join(sieve.feed(body[at : at + size]) for at in range(0, len(body), size))
    taken = sieve.finish()
    (seen,) = taken.attachments.values()

    assert data == publish.tarball
    assert (seen.size_bytes, seen.sha512) == (len(data), hashlib.sha512(data).digest())
    assert publish.attachment["data"].encode() not in taken.metadata
    assert sieve.contents().file_count == 2


def test_the_tarball_s_key_is_known_when_it_begins() -> None:
    """The key of the tarball is known with its first bytes."""
    sieve, body = Sieve(MIB), a_publish(files={"data": b"x" * 5000}).body

    sieve.feed(body[: body.index(b'"data"')])
    before = sieve.tarball
    sieve.feed(body[body.index(b'"data"') : body.index(b'"data"') + 20])

    assert (before, sieve.tarball) == (None, f"{UI}-1.0.0.tgz")


def test_a_tarball_over_the_limit() -> None:
    """A tarball over the limit is told with the setting, as soon as it is."""
    with pytest.raises(PublishTooLarge, match=r"100 bytes .* server\.max_publish_size"):
        Sieve(100).feed(a_publish().body)


def test_an_archive_that_is_none() -> None:
    """What is wrong inside the tarball is told as the tarball's fault."""
    with pytest.raises(Unprocessable, match="the tarball: "):
        Sieve(MIB).feed(a_publish(tarball=b"no archive" * 100).body)


def test_more_unpacked_than_the_limit_for_archives() -> None:
    """Who may publish larger tarballs may also unpack to more."""
    data = packing.tarball({"name": UI, "version": "1.0.0"}, {"x": b"x"})
    sieve = Sieve(400 * MIB)

    sieve.feed(a_publish(tarball=data).body)

    assert sieve._reader._limits.unpacked_bytes == 400 * MIB
