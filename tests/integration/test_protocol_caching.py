"""Freshness, validators and outages: items 38 to 44, 53 to 57, 62 and 100, and being offline.

Each test is named after its item of the protocol's edge cases.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, Answer, Registry

AWAY = [
    ("503", faults.status(503)),
    ("500 html", faults.status(500, {"content-type": "text/html"}, b"<h1>")),
    ("reset", faults.refuse),
    ("cut", faults.truncate_length),
    ("html", faults.html),
    ("html as json", faults.html_as_json),
    ("half of a document", faults.invalid_json),
    ("another package", faults.other_name),
    ("401", faults.status(401)),
    ("403", faults.status(403)),
]


def is_stale(reply: Answer) -> bool:
    """Whether a reply says that it is stale, why, and how old."""
    return (
        reply.status == 200
        and reply.headers["Cache-Status"].startswith("packhouse; hit; detail=stale-")
        and int(reply.headers["Age"]) >= 600
    )


async def held(registry: Registry, uplink: FakeUplink, name: str = "n") -> Any:
    """Let the registry hold a package whose copy is ten minutes old."""
    uplink.publish(name, "1.0.0")
    reply = await registry.packument(name)
    registry.clock.advance(minutes=10)
    return reply.json()


async def go_offline(registry: Registry) -> None:
    await registry.stop()
    registry.set("server", offline=True)
    await registry.start()


GETS = [
    "/n",
    "/n?write=true",
    "/n/1.0.0",
    "/n/latest",
    "/n/-/n-1.0.0.tgz",
    "/-/package/n/dist-tags",
    "/-/v1/search?text=n",
    "/-/npm/v1/keys",
    "/-/npm/v1/attestations/n@1.0.0",
    "/downloads/point/last-week/n",
    "/-/ping",
    "/-/whoami",
    "/-/health",
    "/-/ready",
    "/-/metrics",
    "/",
    "/absent",
    "/n/9.9.9",
    "/n/-/n-9.9.9.tgz",
    "/-/nope",
    "/@s%252fn",
    "/favicon.ico",
]


async def test_38_every_get_says_how_long_it_may_be_kept(
    registry: Registry, uplink: FakeUplink
) -> None:
    """No reply is without Cache-Control, from which npm would guess, and no error is kept."""
    uplink.publish("n", "1.0.0")

    for path in GETS:
        reply = await registry.get(path)

        assert reply.headers.get("Cache-Control"), path
        assert reply.status == 200 or reply.headers["Cache-Control"] == "no-store", path


async def test_38_what_each_kind_of_reply_says(registry: Registry, uplink: FakeUplink) -> None:
    """A packument is asked for each time, a tarball never again, keys once a minute."""
    uplink.publish("n", "1.0.0")
    uplink.keys = [{"keyid": "SHA256:x"}]

    said = {
        path: (await registry.get(path)).headers["Cache-Control"]
        for path in ("/n", "/n/1.0.0", "/n/-/n-1.0.0.tgz", "/-/npm/v1/keys")
    }

    assert said == {
        "/n": "public, max-age=0",
        "/n/1.0.0": "public, max-age=0",
        "/n/-/n-1.0.0.tgz": "public, max-age=31536000, immutable",
        "/-/npm/v1/keys": "public, max-age=60",
    }


@pytest.mark.parametrize("path", ["/n", "/n/1.0.0", "/n/-/n-1.0.0.tgz"])
async def test_39_if_none_match(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """A tag is found weak, strong, in a list and as `*`; a 304 repeats the headers, no body."""
    uplink.publish("n", "1.0.0")
    await registry.get(path)
    whole = await registry.get(path)
    etag = whole.headers["ETag"]
    opaque = etag.removeprefix("W/")

    for header in (etag, opaque, f"W/{opaque}", f'"a", {etag}, "b"', f'W/"a",{opaque}', "*"):
        reply = await registry.get(path, if_none_match=header)

        assert (reply.status, reply.body) == (304, b""), header
        assert "Content-Length" not in reply.headers
        for name in ("ETag", "Cache-Control", "Vary", "Last-Modified"):
            assert reply.headers.get(name) == whole.headers.get(name)
    for header in ('"a"', opaque[:-2] + '"', "", "x" * 5000):
        assert (await registry.get(path, if_none_match=header)).status == 200


async def test_40_the_tag_wins_over_the_date(registry: Registry, uplink: FakeUplink) -> None:
    """With If-None-Match present, If-Modified-Since counts for nothing, either way."""
    uplink.publish("n", "1.0.0")
    reply = await registry.packument("n")
    etag, modified = reply.headers["ETag"], reply.headers["Last-Modified"]
    old = "Mon, 01 Jan 2001 00:00:00 GMT"

    other_tag = await registry.packument("n", if_none_match='"x"', if_modified_since=modified)
    same_tag = await registry.packument("n", if_none_match=etag, if_modified_since=old)
    date_only = await registry.packument("n", if_modified_since=modified)
    old_only = await registry.packument("n", if_modified_since=old)

    statuses = [each.status for each in (other_tag, same_tag, date_only, old_only)]
    assert statuses == [200, 304, 304, 200]


async def test_41_tags_are_short(registry: Registry, uplink: FakeUplink) -> None:
    """An ETag has at most 63 characters and no comma or quote inside: bun keeps no other."""
    uplink.publish("@s/n", "1.0.0")
    await registry.get("/@s/n/-/n-1.0.0.tgz")

    for path in ("/@s%2fn", "/@s/n/1.0.0", "/@s/n/-/n-1.0.0.tgz"):
        etag = (await registry.get(path)).headers["ETag"]

        assert len(etag) <= 63
        assert etag.removeprefix("W/")[1:-1].isalnum()


async def test_42_a_client_does_not_bypass_us(registry: Registry, uplink: FakeUplink) -> None:
    """`cache-control: no-cache`, which pnpm 11 always sends, asks no uplink and allows a 304."""
    uplink.publish("n", "1.0.0")
    etag = (await registry.packument("n")).headers["ETag"]

    for header in ("no-cache", "max-age=0", "no-store"):
        reply = await registry.packument(
            "n", cache_control=header, pragma="no-cache", if_none_match=etag
        )
        assert reply.status == 304
    assert uplink.count() == 1


async def test_43_our_304s_are_our_own(registry: Registry, uplink: FakeUplink) -> None:
    """An uplink's 304 refreshes our copy; who did not ask conditionally gets the whole."""
    before = await held(registry, uplink)

    reply = await registry.packument("n")

    asked = uplink.seen("/n")[-1]
    assert "if-none-match" in asked.headers
    assert (reply.status, reply.json()) == (200, before)
    assert reply.headers["Cache-Status"] == "packhouse; fwd=stale; fwd-status=304"


async def test_43_a_clients_validators_stay_here(registry: Registry, uplink: FakeUplink) -> None:
    """A condition of a client is not passed on: what it has is not what we have."""
    uplink.publish("n", "1.0.0")
    headers = {"if_none_match": '"theirs"', "if_modified_since": "Mon, 01 Jan 2035 00:00:00 GMT"}

    await registry.packument("n", **headers)

    (asked,) = uplink.seen()
    assert not {"if-none-match", "if-modified-since"} & set(asked.headers)


async def test_43_a_304_nobody_asked_for(registry: Registry, uplink: FakeUplink) -> None:
    """An uplink's 304 to an unconditional question is its failure, and nothing is kept of it."""
    uplink.publish("n", "1.0.0")
    uplink.script("/n", faults.not_modified_unasked, faults.not_modified_unasked)

    failed = await registry.packument("n")
    uplink.clear_scripts()
    after = await registry.packument("n")

    assert (failed.status, after.status) == (502, 200)


async def test_44_an_uplink_that_ignores_conditions(registry: Registry, uplink: FakeUplink) -> None:
    """The same body with 200 instead of a 304 changes neither our ETag nor what clients have."""
    uplink.revalidates = False
    await held(registry, uplink)
    etag = (await registry.packument("n")).headers["ETag"]
    registry.clock.advance(minutes=10)

    reply = await registry.packument("n", if_none_match=etag)

    assert (reply.status, reply.headers["ETag"]) == (304, etag)
    assert uplink.count() == 3


async def test_44_an_uplink_without_validators(registry: Registry, uplink: FakeUplink) -> None:
    """An uplink that sends neither ETag nor Last-Modified is mirrored like others."""
    uplink.sends_etag = uplink.sends_last_modified = False
    uplink.publish("n", "1.0.0")
    first = await registry.packument("n")
    registry.clock.advance(minutes=10)

    again = await registry.packument("n", if_none_match=first.headers["ETag"])

    assert (first.status, again.status) == (200, 304)


@pytest.mark.parametrize("script", [each[1] for each in AWAY], ids=[each[0] for each in AWAY])
async def test_53_a_failing_uplink(registry: Registry, uplink: FakeUplink, script: Any) -> None:
    """Whatever the uplink does wrong: what is held is sent, marked stale, and stays as it was."""
    uplink.revalidates = False  # half of a 304 would be a sound one
    uplink.publish("m", "1.0.0")
    document = await held(registry, uplink)
    await registry.get("/n/-/n-1.0.0.tgz")  # all of it is held: nothing is hidden if it is away
    registry.clock.advance(minutes=10)
    uplink.script("/n", script, forever=True)
    uplink.script("/m", script, forever=True)

    stale = await registry.packument("n")
    short = await registry.packument("n", accept=ABBREVIATED)
    unknown = await registry.packument("m")
    uplink.clear_scripts()
    registry.clock.advance(minutes=1)
    again = await registry.packument("n")

    assert is_stale(stale) and is_stale(short)
    assert stale.json() == again.json() == document
    assert unknown.status in {502, 503}
    assert unknown.json()["error"].startswith("uplink npm")
    assert "fwd" in again.headers["Cache-Status"]


async def test_53_a_refused_connection(registry: Registry, uplink: FakeUplink) -> None:
    """With nobody listening, held packuments, manifests, tags and tarballs are sent, others 5xx."""
    await held(registry, uplink)
    data = (await registry.get("/n/-/n-1.0.0.tgz")).body
    registry.clock.advance(minutes=10)
    await uplink.stop()

    for path in ("/n", "/n/1.0.0", "/-/package/n/dist-tags"):
        assert is_stale(await registry.get(path)), path
    assert (await registry.get("/n/-/n-1.0.0.tgz")).body == data
    for path in ("/m", "/m/1.0.0", "/m/-/m-1.0.0.tgz", "/-/package/m/dist-tags"):
        unknown = await registry.get(path)
        assert unknown.status in {502, 503}
        assert int(unknown.headers["Retry-After"]) >= 1


async def test_54_a_silent_uplink(registry: Registry, uplink: FakeUplink) -> None:
    """An uplink that never answers: what is held comes within 3 s, the rest fails within 20 s."""
    await held(registry, uplink)
    uplink.script(lambda _: True, faults.black_hole, forever=True)

    began = time.monotonic()
    stale = await registry.packument("n")
    stale_seconds = time.monotonic() - began
    unknown = await registry.packument("m")
    seconds = time.monotonic() - began

    assert is_stale(stale) and stale_seconds < 3
    assert unknown.status in {503, 504} and seconds < 20


async def test_55_a_rationing_uplink(registry: Registry, uplink: FakeUplink) -> None:
    """A 429 reaches no client, and the uplink is left alone for as long as it asks."""
    await held(registry, uplink)
    uplink.script(lambda _: True, faults.status(429, {"retry-after": "30"}))

    stale = await registry.packument("n")
    asked = uplink.count()
    unknown = [await registry.packument(name) for name in ("a", "b", "c")]

    assert is_stale(stale)
    assert {reply.status for reply in unknown} == {503}
    assert 20 <= int(unknown[0].headers["Retry-After"]) <= 30
    assert uplink.count() == asked


async def test_56_a_404_for_a_moment(registry: Registry, uplink: FakeUplink) -> None:
    """One 404 for what we hold is not believed: the copy is sent, and asked for again soon."""
    await held(registry, uplink)
    uplink.script("/n", faults.status(404))

    doubted = await registry.packument("n")
    registry.clock.advance(seconds=61)
    after = await registry.packument("n")

    assert (doubted.status, after.status) == (200, 200)
    assert "stale" in doubted.headers["Cache-Status"]
    assert "stale" in after.headers["Cache-Status"] or "fwd" in after.headers["Cache-Status"]
    assert uplink.count("/n") == 3


async def test_56_a_removal(registry: Registry, uplink: FakeUplink) -> None:
    """A package that is still gone a minute later is gone here too, its tarball included."""
    await held(registry, uplink)
    await registry.get("/n/-/n-1.0.0.tgz")
    del uplink.packages["n"]
    registry.clock.advance(minutes=10)

    assert (await registry.packument("n")).status == 200
    registry.clock.advance(seconds=61)
    assert (await registry.packument("n")).status == 404
    assert (await registry.get("/n/-/n-1.0.0.tgz")).status == 404


async def test_57_a_new_package_after_a_404(registry: Registry, uplink: FakeUplink) -> None:
    """A 404 is remembered, so that it costs no question each, and for a minute at most."""
    statuses = [(await registry.packument("n")).status for _ in range(3)]
    asked = uplink.count()
    uplink.publish("n", "1.0.0")
    registry.clock.advance(seconds=60)

    assert statuses == [404, 404, 404]
    assert asked == 1
    assert (await registry.packument("n")).status == 200


async def test_62_one_503_is_absorbed(registry: Registry, uplink: FakeUplink) -> None:
    """A single 503 for an unknown package is a later 200: npm would leave an optional one out."""
    uplink.publish("n", "1.0.0")
    uplink.script("/n", faults.status(503))

    reply = await registry.packument("n", accept=ABBREVIATED)

    assert (reply.status, uplink.count()) == (200, 2)


async def test_100_dist_tags_are_kept_by_nobody(registry: Registry, uplink: FakeUplink) -> None:
    """Dist-tags say no-store, or npm would show the old ones after it changed them."""
    uplink.publish("@s/n", "1.0.0", tag="latest")
    uplink.publish("@s/n", "2.0.0", tag="next")

    reply = await registry.get("/-/package/@s%2fn/dist-tags")

    assert reply.json() == {"latest": "1.0.0", "next": "2.0.0"}
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_fresh_copy_says_its_age(registry: Registry, uplink: FakeUplink) -> None:
    """Age and Cache-Status tell a copy's age and that nobody was asked."""
    uplink.publish("n", "1.0.0")
    first = await registry.packument("n")
    registry.clock.advance(minutes=2)
    later = await registry.packument("n")

    assert first.headers["Cache-Status"] == "packhouse; fwd=miss; stored"
    assert later.headers["Cache-Status"] == "packhouse; hit"
    assert 120 <= int(later.headers["Age"]) < 180


async def test_offline_serves_what_is_held(registry: Registry, uplink: FakeUplink) -> None:
    """Offline, held packuments, manifests, tags and tarballs are sent, the old ones as stale."""
    document = await held(registry, uplink)
    data = (await registry.get("/n/-/n-1.0.0.tgz")).body
    registry.clock.advance(days=400)
    asked = uplink.count()
    await go_offline(registry)
    base = registry.url

    full = await registry.packument("n")
    document["versions"]["1.0.0"]["dist"]["tarball"] = f"{base}/n/-/n-1.0.0.tgz"

    assert is_stale(full) and full.json() == document
    assert "offline" in full.headers["Cache-Status"]
    for path in ("/n/1.0.0", "/n/latest", "/-/package/n/dist-tags"):
        assert is_stale(await registry.get(path)), path
    assert is_stale(await registry.packument("n", accept=ABBREVIATED))
    assert (await registry.get("/n/-/n-1.0.0.tgz")).body == data
    assert uplink.count() == asked


async def test_offline_nothing_leaves(registry: Registry, uplink: FakeUplink) -> None:
    """Offline, what is not held is a 503 that says why, services included; nobody is asked."""
    await held(registry, uplink)
    asked = uplink.count()
    await go_offline(registry)

    places = [
        ("GET", "/m"),
        ("HEAD", "/m"),
        ("GET", "/m/1.0.0"),
        ("GET", "/m/-/m-1.0.0.tgz"),
        ("GET", "/n/-/n-1.0.0.tgz"),
        ("GET", "/-/package/m/dist-tags"),
        ("GET", "/-/v1/search?text=n"),
        ("GET", "/-/npm/v1/keys"),
        ("GET", "/-/npm/v1/attestations/n@1.0.0"),
        ("GET", "/downloads/point/last-week/n"),
        ("POST", "/-/npm/v1/security/advisories/bulk"),
        ("POST", "/-/npm/v1/security/audits/quick"),
    ]
    for method, path in places:
        body = b'{"n":["1.0.0"]}' if method == "POST" else None
        reply = await registry.ask(method, path, data=body)

        assert (path, reply.status) == (path, 503)
        assert method == "HEAD" or "offline" in reply.json()["error"]
        assert "Retry-After" in reply.headers
    assert uplink.count() == asked


async def test_offline_a_version_nobody_knows(registry: Registry, uplink: FakeUplink) -> None:
    """Offline, a version that our stale copy lacks is not denied for good: it cannot be known."""
    await held(registry, uplink)
    await go_offline(registry)

    manifest = await registry.get("/n/9.9.9")
    tarball = await registry.get("/n/-/n-9.9.9.tgz")

    assert (manifest.status, tarball.status) == (503, 503)
    assert "offline" in manifest.json()["error"] and "offline" in tarball.json()["error"]
