"""Fixtures of the tests that drive real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.clients import Client
from tests.clients.house import House, open_house
from tests.clients.seats import Seat


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A registry with users, for all tests of one file; none may tell the uplink our names."""
    with open_house(tmp_path_factory.mktemp("house")) as opened:
        yield opened
    assert opened.heard("acme") == []


@pytest.fixture
def ann(house: House, client: Client) -> Seat:
    """Somebody who publishes, with the client of the test."""
    return house.seat(client, "ann")


@pytest.fixture
def bob(house: House, client: Client) -> Seat:
    """Somebody else, who is logged in as well."""
    return house.seat(client, "bob")
