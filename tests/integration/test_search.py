"""Search over what lives here and what the uplink has: item 91, threat 22, and paging over both."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.npm.policy import EVERYBODY, HOSTED, Rule
from proxy.storage.hosting import Access, Deed
from proxy.storage.identity import Permission
from tests.fakes import faults
from tests.fakes.exchange import json_reply
from tests.fakes.uplink import FakeUplink
from tests.owned import FORK, OURS, REST, Owned, owned
from tests.registry import Clock


@pytest.fixture
async def home(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Owned]:
    """A registry with hosted, merged and mirrored names."""
    async with owned(tmp_path / "data", uplink, clock) as running:
        yield running


async def search(home: Owned, query: str, user: str | None = "ann") -> dict[str, Any]:
    found = await home.get(f"/-/v1/search?{query}", user)
    assert found.status == 200, found.body
    return dict(found.json())


def names(found: dict[str, Any]) -> list[str]:
    return [each["package"]["name"] for each in found["objects"]]


async def test_both_in_one_answer(home: Owned) -> None:
    """What lives here comes first, then the uplink's, and the total counts both."""
    home.uplink.publish("button", "1.0.0")
    home.uplink.publish("button-group", "1.0.0")
    await home.publish("@acme/button")

    found = await search(home, "text=button&size=20")

    assert names(found) == ["@acme/button", "button", "button-group"]
    assert found["total"] == 3
    assert "time" in found


async def test_91_the_shape_of_a_result(home: Owned) -> None:
    """A result of ours has everything that npm reads, in the public registry's shape."""
    await home.publish(
        "@acme/button",
        "0.1.0",
        description="A button",
        keywords=("ui",),
        excerpt={
            "author": {"name": "Ann", "email": "ann@a.example"},
            "license": "MIT",
            "homepage": "https://a.example/home",
            "repository": {"type": "git", "url": "git+https://a.example/r.git"},
            "bugs": {"url": "https://a.example/bugs"},
        },
    )

    (entry,) = (await search(home, "text=button"))["objects"]

    ann = {"username": "ann", "email": "ann@registry.example"}
    date = entry["package"].pop("date")
    assert date.endswith("Z")
    assert entry["package"] == {
        "name": "@acme/button",
        "scope": "acme",
        "version": "0.1.0",
        "description": "A button",
        "keywords": ["ui"],
        "links": {
            "npm": f"{home.registry.url}/@acme/button",
            "homepage": "https://a.example/home",
            "repository": "https://a.example/r",
            "bugs": "https://a.example/bugs",
        },
        "author": {"name": "Ann", "email": "ann@a.example"},
        "license": "MIT",
        "publisher": ann,
        "maintainers": [ann],
    }
    assert entry["flags"] == {"unstable": True}
    assert entry["score"]["detail"] == {"quality": 1, "popularity": 1, "maintenance": 1}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 20])
async def test_pages_over_both(home: Owned, size: int) -> None:
    """Page by page every result comes once, and each page tells the same total."""
    for number in range(5):
        home.uplink.publish(f"widget-{number}", "1.0.0")
    home.uplink.publish("@acme/widget-fake", "9.9.9")
    for number in range(3):
        await home.publish(f"@acme/widget-{number}")

    pages = [
        await search(home, f"text=widget&size={size}&from={start}") for start in range(0, 9, size)
    ]

    shown = [name for page in pages for name in names(page)]
    assert shown == [
        *(f"@acme/widget-{number}" for number in range(3)),
        *(f"widget-{number}" for number in range(5)),
    ]
    assert {page["total"] for page in pages} == {8}


async def test_pages_far_behind(home: Owned) -> None:
    """Behind the uplink's first 250 results paging goes on without a gap."""
    for number in range(300):
        home.uplink.publish(f"widget-{number:03}", "1.0.0", tarball=b"x")
    await home.publish("@acme/widget")

    pages = [await search(home, f"text=widget&size=50&from={at}") for at in range(0, 350, 50)]

    shown = [name for page in pages for name in names(page)]
    assert shown == ["@acme/widget", *(f"widget-{number:03}" for number in range(300))]
    assert {page["total"] for page in pages} == {301}


async def test_no_more_than_250(home: Owned) -> None:
    """However many are asked for, a page has 250 results at most."""
    for number in range(260):
        home.uplink.publish(f"widget-{number}", "1.0.0", tarball=b"x")
    await home.publish("@acme/widget")

    assert len((await search(home, "text=widget&size=1000"))["objects"]) == 250


async def test_a_private_word_stays_here(home: Owned) -> None:
    """A text with a name or scope that lives here is answered from here alone."""
    home.uplink.publish("button", "1.0.0")
    await home.publish("@acme/button")

    for text in ("@acme/button", "scope:acme%20button", "@acme", "acme-x%20button"):
        found = await search(home, f"text={text}")
        assert set(names(found)) <= {"@acme/button"}

    assert home.uplink.count("/-/v1/search") == 0


async def test_the_uplink_is_away(home: Owned) -> None:
    """While the uplink is away what lives here is the answer, and it says so."""
    await home.publish("@acme/button")
    await home.uplink.stop()

    found = await home.get("/-/v1/search?text=button", "ann")

    assert (found.status, names(found.json()), found.json()["total"]) == (200, ["@acme/button"], 1)
    assert "stale" in found.headers["Cache-Status"]


@pytest.mark.parametrize(
    "script", [faults.status(404), faults.status(400), faults.status(500), faults.body(b"<html>")]
)
async def test_an_uplink_without_search(home: Owned, script: Any) -> None:
    """An uplink that has no search, or a broken one, leaves what lives here."""
    await home.publish("@acme/button")
    home.uplink.script("/-/v1/search", script, forever=True)

    found = await search(home, "text=button")
    nothing = await search(home, "text=other")

    assert (names(found), found["total"]) == (["@acme/button"], 1)
    assert (names(nothing), nothing["total"]) == ([], 0)


async def test_22_nobody_sees_what_they_may_not_read(home: Owned) -> None:
    """A package the caller may not read is in neither results nor total, for any of them."""
    await home.publish("@acme/open", access=Access.PUBLIC)
    await home.publish("@acme/open-secret", access=Access.RESTRICTED)
    home.uplink.publish("open", "1.0.0")

    seen = {user: await search(home, "text=open", user) for user in ("ann", "bob", None)}

    assert {user: (names(found), found["total"]) for user, found in seen.items()} == {
        "ann": (["@acme/open", "@acme/open-secret", "open"], 3),
        "bob": (["@acme/open", "open"], 2),
        None: (["open"], 1),
    }


async def test_22_a_grant_is_seen_at_once(home: Owned) -> None:
    """A package that was granted is found by the next search, and no more when it is taken away."""
    await home.publish("@acme/secret", access=Access.RESTRICTED)
    deed = Deed("ann", home.registry.clock.now())
    counts = []
    for permission in (None, Permission.READ, None):
        if permission is None:
            await home.people.drop_collaborator("@acme/secret", "bob", deed)
        else:
            await home.people.set_collaborator("@acme/secret", "bob", permission, deed)
        counts.append((await search(home, "text=secret", "bob"))["total"])

    assert counts == [0, 1, 0]


async def test_22_an_uplinks_result_that_may_not_be_read(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """What an uplink tells of a merged or restricted name is shown to whom the rule names."""
    uplink.publish("lodash", "1.0.0")
    uplink.publish("lodash-kept", "1.0.0")
    rules = [
        replace(FORK, read=("ann",)),
        Rule(("lodash-kept",), REST.origin, read=("ann", "bob")),
        Rule(("@acme/*",), HOSTED, read=(EVERYBODY,)),
        REST,
    ]
    async with owned(tmp_path / "data", uplink, clock, rules) as home:
        await home.publish("lodash", "1.0.1")
        await home.publish("@acme/lodash")

        seen = {user: await search(home, "text=lodash", user) for user in ("ann", "bob", None)}

    assert {user: (names(found), found["total"]) for user, found in seen.items()} == {
        "ann": (["@acme/lodash", "lodash", "lodash-kept"], 3),
        "bob": (["@acme/lodash", "lodash-kept"], 2),
        None: (["@acme/lodash"], 1),
    }


async def test_a_merged_name_comes_once(home: Owned) -> None:
    """A name that lives at both places is one result, ours."""
    home.uplink.publish("lodash", "1.0.0")
    await home.publish("lodash", "1.0.1")

    found = await search(home, "text=lodash")

    assert [(each["package"]["name"], each["package"]["version"]) for each in found["objects"]] == [
        ("lodash", "1.0.1")
    ]
    assert found["total"] == 1


async def test_an_uplink_that_offers_our_names(home: Owned) -> None:
    """A result of the uplink under a name that lives here is never shown, nor counted."""
    home.uplink.publish("@acme/button", "99.0.0")
    home.uplink.publish("button", "1.0.0")
    await home.publish("@acme/button")

    for user in ("ann", None):
        found = await search(home, "text=button", user)
        versions = {each["package"]["version"] for each in found["objects"]}
        assert versions == {"1.0.0"}
        assert found["total"] == len(found["objects"])


async def test_what_is_published_is_found_at_once(home: Owned) -> None:
    """A publish, a new latest and an unpublish are seen by the next search."""
    totals = [(await search(home, "text=button"))["total"]]
    for version in ("1.0.0", "1.1.0"):
        await home.publish("@acme/button", version)
        (entry,) = (await search(home, "text=button"))["objects"]
        totals.append(entry["package"]["version"])
    await home.hosted.remove_package("@acme/button", Deed("ann", home.registry.clock.now()))
    totals.append((await search(home, "text=button"))["total"])

    assert totals == [0, "1.0.0", "1.1.0", 0]


async def test_search_is_kept_by_nobody(home: Owned) -> None:
    """An answer that depends on who asks is not to be stored."""
    await home.publish("@acme/button")

    found = await home.get("/-/v1/search?text=button", "ann")

    assert found.headers["Cache-Control"] == "no-store"


async def test_a_strange_total(home: Owned) -> None:
    """An uplink whose total is no number is counted by what it shows."""
    await home.publish("@acme/button")
    entry = {"package": {"name": "button", "version": "1.0.0"}}
    answer = json_reply({"objects": [entry], "total": "many"})
    home.uplink.script("/-/v1/search", faults.body(answer.body), forever=True)

    found = await search(home, "text=button")

    assert (names(found), found["total"]) == (["@acme/button", "button"], 2)
    assert found["objects"][1]["package"]["maintainers"] == []


async def test_96_no_listing_of_everything(home: Owned) -> None:
    """`/-/all` is a 404, whoever asks, and names no package."""
    await home.publish("@acme/secret")

    for path in ("/-/all", "/-/all/since?stale=update_after&startkey=1"):
        found = await home.get(path, "ann")
        assert found.status == 404
        assert b"secret" not in found.body


async def test_ten_thousand_packages(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> None:
    """Over 10,000 packages searches stay quick, and others are answered meanwhile."""
    async with owned(tmp_path / "data", uplink, clock, [OURS, REST]) as home:
        await _fill(home, 10_000)
        await home.publish("@acme/last")
        await search(home, "text=first")
        begun = time.perf_counter()

        found, *_ = await asyncio.gather(
            search(home, "text=package&size=20"), *(home.get("/-/ping") for _ in range(5))
        )
        for _ in range(9):
            await search(home, "text=number-77")
        took = time.perf_counter() - begun

    assert found["total"] == 10_000
    assert took < 5


async def _fill(home: Owned, count: int) -> None:
    """Put many packages into the database at once: one by one they would take a minute."""

    def work(db: Any) -> None:
        for at in range(count):
            name = f"@acme/number-{at}"
            db.execute(
                "INSERT INTO packages (name, counter, revision, access, created_at, modified_at,"
                " volume_bytes) VALUES (?, 1, '1-a', 'public', 1, 1, 0)",
                (name,),
            )
            db.execute("INSERT INTO owners (name, user, place) VALUES (?, 'ann', 0)", (name,))
            db.execute(
                "INSERT INTO search VALUES (?, '1.0.0', 'A package of ours', '[\"a\"]', x'7b7d', 1,"
                " 'ann')",
                (name,),
            )

    await home.hosted._database.write(work)
