"""How long what the uplink said is used, and what becomes of it when the uplink says otherwise."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Clock, Registry


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry in which nothing times out."""
    async with expect.patient(tmp_path / "data", uplink, clock) as running:
        yield running


async def test_fresh_for_five_minutes(registry: Registry, uplink: FakeUplink) -> None:
    """A packument is sent for five minutes without a word to the uplink."""
    expect.publish(uplink)
    first = await registry.packument("ui")
    for _ in range(4):
        registry.clock.advance(minutes=1, seconds=10)
        last = await registry.packument("ui")

    assert first.headers["Cache-Status"] == "packhouse; fwd=miss; stored"
    assert last.headers["Cache-Status"] == "packhouse; hit"
    assert 280 <= int(last.headers["Age"]) < 300
    assert uplink.count() == 1


async def test_revalidated_after_five_minutes(registry: Registry, uplink: FakeUplink) -> None:
    """Then it is asked for with the validators of the last answer, and is young again on a 304."""
    expect.publish(uplink)
    before = await registry.packument("ui")
    registry.clock.advance(minutes=5, seconds=1)

    after = await registry.packument("ui")

    asked = uplink.seen("/ui")[1].headers
    assert "if-none-match" in asked
    assert after.headers["Cache-Status"] == "packhouse; fwd=stale; fwd-status=304"
    assert int(after.headers["Age"]) < 60
    assert after.body == before.body
    assert after.headers["ETag"] == before.headers["ETag"]


async def test_revalidated_by_date_where_there_is_no_etag(
    registry: Registry, uplink: FakeUplink
) -> None:
    """An uplink that sends no ETag is asked with the date it sent."""
    uplink.sends_etag = False
    expect.publish(uplink)
    await registry.packument("ui")
    registry.clock.advance(minutes=6)

    after = await registry.packument("ui")

    assert "if-modified-since" in uplink.seen("/ui")[1].headers
    assert after.headers["Cache-Status"].endswith("fwd-status=304")


async def test_fresh_after_a_restart(registry: Registry, uplink: FakeUplink) -> None:
    """What was fetched before a restart is as fresh after it, and asks nobody."""
    expect.publish(uplink)
    before = await registry.packument("ui", host="registry.example")
    await registry.restart()

    after = await registry.packument("ui", host="registry.example")

    assert after.headers["Cache-Status"] == "packhouse; hit"
    assert after.headers["ETag"] == before.headers["ETag"]
    assert uplink.count() == 1


async def test_max_age_zero_asks_each_time(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """With a max_age of nothing every request is a question, and a 304 costs no body."""
    expect.publish(uplink)
    registry = expect.patient(tmp_path, uplink, clock)
    registry.set("cache", max_age=timedelta(0))
    async with registry:
        answers = [await registry.packument("ui") for _ in range(3)]

    assert {answer.status for answer in answers} == {200}
    assert uplink.count() == 3


async def test_a_clock_that_was_set_back(registry: Registry, uplink: FakeUplink) -> None:
    """A copy from the future is of unknown age, and is asked for again."""
    expect.publish(uplink)
    await registry.packument("ui")
    registry.clock.advance(days=-2)

    answer = await registry.packument("ui")

    assert (answer.status, answer.headers["Age"]) == (200, "0")
    assert uplink.count() == 2


# --- what the uplink changes ----------------------------------------------------------------------


@pytest.mark.parametrize("accept", [FULL, ABBREVIATED])
async def test_a_new_version_is_seen_at_the_next_refresh(
    registry: Registry, uplink: FakeUplink, accept: str
) -> None:
    """A version published at the uplink is listed as soon as our copy is not fresh any more."""
    expect.publish(uplink)
    await registry.packument("ui", accept=accept)
    expect.publish(uplink, "2.0.0")
    kept = await registry.packument("ui", accept=accept)
    registry.clock.advance(minutes=6)

    seen = await registry.packument("ui", accept=accept)

    assert list(kept.json()["versions"]) == ["1.0.0"]
    assert list(seen.json()["versions"]) == ["1.0.0", "2.0.0"]
    assert seen.json()["dist-tags"] == {"latest": "2.0.0"}


async def test_a_wanted_version_is_asked_for_at_once(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Whoever asks for a version that a fresh copy does not list gets it, if the uplink has it."""
    expect.publish(uplink)
    await registry.packument("ui")
    await registry.get(expect.TARBALL)
    data = expect.publish(uplink, "2.0.0")
    registry.clock.advance(seconds=10)

    manifest = await registry.get("/ui/2.0.0")
    tarball = await registry.get("/ui/-/ui-2.0.0.tgz")

    assert (manifest.status, manifest.json()["version"]) == (200, "2.0.0")
    assert (tarball.status, tarball.body == data) == (200, True)


async def test_what_was_removed_disappears(registry: Registry, uplink: FakeUplink) -> None:
    """A version that the uplink took away is gone after the next refresh, with its tarball."""
    expect.publish(uplink)
    expect.publish(uplink, "2.0.0")
    for version in ("1.0.0", "2.0.0"):
        assert (await registry.get(f"/ui/-/ui-{version}.tgz")).status == 200
    document = uplink.packages["ui"]
    del document["versions"]["2.0.0"], document["time"]["2.0.0"]
    document["dist-tags"] = {"latest": "1.0.0"}
    registry.clock.advance(minutes=6)

    packument = await registry.packument("ui", accept=ABBREVIATED)
    manifest = await registry.get("/ui/2.0.0")
    gone, kept = [await registry.get(f"/ui/-/ui-{version}.tgz") for version in ("2.0.0", "1.0.0")]

    assert list(packument.json()["versions"]) == ["1.0.0"]
    assert packument.json()["dist-tags"] == {"latest": "1.0.0"}
    assert (manifest.status, gone.status, kept.status) == (404, 404, 200)


async def test_what_was_tagged_anew_is_tagged_anew(registry: Registry, uplink: FakeUplink) -> None:
    """Dist-tags are the uplink's of now: moved, added and removed, never merged with older ones."""
    expect.publish(uplink)
    expect.publish(uplink, "2.0.0")
    uplink.packages["ui"]["dist-tags"] = {"latest": "2.0.0", "next": "2.0.0"}
    await registry.packument("ui")
    uplink.packages["ui"]["dist-tags"] = {"latest": "1.0.0", "beta": "2.0.0"}
    registry.clock.advance(minutes=6)

    packument = await registry.packument("ui")
    tags = await registry.get("/-/package/ui/dist-tags")
    latest = await registry.get("/ui/latest")

    assert packument.json()["dist-tags"] == {"latest": "1.0.0", "beta": "2.0.0"}
    assert tags.json() == {"latest": "1.0.0", "beta": "2.0.0"}
    assert latest.json()["version"] == "1.0.0"


async def test_bytes_that_were_changed_upstream(registry: Registry, uplink: FakeUplink) -> None:
    """When a version's integrity is another one, its tarball is the other one too."""
    expect.publish(uplink)
    before = await registry.get(expect.TARBALL)
    changed = uplink.publish("ui", "1.0.0", files={"index.js": b"other"})
    registry.clock.advance(minutes=6)
    await registry.packument("ui", accept=ABBREVIATED)

    after = await registry.get(expect.TARBALL)

    assert before.body != changed
    assert after.body == changed


async def test_an_unpublished_package_goes_after_two_answers(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A packument without versions is the uplink's word that the package is gone."""
    expect.publish(uplink)
    await registry.packument("ui")
    document = uplink.packages["ui"]
    document["versions"], document["dist-tags"] = {}, {}
    registry.clock.advance(minutes=6)
    doubted = await registry.packument("ui")
    registry.clock.advance(seconds=61)

    gone = await registry.packument("ui")

    assert (doubted.status, expect.is_stale(doubted)) == (200, True)
    assert gone.status == 404


# --- while the uplink is away ---------------------------------------------------------------------


async def test_stale_without_limit(
    registry: Registry, uplink: FakeUplink, caplog: pytest.LogCaptureFixture
) -> None:
    """A year into an outage the copy is sent, with its age, its mark and a line in the log."""
    expect.publish(uplink)
    before = await registry.packument("ui")
    await registry.get(expect.TARBALL)
    await uplink.stop()
    registry.clock.advance(days=365)
    caplog.set_level(logging.WARNING)

    answer = await registry.packument("ui")

    assert (answer.status, answer.body) == (200, before.body)
    assert int(answer.headers["Age"]) >= 365 * 86_400
    assert answer.headers["Cache-Status"].startswith("packhouse; hit; detail=stale-")
    assert "stale packument sent" in caplog.messages


async def test_stale_within_a_limit(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> None:
    """Where the operator limits it, an older copy is not sent: the fault itself is told."""
    expect.publish(uplink)
    registry = expect.patient(tmp_path, uplink, clock)
    registry.set("cache", stale_if_error=timedelta(hours=1))
    async with registry:
        await registry.packument("ui")
        uplink.script("/ui", faults.html, forever=True)
        registry.clock.advance(minutes=59)
        within = await registry.packument("ui")
        registry.clock.advance(minutes=2)
        beyond = await registry.packument("ui")

    assert (within.status, expect.is_stale(within)) == (200, True)
    assert beyond.status == 502


async def test_an_outage_is_never_a_404(registry: Registry, uplink: FakeUplink) -> None:
    """What a stale copy does not list may exist by now: it is an error to try again, not a 404."""
    expect.publish(uplink)
    await registry.packument("ui")
    await uplink.stop()
    registry.clock.advance(minutes=6)

    answers = [
        await registry.get(path) for path in ("/ui/2.0.0", "/ui/next", "/ui/-/ui-2.0.0.tgz", "/new")
    ]

    assert {answer.status for answer in answers} <= {502, 503}


async def test_offline_serves_what_is_held(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """Offline, what is held is sent and what is not is an error; the uplink hears nothing."""
    data = expect.publish(uplink)
    registry = expect.patient(tmp_path, uplink, clock)
    async with registry:
        await registry.packument("ui")
        await registry.get(expect.TARBALL)
    asked = uplink.count()
    registry.set("server", offline=True)
    registry.clock.advance(days=1)
    async with registry:
        held = await registry.packument("ui")
        tarball = await registry.get(expect.TARBALL)
        others = [await registry.get(path) for path in ("/new", "/ui/9.9.9", "/ui/-/ui-9.9.9.tgz")]

    assert (held.status, expect.is_stale(held)) == (200, True)
    assert (tarball.status, tarball.body == data) == (200, True)
    assert [answer.status for answer in others] == [503] * 3
    assert uplink.count() == asked


async def test_refreshed_as_soon_as_it_is_back(registry: Registry, uplink: FakeUplink) -> None:
    """A moment after the uplink is back the new versions are seen; no failure lasts longer."""
    expect.publish(uplink)
    await registry.packument("ui")
    registry.clock.advance(minutes=6)
    uplink.script("/ui", faults.html)
    stale = await registry.packument("ui")
    expect.publish(uplink, "2.0.0")
    registry.clock.advance(seconds=3)

    seen = await registry.packument("ui")

    assert expect.is_stale(stale)
    assert "2.0.0" in seen.json()["versions"]


async def test_behind_a_slow_answer_the_copy_is_refreshed(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """Past the soft deadline the copy is sent, and the answer that comes later is kept."""
    expect.publish(uplink)
    registry = expect.patient(tmp_path, uplink, clock)
    registry.set("cache", soft_deadline=timedelta(seconds=0.2))
    async with registry:
        await registry.packument("ui")
        expect.publish(uplink, "2.0.0")
        registry.clock.advance(minutes=6)
        uplink.pause()
        stale = await registry.packument("ui")
        uplink.resume()
        await expect.until(lambda: _lists(registry, "2.0.0"))

    assert expect.is_stale(stale)
    assert uplink.count() == 2


# --- what does not exist --------------------------------------------------------------------------


async def test_a_404_is_remembered_for_a_minute(registry: Registry, uplink: FakeUplink) -> None:
    """The uplink's 404 answers for a minute, in every form; then it is asked again."""
    before = [await registry.packument("ui", accept=accept) for accept in (FULL, ABBREVIATED)]
    expect.publish(uplink)
    registry.clock.advance(seconds=59)
    during = await registry.packument("ui")
    asked = uplink.count()
    registry.clock.advance(seconds=2)

    after = await registry.packument("ui")

    assert [answer.status for answer in before] == [404, 404]
    assert (during.status, asked) == (404, 1)
    assert after.status == 200


async def test_random_names_do_not_pile_up(registry: Registry, uplink: FakeUplink) -> None:
    """Names that do not exist leave nothing on disk, and nobody's answer is forgotten for them."""
    expect.publish(uplink)
    await registry.packument("ui")
    blobs = _files(registry)

    answers = [await registry.packument(f"no-{number}") for number in range(100)]

    assert {answer.status for answer in answers} == {404}
    assert _files(registry) == blobs
    assert uplink.count("/ui") == 1


# --- what is lost on our disk ---------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped"])
async def test_rows_60_and_61_a_body_that_is_lost(
    registry: Registry, uplink: FakeUplink, damage: str
) -> None:
    """A packument whose stored body is gone or damaged is fetched again unnoticed."""
    expect.publish(uplink)
    before = await registry.packument("ui", host="registry.example")
    await registry.stop()
    for path in _files(registry):
        _spoil(path, damage)
    _empty_cache(registry)
    await registry.start()

    packument = await registry.packument("ui", host="registry.example")
    tarball = await registry.get(expect.TARBALL)
    again = await registry.packument("ui", accept=ABBREVIATED)

    assert (packument.status, packument.body) == (200, before.body)
    assert (tarball.status, again.status) == (200, 200)


async def test_row_61_a_lost_body_and_a_tarball_first(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A tarball whose packument's body is lost is found by fetching that again."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    await registry.stop()
    for path in _files(registry):
        path.unlink()
    await registry.start()

    answer = await registry.get(expect.TARBALL)

    assert (answer.status, answer.body == data) == (200, True)


async def _lists(registry: Registry, version: str) -> bool:
    return version in (await registry.packument("ui")).json()["versions"]


def _files(registry: Registry) -> list[Path]:
    return sorted(path for path in _folder(registry, "blobs").rglob("*") if path.is_file())


def _spoil(path: Path, damage: str) -> None:
    data = bytearray(path.read_bytes())
    if damage == "deleted":
        path.unlink()
    elif damage == "truncated":
        os.truncate(path, len(data) // 2)
    else:
        data[len(data) // 2] ^= 0xFF
        path.write_bytes(data)


def _empty_cache(registry: Registry) -> None:
    for path in _folder(registry, "cache").rglob("*"):
        if path.is_file():
            path.unlink()


def _folder(registry: Registry, name: str) -> Path:
    return registry.config.storage.path / name
