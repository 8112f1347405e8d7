"""Codings, lengths, ranges and downloads: items 45 to 52, 58 to 61 and 102.

Each test is named after its item of the protocol's edge cases.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from proxy.web import connections
from tests.fakes import faults, rawhttp
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Clock, Registry
from tests.routed import route

CODINGS = [
    None,
    "gzip,deflate",
    "gzip, deflate, br",
    "gzip, deflate, br, zstd",
    "zstd,gzip,deflate",
    "zstd, gzip",
    "gzip",
    "identity",
    "gzip;q=1.0, *;q=0.5",
    "*",
]
LARGE_BYTES = 400_000
TGZ = "/n/-/n-1.0.0.tgz"


async def ask(
    registry: Registry, target: str, *headers: str, method: str = "GET"
) -> rawhttp.RawReply:
    port = int(registry.url.rpartition(":")[2])
    reply = await rawhttp.send(port, rawhttp.get(target, *headers, method=method))
    assert reply is not None
    await registry.idle()
    return reply


def large(uplink: FakeUplink) -> bytes:
    """Publish a tarball that is larger than what is held back until it is verified."""
    return uplink.publish("n", "1.0.0", tarball=random.Random(7).randbytes(LARGE_BYTES))


async def test_45_a_tarball_is_never_coded(registry: Registry, uplink: FakeUplink) -> None:
    """Whatever codings are offered, cold or warm, a tarball is sent as the file it is."""
    data = uplink.publish("n", "1.0.0")

    for coding in CODINGS:
        headers = [] if coding is None else [f"Accept-Encoding: {coding}"]
        reply = await ask(registry, TGZ, *headers, f"Accept: {ABBREVIATED}")

        assert "content-encoding" not in reply.headers
        assert reply.headers["content-type"] == "application/octet-stream"
        assert (reply.headers["content-length"], reply.body) == (str(len(data)), data)
    assert uplink.seen(TGZ)[0].headers["accept-encoding"] == "identity"


async def test_46_codings_that_do_not_ask_for_gzip(registry: Registry, uplink: FakeUplink) -> None:
    """A malformed Accept-Encoding, a wildcard or a refused gzip gives the document uncoded."""
    uplink.publish("n", "1.0.0")

    for header in ("gzip/deflate", "*", "gzip;q=0", "identity", "deflate", "", "x-gzip2", ";,q=1"):
        reply = await ask(registry, "/n", f"Accept-Encoding: {header}")

        assert (reply.status, "content-encoding" in reply.headers) == (200, False), header
        assert json.loads(reply.body)["name"] == "n"


async def test_47_gzip_at_most(registry: Registry, uplink: FakeUplink) -> None:
    """Who offers gzip gets gzip, and nobody gets brotli or zstd, offered or not."""
    uplink.publish("n", "1.0.0")

    for header in ("gzip,deflate", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.1", "GZIP"):
        reply = await ask(registry, "/n", f"Accept-Encoding: {header}")

        assert reply.headers["content-encoding"] == "gzip", header
        assert reply.headers["content-length"] == str(len(reply.body))
        assert json.loads(gzip.decompress(reply.body))["name"] == "n"
    assert "content-encoding" not in (await ask(registry, "/n", "Accept-Encoding: br")).headers
    assert uplink.seen()[0].headers["accept-encoding"] == "gzip"


async def test_48_gzip_without_its_header(registry: Registry, uplink: FakeUplink) -> None:
    """Gzip bytes that do not say so are recognised and served as the document they are."""
    uplink.publish("n", "1.0.0")
    uplink.script("/n", faults.gzip_unlabelled)

    reply = await registry.packument("n")

    assert (reply.status, reply.json()["name"]) == (200, "n")


@pytest.mark.parametrize(
    "script",
    [
        faults.body(b'{"name":"n"}', content_encoding="gzip"),
        faults.gzip_garbage,
        faults.gzip_cut,
        faults.gzip_no_trailer,
        faults.gzip_bad_crc,
        faults.gzip_trailing_junk,
    ],
    ids=["header alone", "garbage", "cut", "no trailer", "bad crc", "junk"],
)
async def test_48_a_body_that_is_not_what_it_says(
    registry: Registry, uplink: FakeUplink, script: Any
) -> None:
    """A body that is no sound gzip is the uplink's failure, and the next try is asked anew."""
    uplink.publish("n", "1.0.0")
    uplink.script("/n", script, script)

    failed = await registry.packument("n")
    uplink.clear_scripts()
    after = await registry.packument("n")

    assert failed.status == 502
    assert (after.status, list(after.json()["versions"])) == (200, ["1.0.0"])


async def test_49_two_hundred_at_once(registry: Registry, uplink: FakeUplink) -> None:
    """Two hundred clients that want one cold tarball cost one packument and one download."""
    data = large(uplink)

    replies = await asyncio.gather(*(registry.get(TGZ) for _ in range(200)))

    assert {reply.status for reply in replies} == {200}
    assert {hashlib.sha256(reply.body).digest() for reply in replies} == {
        hashlib.sha256(data).digest()
    }
    assert (uplink.count(TGZ), uplink.count()) == (1, 2)


async def test_50_a_client_that_leaves(registry: Registry, uplink: FakeUplink) -> None:
    """The only client hangs up while the uplink is silent; the download ends well for the next."""
    data = large(uplink)
    await registry.packument("n", accept=ABBREVIATED)
    uplink.pause()
    first = asyncio.create_task(registry.get(TGZ))
    await uplink.wait_for(1, TGZ)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    uplink.resume()

    second = await registry.get(TGZ)

    assert (second.status, second.body) == (200, data)
    assert uplink.count(TGZ) == 1


async def test_51_a_cut_tarball_is_resumed(registry: Registry, uplink: FakeUplink) -> None:
    """A body that breaks off once is asked for from there, and the client sees nothing of it."""
    data = large(uplink)
    uplink.script(TGZ, faults.truncate_length)

    reply = await registry.get(TGZ)

    assert (reply.status, reply.body) == (200, data)
    asked = uplink.seen(TGZ)[1].headers["range"]
    assert 0 < int(asked.removeprefix("bytes=").removesuffix("-")) <= LARGE_BYTES // 2


@pytest.mark.parametrize("script", [faults.truncate_length, faults.truncate_no_length])
async def test_51_a_small_tarball_that_is_always_cut(
    registry: Registry, uplink: FakeUplink, script: Any
) -> None:
    """A small tarball that never comes whole is a 502 with a text, and nothing of it is kept."""
    data = uplink.publish("n", "1.0.0")
    uplink.supports_range = False
    uplink.script(TGZ, script, forever=True)

    failed = await ask(registry, TGZ)
    uplink.clear_scripts()
    after = await registry.get(TGZ)

    assert failed.status in {502, 504}
    assert json.loads(failed.body)["error"]
    assert (after.status, after.body) == (200, data)


async def test_51_a_large_tarball_that_is_always_cut(
    registry: Registry, uplink: FakeUplink
) -> None:
    """A large one has begun: its connection is broken, it never looks complete."""
    large(uplink)
    uplink.supports_range = False
    uplink.script(TGZ, faults.truncate_length, forever=True)

    reply = await ask(registry, TGZ)

    assert reply.status == 502 or not reply.is_complete


@pytest.mark.parametrize("is_large", [False, True])
async def test_52_wrong_bytes(registry: Registry, uplink: FakeUplink, is_large: bool) -> None:
    """Bytes that are not what was promised never come whole, are not kept, and are asked anew."""
    data = large(uplink) if is_large else uplink.publish("n", "1.0.0")
    uplink.script(TGZ, *[faults.wrong_bytes] * 2)

    failed = await ask(registry, TGZ)
    uplink.clear_scripts()
    after = await registry.get(TGZ)

    assert failed.status == 502 or (is_large and not failed.is_complete)
    assert is_large or "integrity" in json.loads(failed.body)["error"]
    assert (after.status, after.body) == (200, data)


async def test_58_a_redirect_to_another_host(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """A tarball's redirect to a listed host is followed, and the token stays behind."""
    data = uplink.publish("n", "1.0.0")
    uplink.token = "t0ken"
    async with FakeUplink() as store:
        store.tarballs["/store/n.tgz"] = data
        uplink.script(TGZ, faults.redirect(f"{store.url}/store/n.tgz"))
        registry = Registry(tmp_path / "data", uplink.url, clock=clock)
        registry.set("uplink", token="t0ken", origins=(store.url,))
        async with registry:
            reply = await registry.get(TGZ)

        assert (reply.status, reply.body) == (200, data)
        assert uplink.seen(TGZ)[0].headers["authorization"] == "Bearer t0ken"
        assert "authorization" not in store.seen()[0].headers


async def test_58_a_redirect_to_a_stranger(registry: Registry, uplink: FakeUplink) -> None:
    """A host on a private network that nobody listed is not asked, whoever leads there."""
    uplink.publish("n", "1.0.0")
    async with FakeUplink() as stranger:
        stranger.tarballs["/n.tgz"] = b"secret"
        uplink.script(TGZ, faults.redirect(f"{stranger.url}/n.tgz"), forever=True)

        reply = await registry.get(TGZ)

        assert (reply.status, stranger.count()) == (502, 0)


async def test_58_redirects_without_end(registry: Registry, uplink: FakeUplink) -> None:
    """After five redirects it is enough."""
    uplink.publish("n", "1.0.0")
    uplink.script("/n", faults.redirect_loop, forever=True)

    reply = await registry.packument("n")

    assert reply.status == 502
    assert "redirects" in reply.json()["error"]
    assert uplink.count() == 6


HEADS = [
    "/n",
    "/n/1.0.0",
    TGZ,
    "/-/package/n/dist-tags",
    "/-/ping",
    "/",
    "/m",
    "/-/v1/search?text=n",
]


async def test_59_head_is_get_without_a_body(registry: Registry, uplink: FakeUplink) -> None:
    """HEAD gives GET's status and headers, its length included, and no body."""
    uplink.publish("n", "1.0.0")
    changing = {"date", "x-request-id", "age"}

    for path in HEADS:
        await ask(registry, path)
        get, head = await ask(registry, path), await ask(registry, path, method="HEAD")

        assert (head.status, head.body) == (get.status, b""), path
        same = {name: value for name, value in get.headers.items() if name not in changing}
        if path != "/m":  # its body holds the request's id
            assert {k: v for k, v in head.headers.items() if k not in changing} == same, path


async def test_59_head_before_get(registry: Registry, uplink: FakeUplink) -> None:
    """A HEAD of what is not held yet is answered, and keeps what it had to fetch."""
    data = uplink.publish("n", "1.0.0")

    packument = await ask(registry, "/n", method="HEAD")
    tarball = await ask(registry, TGZ, method="HEAD")

    assert (packument.status, tarball.status) == (200, 200)
    assert tarball.headers["content-length"] == str(len(data))


async def test_59_ranges(registry: Registry, uplink: FakeUplink) -> None:
    """A range is 206, one outside is 416, what is no range is passed over."""
    data = uplink.publish("n", "1.0.0")
    await ask(registry, TGZ)
    size = len(data)

    for header, part in (
        ("bytes=0-9", data[:10]),
        ("bytes=10-", data[10:]),
        ("bytes=-7", data[-7:]),
        (f"bytes=5-{size + 100}", data[5:]),
    ):
        reply = await ask(registry, TGZ, f"Range: {header}")
        assert (reply.status, reply.body) == (206, part), header
        assert reply.headers["content-range"].endswith(f"/{size}")
    outside = await ask(registry, TGZ, f"Range: bytes={size}-")
    assert (outside.status, outside.headers["content-range"]) == (416, f"bytes */{size}")
    for header in ("bytes=9-0", "bytes=0-1,3-4", "lines=0-1", "bytes=x-y"):
        whole = await ask(registry, TGZ, f"Range: {header}")
        assert (whole.status, whole.body) == (200, data), header


async def test_59_if_range(registry: Registry, uplink: FakeUplink) -> None:
    """The part is sent to who holds the rest of this very file, the whole to others."""
    data = uplink.publish("n", "1.0.0")
    etag = (await registry.get(TGZ)).headers["ETag"]

    same = await ask(registry, TGZ, "Range: bytes=10-", f"If-Range: {etag}")
    other = await ask(registry, TGZ, "Range: bytes=10-", 'If-Range: "other"')
    weak = await ask(registry, TGZ, "Range: bytes=10-", f"If-Range: W/{etag}")

    assert (same.status, same.body) == (206, data[10:])
    assert (other.status, other.body) == (weak.status, weak.body) == (200, data)


async def test_59_a_range_of_a_cold_tarball(registry: Registry, uplink: FakeUplink) -> None:
    """A range of what is still on its way is sent from the file that grows; all of it is kept."""
    data = large(uplink)

    part = await registry.get(TGZ, range="bytes=350000-350009")
    whole = await registry.get(TGZ)

    assert (part.status, part.body) == (206, data[350_000:350_010])
    assert whole.body == data
    assert uplink.count(TGZ) == 1


@pytest.mark.parametrize(
    "address",
    ["/n/-/N-1.0.0.tgz", "/files/1/n.tar.gz", "/x/-/old-name-1.0.0.tgz", "/n/-/n-v1.0.0.tgz?x=1"],
)
async def test_60_a_tarball_with_an_address_of_its_own(
    registry: Registry, uplink: FakeUplink, address: str
) -> None:
    """A tarball that lies elsewhere is served at its canonical address, and by its own name."""
    data = uplink.publish("n", "1.0.0", tarball_url=address)

    canonical = await registry.get(TGZ)
    by_name = await registry.get("/n/-/" + address.partition("?")[0].rpartition("/")[2])

    assert (canonical.status, canonical.body) == (200, data)
    assert (by_name.status, by_name.body) == (200, data)
    assert len([seen for seen in uplink.requests if seen.path != "/n"]) == 1


async def test_60_a_tarball_on_another_host(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """A tarball that the packument places on a listed host is fetched from there, no token."""
    async with FakeUplink() as store:
        data = uplink.publish("n", "1.0.0", tarball_url=f"{store.url}/s/n.tgz")
        store.tarballs["/s/n.tgz"] = data
        uplink.token = "t0ken"
        registry = Registry(tmp_path / "data", uplink.url, clock=clock)
        route(registry, ("*", "npm"), settings={"npm": {"token": "t0ken", "origins": (store.url,)}})
        async with registry:
            reply = await registry.get(TGZ)

        assert (reply.status, reply.body) == (200, data)
        assert "authorization" not in store.seen()[0].headers


async def test_61_a_package_without_any_hash(registry: Registry, uplink: FakeUplink) -> None:
    """A tarball of which the packument promises nothing is served, and kept as it came."""
    data = uplink.publish("n", "1.0.0")
    dist = uplink.packages["n"]["versions"]["1.0.0"]["dist"]
    del dist["integrity"], dist["shasum"]

    first = await registry.get(TGZ)
    await uplink.stop()
    second = await registry.get(TGZ)

    assert (first.body, second.body) == (data, data)
    assert (await registry.packument("n", accept=ABBREVIATED)).status == 200


async def test_61_a_shasum_for_yarn_classic(registry: Registry, uplink: FakeUplink) -> None:
    """Both forms have the shasum of what was fetched once; an integrity is never added."""
    data = uplink.publish("n", "1.0.0")
    dist = uplink.packages["n"]["versions"]["1.0.0"]["dist"]
    del dist["integrity"], dist["shasum"]

    forms = [await registry.packument("n", accept=each) for each in (ABBREVIATED, FULL)]
    sent = await registry.get(TGZ)

    dists = [form.json()["versions"]["1.0.0"]["dist"] for form in forms]
    shasum = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    assert [(each["shasum"], "integrity" in each) for each in dists] == [(shasum, False)] * 2
    assert (sent.body, uplink.count(TGZ)) == (data, 1)


async def test_61_only_a_shasum(registry: Registry, uplink: FakeUplink) -> None:
    """A package from before 2017 is verified by its SHA-1."""
    data = uplink.publish("n", "1.0.0")
    del uplink.packages["n"]["versions"]["1.0.0"]["dist"]["integrity"]
    uplink.script(TGZ, faults.wrong_bytes, faults.wrong_bytes)

    failed = await registry.get(TGZ)
    uplink.clear_scripts()
    after = await registry.get(TGZ)

    assert (failed.status, after.status, after.body) == (502, 200, data)


async def test_102_one_connection_for_everything(registry: Registry, uplink: FakeUplink) -> None:
    """A connection is kept after every kind of reply, longer than any client keeps it idle."""
    uplink.publish("n", "1.0.0")
    port = int(registry.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    statuses = []
    for path in ("/n", TGZ, "/m", "/-/nope", "/-/ping", "/n"):
        writer.write(f"GET {path} HTTP/1.1\r\nHost: registry.example\r\n\r\n".encode())
        reply = await rawhttp.receive(reader)
        statuses.append(reply and reply.status)
    writer.close()

    assert statuses == [200, 200, 404, 404, 200, 200]
    assert connections.KEEPALIVE_SECONDS >= 75
