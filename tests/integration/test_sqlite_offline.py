"""The switches, and what was asked for in vain, as they are kept beside the index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.storage import offline, schema
from proxy.storage.database import Database
from proxy.storage.offline import EVERY_UPLINK, Missing, SqliteOffline, Switch
from proxy.storage.sqlite import SqliteIndex
from tests.contract.test_index import a_tarball

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ALL = Switch(EVERY_UPLINK, NOON, "cli:ann")
ACME = Switch("acme", NOON, "cli:ann")


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SqliteIndex]:
    async with SqliteIndex(tmp_path / "index.sqlite") as opened:
        yield opened


@pytest.fixture
async def kept(index: SqliteIndex) -> SqliteOffline:
    return SqliteOffline(index.database)


async def test_switches_are_kept(kept: SqliteOffline) -> None:
    """A switch that is on is told with who threw it and when; on again changes nothing."""
    assert await kept.switch_on(ACME)
    assert not await kept.switch_on(Switch("acme", NOON + timedelta(days=1), "cli:ben"))

    assert kept.switches() == [ACME]


async def test_off_again(kept: SqliteOffline) -> None:
    """One switch goes off by itself, all of them together; off again changes nothing."""
    for switch in (ALL, ACME, Switch("npm", NOON, "ann")):
        await kept.switch_on(switch)

    assert await kept.switch_off("acme")
    assert [switch.uplink for switch in kept.switches()] == [EVERY_UPLINK, "npm"]
    assert await kept.switch_off(EVERY_UPLINK)
    assert kept.switches() == []
    assert not await kept.switch_off(EVERY_UPLINK)


async def test_every_process_hears_of_it(tmp_path: Path, kept: SqliteOffline) -> None:
    """Another process sees the counter move, finds the switch, and is told to forget everything."""
    async with SqliteIndex(tmp_path / "index.sqlite") as other:
        before, (sequence, _) = other.revision(), await other.changes(-1)

        await kept.switch_on(ALL)

        assert other.revision() != before
        assert SqliteOffline(other.database).switches() == [ALL]
        _, names = await other.changes(sequence)
        assert list(names) == ["*"]


async def test_what_is_missing_is_counted(kept: SqliteOffline) -> None:
    """What was asked for twice is there once, with the sum and the later instant."""
    first, later = (Missing("a", "1.0.0", 2, NOON + timedelta(hours=hour)) for hour in (0, 1))
    await kept.note([later, Missing("a", "", 1, NOON)])

    await kept.note([first])

    assert await kept.missing() == [
        Missing("a", "", 1, NOON),
        Missing("a", "1.0.0", 4, NOON + timedelta(hours=1)),
    ]
    await kept.clear_missing()
    assert await kept.missing() == []


async def test_what_is_missing_is_bounded(kept: SqliteOffline) -> None:
    """Of more than ten thousand things those that were asked for longest ago are forgotten."""
    most = offline._MOST_MISSING
    instants = [NOON + timedelta(seconds=number) for number in range(most + 50)]

    await kept.note([Missing(f"p{n:05}", "", 1, at) for n, at in enumerate(instants)])

    left = await kept.missing()
    assert (len(left), left[0].name) == (most, "p00050")


async def test_an_index_of_before(tmp_path: Path) -> None:
    """A file from before there were switches gets their tables, and keeps what it holds."""
    path = tmp_path / "index.sqlite"
    async with Database(path, migrations=schema.MIGRATIONS[:1]) as old:
        row = ("npm", "left-pad", "left-pad-1.0.0.tgz", "1.0.0", "bb" * 64, 500, 0, 0)
        await old.write(lambda db: db.execute(schema.PUT_TARBALL, row))

    async with SqliteIndex(path) as index:
        found = await index.tarball("left-pad", "left-pad-1.0.0.tgz")
        kept = SqliteOffline(index.database)
        await kept.switch_on(ACME)

        assert found is not None and found.digest == a_tarball().digest
        assert kept.switches() == [ACME]
