"""Dist-tags by their own addresses. Numbers are those of the protocol's items."""

from __future__ import annotations

import pytest

from tests.changes import Shop, is_told
from tests.publishing import UI, a_publish, address

TAGS = f"/-/package{address(UI)}/dist-tags"


async def put(shop: Shop, body: bytes, path: str = f"{TAGS}/next", **headers: str) -> int:
    sent = {"authorization": f"Bearer {shop.ann.token}", **headers}
    return (await shop.town.registry.ask("PUT", path, sent, body)).status


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'"1.0.0"', {"content-type": "application/json"}),
        (b' \r\n\t"1.0.0"\n', {"content-type": "application/json"}),
        (b'"1.0.0"', {"content-type": ""}),
        (b'"1.0.0"', {"content-type": "application/octet-stream"}),
        (b'"1.0.0"', {"content-type": "text/plain; charset=utf-8"}),
    ],
)
async def test_80_a_version_as_json(shop: Shop, body: bytes, headers: dict[str, str]) -> None:
    """The body is a bare JSON string, with white space and under any content type."""
    assert await put(shop, body, **headers) in {200, 201}
    assert await shop.tags() == {"latest": "1.1.0", "next": "1.0.0"}


@pytest.mark.parametrize("body", [b"", b"1.0.0", b'""', b"null", b"1", b'{"v":"1.0.0"}', b'"1.0.0'])
async def test_80_what_is_no_version(shop: Shop, body: bytes) -> None:
    """Any other body is 400 and sets nothing."""
    assert await put(shop, body) == 400
    assert await shop.tags() == {"latest": "1.1.0"}


async def test_a_tag_is_set_moved_and_dropped(shop: Shop) -> None:
    """A tag goes where it is set, in the packument too, until it is dropped."""
    for version in ("1.0.0", "1.1.0"):
        told = await shop.ann.ask("PUT", f"{TAGS}/next", version)
        assert is_told(told)
        seen = await shop.document()
        assert (seen["dist-tags"]["next"], seen["_rev"]) == (version, told.json()["rev"])
    assert is_told(await shop.ann.ask("DELETE", f"{TAGS}/next"))

    assert (await shop.document())["dist-tags"] == {"latest": "1.1.0"}
    assert await shop.ann.refused("DELETE", f"{TAGS}/next") == (
        404,
        "@acme/ui has no dist-tag next",
    )
    assert [action for _, action in await shop.audit()][:3] == ["tag", "tag", "tag"]


async def test_latest_is_moved_and_not_dropped(shop: Shop) -> None:
    """`latest` may name any version, and is always there."""
    assert is_told(await shop.ann.ask("PUT", f"{TAGS}/latest", "1.0.0"))
    status, sentence = await shop.ann.refused("DELETE", f"{TAGS}/latest")

    assert (status, "moved, not removed" in sentence) == (403, True)
    assert await shop.tags() == {"latest": "1.0.0"}


async def test_a_tag_of_an_unknown_version(shop: Shop) -> None:
    """A version that is not there is 404."""
    assert await shop.ann.refused("PUT", f"{TAGS}/next", "9.9.9") == (
        404,
        "version not found: @acme/ui@9.9.9",
    )


@pytest.mark.parametrize(
    "tag", ["1.x", "1", "v1.2", "*", "%3E1", "1.0.0", "%5E1.0.0", "%20", "x%20"]
)
async def test_a_tag_that_reads_as_a_range(shop: Shop, tag: str) -> None:
    """What npm would take for a range or a version cannot be a tag."""
    status, sentence = await shop.ann.refused("PUT", f"{TAGS}/{tag}", "1.0.0")

    assert (status, "a dist-tag may not be" in sentence) == (400, True)


@pytest.mark.parametrize(
    ("written", "tag"),
    [("release-1.x", "release-1.x"), ("caf%C3%A9", "café"), ("a%2Fb", "a/b"), ("a%26b", "a&b")],
)
async def test_an_encoded_tag(shop: Shop, written: str, tag: str) -> None:
    """A tag is percent-decoded once, and is found again under its address."""
    await shop.ann.do("PUT", f"{TAGS}/{written}", "1.0.0")
    assert await shop.tags() == {"latest": "1.1.0", tag: "1.0.0"}

    await shop.ann.do("DELETE", f"{TAGS}/{written}")
    assert await shop.tags() == {"latest": "1.1.0"}


@pytest.mark.parametrize("name", ["@acme%2fui", "@acme%2Fui", "%40acme%2Fui", "@acme/ui"])
async def test_every_spelling_of_the_name(shop: Shop, name: str) -> None:
    """A scope may be written as clients and front proxies write it."""
    await shop.ann.do("PUT", f"/-/package/{name}/dist-tags/next", "1.0.0")
    assert (await shop.ann.get(f"/-/package/{name}/dist-tags"))["next"] == "1.0.0"
    await shop.ann.do("DELETE", f"/-/package/{name}/dist-tags/next")


async def test_many_tags_beside_the_others(shop: Shop) -> None:
    """POST sets what it names and leaves the rest."""
    await shop.ann.do("PUT", f"{TAGS}/old", "1.0.0")

    await shop.ann.do("POST", TAGS, {"next": "1.1.0", "lts": "1.0.0"})

    assert await shop.tags() == {
        "latest": "1.1.0", "old": "1.0.0", "next": "1.1.0", "lts": "1.0.0",
    }  # fmt: skip


async def test_many_tags_instead_of_the_others(shop: Shop) -> None:
    """PUT sets what it names; of the rest only `latest` stays."""
    await shop.ann.do("PUT", f"{TAGS}/old", "1.0.0")

    await shop.ann.do("PUT", TAGS, {"next": "1.1.0"})
    assert await shop.tags() == {"latest": "1.1.0", "next": "1.1.0"}
    await shop.ann.do("PUT", TAGS, {"latest": "1.0.0"})
    assert await shop.tags() == {"latest": "1.0.0"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"a": "1.0.0", "b": "9.9.9"}, 404),
        ({"a": "1.0.0", "1.x": "1.0.0"}, 400),
        ({"a": "1.0.0", "b": None}, 400),
        (["1.0.0"], 400),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_many_tags_all_or_none(shop: Shop, method: str, body: object, status: int) -> None:
    """If one of many tags is refused, none of them is set."""
    assert (await shop.ann.refused(method, TAGS, body))[0] == status
    assert await shop.tags() == {"latest": "1.1.0"}


async def test_66_a_publish_under_a_range(shop: Shop) -> None:
    """What cannot be set as a tag cannot be published under either."""
    sent = a_publish("1.2.0", tag="1.x").document

    assert (await shop.ann.refused("PUT", address(UI), sent))[0] == 400
    assert await shop.versions() == ["1.0.0", "1.1.0"]


async def test_100_a_tag_is_seen_at_once(shop: Shop) -> None:
    """The list of tags is never kept by a client, and has a new tag at the next request."""
    before = await shop.ann.ask("GET", TAGS)
    await shop.ann.do("PUT", f"{TAGS}/next", "1.0.0")
    after = await shop.ann.ask("GET", TAGS, if_none_match=before.headers["etag"])

    assert before.headers["cache-control"] == after.headers["cache-control"] == "no-store"
    assert (after.status, after.json()["next"]) == (200, "1.0.0")


async def test_who_owns_nothing_tags_nothing(shop: Shop) -> None:
    """A reader neither sets nor drops a tag; a package that is not there has none to set."""
    for method, path, body in (
        ("PUT", f"{TAGS}/next", "1.0.0"),
        ("DELETE", f"{TAGS}/latest", None),
        ("PUT", TAGS, {"next": "1.0.0"}),
        ("POST", TAGS, {"next": "1.0.0"}),
    ):
        assert (await shop.eve.refused(method, path, body))[0] == 403
    status, _ = await shop.ann.refused("PUT", "/-/package/@acme%2fnone/dist-tags/next", "1.0.0")

    assert status == 404
    assert await shop.tags() == {"latest": "1.1.0"}
