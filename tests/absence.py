"""An uplink that is not to be had, and what a registry in front of it shows."""

from __future__ import annotations

from proxy.storage.offline import EVERY_UPLINK, SqliteOffline, Switch
from proxy.storage.sqlite import SqliteIndex
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Answer, Registry

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
