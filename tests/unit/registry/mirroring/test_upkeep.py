"""proxy.registry.mirroring.upkeep, on Index and Blobs in dicts."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from proxy.errors import StorageAway
from proxy.registry.mirroring.upkeep import Bounds, Upkeep, Verdict
from proxy.storage.base import TarballRecord
from tests.fakes.memory import MemoryBlobs, MemoryIndex, MemoryLeases

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Disk(MemoryBlobs):
    """Blobs on a disk of a certain size."""

    def __init__(self, house: House) -> None:
        super().__init__(clock=house.clock)
        self.size_bytes = 1_000_000

    async def free_bytes(self) -> int:
        return self.size_bytes - sum([size async for _, size, _ in self.digests()])


class Rendered:
    """A cache that has something to sweep."""

    async def sweep(self) -> int:
        return 3


class House:
    """Upkeep and everything it looks after."""

    def __init__(self) -> None:
        self.now = NOW
        self.index = MemoryIndex()
        self.blobs = Disk(self)
        self.leases = MemoryLeases()

    def clock(self) -> datetime:
        return self.now

    def _seconds(self) -> float:
        return self.now.timestamp()

    def upkeep(self, *, max_bytes: int = 1_000_000, min_free_bytes: int = 0) -> Upkeep:
        return Upkeep(
            index=self.index,
            blobs=self.blobs,
            cache=Rendered(),
            leases=self.leases,
            bounds=Bounds(max_bytes=max_bytes, min_free_bytes=min_free_bytes),
            clock=self.clock,
            monotonic=self._seconds,
        )

    async def hold(self, name: str, data: bytes) -> TarballRecord:
        """Keep a tarball of `name`, used now."""
        digest = hashlib.sha512(data).hexdigest()
        file = f"{name}-1.0.0.tgz"
        record = TarballRecord(
            uplink="npm", name=name, file=file, version="1.0.0", digest=digest,
            size_bytes=len(data), stored_at=self.now, used_at=self.now,
        )  # fmt: skip
        await self.blobs.put(data, digest)
        await self.index.put_tarball(record)
        return record

    async def held(self) -> list[str]:
        return list(await self.index.names())

    async def blob_count(self) -> int:
        return len([digest async for digest, _, _ in self.blobs.digests()])


@pytest.fixture
def house() -> House:
    return House()


async def test_the_least_recently_used_go_first_and_no_more_than_needed(house: House) -> None:
    """Above max_size the tarballs that nobody asked for for longest go, until it fits."""
    upkeep = house.upkeep(max_bytes=250)
    for name in ("a", "b", "c", "d"):
        await house.hold(name, name.encode() * 100)
        house.now += timedelta(seconds=1)
    upkeep.used("a", "a-1.0.0.tgz")

    await upkeep.round()

    assert await house.held() == ["a", "d"]
    assert await house.blob_count() == 2


async def test_nothing_goes_while_everything_fits(house: House) -> None:
    """Within the bounds an eviction frees nothing."""
    upkeep = house.upkeep(max_bytes=100)
    await house.hold("a", b"a" * 100)

    assert await upkeep.evict() == 0
    assert await house.held() == ["a"]


async def test_a_floor_of_free_disk_evicts_too(house: House) -> None:
    """Tarballs go until the disk has its floor free, however far max_size is."""
    house.blobs.size_bytes = 500
    upkeep = house.upkeep(min_free_bytes=250)
    for name in ("a", "b", "c"):
        await house.hold(name, name.encode() * 100)
        house.now += timedelta(seconds=1)

    assert await upkeep.evict() == 100
    assert await house.held() == ["b", "c"]


async def test_a_disk_that_others_fill_ends_the_eviction(house: House) -> None:
    """When nothing is left to evict it stops, and there is no room for more."""
    house.blobs.size_bytes = 10
    upkeep = house.upkeep(min_free_bytes=1_000)
    await house.hold("a", b"a" * 5)

    assert await upkeep.evict() == 5
    assert await house.held() == []
    assert not await upkeep.has_room()


async def test_more_than_one_batch_is_evicted_if_need_be(house: House) -> None:
    """Hundreds of small tarballs go as well as one large one."""
    upkeep = house.upkeep(max_bytes=50)
    for number in range(200):
        await house.hold(f"p{number}", b"%03d" % number)

    await upkeep.evict()

    assert len(await house.held()) == 16


async def test_bytes_that_two_packages_share_go_with_the_last(house: House) -> None:
    """A blob stays while any record names it."""
    upkeep = house.upkeep()
    first, second = await house.hold("a", b"same"), await house.hold("b", b"same")

    await upkeep.remove(first)
    shared = await house.blob_count()
    await upkeep.remove(second)

    assert (shared, await house.blob_count()) == (1, 0)


async def test_only_old_orphans_are_swept(house: House) -> None:
    """A blob without a record goes when it is half a minute old; one with a record never."""
    upkeep = house.upkeep()
    await house.hold("a", b"a")
    await house.blobs.put(b"old", hashlib.sha512(b"old").hexdigest())
    house.now += timedelta(seconds=31)
    await house.blobs.put(b"young", hashlib.sha512(b"young").hexdigest())

    swept = await upkeep.sweep()

    assert (swept.orphans, swept.orphan_bytes, swept.rendered) == (1, 3, 3)
    assert await house.blob_count() == 2


async def test_one_process_at_a_time(house: House) -> None:
    """While another process is at it, a round evicts nothing and comes again."""
    upkeep = house.upkeep(max_bytes=0)
    await house.hold("a", b"a")
    await house.leases.try_acquire("upkeep")

    has_swept = await upkeep.round(is_sweep_due=True)
    held = await house.held()
    await house.leases.release("upkeep")

    assert (has_swept, held) == (False, ["a"])
    assert await upkeep.round(is_sweep_due=True)
    assert await house.held() == []


async def test_collecting_waits_for_its_turn(house: House) -> None:
    """`packhouse cache gc` works after the server's round, not beside it."""
    upkeep = house.upkeep(max_bytes=0)
    await house.hold("a", b"abc")
    await house.leases.try_acquire("upkeep")
    collecting = asyncio.create_task(upkeep.collect())
    await asyncio.sleep(0)
    held = await house.held()

    await house.leases.release("upkeep")
    _, freed_bytes = await collecting

    assert held == ["a"]
    assert freed_bytes == 3


async def test_verify_finds_every_kind_of_damage(house: House) -> None:
    """Changed, cut and missing tarballs, and changed packument bodies, are told and removed."""
    upkeep = house.upkeep()
    sound = await house.hold("sound", b"sound")
    changed = await house.hold("changed", b"changed")
    cut = await house.hold("cut", b"cut")
    missing = await house.hold("missing", b"missing")
    body = hashlib.sha512(b"body").hexdigest()
    for digest, bytes_now in ((changed.digest, b"chAnged"), (cut.digest, b"cu"), (body, b"bOdy")):
        house.blobs.settle(digest, bytes_now)
    await house.blobs.delete(missing.digest)

    verdicts = [verdict async for verdict in upkeep.verify()]

    assert verdicts == [
        Verdict("changed@1.0.0", "its bytes have changed"),
        Verdict("cut@1.0.0", "2 bytes instead of 3"),
        Verdict("missing@1.0.0", "the file is missing"),
        Verdict("sound@1.0.0", None),
        Verdict(f"packument body {body[:16]}", "its bytes have changed"),
    ]
    assert await house.held() == ["sound"]
    assert [digest async for digest, _, _ in house.blobs.digests()] == [sound.digest]


async def test_damage_in_shared_bytes_concerns_every_record(house: House) -> None:
    """Two records of one damaged blob are both removed."""
    upkeep = house.upkeep()
    record = await house.hold("a", b"same")
    await house.hold("b", b"same")
    house.blobs.settle(record.digest, b"sAme")

    verdicts = [verdict.damage async for verdict in upkeep.verify()]

    assert verdicts == ["its bytes have changed"] * 2
    assert await house.held() == []


async def test_room_is_looked_at_once_a_second(house: House) -> None:
    """Between two looks the disk is not asked, so that a download costs no system call."""
    upkeep = house.upkeep(min_free_bytes=100)
    before = await upkeep.has_room()
    house.blobs.size_bytes = 50

    soon = await upkeep.has_room()
    house.now += timedelta(seconds=1)

    assert (before, soon, await upkeep.has_room()) == (True, True, False)


@pytest.mark.parametrize("fault", [StorageAway(reason="gone"), ZeroDivisionError()])
async def test_a_failed_round_is_told_and_tried_again(
    house: House, caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    """Whatever goes wrong in a round, the next one comes."""

    class Failing(MemoryBlobs):
        async def free_bytes(self) -> int:
            raise fault

    upkeep = Upkeep(
        index=house.index, blobs=Failing(), cache=Rendered(), leases=house.leases,
        bounds=Bounds(max_bytes=0, min_free_bytes=0), clock=house.clock, monotonic=lambda: 0.0,
    )  # fmt: skip
    running = asyncio.create_task(upkeep.run())
    await asyncio.sleep(0.05)
    is_running = not running.done()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running

    assert is_running
    assert [record.levelno for record in caplog.records] in ([logging.WARNING], [logging.ERROR])
    assert await house.leases.try_acquire("upkeep")
