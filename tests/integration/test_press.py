"""Bodies of every size through the press, on a real disk and with the real pressing process."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StorageAway
from proxy.npm import names, packument
from proxy.npm.forms import Form
from proxy.storage.base import PackumentRecord
from proxy.storage.files import FileBlobs
from proxy.storage.press import BIG_BYTES, SMALL_BYTES, BodyLost, Press, Rendered, Settled
from proxy.storage.presser import Presser

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NAME = names.parse("@acme/ui")
SIZES = {"small": 2, "medium": 200, "big": 4000}  # versions


@dataclass
class Bench:
    """A press, and the blobs it works on."""

    press: Press
    blobs: FileBlobs
    folder: Path


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with FileBlobs(tmp_path) as blobs, Press(blobs=blobs) as press:
        yield Bench(press, blobs, tmp_path)


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def a_packument(versions: int, **fields: Any) -> dict[str, Any]:
    listed = [f"1.0.{number}" for number in range(versions)]
    return {
        "_id": NAME.full,
        "name": NAME.full,
        "dist-tags": {"latest": listed[-1]} if listed else {},
        "versions": {version: a_manifest(version) for version in listed},
        "time": {"modified": "2026-01-02T03:04:05.678Z"} | dict.fromkeys(listed, "2026-01-01"),
        **fields,
    }


def a_manifest(version: str) -> dict[str, Any]:
    return {
        "name": NAME.full,
        "version": version,
        "readme": "".join(f"{version} says {number}. " for number in range(80)),
        "dist": {
            "tarball": f"http://registry.example/@acme/ui/-/ui-{version}.tgz",
            "shasum": "0" * 40,
        },
    }


def encoded(document: object) -> bytes:
    return json.dumps(document).encode()


async def settled(bench: Bench, body: bytes) -> Settled:
    async with bench.press.intake() as intake:
        for start in range(0, len(body), 100_000):
            await intake.write(body[start : start + 100_000])
        return await bench.press.settle(intake, name=NAME, fetched_at=NOON)


def recorded(facts: Settled) -> PackumentRecord:
    return PackumentRecord(
        uplink="npm",
        name=NAME.full,
        form=Form.FULL,
        body_form=facts.body_form,
        digest=facts.digest,
        revision=facts.revision,
        size_bytes=facts.size_bytes,
        etag=None,
        last_modified=None,
        modified_at=facts.modified_at,
        fetched_at=NOON,
        checked_at=NOON,
    )


async def stored(bench: Bench, versions: int) -> PackumentRecord:
    return recorded(await settled(bench, encoded(a_packument(versions))))


async def rendered(bench: Bench, record: PackumentRecord, form: Form) -> dict[str, Any]:
    said = await bench.press.render(record, form=form, base_url="http://us.example")
    data = await said.read() if isinstance(said, Rendered) else said
    document: dict[str, Any] = json.loads(gzip.decompress(data))
    return document


def leftovers(bench: Bench) -> list[str]:
    return [path.name for path in (bench.folder / "incoming").iterdir()]


def test_the_sizes_take_the_three_ways() -> None:
    """The sizes of this file are one below, one between and one above the two thresholds."""
    small, medium, big = (len(encoded(a_packument(count))) for count in SIZES.values())

    assert small < SMALL_BYTES < medium < BIG_BYTES < big


async def test_body_is_stored_as_it_came(bench: Bench, size: str) -> None:
    """What is stored is the uplink's bytes, to the byte, under the facts that were read of them."""
    body = encoded(a_packument(SIZES[size]))

    facts = await settled(bench, body)

    blob = await bench.blobs.open(facts.digest, facts.size_bytes)
    assert blob is not None
    assert gzip.decompress(await blob.read(0, facts.size_bytes)) == body
    await blob.close()
    assert facts.body_form is Form.FULL
    assert facts.modified_at == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert leftovers(bench) == []


async def test_revision_names_the_content(bench: Bench, size: str) -> None:
    """The same body has the same revision and digest again; another body has others."""
    body = encoded(a_packument(SIZES[size]))

    first, again = await settled(bench, body), await settled(bench, body)
    other = await settled(bench, body + b" ")

    assert first == again
    assert other.revision != first.revision


async def test_unhashed_versions_are_told_and_stated(bench: Bench, size: str) -> None:
    """Versions without a hash are named, and what is settled with their shasums has all of them."""
    document = a_packument(SIZES[size])
    del document["versions"]["1.0.0"]["dist"]["shasum"], document["versions"]["1.0.1"]["dist"]
    body = encoded(document)
    async with bench.press.intake() as intake:
        await intake.write(body)
        plain = await bench.press.settle(intake, name=NAME, fetched_at=NOON)
        sums = {"1.0.0": "1" * 40}
        facts = await bench.press.settle(intake, name=NAME, fetched_at=NOON, shasums=sums)

    address = "http://registry.example/@acme/ui/-/ui-1.0.0.tgz"
    assert plain.unhashed == (packument.Dist("1.0.0", address, None, None),)
    assert facts.unhashed == ()
    assert plain.revision != facts.revision
    blob = await bench.blobs.open(facts.digest, facts.size_bytes)
    assert blob is not None
    document["versions"]["1.0.0"]["dist"]["shasum"] = "1" * 40
    stored_body = gzip.decompress(await blob.read(0, facts.size_bytes))
    await blob.close()
    assert json.loads(stored_body) == document
    assert facts.revision == (await settled(bench, stored_body)).revision
    assert leftovers(bench) == []


async def test_narrowed(bench: Bench, size: str) -> None:
    """With versions held, the document, a manifest and the tags tell of these alone, and count."""
    record = await stored(bench, SIZES[size])
    base = {"base_url": "http://us.example"}

    whole = await bench.press.narrowed(record, {"1.0.0"}, {"form": Form.FULL.value, **base})
    latest = await bench.press.narrowed(record, {"1.0.0"}, {"spec": "latest", **base})
    hidden = await bench.press.narrowed(record, {"1.0.0"}, {"spec": "1.0.1", **base})
    tags = await bench.press.narrowed(record, {"1.0.0"}, {})

    assert whole.body and latest.body and tags.body
    document = json.loads(gzip.decompress(whole.body))
    assert list(document["versions"]) == ["1.0.0"]
    assert document["versions"]["1.0.0"] == json.loads(latest.body)
    assert document["dist-tags"] == json.loads(tags.body) == {"latest": "1.0.0"}
    assert hidden.body is None
    counts = {(each.hidden, each.shown) for each in (whole, latest, hidden, tags)}
    assert counts == {(SIZES[size] - 1, 1)}
    assert leftovers(bench) == []


async def test_malformed_body_is_refused(bench: Bench, size: str) -> None:
    """A body cut short is Malformed wherever it is read, and leaves nothing behind."""
    body = encoded(a_packument(SIZES[size]))

    with pytest.raises(packument.Malformed):
        await settled(bench, body[:-2])

    assert leftovers(bench) == []
    assert [entry async for entry in bench.blobs.digests()] == []


@pytest.mark.parametrize("padding", [0, BIG_BYTES])
async def test_empty_package_is_told_apart(bench: Bench, padding: int) -> None:
    """A package without versions is Empty, which is not only Malformed."""
    with pytest.raises(packument.Empty):
        await settled(bench, encoded(a_packument(0, readme="x" * padding)))


async def test_full_form_has_our_addresses(bench: Bench, size: str) -> None:
    """The full form has every version, and each tarball at our address."""
    record = await stored(bench, SIZES[size])

    document = await rendered(bench, record, Form.FULL)

    addresses = {
        version: entry["dist"]["tarball"] for version, entry in document["versions"].items()
    }
    assert len(addresses) == SIZES[size]
    assert addresses["1.0.1"] == "http://us.example/@acme/ui/-/ui-1.0.1.tgz"
    assert document["versions"]["1.0.1"]["readme"] == a_manifest("1.0.1")["readme"]


async def test_abbreviated_form_is_abbreviated(bench: Bench, size: str) -> None:
    """The abbreviated form lists every version without what installers do not need."""
    record = await stored(bench, SIZES[size])

    document = await rendered(bench, record, Form.ABBREVIATED)

    assert len(document["versions"]) == SIZES[size]
    assert "readme" not in document["versions"]["1.0.1"]
    assert document["modified"] == "2026-01-02T03:04:05.678Z"


async def test_manifest_of_version_tag_and_nothing(bench: Bench, size: str) -> None:
    """A version and a dist-tag give their manifest; what is neither gives None."""
    record = await stored(bench, SIZES[size])

    found = [
        await bench.press.manifest(record, NAME, spec, "http://us.example")
        for spec in ("1.0.1", "latest", "9.9.9")
    ]

    assert json.loads(found[0] or b"")["version"] == "1.0.1"
    assert json.loads(found[1] or b"")["version"] == f"1.0.{SIZES[size] - 1}"
    assert found[2] is None


async def test_dist_of_a_file(bench: Bench, size: str) -> None:
    """A tarball's file name leads to what the packument promises of it; an unknown one to None."""
    record = await stored(bench, SIZES[size])

    known = await bench.press.dist(record, NAME, "ui-1.0.1.tgz")
    unknown = await bench.press.dist(record, NAME, "ui-9.9.9.tgz")

    address = "http://registry.example/@acme/ui/-/ui-1.0.1.tgz"
    assert known == packument.Dist("1.0.1", address, None, "0" * 40)
    assert unknown is None


async def test_dist_tags(bench: Bench, size: str) -> None:
    """The dist-tags come alone."""
    record = await stored(bench, SIZES[size])

    tags = json.loads(await bench.press.dist_tags(record, NAME))

    assert tags == {"latest": f"1.0.{SIZES[size] - 1}"}


async def test_versions_are_chosen(bench: Bench, size: str) -> None:
    """Versions and ranges are looked up in a body of any size, with what is missing."""
    record = await stored(bench, SIZES[size])

    chosen = await bench.press.choose(record, NAME, exact=["1.0.0", "9.9.9"], specs=["^1", "^2"])

    address = "http://registry.example/@acme/ui/-/ui-1.0.0.tgz"
    assert [each.version for each in chosen.choices] == ["1.0.0", f"1.0.{SIZES[size] - 1}"]
    assert chosen.choices[0].dist == packument.Dist("1.0.0", address, None, "0" * 40)
    assert chosen.missing == ("9.9.9", "^2")


async def test_lost_body_is_said_to_be_lost(bench: Bench, size: str) -> None:
    """A record whose body is gone is BodyLost, and `has` says so beforehand."""
    record = await stored(bench, SIZES[size])
    was_there = await bench.press.has(record)

    await bench.blobs.delete(record.digest)

    assert was_there
    assert not await bench.press.has(record)
    async with Press(blobs=bench.blobs) as later:
        with pytest.raises(BodyLost):
            await later.render(record, form=Form.FULL, base_url="http://us.example")


async def test_what_was_settled_is_not_read_again(bench: Bench) -> None:
    """Whoever had a body fetched is answered from what was read of it then."""
    record = await stored(bench, SIZES["medium"])
    await bench.blobs.delete(record.digest)

    said = await bench.press.dist_tags(record, NAME)

    assert json.loads(said) == a_packument(SIZES["medium"])["dist-tags"]


async def test_damaged_body_is_lost(bench: Bench, size: str) -> None:
    """A body with one bit wrong is never rendered: it is BodyLost."""
    record = await stored(bench, SIZES[size])
    path = bench.blobs.path(record.digest)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    async with Press(blobs=bench.blobs) as later:
        with pytest.raises(BodyLost):
            await later.dist_tags(record, NAME)


async def test_large_reply_is_a_file_that_goes(bench: Bench) -> None:
    """A reply of more than a megabyte comes as a file, which is gone when it is let go."""
    noise = {f"n{number}": os.urandom(24).hex() for number in range(90_000)}
    record = recorded(await settled(bench, encoded(a_packument(2, noise=noise))))

    said = await bench.press.render(record, form=Form.FULL, base_url="http://us.example")

    assert isinstance(said, Rendered)
    assert said.path.stat().st_size == said.size_bytes
    assert json.loads(gzip.decompress(await said.read()))["noise"] == noise
    await said.close()
    assert leftovers(bench) == []


async def test_forgotten_reply_is_removed(bench: Bench) -> None:
    """A reply in a file that nobody closes is removed with its last reference."""
    noise = {f"n{number}": os.urandom(24).hex() for number in range(90_000)}
    record = recorded(await settled(bench, encoded(a_packument(2, noise=noise))))
    said = await bench.press.render(record, form=Form.FULL, base_url="http://us.example")
    held = leftovers(bench)

    del said

    assert len(held) == 1
    assert leftovers(bench) == []


async def test_restarted_intake_forgets(bench: Bench) -> None:
    """After a restart only what is written from then on counts, in memory and in a file."""
    body = encoded(a_packument(2))
    async with bench.press.intake() as intake:
        await intake.write(b"<html>")
        await intake.restart()
        await intake.write(b"x" * (BIG_BYTES + 1))
        await intake.restart()
        await intake.write(body)

        facts = await bench.press.settle(intake, name=NAME, fetched_at=NOON)

    assert facts == await settled(bench, body)
    assert leftovers(bench) == []


async def test_many_questions_read_once(bench: Bench) -> None:
    """Fifty look-ups at once of one packument agree, and later ones need its body no more."""
    record = await stored(bench, SIZES["medium"])
    files = [f"ui-1.0.{number}.tgz" for number in range(50)]

    found = await asyncio.gather(*(bench.press.dist(record, NAME, file) for file in files))

    assert [dist.version for dist in found if dist] == [f"1.0.{number}" for number in range(50)]
    await bench.blobs.delete(record.digest)
    assert await bench.press.dist(record, NAME, files[0]) == found[0]


async def test_killed_process_is_started_again(bench: Bench) -> None:
    """The pressing process may be killed between two questions; the second is answered too."""
    record = await stored(bench, SIZES["big"])
    await bench.press.dist_tags(record, NAME)
    process = bench.press._presser._process
    assert process is not None

    os.kill(process.pid, signal.SIGKILL)

    assert json.loads(await bench.press.dist_tags(record, NAME)) == {"latest": "1.0.3999"}


async def test_cancelled_question_does_not_answer_the_next(bench: Bench) -> None:
    """An answer nobody waits for any more is not taken for the answer to the next question."""
    record = await stored(bench, SIZES["big"])
    process = bench.press._presser._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    first = asyncio.create_task(bench.press.dist(record, NAME, "ui-1.0.1.tgz"))
    await asyncio.sleep(0.05)

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)

    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)
    tags = await bench.press.dist_tags(record, NAME)
    assert json.loads(tags) == {"latest": "1.0.3999"}


async def test_stopped_process_is_given_up(bench: Bench) -> None:
    """A pressing process that does not answer in time is ended, its caller hears StorageAway."""
    record = await stored(bench, SIZES["big"])
    facts = {
        "body": str(bench.blobs.path(record.digest)),
        "name": NAME.full,
        "at": NOON.isoformat(),
    }
    presser = Presser(patience=timedelta(seconds=5))
    await presser.ask("dist_tags", **facts)
    presser._patience = timedelta(seconds=0.2)
    assert presser._process is not None
    os.kill(presser._process.pid, signal.SIGSTOP)

    with pytest.raises(StorageAway):
        await presser.ask("dist_tags", **facts)

    assert presser._process is None
    await presser.close()
