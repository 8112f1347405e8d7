"""The fake is judged first: it must say what a registry says, or every other test means little."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import tarfile
from io import BytesIO

import pytest

from tests.fakes import faults, packing
from tests.fakes.exchange import Script
from tests.fakes.uplink import FakeUplink


async def ask(
    uplink: FakeUplink,
    target: str,
    method: str = "GET",
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> bytes:
    """Everything the server writes to one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", uplink.port)
    lines = [f"{method} {target} HTTP/1.1", "host: x", f"content-length: {len(body)}"]
    lines += [f"{key}: {value}" for key, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 2)
    finally:
        writer.close()


def body_of(raw: bytes) -> bytes:
    return raw.partition(b"\r\n\r\n")[2]


async def test_a_published_version_can_be_installed() -> None:
    """The tarball that dist.tarball names is there, unpacks, and has the promised integrity."""
    async with FakeUplink() as uplink:
        uplink.publish("@acme/ui", "1.0.0", files={"index.js": b"1"}, dependencies={"a": "^1"})

        document = json.loads(body_of(await ask(uplink, "/@acme%2fui")))
        dist = document["versions"]["1.0.0"]["dist"]
        data = body_of(await ask(uplink, dist["tarball"].removeprefix(uplink.url)))

    assert packing.sri(data) == dist["integrity"]
    with tarfile.open(fileobj=BytesIO(data)) as archive:
        assert archive.getnames() == [
            "package/package.json",
            "package/index.js",
        ]


async def test_accept_picks_the_form() -> None:
    """The abbreviated form comes only to who asks for it, with its own content type."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")

        raw = await ask(
            uplink, "/a", headers={"accept": "application/vnd.npm.install-v1+json; q=1.0, */*"}
        )

    assert b"content-type: application/vnd.npm.install-v1+json\r\n" in raw
    assert "readme" not in json.loads(body_of(raw))


@pytest.mark.parametrize("validator", ["etag", "last-modified"])
async def test_a_known_validator_is_answered_304(validator: str) -> None:
    """Both validators work alone."""
    condition = {"etag": "if-none-match", "last-modified": "if-modified-since"}[validator]
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        head = (await ask(uplink, "/a")).decode().partition("\r\n\r\n")[0]
        value = next(line for line in head.split("\r\n") if line.startswith(f"{validator}: "))

        raw = await ask(uplink, "/a", headers={condition: value.partition(": ")[2]})

    assert raw.startswith(b"HTTP/1.1 304 ")
    assert body_of(raw) == b""


async def test_gzip_is_spoken_to_who_accepts_it() -> None:
    """The gzip body unpacks to the identity body."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")

        packed = body_of(await ask(uplink, "/a", headers={"accept-encoding": "gzip"}))

        assert gzip.decompress(packed) == body_of(await ask(uplink, "/a"))


async def test_a_range_of_a_tarball_is_the_rest_of_it() -> None:
    """206 with a Content-Range that names the whole length."""
    async with FakeUplink() as uplink:
        data = uplink.publish("a", "1.0.0")

        raw = await ask(uplink, "/a/-/a-1.0.0.tgz", headers={"range": "bytes=10-"})

    assert raw.startswith(b"HTTP/1.1 206 ")
    assert f"content-range: bytes 10-{len(data) - 1}/{len(data)}".encode() in raw
    assert body_of(raw) == data[10:]


async def test_scripts_come_once_and_in_order() -> None:
    """A queue of two behaviours is over after two requests."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        uplink.script("/a", faults.status(503), faults.close_before_byte)

        answers = [await ask(uplink, "/a") for _ in range(3)]

    assert answers[0].startswith(b"HTTP/1.1 503 ")
    assert answers[1] == b""
    assert answers[2].startswith(b"HTTP/1.1 200 ")


async def test_stop_and_start_play_an_outage() -> None:
    """A stopped uplink refuses; a started one is back at its address with its packages."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        await uplink.stop()
        with pytest.raises(ConnectionRefusedError):
            await ask(uplink, "/a")

        await uplink.start()

        assert (await ask(uplink, "/a")).startswith(b"HTTP/1.1 200 ")


async def test_pause_holds_answers_until_resume() -> None:
    """A paused uplink has seen the request and said nothing."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        uplink.pause()
        waiting = asyncio.create_task(ask(uplink, "/a"))
        await uplink.wait_for(1, "/a")
        assert not waiting.done()

        uplink.resume()

        assert (await waiting).startswith(b"HTTP/1.1 200 ")


async def test_a_required_token_is_required() -> None:
    """Without the token the registry says 401, with it 200."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        uplink.token = "s3cret"

        assert (await ask(uplink, "/a")).startswith(b"HTTP/1.1 401 ")
        assert (await ask(uplink, "/a", headers={"authorization": "Bearer s3cret"})).startswith(
            b"HTTP/1.1 200 "
        )


async def test_services_answer_as_a_registry_does() -> None:
    """Search, keys, attestations, audits and dist-tags have their documented shapes."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        uplink.keys = [{"keyid": "SHA256:x"}]
        uplink.attestations["a@1.0.0"] = [{"predicateType": "x"}]
        uplink.advisories["a"] = [{"id": 1}]
        bulk = "/-/npm/v1/security/advisories/bulk"

        found = json.loads(body_of(await ask(uplink, "/-/v1/search?text=a&size=20")))
        keys = json.loads(body_of(await ask(uplink, "/-/npm/v1/keys")))
        proof = json.loads(body_of(await ask(uplink, "/-/npm/v1/attestations/a@1.0.0")))
        audit = json.loads(
            body_of(await ask(uplink, bulk, "POST", b'{"a":["1.0.0"],"b":["2.0.0"]}'))
        )
        tags = json.loads(body_of(await ask(uplink, "/-/package/a/dist-tags")))

    assert found["total"] == 1
    assert keys == {"keys": [{"keyid": "SHA256:x"}]}
    assert proof == {"attestations": [{"predicateType": "x"}]}
    assert audit == {"a": [{"id": 1}]}
    assert tags == {"latest": "1.0.0"}


FINITE = [
    value
    for name, value in vars(faults).items()
    if inspect.iscoroutinefunction(value)
    and not name.startswith("_")
    and name not in ("black_hole", "stall_mid_body", "slow_headers")
]


@pytest.mark.parametrize("fault", FINITE, ids=lambda fault: fault.__name__)
async def test_every_fault_differs_from_the_true_answer(fault: Script) -> None:
    """No shape is the true answer, byte for byte."""
    async with FakeUplink() as uplink:
        uplink.publish("a", "1.0.0")
        truth = await ask(uplink, "/a")
        uplink.script("/a", fault)

        try:
            spoilt = await ask(uplink, "/a")
        except ConnectionResetError:
            spoilt = b""

    assert spoilt != truth


def test_an_unreachable_address_swallows_the_dial() -> None:
    """A dial to it neither succeeds nor fails for a while."""
    with faults.unreachable() as url:
        host, _, port = url.removeprefix("http://").partition(":")

        async def dial() -> None:
            await asyncio.wait_for(asyncio.open_connection(host, int(port)), 0.3)

        with pytest.raises(TimeoutError):
            asyncio.run(dial())
