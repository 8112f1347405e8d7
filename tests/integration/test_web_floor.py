"""The web floor on a real socket, over stories in memory: codings, validators, ranges, cuts."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
from datetime import timedelta

import pytest

from proxy.npm import encoding
from proxy.registry.answers import CacheState, Freshness
from proxy.web import bodies
from tests.fakes.rawhttp import get, receive, send
from tests.fakes.stories import Bytes, Stories, serve
from tests.floor import ABBREVIATED, BIG, SINCE, SMALL, TARBALL, ask


@pytest.mark.parametrize("is_stored", [False, True])
@pytest.mark.parametrize(("name", "body"), [("small", SMALL), ("big", BIG)])
async def test_a_packument_is_sent_as_gzip_or_identity(
    port: int, stories: Stories, name: str, body: bytes, is_stored: bool
) -> None:
    """From memory or disk, whoever offers gzip gets the stored bytes, others the same unpacked."""
    if is_stored:
        stories.stored = Bytes(b"")

    packed = await ask(port, f"/{name}", headers={"Accept-Encoding": "gzip,deflate"})
    plain = await ask(port, f"/{name}")

    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.body == encoding.gzip(body)
    assert "Content-Encoding" not in plain.headers
    assert plain.body == body
    assert plain.headers["Content-Length"] == str(len(body))
    assert plain.headers["ETag"] == packed.headers["ETag"]
    if stories.stored is not None:
        assert stories.stored.closed == 2
        assert stories.stored.largest_read <= bodies.PIECE_BYTES


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (ABBREVIATED, "application/vnd.npm.install-v1+json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
    ],
)
async def test_the_form_is_negotiated(port: int, accept: str, content_type: str) -> None:
    """The exact media type goes with the form, without parameters, and caches are told why."""
    reply = await ask(port, "/small", headers={"Accept": accept})

    assert reply.headers["Content-Type"] == content_type
    assert reply.headers["Vary"] == "Accept, Accept-Encoding"


async def test_a_packument_for_a_write_is_full_and_not_kept(port: int) -> None:
    """Before a write the full form is given, whatever Accept says, and not stored."""
    reply = await ask(port, "/small?write=true", {"Accept": ABBREVIATED})

    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-store"


async def test_a_packument_has_all_its_headers(port: int) -> None:
    """Freshness, validators and the id of the request stand on every packument."""
    reply = await ask(port, "/small")

    assert reply.headers["Cache-Control"] == "public, max-age=0"
    assert reply.headers["Last-Modified"] == SINCE
    assert len(reply.headers["ETag"]) < 64
    assert reply.headers["Age"] == "7"
    assert reply.headers["Cache-Status"] == "packhouse; hit"
    assert reply.headers["X-Request-Id"]
    assert reply.headers["Server"] == "packhouse"


async def test_a_private_packument_is_kept_by_nobody(port: int, stories: Stories) -> None:
    """Shared caches must not keep what is not for everybody."""
    stories.is_private = True

    assert (await ask(port, "/small")).headers["Cache-Control"] == "private, no-cache"


async def test_a_stale_packument_says_why(port: int, stories: Stories) -> None:
    """A stale answer carries its age and the reason."""
    stories.freshness = Freshness(
        CacheState.STALE, age=timedelta(hours=1), uplink="main", reason="timed out"
    )

    reply = await ask(port, "/small")

    assert reply.headers["Age"] == "3600"
    assert reply.headers["Cache-Status"] == "packhouse; hit; detail=stale-timed-out"


@pytest.mark.parametrize("is_stored", [False, True])
async def test_a_client_that_has_it_gets_304(port: int, stories: Stories, is_stored: bool) -> None:
    """A matching ETag or date gives 304 with validators and no body; the file is closed."""
    if is_stored:
        stories.stored = Bytes(b"")
    etag = (await ask(port, "/big")).headers["ETag"]

    by_tag = await ask(port, "/big", headers={"If-None-Match": f'"x", {etag}'})
    by_date = await ask(port, "/big", headers={"If-Modified-Since": SINCE})
    neither = await ask(port, "/big", headers={"If-None-Match": '"x"', "If-Modified-Since": SINCE})

    assert [by_tag.status, by_date.status, neither.status] == [304, 304, 200]
    assert neither.body == BIG
    for reply in (by_tag, by_date):
        assert reply.body == b""
        assert "Content-Length" not in reply.headers
        assert all(name in reply.headers for name in ("ETag", "Cache-Control", "Vary"))
    if stories.stored is not None:
        assert stories.stored.closed == 4


@pytest.mark.parametrize(
    "path", ["/small", "/big", "/small/latest", "/small/-/small-1.0.0.tgz", "/big/-/big-1.0.0.tgz"]
)
async def test_head_is_get_without_its_body(port: int, path: str) -> None:
    """HEAD gives the headers of GET, its length too."""
    full = await ask(port, path)
    head = await ask(port, path, method="HEAD")

    different = {"Date", "X-Request-Id", "X-Request-ID"}
    assert head.body == b""
    assert {k: v for k, v in head.headers.items() if k not in different} == {
        k: v for k, v in full.headers.items() if k not in different
    }


async def test_the_same_connection_serves_on_after_every_kind_of_reply(port: int) -> None:
    """HEAD, 304, 206, 404 and streams leave a connection as it has to be for the next request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = [
        get("/big", method="HEAD"),
        get("/big/-/big-1.0.0.tgz", method="HEAD"),
        get("/big", "If-Modified-Since: " + SINCE),
        get("/big/-/big-1.0.0.tgz", "Range: bytes=5-9"),
        get("/nope"),
        get("/big"),
        get("/small"),
    ]
    statuses = []
    for request in asked:
        writer.write(request.replace(b"Connection: close\r\n", b""))
        reply = await receive(reader, is_head=request.startswith(b"HEAD"))
        assert reply is not None
        assert reply.is_complete
        statuses.append(reply.status)
    writer.close()

    assert statuses == [200, 200, 304, 206, 404, 200, 200]


@pytest.mark.parametrize("accepted", ["gzip", "gzip, deflate, br, zstd", "*", None])
async def test_a_tarball_is_never_coded(port: int, accepted: str | None) -> None:
    """Whatever a client offers, a tarball is sent as it is, with its length."""
    headers = {"Accept-Encoding": accepted} if accepted else {}

    reply = await ask(port, "/big/-/big-1.0.0.tgz", headers=headers)

    assert "Content-Encoding" not in reply.headers
    assert reply.headers["Content-Length"] == str(len(TARBALL))
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.body == TARBALL


@pytest.mark.parametrize(
    ("headers", "status", "expected"),
    [
        ({"Range": "bytes=0-0"}, 206, TARBALL[:1]),
        ({"Range": "bytes=300000-"}, 206, TARBALL[300000:]),
        ({"Range": "bytes=-300000"}, 206, TARBALL[-300000:]),
        ({"Range": "bytes=0-1,3-4"}, 200, TARBALL),
        ({"Range": "bytes=5-6", "If-Range": '"0123456789abcdef"'}, 206, TARBALL[5:7]),
        ({"Range": "bytes=5-6", "If-Range": '"other"'}, 200, TARBALL),
        ({"Range": "junk"}, 200, TARBALL),
    ],
)
async def test_a_range_of_a_tarball_is_sent(
    port: int, headers: dict[str, str], status: int, expected: bytes
) -> None:
    """One sound range of the right body gives 206 and that part, all else the whole."""
    reply = await ask(port, "/big/-/big-1.0.0.tgz", headers=headers)

    assert reply.status == status
    assert reply.body == expected


async def test_a_range_outside_is_refused(port: int, stories: Stories) -> None:
    """A range that begins beyond the end gives 416 with the real size, and the file is closed."""
    reply = await ask(port, "/small/-/small-1.0.0.tgz", headers={"Range": "bytes=7-"})

    assert reply.status == 416
    assert reply.headers["Content-Range"] == "bytes */7"
    assert stories.tarballs["small-1.0.0.tgz"].closed == 1


async def test_a_download_that_fails_at_once_is_told(port: int, stories: Stories) -> None:
    """A tarball whose first bytes cannot be had is a 502 in JSON, and the file is closed."""
    stories.tarballs["big-1.0.0.tgz"].fail_at = 0

    reply = await ask(port, "/big/-/big-1.0.0.tgz")

    assert reply.status == 502
    assert reply.json()["code"] == "E_UPLINK_BROKEN"
    assert stories.tarballs["big-1.0.0.tgz"].closed == 1


async def test_a_download_that_fails_later_is_cut(
    port: int, stories: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a body has begun, its failure breaks the connection and leaves no traceback."""
    caplog.set_level(logging.WARNING)
    stories.tarballs["big-1.0.0.tgz"].fail_at = 600_000

    reply = await send(port, get("/big/-/big-1.0.0.tgz"))

    assert reply is not None
    assert reply.status == 200
    assert not reply.is_complete
    assert len(reply.body) <= 600_000
    assert stories.tarballs["big-1.0.0.tgz"].closed == 1
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("announced", [len(TARBALL) + 1, len(TARBALL) - 1])
async def test_a_body_of_another_size_is_cut(port: int, stories: Stories, announced: int) -> None:
    """A body that is not as long as was promised is never ended cleanly."""
    stories.tarballs["big-1.0.0.tgz"].announced_bytes = announced

    reply = await send(port, get("/big/-/big-1.0.0.tgz"))

    assert reply is None or not reply.is_complete or len(reply.body) == announced < len(TARBALL)


async def test_a_damaged_rendered_packument_is_cut(port: int, stories: Stories) -> None:
    """A stored body that does not unpack to its end is never ended cleanly."""

    class Damaged(Bytes):
        async def read(self, offset: int, length: int) -> bytes:
            whole = await super().read(offset, length)
            return whole if offset == 0 else b"\x00" * len(whole)

    stories.documents["big"] = json.dumps(random.Random(1).randbytes(600_000).hex()).encode()
    stories.stored = Damaged(b"")

    reply = await send(port, get("/big"))

    assert reply is None or reply.status == 500 or not reply.is_complete


async def test_a_reader_that_stalls_holds_little_and_is_cut(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that reads nothing is given a few pieces, then its connection is broken."""
    monkeypatch.setattr(bodies, "PATIENCE", timedelta(seconds=0.3))

    class Counted(Bytes):
        taken = 0

        async def read(self, offset: int, length: int) -> bytes:
            self.taken += length
            return b"x" * length

    endless = Counted(b"", announced_bytes=1 << 30)
    stories.tarballs["endless-1.0.0.tgz"] = endless
    async with serve(stories) as port:
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", port))
            stalled.sendall(get("/endless/-/endless-1.0.0.tgz"))
            async with asyncio.timeout(10):
                while not endless.closed:
                    await asyncio.sleep(0.02)

    # What the kernel's own buffers take is not ours; they hold a few megabytes at most.
    assert endless.taken < 16 * 1024 * 1024


async def test_a_reader_that_stalls_between_small_replies_is_cut(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replies that are sent in one piece wait for a stalled reader no longer than others."""
    monkeypatch.setattr(bodies, "PATIENCE", timedelta(seconds=0.3))
    body = stories.documents["small"] = b"x" * 200_000
    requests = 200
    async with serve(stories) as port:
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", port))
            one = get("/small/1.0.0").replace(b"Connection: close\r\n", b"")
            stalled.sendall(one * requests)
            await asyncio.sleep(1)
            stalled.settimeout(5)
            received = await asyncio.to_thread(_drained, stalled)

    assert received < len(body) * requests
    assert len(stories.calls) < requests


def _drained(connection: socket.socket) -> int:
    received = 0
    try:
        while piece := connection.recv(1 << 20):
            received += len(piece)
    except ConnectionError:
        pass
    return received


async def test_clients_that_leave_make_no_noise(
    port: int, stories: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    """Fifty clients that hang up in the middle leave no traceback, no warning and no open file."""
    caplog.set_level(logging.INFO)
    big = stories.tarballs["big-1.0.0.tgz"] = Bytes(TARBALL * 10, wait=0.005)

    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(get("/big/-/big-1.0.0.tgz"))
        await asyncio.sleep(0.002)
        writer.transport.abort()
    async with asyncio.timeout(10):
        while big.closed < len([call for call in stories.calls if call[0] == "open"]):
            await asyncio.sleep(0.01)

    assert caplog.records == []
