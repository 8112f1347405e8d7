"""`POST /-/packhouse/prefetch`: a CI job warms the mirror."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.registry.offline.warming import MOST
from proxy.storage.hosting import Access
from proxy.web import keys
from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.owned import Owned, owned
from tests.prefetches import bodies, locked
from tests.publishing import add_user
from tests.registry import Answer, Clock

ROUTE = "/-/packhouse/prefetch?file=package-lock.json"
LISTED = "/-/packhouse/prefetch?file=list.txt"


@pytest.fixture
async def house(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Owned]:
    async with owned(tmp_path / "data", uplink, clock) as running:
        yield running


async def post(
    house: Owned, data: bytes, user: str | None = "ann", route: str = ROUTE, **headers: str
) -> Answer:
    if user is not None:
        headers["authorization"] = f"Bearer {house.tokens[user]}"
    return await house.registry.ask("POST", route, headers, data)


def lines(answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    return [json.loads(line) for line in answer.body.splitlines()]


async def test_what_is_sent_is_brought(house: Owned, uplink: FakeUplink) -> None:
    """A line for each package as it is settled, then a summary; a client's request is a hit."""
    data = uplink.publish("a", "1.0.0")
    answer = await post(house, locked(uplink))
    *told, last = lines(answer)

    assert answer.headers["content-type"] == "application/x-ndjson"
    assert told == [{
        "package": "a@1.0.0", "outcome": "fetched", "reason": "", "size_bytes": len(data),
        "done": 1, "known": 1,
    }]  # fmt: skip
    assert last == {"is_complete": True, "counts": {"fetched": 1}, "error": None}
    reply = await house.get("/a/-/a-1.0.0.tgz")
    assert (reply.body, reply.headers["cache-status"].endswith("; hit")) == (data, True)
    assert lines(await post(house, locked(uplink)))[-1]["counts"] == {"held": 1}
    assert bodies(uplink) == {"/a": 1, "/a/-/a-1.0.0.tgz": 1}


async def test_what_is_missing_is_in_the_last_line(house: Owned, uplink: FakeUplink) -> None:
    """A build that lacks anything is told so at the end, and what by its own line."""
    uplink.publish("a", "1.0.0")
    lockfile = locked(uplink, a={"integrity": packing.sri(b"other")})
    told, last = lines(await post(house, lockfile))

    assert told["outcome"] == "wrong integrity"
    assert last == {"is_complete": False, "counts": {"wrong integrity": 1}, "error": None}


async def test_a_version_that_is_newer_than_our_copy(
    house: Owned, uplink: FakeUplink, clock: Clock
) -> None:
    """A copy that is fresh and does not list a version is asked for once more."""
    uplink.publish("a", "1.0.0")
    assert lines(await post(house, locked(uplink)))[-1]["is_complete"]
    uplink.publish("a", "2.0.0")

    at_once = lines(await post(house, locked(uplink)))[-1]
    clock.advance(seconds=6)
    later = lines(await post(house, locked(uplink)))[-1]

    assert at_once["counts"] == {"held": 1, "missing": 1}
    assert later["counts"] == {"held": 1, "fetched": 1}


async def test_an_old_copy_will_do_for_a_lockfile(
    house: Owned, uplink: FakeUplink, clock: Clock
) -> None:
    """Versions that are listed by a copy of yesterday are not asked for; a range is."""
    uplink.publish("a", "1.0.0")
    await post(house, locked(uplink))
    clock.advance(hours=24)
    uplink.requests.clear()

    assert lines(await post(house, locked(uplink)))[-1]["counts"] == {"held": 1}
    assert uplink.count() == 0
    assert lines(await post(house, b"a@1\n", route=LISTED))[-1]["counts"] == {"held": 1}
    assert uplink.count() == 1


async def test_a_list_may_come_compressed(house: Owned, uplink: FakeUplink) -> None:
    """Any file that the command takes, gzipped or not, and by any name."""
    uplink.publish("a", "1.0.0")
    body = gzip.compress(b"a@^1\n")
    answer = await post(house, body, route="/-/packhouse/prefetch", content_encoding="gzip")

    assert lines(answer)[-1]["counts"] == {"fetched": 1}


async def test_platforms_are_asked_for(house: Owned, uplink: FakeUplink) -> None:
    """`platform` may come several times; what is for none of them is passed over."""
    for name, os in (("a", "sunos"), ("b", "aix"), ("c", "win32")):
        uplink.publish(name, "1.0.0", os=[os])
    lockfile = locked(uplink, **{name: {"optional": True} for name in "abc"})
    some = await post(house, lockfile, route=f"{ROUTE}&platform=sunos/x64&platform=aix/ppc64")
    every = await post(house, lockfile, route=f"{ROUTE}&platform=all")

    assert lines(some)[-1]["counts"] == {"fetched": 2, "for another platform": 1}
    assert lines(every)[-1]["counts"] == {"fetched": 1, "held": 2}


@pytest.mark.parametrize(
    ("user", "data", "route", "status", "said"),
    [
        (None, b"{}", ROUTE, 401, "log in"),
        ("ann", b'{"lockfileVersion":3,"packages":1}', ROUTE, 400, "package-lock.json: packages:"),
        ("ann", b"{}", f"{ROUTE}&platform=beos", 400, "'beos' is not a platform"),
    ],
)
async def test_what_is_refused(
    house: Owned, uplink: FakeUplink, user: str | None, data: bytes, route: str, status: int,
    said: str,
) -> None:  # fmt: skip
    """Who is not logged in, and what is no lockfile, get a status and a sentence at once."""
    answer = await post(house, data, user, route)

    assert answer.status == status
    assert said in answer.json()["error"]
    assert uplink.count() == 0


async def test_what_may_not_be_read_is_missing(house: Owned, uplink: FakeUplink) -> None:
    """Of a package that somebody may not read they are told what they are told of none."""
    await house.publish("@acme/ui", access=Access.RESTRICTED)
    listed = b"@acme/ui@1.0.0\n@acme/none@1.0.0\n"

    theirs, hers = [
        {each["package"]: each for each in lines(await post(house, listed, user, LISTED))[:-1]}
        for user in ("eve", "ann")
    ]

    shown, absent = theirs["@acme/ui@1.0.0"], theirs["@acme/none@1.0.0"]
    assert (shown["outcome"], absent["outcome"]) == ("missing", "missing")
    assert shown["reason"].replace("ui", "none") == absent["reason"]
    assert hers["@acme/ui@1.0.0"]["outcome"] == "lives here"
    assert hers["@acme/none@1.0.0"]["outcome"] == "missing"
    assert uplink.count("/@acme") == 0


async def test_one_at_a_time(house: Owned, uplink: FakeUplink) -> None:
    """A second one of the same user, and a fifth of all, are a 503; then it goes on."""
    users = [f"user{number}" for number in range(MOST)]
    for user in users:
        house.tokens[user] = await add_user(house.people, user)
    uplink.publish("a", "1.0.0")
    uplink.pause()
    running = [asyncio.create_task(post(house, b"a@1\n", user, LISTED)) for user in users]
    await uplink.wait_for(1)
    async with asyncio.timeout(10):
        while len(house.registry.app[keys.WARMING]._running) < MOST:  # type: ignore[index]
            await asyncio.sleep(0.01)

    again = await post(house, b"a@1\n", users[0], LISTED)
    fifth = await post(house, b"a@1\n", "eve", LISTED)
    uplink.resume()
    answers = await asyncio.gather(*running)

    assert (again.status, fifth.status) == (503, 503)
    assert "a prefetch of yours is under way" in again.json()["error"]
    assert [lines(answer)[-1]["is_complete"] for answer in answers] == [True] * MOST
    assert lines(await post(house, b"a@1\n", "eve", LISTED))[-1]["is_complete"]


async def test_who_hangs_up_ends_it(house: Owned, uplink: FakeUplink) -> None:
    """A client that leaves frees its place, and nothing more is asked for it."""
    for number in range(200):
        uplink.publish(f"p{number}", "1.0.0")
    lockfile, headers = locked(uplink), {"authorization": f"Bearer {house.tokens['ann']}"}
    async with house.registry.session.post(
        house.registry.url + ROUTE, data=lockfile, headers=headers
    ) as reply:
        first = json.loads(await reply.content.readline())
        uplink.pause()
        reply.close()
    uplink.resume()
    async with asyncio.timeout(10):
        while house.registry.app[keys.WARMING]._running:  # type: ignore[index]
            await asyncio.sleep(0.01)

    assert first["outcome"] == "fetched"
    assert lines(await post(house, b"p0@1\n", "ann", LISTED))[-1]["is_complete"]


async def test_an_end_of_the_disk_is_the_last_line(
    tmp_path: Path, uplink: FakeUplink, clock: Clock
) -> None:
    """What ends all of it is told where a status is no longer possible."""
    uplink.publish("a", "1.0.0")
    async with owned(tmp_path / "data", uplink, clock) as house:
        house.registry.set("cache", min_free_bytes=2**60)
        await house.registry.restart()
        (last,) = lines(await post(house, locked(uplink)))

    assert last["is_complete"] is False
    assert last["error"].startswith("storage: the disk has less free than cache.min_free")
