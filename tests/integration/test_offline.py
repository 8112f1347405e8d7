"""While an uplink is away or offline, what is shown is what can be installed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.storage.sqlite import SqliteIndex
from tests.absence import FORMS, hold, publish, shown, switch, take_away, withheld
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.owned import Owned, owned
from tests.registry import ABBREVIATED, Clock, Registry


@pytest.fixture
async def warm(registry: Registry, uplink: FakeUplink) -> Registry:
    """A registry that holds 1.0.0 and 1.1.0 of n, of which there is 2.0.0 as well."""
    publish(uplink, "1.0.0", "1.1.0", "2.0.0")
    await hold(registry, "1.0.0", "1.1.0")
    return registry


# --- what is shown --------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", FORMS)
async def test_away_shows_what_is_held(warm: Registry, uplink: FakeUplink, accept: str) -> None:
    """Without any switch, both forms have the held versions alone, repaired tags, and say so."""
    await take_away(warm, uplink)

    answer = await warm.packument("n", accept=accept)

    document = answer.json()
    assert shown(answer) == ["1.0.0", "1.1.0"]
    assert document["dist-tags"] == {"latest": "1.1.0"}
    assert set(document.get("time", {})) - {"created", "modified"} <= {"1.0.0", "1.1.0"}
    assert withheld(answer) == "1 version; away"
    assert answer.headers["Cache-Status"].startswith("packhouse; hit; detail=stale-")
    assert "Last-Modified" not in answer.headers


@pytest.mark.parametrize("accept", FORMS)
async def test_offline_shows_what_is_held(warm: Registry, uplink: FakeUplink, accept: str) -> None:
    """A fresh copy is narrowed as well from the request after the switch, and nobody is asked."""
    assert len(shown(await warm.packument("n", accept=accept))) == 3
    asked = uplink.count()

    await switch(warm, "on")
    answers = [await warm.packument("n", accept=accept, accept_encoding="gzip") for _ in range(3)]

    assert [shown(answer) for answer in answers] == [["1.0.0", "1.1.0"]] * 3
    assert {(withheld(each), each.headers["Cache-Status"]) for each in answers} == {
        ("1 version; offline", "packhouse; hit")
    }
    assert len({answer.headers["ETag"] for answer in answers}) == 1
    assert uplink.count() == asked


async def test_manifests_and_tags_agree(warm: Registry, uplink: FakeUplink) -> None:
    """A tag is what it was repaired to wherever it is asked for; a hidden version is a 503."""
    await take_away(warm, uplink)

    tags = await warm.get("/-/package/n/dist-tags")
    latest, held = await warm.get("/n/latest"), await warm.get("/n/1.0.0")
    hidden = await warm.get("/n/2.0.0")

    assert tags.json() == {"latest": "1.1.0"}
    assert (latest.json()["version"], held.json()["version"]) == ("1.1.0", "1.0.0")
    assert {withheld(answer) for answer in (tags, latest, held)} == {"1 version; away"}
    assert hidden.status == 503
    assert "n@2.0.0 is not held" in hidden.json()["error"]


async def test_a_hidden_version_is_not_denied_a_moment_after_it_was_seen(warm: Registry) -> None:
    """Offline, a hidden version is a 503 also while the copy is seconds old, never a 404."""
    await switch(warm, "on")

    assert (await warm.get("/n/2.0.0")).status == 503


async def test_no_version_is_held(registry: Registry, uplink: FakeUplink) -> None:
    """A package without a tarball has no versions and no tags, and is no error."""
    publish(uplink, "1.0.0")
    await hold(registry)
    await take_away(registry, uplink)

    answer = await registry.packument("n")

    assert (shown(answer), answer.json()["dist-tags"]) == ([], {})
    assert withheld(answer) == "1 version; away"


async def test_nothing_is_hidden_where_all_is_held(warm: Registry, uplink: FakeUplink) -> None:
    """With every tarball here the document is the whole one, and no header speaks of hiding."""
    whole = await warm.packument("n")
    await hold(warm, "2.0.0")
    await take_away(warm, uplink)

    answer = await warm.packument("n")

    assert (answer.body, withheld(answer)) == (whole.body, None)
    assert answer.headers["ETag"] == whole.headers["ETag"]
    assert (await warm.packument("n", if_none_match=whole.headers["ETag"])).status == 304


async def test_a_full_packument_from_an_abbreviated_one(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Who wants the full form while only the abbreviated one is held gets that, and can install."""
    publish(uplink, "1.0.0")
    await registry.packument("n", accept=ABBREVIATED)
    await registry.get("/n/-/n-1.0.0.tgz")
    await switch(registry, "on")

    assert shown(await registry.packument("n")) == ["1.0.0"]
    assert (await registry.get("/n/latest")).json()["version"] == "1.0.0"


# --- which copies are whose -----------------------------------------------------------------------


async def test_whole_and_narrowed_copies_are_not_mistaken(warm: Registry) -> None:
    """A client's copy of the whole document is no 304 for the narrowed one, nor the other way."""
    whole = await warm.packument("n")
    await switch(warm, "on")
    narrowed = await warm.packument("n", if_none_match=whole.headers["ETag"])
    by_date = await warm.packument("n", if_modified_since=whole.headers["Last-Modified"])
    again = await warm.packument("n", if_none_match=narrowed.headers["ETag"])
    await switch(warm, "off")
    back = await warm.packument("n", if_none_match=narrowed.headers["ETag"])

    statuses = [answer.status for answer in (narrowed, by_date, again, back)]
    assert statuses == [200, 200, 304, 200]
    assert back.headers["ETag"] == whole.headers["ETag"]


async def test_a_tarball_that_comes_or_goes_shows_at_once(
    warm: Registry, uplink: FakeUplink
) -> None:
    """What another process stores or evicts is in, or out of, the next answer; so says the ETag."""
    await hold(warm, "2.0.0")
    await switch(warm, "on")
    all_held = await warm.packument("n")
    async with SqliteIndex(warm.config.storage.path / "index.sqlite") as index:
        record = await index.tarball("n", "n-2.0.0.tgz")
        assert record is not None

        await index.drop_tarball("n", "n-2.0.0.tgz")
        fewer = await warm.packument("n")
        await index.put_tarball(record)
        more = await warm.packument("n")

    assert [len(shown(answer)) for answer in (all_held, fewer, more)] == [3, 2, 3]
    assert all_held.headers["ETag"] == more.headers["ETag"] != fewer.headers["ETag"]


async def test_what_is_fetched_meanwhile_counts(warm: Registry, uplink: FakeUplink) -> None:
    """A version whose tarball came in while one was online is shown when one is offline again."""
    for number, file in enumerate(["n-2.0.0.tgz", None]):
        await switch(warm, "on")
        assert len(shown(await warm.packument("n"))) == 2 + number
        await switch(warm, "off")
        if file:
            await warm.get(f"/n/-/{file}")


# --- away, and back -------------------------------------------------------------------------------


async def test_a_fresh_copy_is_narrowed_once_it_is_known(
    warm: Registry, uplink: FakeUplink
) -> None:
    """As soon as a tarball could not be fetched, fresh packuments show what is held, too."""
    await uplink.stop()
    assert len(shown(await warm.packument("n"))) == 3
    assert (await warm.get("/n/-/n-2.0.0.tgz")).status == 502

    assert shown(await warm.packument("n")) == ["1.0.0", "1.1.0"]


async def test_back_without_anything_being_done(warm: Registry, uplink: FakeUplink) -> None:
    """A moment after the uplink is back everything is shown, also of copies that are fresh."""
    await take_away(warm, uplink)
    await warm.packument("n")
    assert (await warm.get("/n/-/n-2.0.0.tgz")).status in {502, 503}

    await uplink.start()
    warm.clock.advance(minutes=5)  # breaker and pauses
    back = await warm.packument("n")
    warm.clock.advance(seconds=1)
    tarball = await warm.get("/n/-/n-2.0.0.tgz")

    assert (len(shown(back)), withheld(back), tarball.status) == (3, None, 200)


async def test_a_fresh_copy_is_asked_for_until_the_uplink_is_back(
    warm: Registry, uplink: FakeUplink
) -> None:
    """Once it is known that the uplink is away, its return is noticed by copies that are fresh."""
    await uplink.stop()
    await warm.get("/n/-/n-2.0.0.tgz")
    during = await warm.packument("n")
    await uplink.start()
    warm.clock.advance(seconds=35)  # the breaker's pause; a copy is fresh for five minutes

    after = await warm.packument("n")

    assert (len(shown(during)), during.headers["Cache-Status"]) == (2, "packhouse; hit")
    assert len(shown(after)) == 3


async def test_slow_is_not_away(warm: Registry, uplink: FakeUplink) -> None:
    """A stale copy that is sent because an answer takes long is whole: tarballs can be fetched."""
    warm.clock.advance(minutes=6)
    uplink.pause()

    answers = [await warm.packument("n") for _ in range(2)]

    uplink.resume()
    assert [len(shown(answer)) for answer in answers] == [3, 3]
    assert all("slow" in answer.headers["Cache-Status"] for answer in answers)


async def test_one_broken_answer_is_not_away(warm: Registry, uplink: FakeUplink) -> None:
    """A packument that is refreshed in vain, by an uplink that answers, is sent whole."""
    warm.clock.advance(minutes=6)
    uplink.script("/n", faults.html)

    answer = await warm.packument("n")

    assert len(shown(answer)) == 3
    assert "stale" in answer.headers["Cache-Status"]


async def test_an_uplink_that_fails_every_time_is_away(warm: Registry, uplink: FakeUplink) -> None:
    """Five failures open the breaker; from then on what is held is shown."""
    warm.clock.advance(minutes=6)
    uplink.script(lambda _: True, faults.status(500), forever=True)
    for _ in range(4):
        await warm.packument("n")
        warm.clock.advance(seconds=3)

    assert shown(await warm.packument("n")) == ["1.0.0", "1.1.0"]


async def test_search_that_fails_is_not_away(warm: Registry, uplink: FakeUplink) -> None:
    """An uplink without search is asked for packages all the same, and its copies are whole."""
    uplink.script(lambda seen: "search" in seen.path, faults.status(500), forever=True)
    for number in range(8):
        await warm.get(f"/-/v1/search?text=n{number}")

    assert len(shown(await warm.packument("n"))) == 3


# --- names of both places -------------------------------------------------------------------------


@pytest.fixture
async def fork(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Owned]:
    """A registry where lodash is merged; the uplink has 1.0.0 and 3.0.0 of it."""
    publish(uplink, "1.0.0", "3.0.0", name="lodash")
    async with owned(tmp_path / "data", uplink, clock) as running:
        yield running


@pytest.mark.parametrize("accept", FORMS)
@pytest.mark.parametrize("held", [(), ("1.0.0",)])
async def test_what_is_published_here_is_held(
    fork: Owned, accept: str, held: tuple[str, ...]
) -> None:
    """Of a name of both places all of ours is shown, beside what is held of theirs, if anything."""
    await fork.publish("lodash", "2.0.0")
    await hold(fork.registry, *held, name="lodash")
    await switch(fork.registry, "on")

    answer = await fork.registry.packument("lodash", accept=accept)
    tags = await fork.registry.get("/-/package/lodash/dist-tags")
    latest = await fork.registry.get("/lodash/latest")

    assert shown(answer) == [*held, "2.0.0"]
    assert answer.json()["dist-tags"] == tags.json() == {"latest": "2.0.0"}
    assert latest.json()["version"] == "2.0.0"
    assert withheld(answer) == f"{2 - len(held)} version{'s' if not held else ''}; offline"
