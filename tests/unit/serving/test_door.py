"""proxy.serving.door: how many are let in."""

from __future__ import annotations

import pytest

from proxy.serving import door


@pytest.mark.parametrize(
    ("descriptors", "clients"), [(10, 4), (64, 14), (1024, 494), (1_048_576, 1_048_028)]
)
def test_descriptors_are_left_for_what_clients_ask_for(descriptors: int, clients: int) -> None:
    """Of few descriptors half are for files, of many at most 512; somebody is always let in."""
    assert door.room(descriptors) == clients
