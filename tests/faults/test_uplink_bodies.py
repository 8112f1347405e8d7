"""Rows 8 to 24 and 28 of the fault matrix: what comes is cut, spoilt, or not HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import expectations as expect
from tests.fakes import faults
from tests.fakes.exchange import Script, Seen
from tests.fakes.faults import Reader, Writer
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry

# Each makes a packument unusable whatever its coding.
UNUSABLE = {
    "row_08_truncated_with_length": faults.truncate_length,
    "row_09_truncated_chunked": faults.truncate_chunked,
    "row_10_truncated_without_length": faults.truncate_no_length,
    "row_11_reset_with_length": faults.reset_mid_body,
    "row_12_reset_without_length": faults.reset_no_length,
    "row_13_longer_than_its_length": faults.longer_than_length,
    "row_14_closed_before_any_byte": faults.close_before_byte,
    "row_14_reset_before_any_byte": faults.refuse,
    "row_15_not_http": faults.not_http,
    "row_16_status_line_only": faults.status_line_only,
    "row_17_gzip_garbage": faults.gzip_garbage,
    "row_18_gzip_cut_inside": faults.gzip_cut,
    "row_19_gzip_without_trailer": faults.gzip_no_trailer,
    "row_20_gzip_wrong_crc": faults.gzip_bad_crc,
    "row_20_gzip_trailing_junk": faults.gzip_trailing_junk,
    "row_21_brotli_unasked": faults.brotli,
    "row_22_unknown_coding": faults.unknown_encoding,
    "row_23_header_of_100_kb": faults.big_header,
    "row_23_five_thousand_headers": faults.many_headers,
    "row_24_two_lengths": faults.double_length,
    "row_24_length_and_chunked": faults.length_and_chunked,
    "threat_24_gzip_bomb": faults.gzip_bomb(64 * 1024 * 1024),
}
# What strikes a tarball after its reply has begun.
CUT = {
    "row_08_truncated_with_length": faults.truncate_length,
    "row_09_truncated_chunked": faults.truncate_chunked,
    "row_11_reset_with_length": faults.reset_mid_body,
}


@pytest.fixture
async def registry(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry in which nothing times out."""
    async with expect.patient(tmp_path / "data", uplink, clock) as running:
        yield running


@pytest.fixture(params=UNUSABLE.values(), ids=UNUSABLE.keys())
def unusable(request: pytest.FixtureRequest) -> Script:
    """Every answer that cannot be used."""
    fault: Script = request.param
    return fault


async def test_rows_08_to_24_warm(registry: Registry, uplink: FakeUplink, unusable: Script) -> None:
    """While the uplink's answer cannot be used the copy is sent, marked as stale."""
    await expect.stale_while(registry, uplink, unusable)


async def test_rows_08_to_24_cold(registry: Registry, uplink: FakeUplink, unusable: Script) -> None:
    """Without a copy an answer that cannot be used is a 502, and is not kept."""
    await expect.refused_while(registry, uplink, unusable, 502)


async def test_row_14_one_silent_retry(registry: Registry, uplink: FakeUplink) -> None:
    """A connection that is closed before any byte is opened once more, and the client sees none."""
    expect.publish(uplink)
    uplink.script("/ui", faults.close_before_byte)

    answer = await registry.packument("ui")

    assert answer.status == 200
    assert uplink.count("/ui") == 2


async def test_row_21_brotli_is_asked_for_as_identity(
    registry: Registry, uplink: FakeUplink
) -> None:
    """After a coding that nobody asked for the next try asks for none at all."""
    expect.publish(uplink)
    uplink.script("/ui", faults.brotli)

    answer = await registry.packument("ui")

    assert answer.status == 200
    codings = [request.headers["accept-encoding"] for request in uplink.seen("/ui")]
    assert codings == ["gzip", "identity"]


# --- tarballs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT.keys())
async def test_rows_08_to_12_tarball_is_resumed(
    registry: Registry, uplink: FakeUplink, cut: Script
) -> None:
    """A tarball that is cut twice is asked for from there, and the client notices nothing."""
    asked = await expect.tarball_whole_after(registry, uplink, cut, cut)

    ranges = [request.headers.get("range") for request in uplink.seen(expect.TARBALL)]
    assert asked == 3
    assert ranges[0] is None
    assert all(value and value.startswith("bytes=") for value in ranges[1:])


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT.keys())
async def test_rows_08_to_12_tarball_starts_over_where_ranges_are_unknown(
    registry: Registry, uplink: FakeUplink, cut: Script
) -> None:
    """An uplink that cannot resume sends all again, of which the client gets only the rest."""
    uplink.supports_range = False

    assert await expect.tarball_whole_after(registry, uplink, cut) == 2


@pytest.mark.parametrize("fault", [faults.truncate_length, faults.reset_mid_body])
async def test_rows_08_and_11_tarball_cold(
    registry: Registry, uplink: FakeUplink, fault: Script
) -> None:
    """A tarball that is cut again and again is cut for the client too, after five tries."""
    await expect.tarball_broken_while(registry, uplink, fault, 200)

    assert uplink.count(expect.TARBALL) == 5 + 1


@pytest.mark.parametrize(
    "fault",
    [
        faults.truncate_chunked,
        faults.truncate_no_length,
        faults.reset_no_length,
        faults.longer_than_length,
        faults.close_before_byte,
        faults.not_http,
        faults.status_line_only,
        faults.gzip_garbage,
        faults.unknown_encoding,
        faults.big_header,
        faults.double_length,
        faults.length_and_chunked,
        faults.html,
    ],
)
async def test_rows_09_to_26_tarball_cold(
    registry: Registry, uplink: FakeUplink, fault: Script
) -> None:
    """A tarball that never arrives as it should is a 502: its reply has not begun."""
    await expect.tarball_broken_while(registry, uplink, fault, 502)


async def test_row_10_tarball_without_a_length_is_judged_by_its_digest(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A whole tarball whose length nobody told is sent when its digest is right."""
    assert await expect.tarball_whole_after(registry, uplink, faults.no_length) == 1


async def test_row_10_tarball_without_a_length_or_a_digest_is_refused(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A tarball of which neither length nor digest are known could be cut: it is a 502."""
    uplink.publish("ui", "1.0.0", dist={"integrity": "", "shasum": ""})
    uplink.script(expect.TARBALL, faults.no_length, forever=True)

    answer = await registry.get(expect.TARBALL)

    assert answer.status == 502


async def test_row_28_wrong_byte_large(registry: Registry, uplink: FakeUplink) -> None:
    """A large tarball with one wrong byte is cut before its end, and nothing of it is kept."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.wrong_bytes, forever=True)

    got = await expect.fetch(registry, expect.TARBALL)

    spoilt = bytearray(data)
    spoilt[len(data) // 2] ^= 0xFF
    assert (got.status, got.is_complete) == (200, False)
    assert len(got.body) <= len(data) - 64 * 1024
    assert bytes(spoilt).startswith(got.body)
    assert not expect.has(registry, data)
    assert not expect.has(registry, bytes(spoilt))
    assert expect.unfinished(registry) == []
    uplink.clear_scripts()
    assert (await registry.get(expect.TARBALL)).body == data


async def test_row_28_wrong_byte_small(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball small enough to be held back whole is never even begun: a wrong byte is a 502."""
    data = uplink.publish("ui", "1.0.0")
    uplink.script(expect.TARBALL, faults.wrong_bytes)

    refused = await registry.get(expect.TARBALL)
    mended = await registry.get(expect.TARBALL)

    assert (refused.status, refused.json()["code"]) == (502, "E_INTEGRITY")
    assert (mended.status, mended.body) == (200, data)


async def test_row_28_more_bytes_than_were_published(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A tarball with bytes after its end is not the one that was promised."""

    async def longer(reader: Reader, writer: Writer, request: Seen) -> None:
        reply = request.answer()
        writer.write(replace(reply, body=reply.body + b"more").whole())
        await writer.drain()

    await expect.tarball_broken_while(registry, uplink, longer, 200)


async def test_row_28_resumed_with_other_bytes(registry: Registry, uplink: FakeUplink) -> None:
    """Two halves of different files do not make a tarball, however well each was transferred."""
    data = expect.publish(uplink)
    await registry.packument("ui")
    uplink.script(expect.TARBALL, faults.truncate_length, faults.wrong_bytes)

    got = await expect.fetch(registry, expect.TARBALL)

    assert (got.status, got.is_complete) == (200, False)
    assert not expect.has(registry, data)
    assert (await registry.get(expect.TARBALL)).body == data
