"""What is at hand is answered below aiohttp's requests, and nobody can tell but by the time."""

from __future__ import annotations

import asyncio
import base64
import gzip
import itertools
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from proxy.npm.policy import AUTHENTICATED, EVERYTHING, Origin, Rule, Rules
from proxy.web import bodies, keys
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Registry

# Different for every reply.
OWN = {"X-Request-Id", "Date", "Age"}
LONG_WAY = "Expect"


@dataclass
class Reply:
    status: str
    headers: dict[str, str]
    body: bytes


class Line:
    """One connection, byte for byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, target: str, headers: Mapping[str, str], method: str = "GET") -> None:
        lines = [f"{method} {target} HTTP/1.1", "Host: n.example"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode())

    async def receive(self) -> Reply:
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            status, *lines = head.rstrip("\r\n").split("\r\n")
            headers = {name.title(): value for name, value in (x.split(": ", 1) for x in lines)}
            length = 0 if " 304 " in status else int(headers.get("Content-Length", 0))
            return Reply(status, headers, await self._reader.readexactly(length))

    async def ask(self, target: str, **headers: str) -> Reply:
        self.send(target, {name.replace("_", "-"): value for name, value in headers.items()})
        return await self.receive()


@asynccontextmanager
async def line(registry: Registry) -> AsyncIterator[Line]:
    """Connect, and go away at the end."""
    host, port = registry.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def counted_tasks() -> AsyncIterator[list[str]]:
    """Collect the names of the coroutines that become tasks meanwhile."""
    made: list[str] = []

    def make(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
        made.append(coro.__qualname__)
        return asyncio.Task(coro, loop=loop, **more)

    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    loop.set_task_factory(make)
    try:
        yield made
    finally:
        loop.set_task_factory(before)


ASKED = {
    "abbreviated": ("/n", {"Accept": ABBREVIATED, "Accept-Encoding": "gzip"}),
    "full": ("/n", {"Accept": FULL, "Accept-Encoding": "gzip, br"}),
    "unchanged by date": ("/n", {"Accept-Encoding": "gzip", "If-Modified-Since": "{modified}"}),
    "unchanged": ("/n", {"Accept-Encoding": "gzip", "If-None-Match": "{etag}"}),
    "unchanged in another coding": ("/n", {"If-None-Match": "{etag}"}),
    "another etag": ("/n", {"Accept-Encoding": "gzip", "If-None-Match": '"other"'}),
    "tarball": ("/n/-/n-1.0.0.tgz", {}),
    "tarball unchanged": ("/n/-/n-1.0.0.tgz", {"If-None-Match": "{etag}"}),
    "with a query": ("/n/-/n-1.0.0.tgz?cache=0", {"Accept-Encoding": "gzip"}),
    "scoped": ("/@s%2fn", {"Accept-Encoding": "gzip"}),
}


@pytest.fixture
async def warm(registry: Registry, uplink: FakeUplink) -> Registry:
    """A registry that has everything of `n` and `@s/n` in memory."""
    for name in ("n", "@s/n"):
        uplink.publish(name, "1.0.0")
        uplink.publish(name, "1.1.0")
    async with line(registry) as asking:
        for accept in (ABBREVIATED, FULL):
            await asking.ask("/n", Accept=accept, Accept_Encoding="gzip")
        await asking.ask("/@s%2fn", Accept_Encoding="gzip")
        await registry.get("/n/-/n-1.0.0.tgz")
        await asking.ask("/n/-/n-1.0.0.tgz")
    return registry


@pytest.mark.parametrize("what", ASKED)
async def test_both_ways_send_the_same(what: str, warm: Registry) -> None:
    """A reply made on the spot is, but for its own three fields, the one the long way makes."""
    target, headers = ASKED[what]
    async with line(warm) as asking:
        known = await asking.ask(target, **{"Accept-Encoding": "gzip"})
        facts = {"etag": known.headers["Etag"], "modified": known.headers["Last-Modified"]}
        headers = {name: value.format(**facts) for name, value in headers.items()}
        async with counted_tasks() as made:
            short = await asking.ask(target, **headers)
        async with counted_tasks() as made_by_aiohttp:
            long = await asking.ask(target, **headers, **{LONG_WAY: "200-ok"})

    assert made == []
    assert made_by_aiohttp != []
    assert short.headers.keys() == long.headers.keys() | {"Age"} & short.headers.keys()
    assert short.status == long.status
    assert short.body == long.body
    for name in short.headers.keys() - OWN:
        assert short.headers[name] == long.headers[name]


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept-Encoding": "br"},
        {"Accept-Encoding": "gzip", "Connection": "close"},
        {"Accept-Encoding": "gzip", "Authorization": "Basic YTpi"},
        {"Accept-Encoding": "gzip", "Upgrade": "h2c", "Connection": "upgrade"},
    ],
)
async def test_the_rest_goes_the_long_way(headers: dict[str, str], warm: Registry) -> None:
    """What needs another coding, a password's hash or the end of the connection gets its answer."""
    async with line(warm) as asking:
        reply = await asking.ask("/n", **headers)

    assert reply.status == "HTTP/1.1 200 OK"
    body = reply.body if "br" in headers.values() else gzip.decompress(reply.body)
    assert list(json.loads(body)["versions"]) == ["1.0.0", "1.1.0"]


async def test_part_of_a_tarball(warm: Registry) -> None:
    """A range is cut out on the long way, though the whole is at hand."""
    async with line(warm) as asking:
        whole = await asking.ask("/n/-/n-1.0.0.tgz")
        part = await asking.ask("/n/-/n-1.0.0.tgz", Range="bytes=2-5")

    assert part.status == "HTTP/1.1 206 Partial Content"
    assert part.body == whole.body[2:6]


async def test_replies_leave_in_order(warm: Registry) -> None:
    """Requests that come in one packet are answered one after the other, whichever way they go."""
    targets = ["/n", "/n/1.0.0", "/n/-/n-1.0.0.tgz", "/missing", "/n", "/-/ping", "/n"] * 3
    async with line(warm) as asking:
        for target in targets:
            asking.send(target, {"Accept-Encoding": "gzip", "Accept": FULL})
        replies = [await asking.receive() for _ in targets]

    assert [reply.status.split()[1] for reply in replies] == [
        "404" if target == "/missing" else "200" for target in targets
    ]
    types = {"/n/-/n-1.0.0.tgz": "application/octet-stream"}
    for target, reply in zip(targets, replies, strict=True):
        expected = types.get(target, "application/json")
        assert reply.headers["Content-Type"].startswith(expected)


async def test_a_request_in_pieces(warm: Registry) -> None:
    """Where one request ends and the next begins does not depend on how the bytes come."""
    text = b"GET /n HTTP/1.1\r\nHost: n.example\r\nAccept-Encoding: gzip\r\n\r\n" * 3
    async with line(warm) as asking:
        for at in range(0, len(text), 7):
            asking.writer.write(text[at : at + 7])
            await asyncio.sleep(0)
        replies = [await asking.receive() for _ in range(3)]

    assert {reply.status for reply in replies} == {"HTTP/1.1 200 OK"}
    assert len({reply.body for reply in replies}) == 1


async def test_a_body_is_no_request(warm: Registry) -> None:
    """What a GET carries along is read as its body, and never as the next request."""
    inner = b"GET /n/1.0.0 HTTP/1.1\r\nHost: n.example\r\n\r\n"
    async with line(warm) as asking:
        asking.send("/n", {"Accept-Encoding": "gzip", "Content-Length": str(len(inner))})
        asking.writer.write(inner)
        asking.send("/n/-/n-1.0.0.tgz", {})
        first, second = await asking.receive(), await asking.receive()

    assert first.status == "HTTP/1.1 200 OK"
    assert second.headers["Content-Type"] == "application/octet-stream"


async def test_it_is_judged_each_time(registry: Registry, uplink: FakeUplink) -> None:
    """A packument in memory is nobody's who may not read it, and no longer when rules change."""
    uplink.publish("n", "1.0.0")
    closed = Rules((Rule((EVERYTHING,), Origin("npm"), read=(AUTHENTICATED,)),))
    async with line(registry) as asking:
        for _ in range(2):
            assert (await asking.ask("/n", Accept_Encoding="gzip")).status == "HTTP/1.1 200 OK"
        assert registry.app is not None
        registry.app[keys.ROUTING].replace(closed)
        refused = await asking.ask("/n", Accept_Encoding="gzip")
        tarball = await asking.ask("/n/-/n-1.0.0.tgz")

    assert refused.status.startswith("HTTP/1.1 404")
    assert tarball.status.startswith("HTTP/1.1 404")


async def test_it_ages(warm: Registry) -> None:
    """Age counts on, and what is no longer fresh is asked for anew."""
    async with line(warm) as asking:
        warm.clock.advance(seconds=100)
        first = await asking.ask("/n", Accept_Encoding="gzip", Accept=FULL)
        warm.clock.advance(hours=10)
        second = await asking.ask("/n", Accept_Encoding="gzip", Accept=FULL)

    assert 100 <= int(first.headers["Age"]) < 200
    assert int(second.headers["Age"]) < 100
    assert second.headers["Cache-Status"] != "packhouse; hit"


async def test_it_is_counted(warm: Registry) -> None:
    """An answer at hand is a hit in the metrics like any other."""
    counted = 'packhouse_packuments_total{form="full",state="hit"} '

    async def hits() -> float:
        text = (await warm.get("/-/metrics")).body.decode()
        return next((float(x.split()[-1]) for x in text.splitlines() if x.startswith(counted)), 0)

    before = await hits()
    async with line(warm) as asking:
        for _ in range(3):
            await asking.ask("/n", Accept_Encoding="gzip", Accept=FULL)

    assert await hits() == before + 3


async def test_a_worker_that_goes_down_says_so(warm: Registry) -> None:
    """While a worker drains, what is at hand ends its connection as well."""
    assert warm.app is not None
    async with line(warm) as asking:
        await asking.ask("/n", Accept_Encoding="gzip")
        warm.app[keys.DRAIN].is_on = True
        reply = await asking.ask("/n", Accept_Encoding="gzip")

    assert reply.headers["Connection"] == "close"


@pytest.fixture
async def large(registry: Registry, uplink: FakeUplink) -> Registry:
    """A registry with a packument of most of a megabyte in memory."""
    noise = base64.b64encode(random.Random(1).randbytes(700_000)).decode()
    uplink.publish("large", "1.0.0", noise=noise)
    async with line(registry) as asking:
        await asking.ask("/large", Accept_Encoding="gzip")
    return registry


def unsent_bytes(registry: Registry) -> int:
    """What the kernel has not taken yet, of the one connection there is."""
    assert registry.runner is not None
    assert registry.runner.server is not None
    transports = [each.transport for each in registry.runner.server.connections]
    return sum(each.get_write_buffer_size() for each in transports if each is not None)


async def fill(asking: Line, registry: Registry) -> int:
    """Ask for more than sockets hold, and read nothing. Returns how many replies are under way."""
    await registry.session.close()
    asking.writer.transport.pause_reading()  # type: ignore[attr-defined]
    async with asyncio.timeout(20):
        for number in itertools.count(1):
            asking.send("/large", {"Accept-Encoding": "gzip"})
            await asyncio.sleep(0.05)
            if unsent_bytes(registry):
                return number
    raise AssertionError


async def test_a_reader_that_stalls_is_cut(
    large: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes nothing of a large answer for a while loses the connection."""
    monkeypatch.setattr(bodies, "PATIENCE", timedelta(seconds=0.3))
    async with line(large) as asking:
        async with counted_tasks() as made:
            asked = await fill(asking, large)
            async with asyncio.timeout(20):
                while unsent_bytes(large):
                    await asyncio.sleep(0.05)
        asking.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            for _ in range(asked):
                await asking.receive()

    assert "RequestHandler._handle_request" not in made


async def test_a_slow_reader_gets_it_all_though_we_go_down(large: Registry) -> None:
    """What was written on the spot has left before the worker ends."""
    async with line(large) as asking:
        asked = await fill(asking, large)
        stopping = asyncio.create_task(large.stop())
        await asyncio.sleep(0.2)
        assert not stopping.done()
        asking.writer.transport.resume_reading()  # type: ignore[attr-defined]
        replies = [await asking.receive() for _ in range(asked)]
        await stopping

    assert {len(gzip.decompress(reply.body)) > 700_000 for reply in replies} == {True}
