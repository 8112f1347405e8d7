"""Fixtures of the tests that run the web floor over stories in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests import changes
from tests.changes import Shop
from tests.fakes.stories import Bytes, Stories, serve
from tests.fakes.uplink import FakeUplink
from tests.floor import BIG, SMALL, TARBALL
from tests.registry import Clock


@pytest.fixture
def stories() -> Stories:
    return Stories(
        documents={"small": SMALL, "big": BIG},
        tarballs={"small-1.0.0.tgz": Bytes(b"tarball"), "big-1.0.0.tgz": Bytes(TARBALL)},
    )


@pytest.fixture
async def port(stories: Stories) -> AsyncIterator[int]:
    async with serve(stories) as opened:
        yield opened


@pytest.fixture
async def shop(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Shop]:
    """A registry where ann has published @acme/ui in two versions."""
    async with changes.shop(tmp_path / "data", uplink, clock) as opened:
        yield opened
