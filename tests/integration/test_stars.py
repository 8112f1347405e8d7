"""Stars, in the ways npm and pnpm give and list them."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.npm.policy import HOSTED, Rule
from proxy.storage.hosting import Access, Deed
from tests import changes
from tests.changes import BOGUS, REST, Shop, is_told
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, address
from tests.registry import Clock

DOCUMENT = address(UI)
STAR = "/-/user/v1/star"


def view(user: str) -> str:
    key = quote(f'"{user}"')
    return f"/-/_view/starredByUser?key={key}"


async def fans(shop: Shop) -> dict[str, bool]:
    return dict((await shop.document()).get("users", {}))


async def test_74_a_partial_document(shop: Shop) -> None:
    """A star that npm sends alone is there, and all versions stay."""
    seen = await shop.document()
    sent = {"_id": UI, "_rev": seen["_rev"], "users": {"eve": True}}

    assert is_told(await shop.eve.ask("PUT", DOCUMENT, sent))

    assert await fans(shop) == {"eve": True}
    assert await shop.versions() == ["1.0.0", "1.1.0"]
    assert (await shop.audit())[0] == ("eve", "star")


@pytest.mark.parametrize("users", [{"eve": True}, {}])
async def test_a_whole_document(shop: Shop, users: dict[str, bool]) -> None:
    """A star in a whole document, as pnpm sends it, is every reader's to give."""
    await shop.eve.do("PUT", STAR, {"package": UI})
    seen = await shop.document()

    assert is_told(
        await shop.eve.ask("PUT", f"{DOCUMENT}/-rev/{seen['_rev']}", {**seen, "users": users})
    )

    assert await fans(shop) == users


async def test_a_star_at_an_old_revision(shop: Shop) -> None:
    """A star in a document that somebody has changed meanwhile is a conflict."""
    sent = {"_id": UI, "_rev": BOGUS, "users": {"eve": True}}

    assert (await shop.eve.ask("PUT", DOCUMENT, sent)).status == 409
    assert await fans(shop) == {}


@pytest.mark.parametrize("users", [{"bob": True}, {"eve": True, "bob": True}, {"eve": True}])
async def test_the_stars_of_others(shop: Shop, users: dict[str, bool]) -> None:
    """Nobody gives or takes away a star of somebody else."""
    await shop.ann.do("PUT", STAR, {"package": UI})

    status, sentence = await shop.eve.refused("PUT", DOCUMENT, {"_id": UI, "users": users})

    assert (status, "of their own only" in sentence) == (403, True)
    assert await fans(shop) == {"ann": True}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (STAR, {"name": UI, "package": UI}),
        (STAR, {"name": UI}),
        ("/-/user/package/@acme%2fui/star", None),
        ("/-/user/package/@acme/ui/star", None),
    ],
)
async def test_a_star_by_address(shop: Shop, path: str, body: object) -> None:
    """A star comes and goes by the addresses pnpm asks, and twice is as good as once."""
    for _ in range(2):
        assert is_told(await shop.eve.ask("PUT", path, body))
        assert await fans(shop) == {"eve": True}
    for _ in range(2):
        assert is_told(await shop.eve.ask("DELETE", path, body))
        assert await fans(shop) == {}
    assert [action for _, action in await shop.audit()][:3] == ["star", "star", "publish"]


async def test_stars_are_listed(shop: Shop) -> None:
    """What somebody has starred is listed, sorted, as npm and as pnpm ask."""
    await shop.publish("1.0.0", "@acme/kit")
    for name in (UI, "@acme/kit"):
        await shop.bob.do("PUT", STAR, {"package": name})

    marks = {"@acme/kit": True, UI: True}
    assert await shop.bob.get(STAR) == marks
    assert await shop.eve.get("/-/user/bob/stars") == marks
    assert await shop.eve.get(view("bob")) == {"rows": [{"value": name} for name in marks]}
    assert await shop.eve.get(STAR) == {}
    assert await shop.eve.get(view("nobody")) == {"rows": []}


async def test_only_what_one_may_read_is_listed(shop: Shop) -> None:
    """The stars of a restricted package are told to nobody who may not read it."""
    await shop.bob.do("PUT", STAR, {"package": UI})
    deed = Deed("ann", shop.clock.now())
    await shop.town.hosted.set_access(UI, Access.RESTRICTED, deed)

    for person in (shop.eve, shop.bob):
        assert await person.get(view("bob")) == {"rows": []}
    assert await shop.bob.get(STAR) == {}
    assert await shop.ann.get("/-/user/bob/stars") == {UI: True}
    assert (await shop.eve.refused("PUT", STAR, {"package": UI}))[0] == 404


async def test_an_unknown_caller_is_told_of_public_packages(
    tmp_path: Path, uplink: FakeUplink, clock: Clock
) -> None:
    """Somebody who is not logged in is given the stars of what everybody may read."""
    public = Rule((UI,), HOSTED, read=("$all",))
    ours = Rule(("@acme/*",), HOSTED)
    async with changes.shop(tmp_path, uplink, clock, rules=(public, ours, REST)) as shop:
        await shop.publish("1.0.0", "@acme/kit")
        for name in (UI, "@acme/kit"):
            await shop.bob.do("PUT", STAR, {"package": name})

        seen = await shop.town.registry.get(view("bob"))

        assert seen.json() == {"rows": [{"value": UI}]}


@pytest.mark.parametrize("key", ["", "?key=", "?key=bob", "?key=1", "?key=%22bob", "?key=null"])
async def test_a_view_without_a_user(shop: Shop, key: str) -> None:
    """A key that is no JSON string is 400."""
    assert (await shop.ann.refused("GET", f"/-/_view/starredByUser{key}"))[0] == 400


async def test_unpublished_packages_have_no_stars(shop: Shop) -> None:
    """What is gone is on nobody's list."""
    await shop.bob.do("PUT", STAR, {"package": UI})
    await shop.ann.do("DELETE", f"{DOCUMENT}/-rev/{await shop.rev()}")

    assert await shop.bob.get(STAR) == {}
    assert (await shop.bob.refused("PUT", STAR, {"package": UI}))[0] == 404
