"""What every HostedIndex keeps to, whatever it is made of: publishing, reading, revisions."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from proxy.errors import (
    Conflict,
    Forbidden,
    VersionExists,
)
from proxy.storage.hosting import (
    Access,
    Action,
    Deed,
    HostedIndex,
    HostedTarball,
    HostedVersion,
    SearchRow,
)
from proxy.storage.identity import AuditQuery
from tests.hosting import ANN, BOB, MINUTE, NOON, Opened, a_version, newest


async def facts_of(opened: Opened, action: Action) -> list[object]:
    return [json.loads(row.facts) for row in await opened.people.audit(AuditQuery(action=action))]


# --- publishing ---


async def test_version_comes_back_whole(hosted: HostedIndex) -> None:
    """A published version is read as it was written, to the byte and the microsecond."""
    new = a_version(readme="# Ünï", readme_filename="README.md", attestations=b"[]")

    revision = await hosted.publish(new, ANN)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert package.versions == (
        HostedVersion(
            *("1.0.0", new.manifest, "ui-1.0.0.tgz", new.digest, 500, "sha512-abc", "ab" * 20),
            *(NOON, "ann", None, True),
        ),
    )
    assert (package.name, package.revision, package.access) == ("@acme/ui", revision, Access.PUBLIC)
    assert (package.created_at, package.modified_at) == (NOON, NOON)
    assert (package.owners, package.stars, package.tags) == (("ann",), (), {"latest": "1.0.0"})
    assert (package.readme, package.readme_filename) == ("# Ünï", "README.md")
    assert await hosted.attestations("@acme/ui", "1.0.0") == b"[]"


async def test_who_comes_first_owns_the_package(hosted: HostedIndex) -> None:
    """Of two who were both told that there is no such package, the later one adds nothing to it."""
    await hosted.publish(a_version(is_first=True), ANN)

    with pytest.raises(Forbidden):
        await hosted.publish(a_version("2.0.0", is_first=True), BOB)
    await hosted.publish(a_version("1.1.0", is_first=True), ANN)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert [each.version for each in package.versions] == ["1.0.0", "1.1.0"]


async def test_what_was_never_published_is_not_there(hosted: HostedIndex) -> None:
    """Of a name that nobody has published under there is nothing."""
    assert await hosted.package("ui") is None
    assert await hosted.head("ui") is None
    assert await hosted.revision_of("ui") is None
    assert await hosted.tarball("ui", "ui-1.0.0.tgz") is None
    assert await hosted.attestations("ui", "1.0.0") is None
    assert (await hosted.owns("ui"), await hosted.is_tombstoned("ui")) == (False, False)


async def test_large_package_comes_back_whole(hosted: HostedIndex) -> None:
    """A package of several megabytes is read like a small one."""
    manifest = b'{"x":"' + b"y" * 700_000 + b'"}'
    for number in range(3):
        await hosted.publish(a_version(f"{number}.0.0", manifest=manifest), ANN)

    package = await hosted.package("@acme/ui")

    assert package is not None
    assert [version.manifest for version in package.versions] == [manifest] * 3


async def test_version_is_published_once(hosted: HostedIndex) -> None:
    """A version that is there is refused in the words tools look for, and nothing changes."""
    await hosted.publish(a_version(), ANN)
    before = await hosted.package("@acme/ui")

    with pytest.raises(VersionExists, match=r"cannot publish over .* versions: 1\.0\.0\.$"):
        await hosted.publish(a_version(digest="cc" * 64), ANN)

    assert await hosted.package("@acme/ui") == before


async def test_repeated_publish_is_no_other(hosted: HostedIndex) -> None:
    """The same version, digest and user within ten minutes is told of the first one's success."""
    revision = await hosted.publish(a_version(), ANN)

    again = await hosted.publish(a_version(), replace(ANN, at=NOON + 10 * MINUTE))

    assert again == revision == await hosted.revision_of("@acme/ui")


@pytest.mark.parametrize(
    ("changes", "deed"),
    [
        ({}, replace(ANN, at=NOON + 11 * MINUTE)),
        ({}, BOB),
        ({"digest": "cc" * 64}, ANN),
        ({"version": "1.0.0+two", "file": "ui-1.0.0+two.tgz"}, ANN),
    ],
    ids=["later", "somebody else", "other bytes", "other build metadata"],
)
async def test_what_is_no_repeat(
    hosted: HostedIndex, changes: dict[str, object], deed: Deed
) -> None:
    """Later, by somebody else, of other bytes or other build metadata: the version exists."""
    await hosted.publish(a_version(), ANN)

    with pytest.raises(VersionExists):
        await hosted.publish(a_version(**changes), deed)


async def test_build_metadata_is_no_other_version(hosted: HostedIndex) -> None:
    """Whether a version is taken does not depend on its build metadata."""
    await hosted.publish(a_version("1.0.0+one"), ANN)

    assert await hosted.is_taken("@acme/ui", "1.0.0")
    assert not await hosted.is_taken("@acme/ui", "1.0.1")
    assert not await hosted.is_taken("ui", "1.0.0")


async def test_first_version_is_latest(hosted: HostedIndex) -> None:
    """The first version gets the tag `latest` beside its own; the second only its own."""
    await hosted.publish(a_version("1.0.0", tag="next"), ANN)
    await hosted.publish(a_version("1.1.0", tag="next"), ANN)

    package = await hosted.package("@acme/ui")

    assert package is not None
    assert package.tags == {"latest": "1.0.0", "next": "1.1.0"}


async def test_versions_keep_their_order(hosted: HostedIndex) -> None:
    """Versions come in the order in which they were published."""
    for version in ("2.0.0", "1.0.0", "10.0.0"):
        await hosted.publish(a_version(version), ANN)

    package = await hosted.package("@acme/ui")

    assert package is not None
    assert [each.version for each in package.versions] == ["2.0.0", "1.0.0", "10.0.0"]


async def test_access_is_that_of_the_first_publish(hosted: HostedIndex) -> None:
    """A later publish does not make a restricted package public."""
    await hosted.publish(a_version(access=Access.RESTRICTED), ANN)
    await hosted.publish(a_version("1.1.0", access=Access.PUBLIC), BOB)

    head = await hosted.head("@acme/ui")

    assert head is not None
    assert (head.access, head.owners, head.unpublished_at) == (Access.RESTRICTED, ("ann",), None)


async def test_readme_is_that_of_latest(hosted: HostedIndex) -> None:
    """The readme moves with the tag `latest`."""
    await hosted.publish(a_version(readme="one"), ANN)
    await hosted.publish(a_version("2.0.0", tag="next", readme="two"), ANN)
    before = await hosted.package("@acme/ui")

    await hosted.set_tag("@acme/ui", "latest", "2.0.0", ANN)

    after = await hosted.package("@acme/ui")
    assert before is not None
    assert after is not None
    assert (before.readme, after.readme) == ("one", "two")


async def test_tarball_is_found_by_its_file(hosted: HostedIndex) -> None:
    """A tarball is found by name and file, and its blob is referenced."""
    new = a_version()
    await hosted.publish(new, ANN)

    found = await hosted.tarball("@acme/ui", "ui-1.0.0.tgz")

    assert found == HostedTarball("@acme/ui", "ui-1.0.0.tgz", "1.0.0", new.digest, 500)
    assert await hosted.tarball("@acme/ui", "ui-1.0.1.tgz") is None
    assert await hosted.is_referenced(new.digest)
    assert not await hosted.is_referenced("00" * 64)


# --- revisions ---


async def test_every_write_makes_another_revision(hosted: HostedIndex) -> None:
    """Each write returns a revision that counts up, was never there, and is the package's now."""
    revisions = [
        await hosted.publish(a_version(), ANN),
        await hosted.publish(a_version("2.0.0"), ANN),
    ]
    revisions += [
        await hosted.deprecate("@acme/ui", {"1.0.0": "old"}, ANN),
        await hosted.set_tag("@acme/ui", "next", "1.0.0", ANN),
        await hosted.drop_tag("@acme/ui", "next", ANN),
        await hosted.set_owners("@acme/ui", ["ann", "bob"], ANN),
        await hosted.star("@acme/ui", "bob", True, BOB),
        await hosted.set_access("@acme/ui", Access.RESTRICTED, ANN),
        await hosted.remove_versions("@acme/ui", ["1.0.0"], ANN, latest=newest),
    ]

    assert [int(revision.partition("-")[0]) for revision in revisions] == list(range(1, 10))
    assert all(re.fullmatch(r"\d+-[0-9a-f]{32}", revision) for revision in revisions)
    assert await hosted.revision_of("@acme/ui") == revisions[-1]


async def test_old_revision_is_a_conflict(hosted: HostedIndex) -> None:
    """A write that expects a revision which is not there any more changes nothing."""
    old = await hosted.publish(a_version(), ANN)
    await hosted.publish(a_version("2.0.0"), ANN)
    before = await hosted.package("@acme/ui")

    with pytest.raises(Conflict, match=r"Document update conflict\."):
        await hosted.deprecate("@acme/ui", {"1.0.0": "x"}, ANN, old)
    with pytest.raises(Conflict):
        await hosted.remove_versions("@acme/ui", ["1.0.0"], ANN, old, latest=newest)
    with pytest.raises(Conflict):
        await hosted.remove_package("@acme/ui", ANN, old)
    with pytest.raises(Conflict):
        await hosted.set_owners("@acme/ui", ["bob"], ANN, old)

    assert await hosted.package("@acme/ui") == before


async def test_expected_revision_is_accepted(hosted: HostedIndex) -> None:
    """A write that expects the revision that is there is done."""
    revision = await hosted.publish(a_version(), ANN)

    later = await hosted.deprecate("@acme/ui", {"1.0.0": "old"}, ANN, revision)

    assert await hosted.revision_of("@acme/ui") == later != revision


async def test_writes_are_changes(hosted: HostedIndex) -> None:
    """Whoever follows the change log hears of a package's every write."""
    await hosted.publish(a_version(), ANN)
    start, _ = await hosted.changes(-1)
    counted = hosted.revision()

    await hosted.publish(a_version(name="left-pad"), ANN)
    await hosted.star("@acme/ui", "bob", True, BOB)

    latest, names = await hosted.changes(start)
    assert (sorted(names), latest > start) == (["@acme/ui", "left-pad"], True)
    assert hosted.revision() != counted


# --- lists ---


async def test_names_are_sorted_and_cut_by_prefix(hosted: HostedIndex) -> None:
    """Names come sorted; a prefix leaves those that begin so."""
    for name in ("b", "@acme/ui", "@acme/a", "@other/x"):
        await hosted.publish(a_version(name=name), ANN)

    assert await hosted.names() == ["@acme/a", "@acme/ui", "@other/x", "b"]
    assert await hosted.names("@acme/") == ["@acme/a", "@acme/ui"]


async def test_search_row_is_of_latest(hosted: HostedIndex) -> None:
    """Search has one row of each package, which follows `latest`, owners and access."""
    told = {"description": "Ünits", "keywords": ("a", "b"), "excerpt": b'{"license":"MIT"}'}
    await hosted.publish(a_version(), ANN)
    await hosted.publish(a_version("2.0.0", tag="next", **told), BOB)
    await hosted.set_tag("@acme/ui", "latest", "2.0.0", ANN)
    await hosted.set_owners("@acme/ui", ["zoe", "ann"], ANN)
    await hosted.set_access("@acme/ui", Access.RESTRICTED, ANN)

    rows = await hosted.search_rows()

    assert rows == [
        SearchRow(
            *("@acme/ui", "2.0.0", "Ünits", ("a", "b"), b'{"license":"MIT"}', NOON + MINUTE, "bob"),
            *(("zoe", "ann"), Access.RESTRICTED),
        )
    ]


# --- what was done ---


async def test_every_write_has_its_audit_row(opened: Opened) -> None:
    """Every write appends who did what to which package, when and whence; a refusal does not."""
    hosted = opened.hosted
    await hosted.publish(a_version(), ANN)
    await hosted.publish(a_version(), ANN)
    with pytest.raises(VersionExists):
        await hosted.publish(a_version(), BOB)
    await hosted.deprecate("@acme/ui", {"1.0.0": "old"}, ANN)
    await hosted.set_tag("@acme/ui", "next", "1.0.0", ANN)
    await hosted.drop_tag("@acme/ui", "next", ANN)
    await hosted.set_owners("@acme/ui", ["ann", "bob"], ANN)
    await hosted.star("@acme/ui", "bob", True, ANN)
    await hosted.set_access("@acme/ui", Access.RESTRICTED, ANN)
    await hosted.remove_package("@acme/ui", ANN)

    rows = await opened.people.audit(AuditQuery())

    actions = [row.action for row in reversed(rows)]
    assert actions == [
        *(Action.PUBLISH, Action.DEPRECATE, Action.TAG, Action.TAG, Action.OWNER, Action.STAR),
        *(Action.ACCESS, Action.UNPUBLISH),
    ]
    assert {(row.subject, row.deed) for row in rows} == {("@acme/ui", ANN)}
    assert await facts_of(opened, Action.TAG) == [
        {"tag": "next", "version": None},
        {"tag": "next", "version": "1.0.0"},
    ]
    assert await facts_of(opened, Action.UNPUBLISH) == [{"versions": ["1.0.0"]}]


async def test_check_tells_that_it_works(hosted: HostedIndex) -> None:
    """A database that can be written to passes its check."""
    await hosted.check()
