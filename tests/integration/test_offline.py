"""While an uplink is away or offline, what is shown is what can be installed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.offline import EVERY_UPLINK, SqliteOffline, Switch
from proxy.storage.sqlite import SqliteIndex
from tests import commands, people
from tests.accounts import Person, log_in
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.owned import Owned, owned
from tests.people import PASSWORD
from tests.registry import ABBREVIATED, FULL, Answer, Clock, Registry

OFFLINE = "/-/packhouse/offline"
FORMS = [FULL, ABBREVIATED]


def publish(uplink: FakeUplink, *versions: str, name: str = "n") -> None:
    for version in versions:
        uplink.publish(name, version)


async def hold(registry: Registry, *versions: str, name: str = "n") -> None:
    """Let the registry hold the packument in both forms, and the tarballs of these versions."""
    for accept in FORMS:
        assert (await registry.packument(name, accept=accept)).status == 200
    for version in versions:
        assert (await registry.get(f"/{name}/-/{name}-{version}.tgz")).status == 200


@pytest.fixture
async def warm(registry: Registry, uplink: FakeUplink) -> Registry:
    """A registry that holds 1.0.0 and 1.1.0 of n, of which there is 2.0.0 as well."""
    publish(uplink, "1.0.0", "1.1.0", "2.0.0")
    await hold(registry, "1.0.0", "1.1.0")
    return registry


class Command:
    """What `packhouse offline` does to the data folder of a running registry."""

    def __init__(self, registry: Registry) -> None:
        self.data = registry.config.storage.path

    async def run(self, *arguments: str) -> str:
        return await commands.done(self.data, *arguments)


async def switch(registry: Registry, word: str) -> None:
    """Throw the switch as another process would."""
    async with SqliteIndex(registry.config.storage.path / "index.sqlite") as index:
        kept = SqliteOffline(index.database)
        if word == "on":
            await kept.switch_on(Switch(EVERY_UPLINK, registry.clock.now(), "test"))
        else:
            await kept.switch_off(EVERY_UPLINK)


async def take_away(registry: Registry, uplink: FakeUplink) -> None:
    """Have nobody at the uplink's address, and every copy out of date."""
    await uplink.stop()
    registry.clock.advance(minutes=6)


def shown(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return list(answer.json()["versions"])


def withheld(answer: Answer) -> str | None:
    return answer.headers.get("Packhouse-Withheld")


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
    answer = await warm.packument("n", accept=accept)

    assert shown(answer) == ["1.0.0", "1.1.0"]
    assert (withheld(answer), answer.headers["Cache-Status"]) == (
        "1 version; offline",
        "packhouse; hit",
    )
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


# --- the switch -----------------------------------------------------------------------------------


async def test_no_request_leaves(warm: Registry, uplink: FakeUplink) -> None:
    """Switched off, no route of any kind opens a connection to the uplink; switched on, they do."""
    routes = [
        "/n", "/n/2.0.0", "/n/-/n-2.0.0.tgz", "/m", "/m/1.0.0", "/m/-/m-1.0.0.tgz",
        "/-/package/m/dist-tags", "/-/v1/search?text=n", "/-/npm/v1/keys",
        "/-/npm/v1/attestations/n@1.0.0", "/downloads/point/last-week/n",
    ]  # fmt: skip
    await switch(warm, "on")
    await uplink.drop_connections()
    asked = uplink.count()

    for path in routes:
        await warm.get(path)
    body = b'{"n":["1.0.0"]}'
    audit = await warm.ask("POST", "/-/npm/v1/security/advisories/bulk", data=body)

    assert (uplink.count(), uplink.open_connections, audit.status) == (asked, 0, 503)
    await switch(warm, "off")
    assert (await warm.get("/n/-/n-2.0.0.tgz")).status == 200


async def test_a_tarball_that_arrives_ends_there(registry: Registry, uplink: FakeUplink) -> None:
    """Thrown while a tarball arrives, the switch cuts its readers; later it is fetched whole."""
    data = uplink.publish("big", "1.0.0", tarball=bytes(range(256)) * 4000)
    await registry.packument("big")
    uplink.script("/big/-/big-1.0.0.tgz", faults.drip(0.05))
    fetching = asyncio.create_task(registry.get("/big/-/big-1.0.0.tgz"))
    await uplink.wait_for(1, "/big/-/")

    await switch(registry, "on")
    cut = (await asyncio.gather(fetching, return_exceptions=True))[0]
    await switch(registry, "off")

    assert isinstance(cut, Exception) or cut.status == 503
    assert (await registry.get("/big/-/big-1.0.0.tgz")).body == data


async def test_the_switch_lasts(warm: Registry, uplink: FakeUplink) -> None:
    """After a restart one is as offline as before."""
    await switch(warm, "on")
    asked = uplink.count()

    await warm.restart()

    assert shown(await warm.packument("n")) == ["1.0.0", "1.1.0"]
    assert (await warm.get("/-/ready")).json()["uplinks"] == {"npm": "offline"}
    assert uplink.count() == asked


async def test_an_uplink_that_is_configured_offline(registry: Registry, uplink: FakeUplink) -> None:
    """`uplinks.NAME.offline` is the same for one uplink, whatever is switched."""
    publish(uplink, "1.0.0", "2.0.0")
    await hold(registry, "1.0.0")
    await registry.stop()
    registry.set("uplink", offline=True)
    await registry.start()
    asked = uplink.count()

    await switch(registry, "on")
    await switch(registry, "off")

    assert shown(await registry.packument("n")) == ["1.0.0"]
    assert uplink.count() == asked


async def test_the_command(warm: Registry) -> None:
    """`packhouse offline` switches beside the running server, tells the state, and leaves rows."""
    command = Command(warm)

    told = await command.run("offline", "on")
    while_on = shown(await warm.packument("n"))
    status = await command.run("offline", "status")
    again = await command.run("offline", "on", "--uplink", "npm")
    back = await command.run("offline", "off")

    assert told.startswith("npm: offline since ") and "switched by cli:" in told
    assert told == status == again
    assert while_on == ["1.0.0", "1.1.0"]
    assert back == "npm: asked\n"
    assert len(shown(await warm.packument("n"))) == 3
    rows = await commands.rows(command.data, "--action", "switch")
    assert [(row["subject"], row["facts"]["change"]) for row in rows] == [
        ("*", "offline"),
        ("npm", "offline"),
        ("*", "online"),
    ]


async def test_the_command_says_what_is_wrong(warm: Registry) -> None:
    """An unknown uplink, and one to be asked while all are offline, are told with what to do."""
    data = warm.config.storage.path

    unknown = await commands.refused(data, "offline", "on", "--uplink", "nmp")
    await commands.done(data, "offline", "on")
    alone = await commands.refused(data, "offline", "off", "--uplink", "npm")

    assert "there is no uplink called nmp; known: npm" in unknown
    assert "switch all of them back" in alone


@pytest.fixture
async def root(registry: Registry, uplink: FakeUplink) -> Person:
    """The administrator of a registry that holds 1.0.0 of n, of which there is 2.0.0 as well."""
    await registry.stop()
    registry.set("auth", admins=("root",))
    await registry.start()
    publish(uplink, "1.0.0", "2.0.0")
    await hold(registry, "1.0.0")
    for name in ("root", "ann"):
        await people.add_user(registry, name)
    return Person(registry, (await log_in(registry, "root", PASSWORD)).json()["token"])


async def test_the_address(root: Person) -> None:
    """An administrator switches one uplink or all, and reads who did it; the next answer shows."""
    before = (await root.get(OFFLINE)).json()
    on = (await root.ask("PUT", OFFLINE, {"offline": True, "uplink": "npm"})).json()
    while_on = shown(await root.registry.packument("n"))
    off = (await root.ask("PUT", OFFLINE, {"offline": False})).json()

    asked = {"offline": False, "why": None, "since": None, "by": None}
    assert before == off == {"offline": False, "uplinks": {"npm": asked}}
    assert on["offline"] is True
    assert (on["uplinks"]["npm"]["why"], on["uplinks"]["npm"]["by"]) == ("switch", "root")
    assert while_on == ["1.0.0"]
    assert len(shown(await root.registry.packument("n"))) == 2


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_who_may_switch(root: Person, method: str) -> None:
    """Who is no administrator is refused, who is nobody has to log in, and nothing is switched."""
    body: Any = {"offline": True} if method == "PUT" else None
    ann = Person(root.registry, (await log_in(root.registry, "ann", PASSWORD)).json()["token"])

    refused = await ann.ask(method, OFFLINE, body)
    nobody = await root.registry.ask(method, OFFLINE, data=json.dumps(body).encode())

    assert (refused.status, nobody.status) == (403, 401)
    assert (await root.get(OFFLINE)).json()["offline"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"offline": "yes"}, 400),
        ({"offline": True, "uplink": 7}, 400),
        ({"offline": True, "uplink": "nmp"}, 404),
    ],
)
async def test_a_body_that_makes_no_sense(root: Person, body: Any, status: int) -> None:
    """A body that does not say what to do switches nothing."""
    assert (await root.ask("PUT", OFFLINE, body)).status == status
    assert (await root.get(OFFLINE)).json()["offline"] is False


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


# --- what is missing ------------------------------------------------------------------------------


async def missing(registry: Registry, *options: str) -> list[str]:
    """What `packhouse missing` prints, when what was noted has been written down."""
    await asyncio.sleep(0.6)
    return (await Command(registry).run("missing", *options)).splitlines()


async def test_what_was_asked_for_in_vain(warm: Registry, uplink: FakeUplink) -> None:
    """Packages, versions and tags that were not to be had are listed once; what is held is not."""
    publish(uplink, "1.0.0", name="empty")
    await hold(warm, name="empty")
    await switch(warm, "on")
    for path in ("/n", "/n/latest", "/n/-/n-1.0.0.tgz"):
        assert (await warm.get(path)).status == 200
    for _ in range(2):
        for path in ("/new", "/@s%2fnew", "/n/2.0.0", "/n/-/n-2.0.0.tgz", "/n/next", "/empty"):
            await warm.get(path)

    assert await missing(warm) == [
        "@s/new@latest",
        "empty@latest",
        "n@2.0.0",
        "n@next",
        "new@latest",
    ]
    (line,) = [
        json.loads(each) for each in await missing(warm, "--format", "json") if "2.0" in each
    ]
    assert (line["name"], line["version"], line["times"]) == ("n", "2.0.0", 4)


async def test_what_has_come_since_is_not_missing(warm: Registry) -> None:
    """A version or package that was brought here leaves the list; --clear forgets the rest."""
    await switch(warm, "on")
    for path in ("/n/2.0.0", "/new", "/n/next"):
        await warm.get(path)
    before = await missing(warm)
    await switch(warm, "off")
    await warm.get("/n/-/n-2.0.0.tgz")

    after = await missing(warm, "--clear")

    assert before == ["n@2.0.0", "n@next", "new@latest"]
    assert after == ["n@next", "new@latest"]
    assert await missing(warm) == []


async def test_what_the_uplink_has_not_is_not_missing(warm: Registry) -> None:
    """A 404 of an uplink that is here is no wish to be carried anywhere."""
    for path in ("/nowhere", "/n/9.9.9", "/n/-/n-9.9.9.tgz"):
        assert (await warm.get(path)).status == 404

    assert await missing(warm) == []


async def test_away_notes_it_too(registry: Registry, uplink: FakeUplink) -> None:
    """What could not be fetched in an outage is listed afterwards."""
    await uplink.stop()
    assert (await registry.packument("n")).status == 502

    assert await missing(registry) == ["n@latest"]
