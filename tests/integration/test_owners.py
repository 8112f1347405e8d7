"""Owners, as npm and yarn (through the document) and pnpm (one by one) change them."""

from __future__ import annotations

import asyncio

import pytest

from tests.changes import BOGUS, Shop, is_told
from tests.publishing import UI, a_publish, address

OWNERS = f"/-/package{address(UI)}/owners"


def at(rev: str) -> str:
    return f"{address(UI)}/-rev/{rev}"


async def owners(shop: Shop) -> list[str]:
    return [each["name"] for each in (await shop.document())["maintainers"]]


async def test_75_a_partial_document(shop: Shop) -> None:
    """Maintainers that npm sends alone change, and all versions stay."""
    seen = await shop.document()
    people = [*seen["maintainers"], {"name": "bob", "email": "bob@registry.example"}]
    sent = {"_id": UI, "_rev": seen["_rev"], "maintainers": people}

    told = await shop.ann.ask("PUT", at(seen["_rev"]), sent)

    assert is_told(told)
    assert await shop.versions() == ["1.0.0", "1.1.0"]
    assert (await shop.document())["maintainers"] == people
    assert (await shop.audit())[0] == ("ann", "owner")


async def test_75_an_old_revision(shop: Shop) -> None:
    """Owners sent at a revision that is no more are a conflict."""
    sent = {"_id": UI, "_rev": BOGUS, "maintainers": [{"name": "bob", "email": ""}]}

    assert (await shop.ann.ask("PUT", at(BOGUS), sent)).status == 409
    assert await owners(shop) == ["ann"]


async def test_an_owner_comes_and_goes(shop: Shop) -> None:
    """Who is added may publish, who is removed may not; to repeat either is told plainly."""
    assert is_told(await shop.ann.ask("PUT", OWNERS, {"user": "bob"}))
    assert is_told(await shop.ann.ask("PUT", OWNERS, {"user": "bob"}))
    assert await owners(shop) == ["ann", "bob"]
    await shop.bob.do("PUT", address(UI), a_publish("2.0.0").document)

    assert is_told(await shop.bob.ask("DELETE", f"{OWNERS}/ann"))
    assert await shop.bob.refused("DELETE", f"{OWNERS}/ann") == (404, "ann is no owner of @acme/ui")

    assert await owners(shop) == ["bob"]
    assert (await shop.ann.refused("PUT", address(UI), a_publish("3.0.0").document))[0] == 403


async def test_the_last_owner_stays(shop: Shop) -> None:
    """A package has an owner, whichever way somebody tries."""
    status, sentence = await shop.ann.refused("DELETE", f"{OWNERS}/ann")
    rev = await shop.rev()

    assert (status, "must keep an owner" in sentence) == (403, True)
    assert (await shop.ann.refused("PUT", at(rev), {"maintainers": []}))[0] == 400
    assert await owners(shop) == ["ann"]


async def test_an_owner_is_a_user(shop: Shop) -> None:
    """Somebody nobody knows cannot own a package, and the whole change is refused."""
    people = [{"name": "bob", "email": ""}, {"name": "zoe", "email": ""}]
    sent = {"_id": UI, "maintainers": people}

    for method, path, body in (
        ("PUT", OWNERS, {"user": "zoe"}),
        ("PUT", at(await shop.rev()), sent),
    ):
        status, sentence = await shop.ann.refused(method, path, body)
        assert (status, "there is no user zoe here" in sentence) == (404, True)
    assert await owners(shop) == ["ann"]


@pytest.mark.parametrize("body", [None, {}, {"user": 1}, {"user": ""}, ["bob"]])
async def test_a_body_without_a_user(shop: Shop, body: object) -> None:
    """A body that names nobody is 400."""
    assert (await shop.ann.refused("PUT", OWNERS, body))[0] == 400


async def test_only_owners_make_owners(shop: Shop) -> None:
    """Nobody makes themselves an owner, or takes one away; an administrator may."""
    assert (await shop.eve.refused("PUT", OWNERS, {"user": "eve"}))[0] == 403
    assert (await shop.eve.refused("DELETE", f"{OWNERS}/ann"))[0] == 403
    assert await owners(shop) == ["ann"]

    await shop.root.do("PUT", OWNERS, {"user": "eve"})
    assert await owners(shop) == ["ann", "eve"]


async def test_all_who_are_added_at_once_stay(shop: Shop) -> None:
    """Owners that are added at the same moment are all there afterwards."""
    users = ["bob", "eve", "root"]

    await asyncio.gather(*(shop.ann.do("PUT", OWNERS, {"user": user}) for user in users))

    assert sorted(await owners(shop)) == ["ann", *users]


async def test_an_echo_with_another_address_changes_nothing(shop: Shop) -> None:
    """Owners are compared by name: who owns nothing may echo them and give a star."""
    seen = await shop.document()
    echoed = [{"name": "ann", "email": "old@registry.example"}]
    sent = {**seen, "maintainers": echoed, "users": {"eve": True}}

    assert is_told(await shop.eve.ask("PUT", at(seen["_rev"]), sent))
    assert (await shop.document())["maintainers"] == seen["maintainers"]
