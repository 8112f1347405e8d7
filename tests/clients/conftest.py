"""Fixtures of the tests that drive real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.house import House, open_house


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A registry with users, for all tests of one file."""
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened
