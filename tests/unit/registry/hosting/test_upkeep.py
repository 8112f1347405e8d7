"""proxy.registry.hosting.upkeep, on hosted packages and Blobs in dicts."""

from __future__ import annotations

import hashlib
import logging
from datetime import timedelta

import pytest

from proxy.errors import StorageCorrupt
from proxy.registry.hosting.publishing import lease_of
from proxy.registry.hosting.upkeep import HostedUpkeep, Reclaimed
from tests.fakes.memory import MemoryBlobs, MemoryLeases
from tests.fakes.memory_hosting import MemoryHosted
from tests.hosting import ANN, NOON, a_version, newest

HOUR = timedelta(hours=1)


class House:
    """Upkeep and what it looks after; an hour has gone by since everything was stored."""

    def __init__(self) -> None:
        self.now = NOON
        self.hosted = MemoryHosted()
        self.blobs = MemoryBlobs(clock=lambda: self.now)
        self.leases = MemoryLeases()

    def upkeep(self) -> HostedUpkeep:
        self.now = NOON + HOUR
        return HostedUpkeep(
            hosted=self.hosted, blobs=self.blobs, leases=self.leases, clock=lambda: self.now
        )

    async def store(self, data: bytes) -> str:
        """A blob that no version names."""
        digest = hashlib.sha512(data).hexdigest()
        await self.blobs.put(data, digest, is_durable=True)
        return digest

    async def publish(self, version: str) -> str:
        digest = await self.store(version.encode())
        await self.hosted.publish(a_version(version, digest=digest), ANN)
        return digest

    async def left(self) -> set[str]:
        return {digest async for digest, _, _ in self.blobs.digests()}


@pytest.fixture
async def house() -> House:
    return House()


async def test_what_no_version_names_is_removed(house: House) -> None:
    """A blob that no version names goes once it is old; the others stay."""
    named, orphan = await house.publish("1.0.0"), await house.store(b"orphan")

    swept = await house.upkeep().sweep()

    assert swept == Reclaimed(0, 1, len(b"orphan"))
    assert await house.left() == {named}
    assert orphan != named


async def test_what_is_young_stays(house: House) -> None:
    """A blob that was stored just now is not looked at."""
    upkeep = house.upkeep()
    orphan = await house.store(b"orphan")

    await upkeep.sweep()

    assert await house.left() == {orphan}


async def test_what_is_being_published_stays(house: House) -> None:
    """However old a blob is, it stays while its publish is under way."""
    orphan = await house.store(b"slow")
    upkeep = house.upkeep()

    async with house.leases.hold(lease_of(orphan)):
        during = await upkeep.sweep()
        left = await house.left()
    after = await upkeep.sweep()

    assert (during.orphans, left) == (0, {orphan})
    assert after.orphans == 1


async def test_what_was_unpublished_is_removed(house: House) -> None:
    """The tarball of a version that was unpublished is nobody's any more."""
    kept = await house.publish("1.0.0")
    await house.publish("2.0.0")
    await house.hosted.remove_versions("@acme/ui", ["2.0.0"], ANN, latest=newest)

    await house.upkeep().sweep()

    assert await house.left() == {kept}


async def test_a_database_that_knows_too_little(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """If most tarballs are nobody's, the database is an old one: none is removed, it is told."""
    named = await house.publish("1.0.0")
    orphans = {await house.store(str(number).encode()) for number in range(201)}

    with caplog.at_level(logging.ERROR):
        swept = await house.upkeep().sweep()

    assert swept.orphans == 0
    assert await house.left() == {named, *orphans}
    assert "Restore the latest one" in caplog.text


async def test_a_database_that_cannot_be_read(house: House) -> None:
    """While the database cannot be read nothing is removed."""
    orphan = await house.store(b"orphan")
    upkeep = house.upkeep()

    class Broken(MemoryHosted):
        async def is_referenced(self, digest: str) -> bool:
            raise StorageCorrupt(reason=f"nobody knows {digest}")

    upkeep._hosted = Broken()

    with pytest.raises(StorageCorrupt):
        await upkeep.round()
    assert await house.left() == {orphan}
    assert await house.leases.try_acquire("hosted upkeep")


async def test_one_at_a_time(house: House) -> None:
    """While another process sweeps, this one does not."""
    await house.store(b"orphan")
    upkeep = house.upkeep()

    async with house.leases.hold("hosted upkeep"):
        assert await upkeep.round() is None
    assert (await upkeep.round()) == Reclaimed(0, 1, len(b"orphan"))
