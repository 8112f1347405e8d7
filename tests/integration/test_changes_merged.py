"""Changes to a fork: what is published here changes, what the uplink has does not."""

from __future__ import annotations

import pytest

from tests.changes import Shop, is_told
from tests.publishing import Document

DOCUMENT, TAGS = "/lodash", "/-/package/lodash/dist-tags"


@pytest.fixture
async def fork(shop: Shop) -> Shop:
    """A fork: ann has published lodash 4.17.0-acme.1 and .2 beside what the uplink has."""
    for version in ("4.16.0", "4.17.0"):
        shop.uplink.publish("lodash", version)
    shop.uplink.publish("lodash", "5.0.0-beta", tag="beta")
    for version in ("4.17.0-acme.1", "4.17.0-acme.2"):
        await shop.publish(version, "lodash", tag="acme")
    return shop


async def seen(fork: Shop) -> Document:
    return await fork.document("lodash")


async def test_an_echo_changes_nothing(fork: Shop) -> None:
    """A merged document that comes back as it was changes nothing."""
    before = await seen(fork)

    assert is_told(await fork.ann.ask("PUT", DOCUMENT, before), "lodash")
    assert await seen(fork) == before


@pytest.fixture
async def overlapping(fork: Shop) -> Shop:
    """The fork, of which ann has patched 4.16.0 under its own number: `lts`, says the uplink."""
    fork.uplink.publish("lodash", "4.16.0", tag="lts")
    await fork.publish("4.16.0", "lodash", tag="acme")
    return fork


async def test_an_echo_leaves_the_uplink_its_tags(overlapping: Shop) -> None:
    """A tag of the uplink stays the uplink's, also on a number that we have as well."""
    before = await seen(overlapping)
    before["versions"]["4.16.0"]["deprecated"] = "old"
    assert before["dist-tags"]["lts"] == "4.16.0"

    assert is_told(await overlapping.ann.ask("PUT", DOCUMENT, before), "lodash")
    package = await overlapping.town.hosted.package("lodash")

    assert await overlapping.tags("lodash") == before["dist-tags"]
    assert package is not None
    assert "lts" not in package.tags


async def test_what_is_unpublished_gives_its_number_back(overlapping: Shop) -> None:
    """When our version of a number goes, the uplink's is there, with the uplink's tags."""
    sent = await seen(overlapping)
    del sent["versions"]["4.16.0"]
    sent["dist-tags"] = {tag: v for tag, v in sent["dist-tags"].items() if v != "4.16.0"}

    told = await overlapping.ann.ask("PUT", f"/lodash/-rev/{sent['_rev']}", sent)

    after = await seen(overlapping)
    assert is_told(told, "lodash")
    theirs = overlapping.uplink.packages["lodash"]["versions"]["4.16.0"]
    assert after["versions"]["4.16.0"]["dist"]["shasum"] == theirs["dist"]["shasum"]
    assert after["dist-tags"] == {"latest": "4.17.0", "beta": "5.0.0-beta", "lts": "4.16.0"}


async def test_a_deprecation_is_of_ours(fork: Shop) -> None:
    """A text on every version is kept for ours, and not for the uplink's."""
    sent = await seen(fork)
    for manifest in sent["versions"].values():
        manifest["deprecated"] = "old"

    assert is_told(await fork.ann.ask("PUT", DOCUMENT, sent), "lodash")

    marked = [v for v, m in (await seen(fork))["versions"].items() if "deprecated" in m]
    assert marked == ["4.17.0-acme.1", "4.17.0-acme.2"]


async def test_one_of_ours_is_unpublished(fork: Shop) -> None:
    """A local version goes with its tag; the uplink's versions and tags stay."""
    sent = await seen(fork)
    del sent["versions"]["4.17.0-acme.2"], sent["dist-tags"]["acme"]

    told = await fork.ann.ask("PUT", f"/lodash/-rev/{sent['_rev']}", sent)

    after = await seen(fork)
    assert is_told(told, "lodash")
    assert list(after["versions"]) == ["4.16.0", "4.17.0", "5.0.0-beta", "4.17.0-acme.1"]
    assert after["dist-tags"] == {"latest": "4.17.0", "beta": "5.0.0-beta"}


async def test_all_of_ours_are_unpublished(fork: Shop) -> None:
    """When the local part is removed, what the uplink has is all there is."""
    rev = (await seen(fork))["_rev"]

    assert is_told(await fork.ann.ask("DELETE", f"/lodash/-rev/{rev}"), "lodash")

    assert list((await seen(fork))["versions"]) == ["4.16.0", "4.17.0", "5.0.0-beta"]


async def test_a_version_of_the_uplink_is_not_ours_to_take(fork: Shop) -> None:
    """The uplink's versions cannot be removed, by the document or by their tarballs."""
    sent = await seen(fork)
    rev = sent["_rev"]
    del sent["versions"]["4.16.0"]

    assert is_told(await fork.ann.ask("PUT", f"/lodash/-rev/{rev}", sent), "lodash")
    tarball = f"/lodash/-/lodash-4.16.0.tgz/-rev/{rev}"
    assert (await fork.ann.refused("DELETE", tarball))[0] == 404

    assert "4.16.0" in (await seen(fork))["versions"]


async def test_a_tag_names_one_of_ours(fork: Shop) -> None:
    """A dist-tag is set to a local version only."""
    await fork.ann.do("PUT", f"{TAGS}/lts", "4.17.0-acme.1")
    status, _ = await fork.ann.refused("PUT", f"{TAGS}/next", "4.16.0")

    assert status == 404
    assert await fork.tags("lodash") == {
        "latest": "4.17.0",
        "beta": "5.0.0-beta",
        "acme": "4.17.0-acme.2",
        "lts": "4.17.0-acme.1",
    }


async def test_owners_and_stars_are_ours(fork: Shop) -> None:
    """Owners and stars of a fork are those of its local part."""
    await fork.ann.do("PUT", "/-/package/lodash/owners", {"user": "bob"})
    await fork.eve.do("PUT", "/-/user/v1/star", {"package": "lodash"})
    before = await seen(fork)
    await fork.bob.do("PUT", DOCUMENT, {**before, "users": before["users"] | {"bob": True}})

    after = await seen(fork)
    assert [each["name"] for each in after["maintainers"]] == ["ann", "bob"]
    assert after["users"] == {"eve": True, "bob": True}
    assert (await fork.eve.refused("DELETE", "/-/package/lodash/owners/ann"))[0] == 403
