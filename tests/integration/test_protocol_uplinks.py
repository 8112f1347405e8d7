"""Several uplinks over the wire: each name has one origin, each origin its own credentials."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Clock, Registry
from tests.routed import Two, route, two_uplinks

BULK = "/-/npm/v1/security/advisories/bulk"
QUICK = "/-/npm/v1/security/audits/quick"
TREE = b'{"name":"app","requires":{"a":"1"},"dependencies":{"a":{"version":"1.0.0"}}}'


@pytest.fixture
async def two(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Two]:
    """A registry in front of two uplinks."""
    async with two_uplinks(tmp_path / "data", uplink, clock) as running:
        yield running


async def post(registry: Registry, path: str, body: bytes) -> Answer:
    return await registry.ask("POST", path, {"content-type": "application/json"}, body)


async def test_each_name_has_one_origin(two: Two) -> None:
    """A name comes from its own uplink even if another has it too, with a higher version."""
    corp = two.corp.publish("@corp/b", "1.0.0")
    two.npm.publish("@corp/b", "99.0.0")
    two.npm.publish("corp-tool", "99.0.0")
    two.npm.publish("@acme/c", "99.0.0")

    packument = await two.registry.packument("@corp%2fb")
    tarball = await two.registry.get("/@corp/b/-/b-1.0.0.tgz")
    missing = [
        (await two.registry.get(path)).status
        for path in ("/corp-tool", "/@acme%2fc", "/@corp/b/99.0.0", "/@corp/b/-/b-99.0.0.tgz")
    ]

    assert list(packument.json()["versions"]) == ["1.0.0"]
    assert tarball.body == corp
    assert missing == [404] * 4
    assert two.npm.count() == 0


async def test_an_uplink_that_is_away_is_not_replaced(two: Two) -> None:
    """While the uplink of a name is away, no other is asked for it, and the rest works on."""
    two.npm.publish("@corp/b", "99.0.0")
    two.npm.publish("a", "1.0.0")
    await two.corp.stop()

    away = await two.registry.packument("@corp%2fb")
    other = await two.registry.packument("a")

    assert (away.status, other.status) == (502, 200)
    assert two.npm.count("/@corp") == 0


async def test_credentials_go_home_only(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> None:
    """Each uplink is sent its own credentials, on every kind of question, and no other's."""
    async with FakeUplink() as corp:
        uplink.token = "npm-t0ken"
        registry = Registry(tmp_path / "data", uplink.url, clock=clock)
        route(
            registry,
            ("@corp/*", "corp"),
            ("*", "npm"),
            uplinks={"corp": corp},
            settings={
                "npm": {"token": "npm-t0ken", "headers": {"X-Key": "npm-key"}},
                "corp": {"username": "ann", "password": "p:w"},
            },
        )
        uplink.publish("a", "1.0.0")
        corp.publish("@corp/b", "1.0.0")
        async with registry:
            for path in (
                "/a",
                "/a/-/a-1.0.0.tgz",
                "/@corp%2fb",
                "/@corp/b/-/b-1.0.0.tgz",
                "/-/npm/v1/keys",
                "/-/v1/search?text=a",
                "/-/npm/v1/attestations/@corp%2fb@1.0.0",
                "/downloads/point/last-week/a",
            ):
                await registry.get(path, authorization="Bearer the-clients")
            await post(registry, BULK, b'{"a":["1.0.0"],"@corp/b":["1.0.0"]}')

        basic = "Basic " + base64.b64encode(b"ann:p:w").decode()
        assert {each.headers.get("authorization") for each in uplink.seen()} == {"Bearer npm-t0ken"}
        assert {each.headers.get("x-key") for each in uplink.seen()} == {"npm-key"}
        assert {each.headers.get("authorization") for each in corp.seen()} == {basic}
        assert {each.headers.get("x-key") for each in corp.seen()} == {None}
        assert (uplink.count(), corp.count()) == (6, 5)


async def test_nothing_is_mirrored_by_rule(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """With the rest hosted, only the names that a rule gives to an uplink ever reach it."""
    uplink.publish("@pub/a", "1.0.0")
    uplink.publish("b", "1.0.0")
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    route(registry, ("@pub/*", "npm"), ("*", "hosted"))
    async with registry:
        statuses = {
            path: (await registry.get(path)).status
            for path in ("/@pub%2fa", "/b", "/-/v1/search?text=b", "/downloads/point/last-week/b")
        }
        audits = [
            (await post(registry, BULK, b'{"b":["1.0.0"]}')).json(),
            (await post(registry, QUICK, TREE)).status,
        ]

    assert list(statuses.values()) == [200, 404, 404, 404]
    assert audits == [{}, 404]
    assert [each.target for each in uplink.seen()] == ["/@pub%2fa"]
