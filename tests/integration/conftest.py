"""Fixtures of the tests that run the web floor over stories in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.stories import Bytes, Stories, serve
from tests.floor import BIG, SMALL, TARBALL


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
