"""Publishing over HTTP, as clients do it. The numbers are those of the protocol's edge cases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Home, a_publish, home
from tests.registry import Clock


@pytest.fixture
async def acme(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Home]:
    """A registry where `@acme/*` and `ours-*` live."""
    async with home(tmp_path / "data", uplink, clock) as found:
        yield found


async def test_a_version_is_published(acme: Home) -> None:
    """What was published is acknowledged, and its packument and tarball are there at once."""
    publish = a_publish("1.0.0", description="buttons")

    told = await acme.put(publish)
    packument = await acme.packument()
    tarball = await acme.get(f"/{UI}/-/ui-1.0.0.tgz")

    assert told.status == 201
    assert told.json() == {"ok": True, "success": True, "id": UI, "rev": packument["_rev"]}
    assert packument["dist-tags"] == {"latest": "1.0.0"}
    assert packument["versions"]["1.0.0"]["dist"]["tarball"] == (
        f"{acme.registry.url}/{UI}/-/ui-1.0.0.tgz"
    )
    assert tarball.body == publish.tarball
