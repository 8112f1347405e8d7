"""Errors and callers: items 84, 85, 87, 97 to 99 and 104, and the shape of every failure.

Each test is named after its item of the protocol's edge cases.
"""

from __future__ import annotations

import base64
import json

import pytest

from tests.fakes import faults, rawhttp
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, Registry

CREDENTIALS = [
    "Bearer stale-token",
    "Bearer",
    "Basic " + base64.b64encode(b"ann:pass:with:colons").decode(),
    "Basic !!not base64",
    "Basic " + base64.b64encode(b"no colon").decode(),
    "Digest x",
    "",
]
READS = [
    "/n",
    "/n/1.0.0",
    "/n/-/n-1.0.0.tgz",
    "/-/package/n/dist-tags",
    "/-/v1/search?text=n",
    "/-/npm/v1/keys",
    "/downloads/point/last-week/n",
    "/-/ping",
    "/-/ping?write=true",
]


async def test_84_a_stale_token_stops_no_read(registry: Registry, uplink: FakeUplink) -> None:
    """Reads are answered whatever stands in Authorization, and no uplink ever sees it."""
    uplink.publish("n", "1.0.0")
    uplink.keys = [{"keyid": "SHA256:x"}]

    for credentials in CREDENTIALS:
        for path in READS:
            reply = await registry.get(path, authorization=credentials, npm_otp="123456")
            assert (path, credentials, reply.status) == (path, credentials, 200)
    for seen in uplink.seen():
        assert not {"authorization", "npm-otp", "cookie"} & set(seen.headers)


async def test_84_a_stale_token_stops_no_audit(registry: Registry, uplink: FakeUplink) -> None:
    """Audits, which npm sends with its token during an install, are answered as well."""
    headers = {"authorization": "Bearer stale", "npm-command": "ci"}

    reply = await registry.ask(
        "POST", "/-/npm/v1/security/advisories/bulk", headers, b'{"n":["1.0.0"]}'
    )

    (asked,) = uplink.seen()
    assert (reply.status, reply.json()) == (200, {})
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("credentials", CREDENTIALS)
async def test_85_who_is_nobody(registry: Registry, uplink: FakeUplink, credentials: str) -> None:
    """Credentials that are not good here are nobody's: whoami is a 401 in words."""
    reply = await registry.get("/-/whoami", authorization=credentials)

    assert reply.status == 401
    assert reply.json()["error"]
    assert uplink.count() == 0


NO_NAMES = [
    "/%20n",
    "/n%20",
    "/.n",
    "/@.s/n",
    "/@s/.n",
    "/%C3%A9",
    "/n%0a",
    "/n%7f",
    "/a%3ab",
    "/a%40b",
    "/@s%2f",
    "/@%2fn",
    "/@/n",
    "/%ff",
    "/n[1]",
    "/node_modules",
    "/@s%252fn",
    "/" + "n" * 600,
    "/n%3fx",
    "/%00",
]


async def test_97_no_packument_is_a_400(registry: Registry, uplink: FakeUplink) -> None:
    """A name no package can have is a 404 in both forms: pnpm 10 reads a 400 as a document."""
    port = int(registry.url.rpartition(":")[2])

    for path in NO_NAMES:
        for header in (f"Accept: {ABBREVIATED}", "Accept: application/json"):
            reply = await rawhttp.send(port, rawhttp.get(path, header))

            assert reply is not None
            assert (path, reply.status) == (path, 404)
            assert reply.headers["content-type"] == "application/json"
            assert "versions" not in json.loads(reply.body)
    assert uplink.count() == 0


@pytest.mark.parametrize(
    ("status", "ours"),
    [
        (400, 502),
        (401, 502),
        (402, 502),
        (403, 502),
        (405, 502),
        (409, 502),
        (410, 404),
        (418, 502),
        (422, 502),
        (429, 503),
        (451, 404),
        (500, 502),
        (501, 502),
        (504, 502),
    ],
)
async def test_97_what_an_uplinks_status_becomes(
    registry: Registry, uplink: FakeUplink, status: int, ours: int
) -> None:
    """An uplink's own mistake is never the client's, who gets a 404 or a 5xx and no other 4xx."""
    uplink.script("/n", faults.status(status), faults.status(status))

    reply = await registry.packument("n", accept=ABBREVIATED)

    assert reply.status == ours
    assert reply.json()["error"]


async def test_98_the_reason_phrase_is_one_ascii_line(
    registry: Registry, uplink: FakeUplink
) -> None:
    """What an uplink writes reaches the status line as short printable ASCII only."""
    port = int(registry.url.rpartition(":")[2])
    hostile = "http://b\u00fccher.example:1/" + "\u00e9" * 300

    for location in (
        hostile,
        "//[::1",
        "http://x.example:0/" + "a" * 400,
        "file:///x",
    ):
        uplink.script("/n", faults.redirect(location))
        reply = await rawhttp.send(port, rawhttp.get("/n"))

        assert reply is not None
        assert reply.status == 502
        assert reply.reason.isascii() and reply.reason.isprintable()
        assert 0 < len(reply.reason) <= 120


async def test_99_the_message_stands_in_three_places(
    registry: Registry, uplink: FakeUplink
) -> None:
    """What went wrong is told in the phrase, in `error` and in `message`, for every client."""
    await uplink.stop()

    reply = await registry.packument("n")

    body = reply.json()
    assert body["error"] == body["message"]
    assert body["error"].startswith(reply.reason.rstrip())
    assert "npm" in reply.reason
    assert body["request_id"] == reply.headers["X-Request-Id"]


FAILURES = [
    ("GET", "/absent", 404),
    ("GET", "/n/9.9.9", 404),
    ("GET", "/n/-/n-9.9.9.tgz", 404),
    ("GET", "/-/nope", 404),
    ("GET", "/-/npm/v1/keys", 404),
    ("GET", "/-/npm/v1/attestations/n@1.0.0", 404),
    ("GET", "/-/npm/v1/attestations/n", 404),
    ("GET", "/-/npm/v1/attestations/%20@1", 404),
    ("GET", "/-/package/%20/dist-tags", 404),
    ("GET", "/-/package/absent/dist-tags", 404),
    ("GET", "/downloads/point/last-week/%20", 404),
    ("POST", "/-/ping", 405),
    ("GET", "/-/npm/v1/security/advisories/bulk", 405),
    ("POST", "/-/npm/v1/security/advisories/bulk", 400),
]


async def test_every_failure_is_json(registry: Registry, uplink: FakeUplink) -> None:
    """Every failure is JSON with error, message, code and the request's id, and kept by nobody."""
    uplink.publish("n", "1.0.0")

    for method, path, status in FAILURES:
        reply = await registry.ask(method, path)

        assert (method, path, reply.status) == (method, path, status)
        assert reply.headers["Content-Type"] == "application/json"
        assert reply.headers["Cache-Control"] == "no-store"
        body = reply.json()
        assert {"error", "message", "code", "request_id"} <= set(body)
        assert (body.get("success") is False) == (method != "GET")
        assert (status == 405) == ("Allow" in reply.headers)


async def test_104_reads_need_nobody(registry: Registry, uplink: FakeUplink) -> None:
    """Scoped or not, with a token or without, a mirrored package is read by all alike."""
    uplink.publish("n", "1.0.0")
    uplink.publish("@s/n", "1.0.0")

    for path in ("/n", "/@s%2fn", "/n/-/n-1.0.0.tgz", "/@s/n/-/n-1.0.0.tgz"):
        anonymous = await registry.get(path)
        someone = await registry.get(path, authorization="Bearer x")

        assert anonymous.status == someone.status == 200
        assert anonymous.body == someone.body
