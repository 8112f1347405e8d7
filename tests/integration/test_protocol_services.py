"""Search, keys, attestations, counts and dist-tags: items 91 and 94, and section 1.

Audits have a file of their own. Each test is named after its item of the protocol's edge cases.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.registry.mirroring import relay
from tests.fakes import faults, rawhttp
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry
from tests.routed import Two, two_uplinks


def key(keyid: str) -> dict[str, Any]:
    return {
        "expires": None,
        "keyid": keyid,
        "keytype": "ecdsa-sha2-nistp256",
        "scheme": "ecdsa-sha2-nistp256",
        "key": "MFkw",
    }


@pytest.fixture
async def two(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Two]:
    """A registry in front of two uplinks."""
    async with two_uplinks(tmp_path / "data", uplink, clock) as running:
        yield running


# --- search ---------------------------------------------------------------------------------------


async def test_91_search_results_have_maintainers(registry: Registry, uplink: FakeUplink) -> None:
    """Each result has a list of maintainers, whatever the uplink says: npm iterates it."""
    body = b'{"objects":[{"package":{"name":"a"}},{"package":{"name":"b","maintainers":null}}]}'
    uplink.script("/-/v1/search", faults.body(body))

    found = (await registry.get("/-/v1/search?text=a&size=20")).json()

    assert [each["package"]["maintainers"] for each in found["objects"]] == [[], []]


async def test_search_is_passed_on(registry: Registry, uplink: FakeUplink) -> None:
    """Text, size, offset and weights reach the uplink; the same question soon after does not."""
    uplink.publish("fill-range", "1.0.0")
    query = "text=fill+range%20x&size=20&from=0&quality=0.65&popularity=0.98&maintenance=0.5"

    first = await registry.get(f"/-/v1/search?{query}")
    second = await registry.get(f"/-/v1/search?{query}")

    (asked,) = uplink.seen()
    assert first.body == second.body
    assert "text=fill+range+x&size=20&from=0&quality=0.65" in asked.target
    assert first.headers["Cache-Control"] == "no-store"


async def test_a_search_goes_where_its_words_live(two: Two) -> None:
    """A scope of another uplink is searched there, and its name is told to nobody else."""
    two.corp.publish("@corp/button", "1.0.0")
    two.npm.publish("@corp/button", "6.6.6")
    two.npm.publish("button", "1.0.0")

    corp = (await two.registry.get("/-/v1/search?text=@corp/button")).json()
    npm = (await two.registry.get("/-/v1/search?text=button")).json()
    both = await two.registry.get("/-/v1/search?text=@corp/button+@acme/x")

    assert [each["package"]["version"] for each in corp["objects"]] == ["1.0.0"]
    assert [each["package"]["name"] for each in npm["objects"]] == ["button"]
    assert both.status == 404
    assert (two.corp.count(), two.npm.count()) == (1, 1)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (faults.status(500), 502),
        (faults.refuse, 502),
        (faults.html, 502),
        (faults.body(b"{}"), 502),
        (faults.body(b"[]"), 502),
        (faults.status(404), 404),
        (faults.status(429), 503),
    ],
)
async def test_a_search_that_fails(
    registry: Registry, uplink: FakeUplink, script: Any, status: int
) -> None:
    """A search the uplink cannot answer is an error, never an empty result."""
    uplink.script("/-/v1/search", script, forever=True)

    assert (await registry.get("/-/v1/search?text=a")).status == status


async def test_a_search_while_the_uplink_is_away(registry: Registry, uplink: FakeUplink) -> None:
    """What was found before is sent again, marked stale; other words are a 503."""
    uplink.publish("fill-range", "1.0.0")
    before = await registry.get("/-/v1/search?text=fill")
    await uplink.stop()
    registry.clock.advance(minutes=2)

    again = await registry.get("/-/v1/search?text=fill")
    other = await registry.get("/-/v1/search?text=other")

    assert again.body == before.body
    assert "stale" in again.headers["Cache-Status"]
    assert other.status == 503


# --- keys, attestations, counts, tags -------------------------------------------------------------


async def test_94_keys_of_all_uplinks(two: Two) -> None:
    """The keys of all uplinks come as one list, each once, as they were written, then our own."""
    two.npm.keys = [key("SHA256:a"), key("SHA256:shared")]
    two.corp.keys = [key("SHA256:shared"), key("SHA256:b")]

    reply = await two.registry.get("/-/npm/v1/keys")

    theirs = [key("SHA256:a"), key("SHA256:shared"), key("SHA256:b")]
    assert reply.json()["keys"][:-1] == theirs
    assert reply.json()["keys"][-1]["expires"] is None


@pytest.mark.parametrize("refusal", [faults.status(404), faults.status(400), faults.body(b"{}")])
async def test_94_an_uplink_without_keys(two: Two, refusal: Any) -> None:
    """An uplink that has no keys is passed over; if none has any there are ours (decision 0014)."""
    two.npm.keys = [key("SHA256:a")]
    two.corp.script("/-/npm/v1/keys", refusal, forever=True)

    some = await two.registry.get("/-/npm/v1/keys")
    two.npm.keys = []
    two.registry.clock.advance(hours=2)
    none = await two.registry.get("/-/npm/v1/keys")

    assert some.json()["keys"][:-1] == [key("SHA256:a")]
    assert none.json()["keys"] == some.json()["keys"][-1:]


async def test_94_keys_while_an_uplink_is_away(two: Two) -> None:
    """Some keys without the others would make sound packages seem tampered with: an error."""
    two.npm.keys = two.corp.keys = [key("SHA256:a")]
    await two.corp.stop()

    first = await two.registry.get("/-/npm/v1/keys")
    await two.corp.start()
    two.registry.clock.advance(minutes=1)

    assert first.status == 503


async def test_94_keys_are_remembered(registry: Registry, uplink: FakeUplink) -> None:
    """Keys are asked for once an hour, and sent again beyond it while the uplink is away."""
    uplink.keys = [key("SHA256:a")]
    first = await registry.get("/-/npm/v1/keys")
    second = await registry.get("/-/npm/v1/keys")
    await uplink.stop()
    registry.clock.advance(hours=2)
    third = await registry.get("/-/npm/v1/keys")

    assert first.body == second.body == third.body
    assert uplink.count() == 1
    assert "stale" in third.headers["Cache-Status"]
    assert int(third.headers["Age"]) >= 7200


async def test_attestations_are_copied(two: Two) -> None:
    """Attestations come from the uplink of their name, byte for byte, in every spelling."""
    text = (
        b'{"attestations": [{"predicateType":"p","bundle":{"n":1.50,"big":99999999999999999999}}]}'
    )
    two.corp.script("/-/npm/v1/attestations/@corp/b@1.0.0", faults.body(text), forever=True)
    two.npm.attestations = {"a@1.0.0": [{"predicateType": "q"}]}

    for path in ("@corp%2fb@1.0.0", "@corp%2Fb@1.0.0", "@corp/b@1.0.0", "%40corp%2fb@1.0.0"):
        reply = await two.registry.get(f"/-/npm/v1/attestations/{path}")
        assert (path, reply.body) == (path, text)
    plain = await two.registry.get("/-/npm/v1/attestations/a@1.0.0")
    absent = await two.registry.get("/-/npm/v1/attestations/a@9.9.9")

    assert plain.json() == {"attestations": [{"predicateType": "q"}]}
    assert absent.status == 404
    assert two.corp.count() == 1


@pytest.mark.parametrize("path", ["/-/npm/v1/attestations/a@1.0.0", "/downloads/point/last-week/a"])
async def test_a_web_page_is_not_passed_on(
    registry: Registry, uplink: FakeUplink, path: str
) -> None:
    """A log-in page in the place of an answer is the uplink's failure, and is not remembered."""
    uplink.attestations = {"a@1.0.0": [{}]}
    uplink.script(path, faults.html_as_json)

    first, second = await registry.get(path), await registry.get(path)

    assert (first.status, second.status) == (502, 200)


async def test_download_counts(two: Two) -> None:
    """Counts are the public uplink's; names of another uplink are told to nobody."""
    scoped = await two.registry.get("/downloads/point/last-week/@s/n")
    encoded = await two.registry.get("/downloads/point/last-week/@s%2fn")
    several = await two.registry.get("/downloads/point/last-month/a,b")
    foreign = await two.registry.get("/downloads/point/last-month/a,@corp%2fb")

    assert scoped.json()["package"] == encoded.json()["package"] == "@s/n"
    assert (several.status, foreign.status) == (200, 404)
    assert [each.target for each in two.npm.seen()] == [
        "/downloads/point/last-week/@s/n",
        "/downloads/point/last-month/a,b",
    ]
    assert two.corp.count() == 0


@pytest.mark.parametrize(
    "path",
    [
        "/downloads/point/..%2f..%2f-%2fnpm%2fv1%2ftokens/a",
        "/downloads/point/../../../a/a",
        "/downloads/point/%2e%2e/a",
        "/downloads/point/last-week%2f../a",
        "/downloads/point/last-week%3fx/a",
        "/downloads/point/last-week/..%2f..%2fa",
        "/downloads/point/last-week/a,..%2fb",
        "/downloads/point/last-week/a%3fb",
        "/downloads/point/last-week/a,,b",
        "/downloads/range/LAST.week/a",
        "/-/npm/v1/attestations/..%2f..%2fuser@1.0.0",
        "/-/npm/v1/attestations/@s/..%2fn@1.0.0",
    ],
)
async def test_a_path_leads_nowhere_else(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """Nothing in an address makes us ask the uplink, with our credentials, for something else."""
    port = int(registry.url.rpartition(":")[2])

    reply = await rawhttp.send(port, rawhttp.get(path))

    assert reply is not None
    assert reply.status in {400, 404}
    assert uplink.count() == 0


async def test_an_attestations_version_stays_in_its_place(
    registry: Registry, uplink: FakeUplink
) -> None:
    """What stands for the version is one piece of the address, whatever it holds."""
    await registry.get("/-/npm/v1/attestations/n@..%2f..%2fwhoami%3fx")

    assert [each.target for each in uplink.seen()] == [
        "/-/npm/v1/attestations/n@..%2F..%2Fwhoami%3Fx"
    ]


async def test_odd_searches(registry: Registry, uplink: FakeUplink) -> None:
    """A query of any bytes is a query: it is answered, and stays inside the uplink's search."""
    odd = (
        "",
        "?",
        "?text=",
        "?text=%ff",
        "?text=a%00b",
        "?%0d%0a=x",
        "?text=" + "a" * 9000,
        "?&&=&",
    )

    statuses = [(await registry.get(f"/-/v1/search{query}")).status for query in odd]

    assert set(statuses) == {200}
    assert {each.path for each in uplink.seen()} == {"/-/v1/search"}


async def test_what_is_remembered_is_bounded(
    registry: Registry, uplink: FakeUplink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever searches for random words fills no memory: the oldest answers go first."""
    monkeypatch.setattr(relay, "_MOST_BYTES", 20_000)

    for number in range(30):
        await registry.get(f"/-/v1/search?text={'x' * 500}{number}")
    await registry.get(f"/-/v1/search?text={'x' * 500}29")
    asked = uplink.count()
    await registry.get(f"/-/v1/search?text={'x' * 500}0")

    assert (asked, uplink.count()) == (30, 31)


async def test_a_silent_uplink_and_what_is_remembered(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Keys that are held come stale while the uplink is silent, and anew once it has answered."""
    uplink.keys = [key("SHA256:a")]
    await registry.get("/-/npm/v1/keys")
    registry.clock.advance(hours=2)
    uplink.keys = [key("SHA256:b")]
    uplink.pause()

    stale = await registry.get("/-/npm/v1/keys")
    uplink.resume()
    async with asyncio.timeout(10):
        while (await registry.get("/-/npm/v1/keys")).json() == stale.json():
            await asyncio.sleep(0.01)
    after = await registry.get("/-/npm/v1/keys")

    assert stale.json()["keys"][:-1] == [key("SHA256:a")]
    assert "slow" in stale.headers["Cache-Status"]
    assert after.json()["keys"][:-1] == [key("SHA256:b")]


async def test_dist_tags_in_every_spelling(registry: Registry, uplink: FakeUplink) -> None:
    """Dist-tags are those of the packument, which is asked for once."""
    uplink.publish("@s/n", "1.0.0")
    uplink.publish("@s/n", "2.0.0-rc.1", tag="next")

    for path in ("@s%2fn", "@s%2Fn", "@s/n", "%40s%2Fn"):
        reply = await registry.get(f"/-/package/{path}/dist-tags")
        assert reply.json() == {"latest": "1.0.0", "next": "2.0.0-rc.1"}
    assert uplink.count() == 1


HEADS = [
    "/-/npm/v1/keys",
    "/-/npm/v1/attestations/a@1.0.0",
    "/-/v1/search?text=a",
    "/downloads/point/last-week/a",
    "/-/package/a/dist-tags",
    "/-/ping",
    "/-/whoami",
    "/-/nope",
]


async def test_head_of_every_service(registry: Registry, uplink: FakeUplink) -> None:
    """HEAD of a service has GET's status and length, and no body."""
    uplink.publish("a", "1.0.0")
    uplink.keys, uplink.attestations = [key("SHA256:a")], {"a@1.0.0": [{}]}

    for path in HEADS:
        get = await registry.get(path)
        head = await registry.get(path, method="HEAD")

        assert (path, head.status, head.body) == (path, get.status, b"")
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
        if get.status == 200:
            assert head.headers["Content-Length"] == get.headers["Content-Length"]
