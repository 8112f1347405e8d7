"""What the tests of the stories share."""

from __future__ import annotations

import pytest

from tests import judging


@pytest.fixture
async def house() -> judging.House:
    """Packages, people and permissions in dicts."""
    return await judging.furnished()
