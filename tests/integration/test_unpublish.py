"""Versions and packages that are taken back. Numbers are those of the protocol's items."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from proxy.npm.policy import HOSTED, Rule
from tests import changes
from tests.changes import BOGUS, Shop, is_told
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Document, a_publish, address
from tests.registry import Clock

DOCUMENT = address(UI)
FILE = f"/{UI}/-/ui-1.1.0.tgz"


def at(rev: str, path: str = DOCUMENT) -> str:
    return f"{path}/-rev/{rev}"


def without(document: Document, version: str) -> Document:
    """The document as npm sends it back to unpublish a version."""
    del document["versions"][version]
    del document["time"][version]
    tags = document["dist-tags"]
    document["dist-tags"] = {tag: to for tag, to in tags.items() if to != version}
    if "latest" not in document["dist-tags"]:
        document["dist-tags"]["latest"] = max(document["versions"])
    return {key: value for key, value in document.items() if key != "_attachments"}


@pytest.mark.parametrize("path", [FILE, FILE.replace("@acme/", "@acme%2f")])
async def test_76_one_version(shop: Shop, path: str) -> None:
    """A version is unpublished in npm's steps, the last of them any number of times."""
    sent = without(await shop.document(), "1.1.0")
    told = await shop.ann.ask("PUT", at(sent["_rev"]), sent)
    rev = await shop.rev()

    steps = [await shop.ann.ask("DELETE", at(rev, path)) for _ in range(3)]

    after = await shop.document()
    assert is_told(told)
    assert [(is_told(each), each.json()["rev"]) for each in steps] == [(True, rev)] * 3
    assert list(after["versions"]) == ["1.0.0"]
    assert after["dist-tags"] == {"latest": "1.0.0"}
    assert "1.1.0" not in after["time"]
    assert (await shop.ann.ask("GET", FILE)).status == 404


async def test_the_tarball_alone(shop: Shop) -> None:
    """A client that removes the tarball first removes the version, at the revision it has read."""
    rev = await shop.rev()

    assert (await shop.ann.ask("DELETE", at(BOGUS, FILE))).status == 409
    assert is_told(await shop.ann.ask("DELETE", at(rev, FILE)))

    assert await shop.versions() == ["1.0.0"]
    assert await shop.tags() == {"latest": "1.0.0"}


async def test_a_tarball_that_never_was(shop: Shop) -> None:
    """To remove a tarball nobody has published is 404."""
    for file in ("ui-9.9.9.tgz", "other.tgz"):
        told = await shop.ann.ask("DELETE", at(await shop.rev(), f"/{UI}/-/{file}"))
        assert (told.status, told.json()["code"]) == (404, "E_NO_TARBALL")


async def test_all_versions(shop: Shop) -> None:
    """A whole package is gone at once, and is gone already for who asks again."""
    assert (await shop.ann.ask("DELETE", at(BOGUS))).status == 409
    rev = await shop.rev()
    assert is_told(await shop.ann.ask("DELETE", at(rev)))

    assert (await shop.ann.ask("GET", DOCUMENT)).status == 404
    assert (await shop.ann.ask("GET", FILE)).status == 404
    assert (await shop.ann.ask("DELETE", at(rev))).status == 404
    assert (await shop.ann.ask("DELETE", at(rev, FILE))).status == 404
    assert (await shop.audit())[0] == ("ann", "unpublish")


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_number_is_used_once(shop: Shop, is_whole: bool) -> None:
    """A version that was unpublished is never published again; the next one is."""
    rev = await shop.rev()
    await shop.ann.do("DELETE", at(rev) if is_whole else at(rev, FILE))

    for version in ("1.1.0", "1.1.0+other"):
        status, sentence = await shop.ann.refused("PUT", DOCUMENT, a_publish(version).document)
        assert (status, "previously published" in sentence) == (403, True)
    await shop.publish("1.2.0")

    assert await shop.versions() == (["1.2.0"] if is_whole else ["1.0.0", "1.2.0"])
    assert (await shop.tags())["latest"] == "1.2.0"


async def test_the_name_stays_with_its_owners(shop: Shop) -> None:
    """Nobody else gets hold of the name of a package that was unpublished."""
    await shop.ann.do("DELETE", at(await shop.rev()))

    status, sentence = await shop.eve.refused("PUT", DOCUMENT, a_publish("2.0.0").document)

    assert (status, sentence) == (403, "eve is no owner of @acme/ui")


async def test_latest_moves_to_the_highest_release(shop: Shop) -> None:
    """If the version that goes is `latest`, that is the highest release left, no prerelease."""
    await shop.publish("1.0.10", tag="old")
    await shop.publish("2.0.0-beta.1", tag="beta")

    await shop.ann.do("DELETE", at(await shop.rev(), FILE))

    assert await shop.tags() == {"latest": "1.0.10", "old": "1.0.10", "beta": "2.0.0-beta.1"}


async def test_latest_moves_to_a_prerelease_if_nothing_else_is_left(shop: Shop) -> None:
    """The highest prerelease is `latest` where there is no release."""
    for version in ("1.0.1-alpha.2", "1.0.1-alpha.10"):
        await shop.publish(version, tag="next")
    for version in ("1.0.0", "1.1.0"):
        await shop.ann.do("DELETE", at(await shop.rev(), f"/{UI}/-/ui-{version}.tgz"))

    assert await shop.tags() == {"latest": "1.0.1-alpha.10", "next": "1.0.1-alpha.10"}


# --- the policy -----------------------------------------------------------------------------------


async def test_an_old_version_stays(shop: Shop) -> None:
    """What is older than `hosting.unpublish` is not removed, and who tries is told what to do."""
    shop.clock.advance(hours=71)
    await shop.publish("1.2.0")
    shop.clock.advance(hours=2)
    rev = await shop.rev()

    for path in (at(rev), at(rev, FILE)):
        status, sentence = await shop.ann.refused("DELETE", path)
        assert status == 403
        assert "was published more than 72 hours ago" in sentence
        assert "npm deprecate" in sentence
    sent = without(await shop.document(), "1.0.0")
    assert (await shop.ann.ask("PUT", at(rev), sent)).status == 403
    assert is_told(await shop.ann.ask("DELETE", at(rev, f"/{UI}/-/ui-1.2.0.tgz")))

    assert await shop.versions() == ["1.0.0", "1.1.0"]


async def test_an_administrator_removes_an_old_version(shop: Shop) -> None:
    """What has to go goes by an administrator, however old it is."""
    shop.clock.advance(days=1000)

    assert is_told(await shop.root.ask("DELETE", at(await shop.rev(), FILE)))
    assert await shop.versions() == ["1.0.0"]
    assert (await shop.audit())[0] == ("root", "unpublish")


async def test_never(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> None:
    """Where nothing is unpublished, an owner removes nothing, and an administrator may."""
    async with changes.shop(tmp_path, uplink, clock, unpublish=timedelta(0)) as shop:
        rev = await shop.rev()

        status, sentence = await shop.ann.refused("DELETE", at(rev))

        assert (status, "nothing is unpublished here" in sentence) == (403, True)
        assert is_told(await shop.root.ask("DELETE", at(rev)))


async def test_always(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> None:
    """Without a limit an owner removes versions of any age."""
    async with changes.shop(tmp_path, uplink, clock, unpublish=None) as shop:
        clock.advance(days=1000)

        assert is_told(await shop.ann.ask("DELETE", at(await shop.rev())))


# --- rights ---------------------------------------------------------------------------------------


async def test_who_owns_nothing_removes_nothing(shop: Shop) -> None:
    """A reader removes neither a version nor the package."""
    rev = await shop.rev()
    sent = without(await shop.document(), "1.1.0")

    for method, path, body in (
        ("DELETE", at(rev), None),
        ("DELETE", at(rev, FILE), None),
        ("PUT", at(rev), sent),
    ):
        assert (await shop.eve.refused(method, path, body))[0] == 403
    assert await shop.versions() == ["1.0.0", "1.1.0"]


async def test_the_right_to_unpublish_is_its_own(
    tmp_path: Path, uplink: FakeUplink, clock: Clock
) -> None:
    """Who may unpublish and not publish takes versions away with their tags, and sets no other."""
    rule = Rule(("@acme/*",), HOSTED, publish=("ann",), unpublish=("bob",))
    async with changes.shop(tmp_path, uplink, clock, rules=(rule,)) as shop:
        await shop.ann.do("PUT", f"/-/package{DOCUMENT}/owners", {"user": "bob"})
        sent = without(await shop.document(), "1.1.0")

        assert (await shop.ann.refused("PUT", at(sent["_rev"]), sent))[0] == 403
        tagged = {**sent, "dist-tags": {"latest": "1.0.0", "lts": "1.0.0"}}
        assert (await shop.bob.refused("PUT", at(sent["_rev"]), tagged))[0] == 403
        assert is_told(await shop.bob.ask("PUT", at(sent["_rev"]), sent))

        assert await shop.tags() == {"latest": "1.0.0"}
