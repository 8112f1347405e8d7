"""The web floor on a real socket: errors, what is passed on, bodies, probes and the log."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from datetime import timedelta

import pytest

from proxy import errors
from proxy.web import bodies, ops
from proxy.web.access_log import AccessLog
from proxy.web.keys import Drain
from tests.fakes.rawhttp import get, receive, send
from tests.fakes.stories import Stories, serve
from tests.floor import ask


async def test_an_error_of_a_story_is_its_status(port: int, stories: Stories) -> None:
    """What a story raises is told in JSON, with the id that stands in the header."""
    stories.failure = errors.UplinkAway(
        uplink="main", reason="refused", retry_after=timedelta(seconds=9)
    )

    reply = await ask(port, "/small")

    assert reply.status == 503
    assert reply.headers["Retry-After"] == "9"
    assert reply.reason == "uplink main: refused"
    assert reply.json()["request_id"] == reply.headers["X-Request-Id"]


async def test_a_bug_is_a_500_with_an_id_and_a_traceback_in_the_log(
    port: int, stories: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody foresaw tells the caller an id, and us where it happened."""
    stories.failure = KeyError("secret")

    reply = await ask(port, "/small")

    assert reply.status == 500
    assert b"secret" not in reply.body
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.__dict__["request_id"] == reply.headers["X-Request-Id"]


async def test_a_story_that_takes_too_long_is_a_504(stories: Stories) -> None:
    """A client gets our answer before its own patience ends."""
    stories.wait = 10
    async with serve(stories, deadline=timedelta(seconds=0.1)) as port:
        reply = await ask(port, "/small")

        assert reply.status == 504
        assert reply.json()["code"] == "E_UPLINK_TIMEOUT"


async def test_what_is_passed_on_is_asked_for_by_its_parts(port: int, stories: Stories) -> None:
    """Search, keys, attestations, counts and audits reach their stories with what was asked."""
    for path in (
        "/-/v1/search?text=a%20b&size=20",
        "/-/npm/v1/keys",
        "/-/npm/v1/attestations/@s%2fn@1.0.0",
        "/downloads/point/last-week/@s/n",
        "/-/package/small/dist-tags",
    ):
        assert (await ask(port, path)).status == 200
    await ask(port, "/-/npm/v1/security/audits/quick", method="POST", data=b"{}")

    assert [call[:-1] for call in stories.calls] == [
        ("search", [("text", "a b"), ("size", "20")], f"http://127.0.0.1:{port}"),
        ("keys",),
        ("attestations", "@s/n", "1.0.0"),
        ("downloads", "downloads/point/last-week/@s/n"),
        ("dist_tags", "small"),
        ("tree", "-/npm/v1/security/audits/quick", b"{}"),
    ]


@pytest.mark.parametrize("path", ["/-/v1/search?text=x", "/-/package/small/dist-tags", "/-/ping"])
async def test_what_is_worked_out_per_call_is_not_stored(port: int, path: str) -> None:
    """A client keeps every GET it may; these it may not."""
    assert (await ask(port, path)).headers["Cache-Control"] == "no-store"


async def test_an_audit_may_come_packed(port: int, stories: Stories) -> None:
    """A gzipped audit, as npm and bun send it, reaches the story unpacked."""
    body = json.dumps({"lodash": ["4.0.0"]}).encode()

    reply = await ask(
        port,
        "/-/npm/v1/security/advisories/bulk",
        method="POST",
        data=gzip.compress(body),
        headers={"Content-Encoding": "gzip"},
    )

    assert reply.status == 200
    assert stories.calls[0][:2] == ("bulk", body)


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"{}" * 1000, mtime=0)[:-1],
        gzip.compress(b"{}", mtime=0) + b"x",
        b"\x1f\x8b\x08",
    ],
)
async def test_a_damaged_audit_is_refused(port: int, stories: Stories, body: bytes) -> None:
    """A body that does not unpack is the caller's fault."""
    reply = await ask(
        port,
        "/-/npm/v1/security/advisories/bulk",
        method="POST",
        data=body,
        headers={"Content-Encoding": "gzip"},
    )

    assert reply.status == 400
    assert stories.calls == []


async def test_a_bomb_is_refused(port: int, stories: Stories) -> None:
    """A small body that unpacks to more than the limit is refused with 413."""
    bomb = gzip.compress(b"\x00" * 64 * 1024 * 1024)

    reply = await ask(
        port,
        "/-/npm/v1/security/advisories/bulk",
        method="POST",
        data=bomb,
        headers={"Content-Encoding": "gzip"},
    )

    assert reply.status == 413
    assert stories.calls == []


async def test_a_body_that_drips_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that does not come in time is refused, however long the client would go on."""
    monkeypatch.setattr(bodies, "READING", timedelta(seconds=0.2))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /-/npm/v1/security/advisories/bulk HTTP/1.1\r\n"
        b"Host: a\r\nContent-Length: 99\r\n\r\n{"
    )

    async with asyncio.timeout(5):
        reply = await receive(reader)
    writer.close()

    assert reply is not None
    assert reply.status == 400


async def test_a_worker_that_goes_down_closes_its_connections(stories: Stories) -> None:
    """While draining, every answer says that the connection ends."""
    drain = Drain()
    async with serve(stories, drain=drain) as port:
        before = await ask(port, "/-/ping")
        drain.is_on = True
        after = await ask(port, "/-/ping")

        assert before.headers.get("Connection") != "close"
        assert after.headers["Connection"] == "close"


async def test_a_trusted_proxy_gives_prefix_scheme_and_id(stories: Stories) -> None:
    """Behind a listed proxy links, routes and the id of a request are the proxy's."""
    stories.documents["small"] = b'{"t":"{base_url}/x"}'
    headers = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "npm.example",
        "X-Forwarded-Prefix": "/npm",
        "X-Request-Id": "from-the-proxy",
    }
    async with serve(stories, trusted_proxies=("127.0.0.1",)) as port:
        stripped = await ask(port, "/small", headers)
        whole = await ask(port, "/npm/small", headers)

        assert stripped.json() == whole.json() == {"t": "https://npm.example/npm/x"}
        assert whole.headers["X-Request-Id"] == "from-the-proxy"


async def test_the_page_shows_the_address_and_runs_nothing(port: int) -> None:
    """A browser is shown how to point a client here, on a page that may load nothing."""
    page = await ask(port, "/", headers={"Accept": "text/html", "Host": "npm.example"})
    data = await ask(port, "/")

    text = page.body.decode()
    assert "npm config set registry http://npm.example/" in text
    assert "script" not in text
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert data.json() == {"name": "packhouse", "version": "1.2.3"}


async def test_probes_and_people_are_answered(port: int) -> None:
    """Ping, health, readiness, numbers and whoami answer as npm and probes expect."""
    ping = await ask(port, "/-/ping?write=true")
    health = await ask(port, "/-/health")
    ready = await ask(port, "/-/ready")
    numbers = await ask(port, "/-/metrics")
    whoami = await ask(port, "/-/whoami")

    assert ping.json() == {}
    assert health.json()["status"] == "alive"
    assert ready.json()["status"] == "ready"
    assert "packhouse_requests_total" in numbers.body.decode()
    assert whoami.status == 401


async def test_storage_that_fails_is_told_to_the_probe(stories: Stories) -> None:
    """A worker whose storage cannot be used says 503, so that a balancer leaves it alone."""

    async def check() -> None:
        raise errors.StorageAway(reason="disk gone")

    probe = ops.Probe(version="1", checks={"blobs": check}, uplinks=lambda: {"main": "open"})
    async with serve(stories, probe=probe) as port:
        reply = await ask(port, "/-/ready")

        assert reply.status == 503
        assert reply.json()["uplinks"] == {"main": "open"}


async def test_every_request_is_logged_with_what_became_of_it(stories: Stories) -> None:
    """One line a request, soon after it: its reply, its cache state, no query and no token."""
    stream = io.BytesIO()
    async with AccessLog(stream) as log, serve(stories, log=log) as port:
        known = await ask(port, "/small?secret=1", {"User-Agent": "npm/11"})
        await ask(port, "/-/user/token/secret", method="DELETE")
        await send(port, get("/", method="CONNECT"))
        stories.tarballs["big-1.0.0.tgz"].fail_at = 600_000
        await send(port, get("/big/-/big-1.0.0.tgz"))
        async with asyncio.timeout(5):
            while stream.getvalue().count(b"\n") < 3:
                await asyncio.sleep(0.05)

    assert b"secret" not in stream.getvalue()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    first, second, last = lines[0], lines[1], lines[-1]
    assert first["request_id"] == known.headers["X-Request-Id"]
    assert (first["path"], first["status"], first["cache"]) == ("/small", 200, "hit")
    assert (first["client"], first["user_agent"], first["uplink"]) == (
        "127.0.0.1",
        "npm/11",
        "main",
    )
    assert first["bytes"] > len(known.body)
    assert (second["path"], second["status"]) == ("/-/user/token/***", 401)
    assert last["cut"] is True


async def test_a_part_that_does_not_answer_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that hangs is a fault of its part, and the probe is answered in time."""
    monkeypatch.setattr(ops, "_CHECK_TIMEOUT", timedelta(seconds=0.05))

    async def hang() -> None:
        await asyncio.sleep(30)

    probe = ops.Probe(version="1", checks={"index": hang}, uplinks=dict)

    assert (await probe.readiness()).faults == {"index": "no answer in time"}
