"""What every HostedIndex keeps to, whatever it is made of: changes of what is published."""

from __future__ import annotations

import json

import pytest

from proxy.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PackageNotFound,
    VersionExists,
    VersionNotFound,
)
from proxy.npm.updates import (
    Change,
    Deprecations,
    Owners,
    Person,
    Readme,
    Removal,
    Stars,
    Tags,
    WholeRemoval,
)
from proxy.storage.hosting import (
    Access,
    HostedHead,
    HostedIndex,
)
from proxy.storage.identity import AuditQuery
from tests.hosting import ANN, BOB, MINUTE, NOON, Opened, a_version, newest

# --- deprecating, tags, owners, stars, access ---


async def test_deprecation_comes_and_goes(hosted: HostedIndex) -> None:
    """A deprecation is set on the versions it names, and "" takes it away."""
    await hosted.publish(a_version(), ANN)
    await hosted.publish(a_version("2.0.0"), ANN)

    await hosted.deprecate("@acme/ui", {"1.0.0": "old", "2.0.0": "bad"}, ANN)
    await hosted.deprecate("@acme/ui", {"2.0.0": ""}, ANN)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert [version.deprecated for version in package.versions] == ["old", None]


async def test_unknown_versions_are_refused(hosted: HostedIndex) -> None:
    """A write that names a version which is not there changes none of those that are."""
    await hosted.publish(a_version(), ANN)
    before = await hosted.package("@acme/ui")

    with pytest.raises(VersionNotFound, match=r"@acme/ui@9\.9\.9"):
        await hosted.deprecate("@acme/ui", {"1.0.0": "x", "9.9.9": "x"}, ANN)
    with pytest.raises(VersionNotFound):
        await hosted.set_tag("@acme/ui", "next", "9.9.9", ANN)
    with pytest.raises(VersionNotFound):
        await hosted.remove_versions("@acme/ui", ["1.0.0", "9.9.9"], ANN, latest=newest)

    assert await hosted.package("@acme/ui") == before


async def test_unknown_packages_are_refused(hosted: HostedIndex) -> None:
    """Nothing is written to a package that is not there, or not any more."""
    await hosted.publish(a_version(name="gone"), ANN)
    await hosted.remove_package("gone", ANN)

    for name in ("ui", "gone"):
        with pytest.raises(PackageNotFound):
            await hosted.star(name, "bob", True, BOB)
        with pytest.raises(PackageNotFound):
            await hosted.set_access(name, Access.PUBLIC, ANN)
        with pytest.raises(PackageNotFound):
            await hosted.remove_package(name, ANN)


async def test_tags_are_set_and_dropped(hosted: HostedIndex) -> None:
    """A tag moves to the version it is set to, and is gone when dropped; `latest` stays."""
    await hosted.publish(a_version(), ANN)
    await hosted.publish(a_version("2.0.0", tag="next"), ANN)
    await hosted.set_tag("@acme/ui", "next", "1.0.0", ANN)
    await hosted.set_tag("@acme/ui", "beta", "2.0.0", ANN)
    await hosted.drop_tag("@acme/ui", "beta", ANN)

    with pytest.raises(NotFound):
        await hosted.drop_tag("@acme/ui", "beta", ANN)
    with pytest.raises(Forbidden):
        await hosted.drop_tag("@acme/ui", "latest", ANN)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert package.tags == {"latest": "1.0.0", "next": "1.0.0"}


async def test_owners_are_replaced(hosted: HostedIndex) -> None:
    """Owners come in the order they were set in, each once, and never none."""
    await hosted.publish(a_version(), ANN)
    await hosted.set_owners("@acme/ui", ["zoe", "bob", "zoe"], ANN)

    with pytest.raises(Forbidden):
        await hosted.set_owners("@acme/ui", [], ANN)

    head = await hosted.head("@acme/ui")
    assert head is not None
    assert head.owners == ("zoe", "bob")
    assert (await hosted.owned_by("bob"), await hosted.owned_by("ann")) == (["@acme/ui"], [])


async def test_stars_come_and_go(hosted: HostedIndex) -> None:
    """Everybody has one star for a package, and may take it back."""
    await hosted.publish(a_version(), ANN)
    await hosted.publish(a_version(name="left-pad"), ANN)
    for user, is_starred in [("zoe", True), ("bob", True), ("bob", True), ("zoe", False)]:
        await hosted.star("@acme/ui", user, is_starred, BOB)

    package = await hosted.package("@acme/ui")

    assert package is not None
    assert package.stars == ("bob",)
    assert (await hosted.starred_by("bob"), await hosted.starred_by("zoe")) == (["@acme/ui"], [])


# --- unpublishing ---


async def test_removed_version_is_gone_for_good(hosted: HostedIndex) -> None:
    """A removed version leaves nothing behind, and its number is never used again."""
    await hosted.publish(a_version(), ANN)
    new = a_version("2.0.0", attestations=b"[]")
    await hosted.publish(new, ANN)

    await hosted.remove_versions("@acme/ui", ["2.0.0"], ANN, latest=newest)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert [version.version for version in package.versions] == ["1.0.0"]
    assert await hosted.tarball("@acme/ui", new.file) is None
    assert await hosted.attestations("@acme/ui", "2.0.0") is None
    assert not await hosted.is_referenced(new.digest)
    assert await hosted.is_taken("@acme/ui", "2.0.0")
    with pytest.raises(VersionExists):
        await hosted.publish(new, ANN)


async def test_tags_follow_removed_versions(hosted: HostedIndex) -> None:
    """Tags of a removed version go; `latest` moves to the highest that is no prerelease."""
    for version, tag in [("1.0.0", "old"), ("2.0.0", "latest"), ("3.0.0-rc.1", "rc")]:
        await hosted.publish(a_version(version, tag=tag), ANN)
    await hosted.set_tag("@acme/ui", "stable", "2.0.0", ANN)

    await hosted.remove_versions("@acme/ui", ["2.0.0"], ANN, latest=newest)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert package.tags == {"latest": "1.0.0", "old": "1.0.0", "rc": "3.0.0-rc.1"}


async def test_latest_stays_where_it_is(hosted: HostedIndex) -> None:
    """Removing a version that `latest` does not name leaves `latest` alone."""
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        await hosted.publish(a_version(version), ANN)
    await hosted.set_tag("@acme/ui", "latest", "1.0.0", ANN)

    await hosted.remove_versions("@acme/ui", ["2.0.0"], ANN, latest=newest)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert package.tags == {"latest": "1.0.0"}


@pytest.mark.parametrize("is_whole", [True, False])
async def test_unpublished_package_is_a_tombstone(hosted: HostedIndex, is_whole: bool) -> None:
    """Without its last version a package is gone; its name, owners and access stay here."""
    await hosted.publish(a_version(access=Access.RESTRICTED), ANN)
    await hosted.star("@acme/ui", "bob", True, BOB)

    if is_whole:
        revision = await hosted.remove_package("@acme/ui", BOB)
    else:
        revision = await hosted.remove_versions("@acme/ui", ["1.0.0"], BOB, latest=newest)

    assert await hosted.package("@acme/ui") is None
    assert await hosted.revision_of("@acme/ui") is None
    assert (await hosted.owns("@acme/ui"), await hosted.is_tombstoned("@acme/ui")) == (True, True)
    assert list(await hosted.owned()) == ["@acme/ui"]
    restricted = (Access.RESTRICTED, ("ann",), NOON + MINUTE)
    assert await hosted.head("@acme/ui") == HostedHead("@acme/ui", revision, *restricted)
    assert (await hosted.names(), await hosted.search_rows()) == ([], [])
    assert (await hosted.owned_by("ann"), await hosted.starred_by("bob")) == ([], [])


async def test_tombstone_takes_new_versions_only(hosted: HostedIndex) -> None:
    """Under an unpublished name another version may come; the old ones never."""
    first = await hosted.publish(a_version(access=Access.RESTRICTED), ANN)
    await hosted.remove_package("@acme/ui", ANN)
    with pytest.raises(VersionExists):
        await hosted.publish(a_version(), ANN)

    revision = await hosted.publish(a_version("1.0.1", tag="next"), BOB)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert [version.version for version in package.versions] == ["1.0.1"]
    assert (package.owners, package.access, package.stars) == (("ann",), Access.RESTRICTED, ())
    assert package.tags == {"latest": "1.0.1", "next": "1.0.1"}
    assert (int(first.split("-")[0]), int(revision.split("-")[0])) == (1, 3)
    assert not await hosted.is_tombstoned("@acme/ui")


# --- several changes at once ---


async def test_changes_are_made_together(hosted: HostedIndex) -> None:
    """What one document asks for is one write: one revision, and all of it is there."""
    await hosted.publish(a_version(readme="old"), ANN)
    await hosted.publish(a_version("2.0.0", tag="next"), ANN)
    first = await hosted.publish(a_version("3.0.0", tag="beta"), ANN)
    changes = [
        Deprecations({"1.0.0": "old"}),
        Tags({"latest": "2.0.0", "beta": None, "never": None}),
        Removal(("3.0.0",)),
        Readme("new"),
        Owners((Person("ann"), Person("bob", "bob@acme.example"))),
        Stars({"bob": True, "cid": True}),
    ]

    revision = await hosted.change("@acme/ui", changes, ANN, first, latest=newest)

    package = await hosted.package("@acme/ui")
    assert package is not None
    assert package.revision == revision != first
    assert [each.deprecated for each in package.versions] == ["old", None]
    assert package.tags == {"latest": "2.0.0", "next": "2.0.0"}
    assert (package.readme, package.owners) == ("new", ("ann", "bob"))
    assert package.stars == ("bob", "cid")


async def test_each_change_is_told(opened: Opened) -> None:
    """Each change of a write has its row in the audit log."""
    await opened.hosted.publish(a_version(), ANN)
    changes = [Deprecations({"1.0.0": ""}), Tags({"a": "1.0.0", "b": "1.0.0"}), Readme("new")]

    await opened.hosted.change("@acme/ui", changes, BOB, latest=newest)

    rows = await opened.people.audit(AuditQuery(user="bob"))
    assert [row.action.value for row in rows] == ["readme", "tag", "tag", "deprecate"]
    assert json.loads(rows[1].facts) == {"tag": "b", "version": "1.0.0"}


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (Deprecations({"9.9.9": "x"}), VersionNotFound),
        (Tags({"next": "9.9.9"}), VersionNotFound),
        (Tags({"latest": None}), Forbidden),
        (Removal(("9.9.9",)), VersionNotFound),
        (Owners(()), Forbidden),
    ],
)
async def test_changes_are_made_all_or_none(
    opened: Opened, last: Change, error: type[Exception]
) -> None:
    """If one of several changes is refused, none of them is made or told."""
    await opened.hosted.publish(a_version(), ANN)
    before = await opened.hosted.package("@acme/ui")
    changes = [Deprecations({"1.0.0": "x"}), Stars({"bob": True}), last]

    with pytest.raises(error):
        await opened.hosted.change("@acme/ui", changes, BOB, latest=newest)

    assert await opened.hosted.package("@acme/ui") == before
    assert await opened.people.audit(AuditQuery(user="bob")) == []


async def test_no_changes(hosted: HostedIndex) -> None:
    """Without changes a package keeps its revision, which is compared all the same."""
    revision = await hosted.publish(a_version(), ANN)

    assert await hosted.change("@acme/ui", [], ANN, revision, latest=newest) == revision
    with pytest.raises(Conflict):
        await hosted.change("@acme/ui", [], ANN, "1-old", latest=newest)


async def test_whole_removal(hosted: HostedIndex) -> None:
    """A package that is removed as a whole leaves its name."""
    await hosted.publish(a_version(), ANN)

    await hosted.change("@acme/ui", [WholeRemoval()], ANN, latest=newest)

    assert await hosted.package("@acme/ui") is None
    assert await hosted.is_tombstoned("@acme/ui")
