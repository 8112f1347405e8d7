"""A bit that flips on our disk: clients get the right bytes, or no clean end (row 61, 45)."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.web import keys
from tests.fakes.uplink import FakeUplink
from tests.owned import Owned, flip, owned
from tests.registry import Clock

UI = "/@acme/ui/-/ui-1.0.0.tgz"
BIG = "/big/-/big-1.0.0.tgz"
LARGE = 600_000  # not kept in memory, and sent in three pieces


@pytest.fixture
async def home(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Owned]:
    """A registry with hosted and mirrored names."""
    async with owned(tmp_path / "data", uplink, clock) as running:
        yield running


@pytest.mark.parametrize("size_bytes", [1_000, LARGE])
async def test_row_61_a_mirrored_tarball(home: Owned, size_bytes: int) -> None:
    """A flipped bit in a mirrored tarball: the answer is 200 with the right bytes, fetched anew."""
    data = home.uplink.publish("big", "1.0.0", files={"x": os.urandom(size_bytes)})
    await home.get(BIG)
    flip(home.blob(data, ""))
    await home.registry.restart()
    asked = home.uplink.count(BIG)

    found = [await home.get(BIG) for _ in range(3)]

    assert [each.status for each in found] == [200] * 3
    assert {each.body for each in found} == {data}
    assert home.uplink.count(BIG) == asked + 1


async def test_row_61_a_mirrored_tarball_under_a_running_server(home: Owned) -> None:
    """The same while it serves: that the file has changed is seen at the next request."""
    data = home.uplink.publish("big", "1.0.0", files={"x": os.urandom(LARGE)})
    for _ in range(2):
        await home.get(BIG)
    flip(home.blob(data, ""))

    found = await home.get(BIG)

    assert (found.status, found.body) == (200, data)


@pytest.mark.parametrize("path", ["hosted", "mirrored"])
async def test_row_61_one_too_large_to_look_at_first(
    home: Owned, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A very large damaged tarball is cut before its end; a mirrored one is right the next time."""
    files = {"x": os.urandom(LARGE)}
    data = home.uplink.publish("big", "1.0.0", files=files)
    await home.get(BIG)
    ours = await home.publish("@acme/ui", files=files)
    await home.registry.restart()
    assert home.registry.app is not None
    reading = home.registry.app[keys.READING]
    for story in (reading._published, reading._tarballs):
        story._blobs._checked_first_bytes = LARGE // 2
    target, user = (UI, "ann") if path == "hosted" else (BIG, None)
    flip(home.blob(ours) if path == "hosted" else home.blob(data, ""))

    with pytest.raises(aiohttp.ClientPayloadError):
        await home.get(target, user)
    await home.registry.idle()

    if path == "mirrored":
        assert (await home.get(target)).body == data
    else:
        assert "published tarball damaged" in caplog.text
        with pytest.raises(aiohttp.ClientPayloadError):
            await home.get(target, user)


@pytest.mark.parametrize("size_bytes", [1_000, LARGE])
async def test_row_61_a_hosted_tarball(
    home: Owned, size_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged published tarball is a told error until it is restored; nothing is removed."""
    data = await home.publish("@acme/ui", files={"x": os.urandom(size_bytes)})
    before = await home.get(UI, "ann")
    flip(home.blob(data))

    with caplog.at_level(logging.ERROR):
        damaged = [await home.get(UI, "ann") for _ in range(2)]
    ready = (await home.get("/-/ready")).json()
    home.blob(data).write_bytes(data)
    restored = await home.get(UI, "ann")
    calm = (await home.get("/-/ready")).json()

    assert before.body == restored.body == data
    assert [each.status for each in damaged] == [500] * 2
    assert damaged[0].json()["code"] == "E_CORRUPT"
    assert [record.package for record in caplog.records if "tarball damaged" in record.message] == [
        "@acme/ui", "@acme/ui",
    ]  # fmt: skip
    assert ready["warnings"] == {"hosted": "1 published tarballs are damaged; the log names them"}
    assert ready["status"] == "ready"
    assert calm["warnings"] == {}


@pytest.mark.parametrize("harm", ["gone", "short"])
async def test_a_hosted_tarball_that_is_gone(home: Owned, harm: str) -> None:
    """A published tarball that is gone or cut is a 500, never a 404 that would be believed."""
    data = await home.publish("@acme/ui")
    if harm == "gone":
        home.blob(data).unlink()
    else:
        home.blob(data).write_bytes(data[:-1])

    found = await home.get(UI, "ann")

    assert found.status == 500
    assert "hosted" in (await home.get("/-/ready")).json()["warnings"]


async def test_verify_reads_what_is_published(home: Owned) -> None:
    """`cache verify` tells of damaged published tarballs apart, and removes none of them."""
    sound = await home.publish("@acme/sound")
    data = await home.publish("@acme/ui")
    clean = await _verify(home)
    flip(home.blob(data))

    status, said = await _verify(home)

    assert clean == (0, "0 files read, 0 damaged\n2 published tarballs read, 0 damaged\n")
    assert status == 1
    assert "@acme/ui@1.0.0: its bytes have changed; restore it\n" in said
    assert "2 published tarballs read, 1 damaged" in said
    assert home.blob(data).exists()
    assert home.blob(sound).exists()


async def _verify(home: Owned) -> tuple[int, str]:
    given = ["cache", "verify", "--data", str(home.data)]
    result = await asyncio.to_thread(partial(CliRunner().invoke, main, given))
    return result.exit_code, result.output
