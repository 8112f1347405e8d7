"""The switch that takes uplinks offline, and the list of what was asked for in vain."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests import commands, people
from tests.absence import hold, publish, shown, switch
from tests.accounts import Person, log_in
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.people import PASSWORD
from tests.registry import Registry

OFFLINE = "/-/packhouse/offline"


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
