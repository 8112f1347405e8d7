"""Fixtures that every kind of test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry

# No deadline per example: on a busy machine one slow example says nothing about the code.
settings.register_profile("packhouse", deadline=None, max_examples=60)
settings.load_profile("packhouse")

ROOT = Path(__file__).resolve().parent.parent


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """The name of a test about bytes that nobody can read, which is never the bytes themselves.

    Every worker of the test run collects by itself, and the run ends there if two of them name a
    test differently, which they do as soon as the bytes hold a time of day (a gzip header's, say).
    """
    is_unreadable = isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable())
    return argname if is_unreadable else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture
def clock() -> Clock:
    """Both clocks of the registry, to be moved."""
    return Clock()


@pytest.fixture
async def uplink() -> AsyncIterator[FakeUplink]:
    """A registry to ask, scriptable."""
    async with FakeUplink() as fake:
        yield fake


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """The registry under test, in front of `uplink`."""
    async with Registry(tmp_path / "data", uplink.url, clock=clock) as running:
        yield running
