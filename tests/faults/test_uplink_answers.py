"""Rows 25 to 39 of the fault matrix: sound HTTP that says the wrong thing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.exchange import Reply, Script, Seen
from tests.fakes.faults import Reader, Writer
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, Clock, Registry

UNUSABLE = {
    "row_25_invalid_json": faults.invalid_json,
    "row_25_json_that_is_no_packument": faults.body(b"[]"),
    "row_25_empty_body": faults.body(b""),
    "row_26_html": faults.html,
    "row_26_html_that_says_json": faults.html_as_json,
    "row_27_another_package": faults.other_name,
    "row_30_unauthorized": faults.status(401),
    "row_30_forbidden": faults.status(403),
    "row_32_500": faults.status(500),
    "row_32_502": faults.status(502),
    "row_32_503": faults.status(503),
    "row_34_redirect_loop": faults.redirect_loop,
    "row_36_redirect_to_a_file": faults.redirect("file:///etc/passwd"),
    "row_36_redirect_to_a_private_address": faults.redirect("http://127.0.0.1:1/ui"),
    "row_36_redirect_to_a_number": faults.redirect("http://2130706433/ui"),
    "row_36_redirect_to_mapped_loopback": faults.redirect("http://[::ffff:127.0.0.1]/ui"),
    "row_37_not_modified_unasked": faults.not_modified_unasked,
    "row_37_no_content": faults.status(204, body=b""),
}


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry in which nothing times out."""
    async with expect.patient(tmp_path / "data", uplink, clock) as running:
        yield running


@pytest.fixture(params=UNUSABLE.values(), ids=UNUSABLE.keys())
def unusable(request: pytest.FixtureRequest) -> Script:
    """Every answer that is none."""
    fault: Script = request.param
    return fault


@pytest.fixture
async def second() -> AsyncIterator[FakeUplink]:
    """Another host."""
    async with FakeUplink() as fake:
        yield fake


async def test_rows_25_to_37_warm(registry: Registry, uplink: FakeUplink, unusable: Script) -> None:
    """While the uplink's answer says nothing usable the copy is sent, marked as stale."""
    uplink.sends_etag = uplink.sends_last_modified = False  # else 304 would be an answer

    await expect.stale_while(registry, uplink, unusable)


async def test_rows_25_to_37_cold(registry: Registry, uplink: FakeUplink, unusable: Script) -> None:
    """Without a copy it is a 502: never the uplink's own status, which a client would believe."""
    await expect.refused_while(registry, uplink, unusable, 502)


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_rows_30_and_32_tarball_cold(
    registry: Registry, uplink: FakeUplink, status: int
) -> None:
    """A tarball that the uplink refuses is a 502, and the version stays listed."""
    await expect.tarball_broken_while(registry, uplink, faults.status(status), 502)

    assert "1.0.0" in (await registry.packument("ui")).json()["versions"]


# --- row 29 ---------------------------------------------------------------------------------------


async def test_row_29_missing_cold(registry: Registry, uplink: FakeUplink) -> None:
    """A package that the uplink does not have is a 404 at once, and the uplink is believed."""
    answers = [await registry.packument("ui") for _ in range(5)]

    assert {answer.status for answer in answers} == {404}
    assert uplink.count("/ui") == 1


async def test_row_29_missing_warm(registry: Registry, uplink: FakeUplink) -> None:
    """A package that is held is sent until the uplink has said 404 twice, a minute apart."""
    expect.publish(uplink)
    await registry.packument("ui")
    del uplink.packages["ui"]
    registry.clock.advance(minutes=6)

    doubted = [await registry.packument("ui") for _ in range(3)]
    asked_once = uplink.count("/ui")
    registry.clock.advance(seconds=61)
    gone = await registry.packument("ui")
    again = await registry.packument("ui")

    assert [answer.status for answer in doubted] == [200, 200, 200]
    assert all(expect.is_stale(answer) for answer in doubted)
    assert all(int(answer.headers["Age"]) >= 360 for answer in doubted)
    assert asked_once == 2
    assert (gone.status, again.status) == (404, 404)
    assert uplink.count("/ui") == 3


async def test_row_29_missing_takes_its_tarballs_along(
    registry: Registry, uplink: FakeUplink
) -> None:
    """When a package is gone its tarballs are gone too, wherever they were kept."""
    expect.publish(uplink)
    assert (await registry.get(expect.TARBALL)).status == 200
    del uplink.packages["ui"]
    for _ in range(2):
        registry.clock.advance(minutes=6)
        await registry.packument("ui", accept=ABBREVIATED)

    answer = await registry.get(expect.TARBALL)

    assert answer.status == 404


async def test_row_29_a_404_for_a_moment_is_forgotten(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A 404 between good answers counts for nothing when the next one comes, days later."""
    expect.publish(uplink)
    await registry.packument("ui")
    for days in (1, 2, 3):
        registry.clock.advance(days=days)
        uplink.script("/ui", faults.status(404))
        doubted = await registry.packument("ui")
        registry.clock.advance(seconds=61)
        mended = await registry.packument("ui")

        assert (doubted.status, expect.is_stale(doubted)) == (200, True)
        assert (mended.status, expect.is_stale(mended)) == (200, False)


async def test_row_29_good_news_of_one_form_ends_the_doubt_of_the_other(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A doubt that another form has refuted does not make a later, single 404 believed."""
    expect.publish(uplink)
    await registry.packument("ui")
    registry.clock.advance(minutes=6)
    uplink.script("/ui", faults.status(404))
    await registry.packument("ui")  # the full copy is doubted now
    registry.clock.advance(minutes=6)
    await registry.packument("ui", accept=ABBREVIATED)  # and the package is there after all
    registry.clock.advance(days=1)
    uplink.script("/ui", faults.status(404))

    answer = await registry.packument("ui")

    assert (answer.status, expect.is_stale(answer)) == (200, True)


# --- rows 31 and 32 -------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", ["2", "3600", "in a while", None, "date"])
async def test_row_31_429_cold(registry: Registry, uplink: FakeUplink, wait: str | None) -> None:
    """429 is a 503 that says how long, at most a minute, and nobody asks the uplink meanwhile."""
    if wait == "date":
        wait = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    expect.publish(uplink)
    uplink.publish("other", "1.0.0")
    uplink.script("/ui", faults.status(429, {} if wait is None else {"retry-after": wait}))

    answers = [await registry.packument(name) for name in ("ui", "other", "ui")]

    assert [answer.status for answer in answers] == [503, 503, 503]
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in answers)
    assert uplink.count() == 1
    registry.clock.advance(seconds=61)
    assert (await registry.packument("ui")).status == 200


async def test_row_31_429_warm(registry: Registry, uplink: FakeUplink) -> None:
    """While the uplink asks us to wait the copy is sent, marked, and the uplink is left alone."""
    expect.publish(uplink)
    await registry.packument("ui")
    registry.clock.advance(minutes=6)
    uplink.script("/ui", faults.status(429, {"retry-after": "30"}))

    answers = []
    for _ in range(5):
        answers.append(await registry.packument("ui"))
        registry.clock.advance(seconds=5)

    assert [answer.status for answer in answers] == [200] * 5
    assert all(expect.is_stale(answer) for answer in answers)
    assert uplink.count("/ui") == 2


async def test_row_31_429_tarball_cold(registry: Registry, uplink: FakeUplink) -> None:
    """429 for a tarball is a 503 too, and the tarball comes when the time is over."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.status(429, {"retry-after": "3"}))

    refused = await registry.get(expect.TARBALL)
    registry.clock.advance(seconds=4)
    got = await registry.get(expect.TARBALL)

    assert (refused.status, refused.headers["Retry-After"]) == (503, "3")
    assert (got.status, got.body) == (200, data)


async def test_row_32_a_single_500_is_not_seen(registry: Registry, uplink: FakeUplink) -> None:
    """A failure that passes is tried again once, behind the client's back."""
    data = expect.publish(uplink)
    uplink.script("/ui", faults.status(503))
    uplink.script(expect.TARBALL, faults.status(500))

    packument, tarball = await registry.packument("ui"), await registry.get(expect.TARBALL)

    assert (packument.status, tarball.status) == (200, 200)
    assert tarball.body == data
    assert (uplink.count("/ui"), uplink.count(expect.TARBALL)) == (2 + 2, 2)


async def test_row_32_retries_are_bounded(registry: Registry, uplink: FakeUplink) -> None:
    """A request that fails costs the uplink two requests and no more."""
    uplink.script("/ui", faults.status(500), forever=True)

    answer = await registry.packument("ui")

    assert answer.status == 502
    assert uplink.count("/ui") == 2


async def test_row_33_flapping(registry: Registry, uplink: FakeUplink) -> None:
    """An uplink whose every third answer fails serves everybody, with a copy or without."""
    names = [f"ui-{number}" for number in range(15)]
    for name in names:
        uplink.publish(name, "1.0.0")
    every_third = _every_third()
    uplink.script(lambda _: next(every_third), faults.status(502), forever=True)

    cold = [await registry.packument(name) for name in names]
    registry.clock.advance(minutes=6)
    warm = [await registry.packument(name) for name in names]

    assert {answer.status for answer in cold + warm} == {200}
    assert not any(expect.is_stale(answer) for answer in warm)


# --- redirects ------------------------------------------------------------------------------------


async def test_row_34_redirects_are_followed_to_a_limit(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Five redirects are followed, a sixth is not."""
    expect.publish(uplink)
    uplink.script("/ui", *[faults.redirect_loop] * 5)
    followed = await registry.packument("ui")
    registry.clock.advance(minutes=6)
    uplink.script("/other", faults.redirect_loop, forever=True)
    looped = await registry.packument("other")

    assert (followed.status, looped.status) == (200, 502)
    assert uplink.count("/other") == 6


async def test_row_35_redirect_to_a_listed_host(
    registry: Registry, uplink: FakeUplink, second: FakeUplink
) -> None:
    """A listed host is followed to, and sees neither our credentials nor the validators."""
    await registry.stop()
    registry.set("uplink", token="secret", origins=(second.url,))
    await registry.start()
    expect.publish(uplink)
    expect.publish(second)
    await registry.packument("ui")
    registry.clock.advance(minutes=6)
    uplink.script("/ui", faults.redirect(f"{second.url}/ui"))

    answer = await registry.packument("ui")

    assert answer.status == 200
    assert "if-none-match" in uplink.seen("/ui")[1].headers
    assert uplink.seen("/ui")[1].headers["authorization"] == "Bearer secret"
    assert not {"authorization", "if-none-match", "if-modified-since"} & set(
        second.seen("/ui")[0].headers
    )


async def test_row_35_redirect_to_an_unlisted_host(
    registry: Registry, uplink: FakeUplink, second: FakeUplink
) -> None:
    """A host that nobody listed is not asked, be it for a packument or a tarball."""
    expect.publish(uplink)
    expect.publish(second)
    uplink.script("/ui", faults.redirect(f"{second.url}/ui"))
    packument = await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.redirect(second.url + expect.TARBALL))
    tarball = await registry.get(expect.TARBALL)

    assert (packument.status, tarball.status) == (502, 502)
    assert second.requests == []


# --- validators -----------------------------------------------------------------------------------


async def test_row_38_weak_etag(registry: Registry, uplink: FakeUplink) -> None:
    """A weak ETag of the uplink is good enough to ask with, and ours is our own."""
    expect.publish(uplink)
    uplink.script("/ui", _with_headers(etag='W/"weak"'))
    before = await registry.packument("ui")
    registry.clock.advance(minutes=6)
    uplink.script("/ui", _not_modified('W/"weak"'))

    after = await registry.packument("ui")

    assert uplink.seen("/ui")[1].headers["if-none-match"] == 'W/"weak"'
    assert (after.status, after.body) == (200, before.body)
    assert after.headers["ETag"] == before.headers["ETag"] != 'W/"weak"'
    assert after.headers["Cache-Status"].endswith("fwd-status=304")


async def test_row_38_changing_etag(registry: Registry, uplink: FakeUplink) -> None:
    """An ETag that changes while the document does not changes nothing for our clients."""
    expect.publish(uplink)
    uplink.script("/ui", _with_headers(etag='"one"'), _with_headers(etag='"two"'))
    before = await registry.packument("ui")
    registry.clock.advance(minutes=6)

    after = await registry.packument("ui", if_none_match=before.headers["ETag"])

    assert after.status == 304
    assert uplink.count("/ui") == 2


async def test_row_38_the_newest_validators_are_sent(
    registry: Registry, uplink: FakeUplink
) -> None:
    """When a 304 brings another ETag, the next question carries that one."""
    expect.publish(uplink)
    uplink.script("/ui", _with_headers(etag='"one"'), _not_modified('"two"'))
    for _ in range(3):
        await registry.packument("ui")
        registry.clock.advance(minutes=6)

    assert uplink.seen("/ui")[2].headers["if-none-match"] == '"two"'


async def test_row_38_no_validators(registry: Registry, uplink: FakeUplink) -> None:
    """Without any validator the document is fetched again, and ours still spare clients a copy."""
    uplink.sends_etag = uplink.sends_last_modified = False
    expect.publish(uplink)
    before = await registry.packument("ui")
    registry.clock.advance(minutes=6)

    after = await registry.packument("ui", if_none_match=before.headers["ETag"])

    assert after.status == 304
    assert not {"if-none-match", "if-modified-since"} & set(uplink.seen("/ui")[1].headers)


async def test_row_39_flood_of_early_hints(registry: Registry, uplink: FakeUplink) -> None:
    """Two thousand interim answers are waited through."""
    data = expect.publish(uplink)
    uplink.script("/ui", faults.early_hints)
    uplink.script(expect.TARBALL, faults.early_hints)

    packument, tarball = await registry.packument("ui"), await registry.get(expect.TARBALL)

    assert packument.status == 200
    assert (tarball.status, tarball.body) == (200, data)


def _every_third() -> Iterator[bool]:
    number = 0
    while True:
        number += 1
        yield number % 3 == 0


def _with_headers(**headers: str) -> Script:
    async def script(reader: Reader, writer: Writer, request: Seen) -> None:
        reply = request.answer()
        writer.write(replace(reply, headers=reply.headers | headers).whole())
        await writer.drain()

    return script


def _not_modified(etag: str) -> Script:
    async def script(reader: Reader, writer: Writer, request: Seen) -> None:
        assert "if-none-match" in request.headers
        writer.write(Reply(304, {"etag": etag}).whole())
        await writer.drain()

    return script
