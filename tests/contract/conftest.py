"""Hosted packages and people, as everything that keeps them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import HostedIndex
from proxy.storage.identity import People
from proxy.storage.people import SqlitePeople
from tests.fakes.memory_hosting import MemoryHosted, MemoryStore
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import Opened


@pytest.fixture(params=["sqlite", "memory"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    if request.param == "memory":
        store = MemoryStore()
        yield Opened(MemoryHosted(store), MemoryPeople(store))
        return
    async with open_database(tmp_path / "hosted.sqlite") as database:
        yield Opened(SqliteHosted(database), SqlitePeople(database))


@pytest.fixture
def hosted(opened: Opened) -> HostedIndex:
    return opened.hosted


@pytest.fixture
def people(opened: Opened) -> People:
    return opened.people
