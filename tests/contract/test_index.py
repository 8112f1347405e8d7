"""What every Index keeps to, whatever it is made of."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.npm.forms import Form
from proxy.storage.base import DocumentRecord, Index, PackumentRecord, TarballRecord, Usage
from proxy.storage.sqlite import SqliteIndex
from tests.fakes.memory import MemoryIndex

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture(params=["sqlite", "memory"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Index]:
    made = SqliteIndex(tmp_path / "index.sqlite") if request.param == "sqlite" else MemoryIndex()
    async with made as opened:
        yield opened


def a_packument(name: str = "left-pad", **changes: object) -> PackumentRecord:
    record = PackumentRecord(
        uplink="npm",
        name=name,
        form=Form.FULL,
        body_form=Form.FULL,
        digest="aa" * 64,
        revision="r1",
        size_bytes=1000,
        etag='W/"abc"',
        last_modified=None,
        modified_at=NOON,
        fetched_at=NOON + MINUTE,
        checked_at=NOON + 2 * MINUTE,
    )
    return replace(record, **changes)


def a_tarball(name: str = "left-pad", version: str = "1.0.0", **changes: object) -> TarballRecord:
    record = TarballRecord(
        uplink="npm",
        name=name,
        file=f"{name}-{version}.tgz",
        version=version,
        digest="bb" * 64,
        size_bytes=500,
        stored_at=NOON,
        used_at=NOON,
    )
    return replace(record, **changes)


async def test_what_came_first_under_a_shasum(index: Index) -> None:
    """The first digest of a SHA-1 is remembered for uplink and file, also without the tarball."""
    key, shasum = ("npm", "left-pad", "left-pad-1.0.0.tgz"), "ab" * 20
    await index.put_tarball(a_tarball())
    unknown = await index.first(*key, shasum)
    await index.put_tarball(a_tarball(), shasum=shasum)
    await index.put_tarball(a_tarball(digest="cc" * 64), shasum=shasum)
    await index.drop_tarball("left-pad", "left-pad-1.0.0.tgz")

    assert (unknown, await index.first(*key, shasum)) == (None, "bb" * 64)
    assert await index.first(*key, "cd" * 20) is None
    assert await index.first("other", *key[1:], shasum) is None


async def test_packument_comes_back_whole(index: Index) -> None:
    """A packument's record is read as it was written, to the microsecond."""
    record = a_packument(missing_since=NOON, last_modified="Mon, 04 May 2026 12:00:00 GMT")

    await index.put_packument(record)

    assert await index.packument("npm", "left-pad", Form.FULL) == record


async def test_packument_is_kept_by_uplink_name_and_form(index: Index) -> None:
    """Another uplink, another form and another spelling of the name are other records."""
    await index.put_packument(a_packument())

    assert await index.packument("other", "left-pad", Form.FULL) is None
    assert await index.packument("npm", "left-pad", Form.ABBREVIATED) is None
    assert await index.packument("npm", "Left-Pad", Form.FULL) is None


async def test_packument_is_replaced(index: Index) -> None:
    """A second record of the same uplink, name and form takes the first one's place."""
    await index.put_packument(a_packument(missing_since=NOON))
    later = a_packument(checked_at=NOON + 9 * MINUTE, etag=None)

    await index.put_packument(later)

    assert await index.packument("npm", "left-pad", Form.FULL) == later


async def test_new_revision_is_a_change(index: Index) -> None:
    """Only a new revision of a known packument goes into the change log."""
    start, _ = await index.changes(-1)
    await index.put_packument(a_packument())
    await index.put_packument(a_packument(checked_at=NOON + 5 * MINUTE))
    _, quiet = await index.changes(start)

    await index.put_packument(a_packument(revision="r2"))

    latest, names = await index.changes(start)
    assert (quiet, names, latest > start) == ([], ["left-pad"], True)


async def test_changes_are_told_once(index: Index) -> None:
    """Whoever remembers the latest number hears of later changes only, and of each name once."""
    await index.drop_packuments("a")
    latest, _ = await index.changes(-1)
    for name in ("b", "c", "b"):
        await index.drop_packuments(name)

    newest, names = await index.changes(latest)

    assert sorted(names) == ["b", "c"]
    assert await index.changes(newest) == (newest, [])


async def test_changes_beyond_the_log_are_everything(index: Index) -> None:
    """A number that the log does not reach, back or forward, is answered with '*'."""
    await index.drop_packuments("a")
    latest, _ = await index.changes(-1)

    assert await index.changes(latest + 1) == (latest, ["*"])
    assert await index.changes(0) == (latest, ["*"])


async def test_dropping_packuments_tells_what_nobody_names(index: Index) -> None:
    """Dropping a name returns its digests except those that another record still names."""
    await index.put_packument(a_packument(digest="aa" * 64))
    await index.put_packument(a_packument(form=Form.ABBREVIATED, digest="cc" * 64))
    await index.put_packument(a_packument("twin", digest="cc" * 64))

    dropped = await index.drop_packuments("left-pad")

    assert dropped == ["aa" * 64]
    assert await index.packument("npm", "left-pad", Form.FULL) is None
    assert await index.names() == ["twin"]


async def test_dropping_one_uplink_leaves_the_others(index: Index) -> None:
    """Dropping with an uplink's name forgets that uplink's copies only, and is a change."""
    await index.put_packument(a_packument(digest="aa" * 64))
    await index.put_packument(a_packument(uplink="other", digest="cc" * 64))
    start, _ = await index.changes(-1)

    dropped = await index.drop_packuments("left-pad", "other")

    assert dropped == ["cc" * 64]
    assert await index.packument("npm", "left-pad", Form.FULL) is not None
    assert (await index.changes(start))[1] == ["left-pad"]


async def test_tarball_comes_back_whole(index: Index) -> None:
    """A tarball's record is read as it was written; another file is not there."""
    record = a_tarball()

    await index.put_tarball(record)

    assert await index.tarball("left-pad", "left-pad-1.0.0.tgz") == record
    assert await index.tarball("left-pad", "left-pad-1.0.1.tgz") is None


async def test_tarballs_of_a_name(index: Index) -> None:
    """All tarballs of one name come sorted by file, without those of other names."""
    held = [a_tarball(version=version) for version in ("2.0.0", "1.0.0")]
    for record in [*held, a_tarball("left-pads")]:
        await index.put_tarball(record)

    assert await index.tarballs("left-pad") == [held[1], held[0]]


async def test_dropping_a_tarball_tells_its_digest(index: Index) -> None:
    """The digest comes back when its last record goes; dropping what is not there is no error."""
    await index.put_tarball(a_tarball(version="1.0.0"))
    await index.put_tarball(a_tarball(version="1.0.1"))

    first = await index.drop_tarball("left-pad", "left-pad-1.0.0.tgz")
    last = await index.drop_tarball("left-pad", "left-pad-1.0.1.tgz")
    again = await index.drop_tarball("left-pad", "left-pad-1.0.1.tgz")

    assert (first, last, again) == (None, "bb" * 64, None)


async def test_dropping_a_tarball_is_a_change(index: Index) -> None:
    """A dropped tarball's package is in the change log."""
    start, _ = await index.changes(-1)

    await index.drop_tarball("left-pad", "left-pad-1.0.0.tgz")

    assert (await index.changes(start))[1] == ["left-pad"]


async def test_use_moves_forward_only(index: Index) -> None:
    """Marking use keeps the later instant and passes over what is not held."""
    await index.put_tarball(a_tarball(used_at=NOON))

    await index.mark_used(
        [
            ("left-pad", "left-pad-1.0.0.tgz", NOON + MINUTE),
            ("left-pad", "left-pad-1.0.0.tgz", NOON - MINUTE),
            ("unknown", "unknown-1.0.0.tgz", NOON),
        ]
    )

    record = await index.tarball("left-pad", "left-pad-1.0.0.tgz")
    assert record is not None
    assert record.used_at == NOON + MINUTE
    assert await index.tarballs("unknown") == []


async def test_least_recently_used_come_first(index: Index) -> None:
    """Eviction is offered the tarballs that were used longest ago, oldest first."""
    for minutes, version in ((3, "3.0.0"), (1, "1.0.0"), (2, "2.0.0")):
        await index.put_tarball(a_tarball(version=version, used_at=NOON + minutes * MINUTE))

    oldest = await index.least_recently_used(2)

    assert [record.version for record in oldest] == ["1.0.0", "2.0.0"]


async def test_usage_counts_a_shared_blob_once(index: Index) -> None:
    """Two records with one digest are two entries and the bytes of one."""
    await index.put_packument(a_packument(size_bytes=1000))
    await index.put_packument(a_packument(form=Form.ABBREVIATED, size_bytes=1000))
    for version in ("1.0.0", "1.0.1"):
        await index.put_tarball(a_tarball(version=version, size_bytes=500))
    await index.put_tarball(a_tarball(version="2.0.0", digest="dd" * 64, size_bytes=70))

    assert await index.usage() == Usage(2, 3, 1000, 570)


async def test_usage_follows_replacement_and_removal(index: Index) -> None:
    """Totals stay right when a record is replaced by another body, and are zero at the end."""
    await index.put_packument(a_packument(size_bytes=1000))
    await index.put_packument(a_packument(size_bytes=1500, digest="cc" * 64, revision="r2"))
    await index.put_tarball(a_tarball(size_bytes=500))
    await index.put_tarball(a_tarball(size_bytes=501, digest="dd" * 64))
    held = await index.usage()

    await index.drop_packuments("left-pad")
    await index.drop_tarball("left-pad", "left-pad-1.0.0.tgz")

    assert held == Usage(1, 1, 1500, 501)
    assert await index.usage() == Usage(0, 0, 0, 0)


async def test_names_are_sorted_and_told_once(index: Index) -> None:
    """A name held as packument and tarball is told once; a prefix narrows, scopes included."""
    await index.put_packument(a_packument("@acme/ui"))
    await index.put_packument(a_packument("b"))
    await index.put_tarball(a_tarball("b"))
    await index.put_tarball(a_tarball("a"))

    assert await index.names() == ["@acme/ui", "a", "b"]
    assert await index.names("@acme/") == ["@acme/ui"]
    assert await index.names("z") == []


async def test_references(index: Index) -> None:
    """A digest is referenced while a packument or a tarball names it."""
    await index.put_packument(a_packument(digest="aa" * 64))
    await index.put_tarball(a_tarball(digest="bb" * 64))

    told = [await index.is_referenced(digest * 64) for digest in ("aa", "bb", "cc")]

    assert told == [True, True, False]


async def test_a_package_is_put_at_once(index: Index) -> None:
    """Packuments, tarballs and documents of one package are there together, as one change."""
    since, _ = await index.changes(-1)
    document = DocumentRecord("npm", "-/attestations", "dd" * 64, 9, NOON)
    forms = [a_packument(form=form) for form in Form]
    tarballs = [a_tarball(version=version) for version in ("1.0.0", "2.0.0")]

    await index.put_package("left-pad", forms, tarballs, [document])

    assert [await index.packument("npm", "left-pad", form) for form in Form] == forms
    assert await index.tarballs("left-pad") == tarballs
    assert await index.document("npm", "-/attestations") == document
    assert (await index.changes(since))[1] == ["left-pad"]
    assert await index.usage() == Usage(2, 2, 1000, 500)


async def test_document_is_replaced(index: Index) -> None:
    """The last word of an uplink counts, by uplink and path; its blob is referenced."""
    first = DocumentRecord("npm", "-/npm/v1/keys", "dd" * 64, 9, NOON)
    await index.put_document(first)
    await index.put_document(replace(first, digest="ee" * 64))

    assert await index.document("npm", "-/npm/v1/keys") == replace(first, digest="ee" * 64)
    assert await index.document("other", "-/npm/v1/keys") is None
    told = [await index.is_referenced(digest * 64) for digest in ("dd", "ee")]
    assert told == [False, True]


async def test_imports_keep_their_order(index: Index) -> None:
    """Bundles are told in the order of their first import."""
    for bundle in ("b", "a", "b"):
        await index.note_import(bundle, NOON)

    assert await index.imported() == ["b", "a"]


async def test_revision_moves_with_every_change(index: Index) -> None:
    """The revision differs after a commit, and stays where nothing was committed."""
    before = index.revision()
    still = index.revision()

    await index.drop_packuments("left-pad")

    assert still == before
    assert index.revision() != before


async def test_check_passes(index: Index) -> None:
    """A healthy index passes its check, time after time."""
    await index.check()
    await index.check()
