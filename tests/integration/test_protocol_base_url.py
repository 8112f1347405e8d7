"""The address in the links: items 33 to 37 of the protocol's edge cases.

npm 12 refuses a tarball whose origin is not the one it was configured with, so every client must be
given links that lead to the address it used. Each test is named after its item.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.config.values import NETWORKS
from tests.fakes import rawhttp
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, Clock, Registry

CORGI = f"Accept: {ABBREVIATED}"


async def ask(
    registry: Registry, target: str, *headers: str, host: str | None = "registry.example"
) -> rawhttp.RawReply:
    port = int(registry.url.rpartition(":")[2])
    reply = await rawhttp.send(port, rawhttp.get(target, *headers, host=host))
    assert reply is not None
    return reply


def link_in(reply: rawhttp.RawReply) -> Any:
    document = json.loads(reply.body)
    return document.get("versions", {"1.0.0": document})["1.0.0"]["dist"]["tarball"]


@pytest.fixture
async def behind(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Registry]:
    """A registry that believes a front proxy on this machine."""
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    registry.set("server", trusted_proxies=NETWORKS.read(["127.0.0.0/8"]))
    async with registry:
        yield registry


async def test_33_two_names_of_one_server(registry: Registry, uplink: FakeUplink) -> None:
    """In both forms and in manifests, links have the origin that the request was sent to."""
    uplink.publish("@s/n", "1.0.0")

    for host in ("registry.example:4873", "localhost:4873", "registry.example:4873"):
        for target, header in (("/@s%2fn", "X: y"), ("/@s%2fn", CORGI), ("/@s/n/1.0.0", "X: y")):
            reply = await ask(registry, target, header, host=host)

            assert link_in(reply) == f"http://{host}/@s/n/-/n-1.0.0.tgz"
    assert uplink.count() == 1


async def test_33_two_names_at_the_same_time(registry: Registry, uplink: FakeUplink) -> None:
    """Asked for together while nothing is held yet, nobody gets another one's links."""
    uplink.publish("n", "1.0.0")
    hosts = [f"host-{number}.example" for number in range(10)] * 3

    replies = await asyncio.gather(*(ask(registry, "/n", host=host) for host in hosts))

    assert [link_in(reply) for reply in replies] == [f"http://{h}/n/-/n-1.0.0.tgz" for h in hosts]
    assert uplink.count() == 1


async def test_33_links_lead_to_the_tarball(registry: Registry, uplink: FakeUplink) -> None:
    """What a link says can be fetched by it, whatever the uplink called the file."""
    odd = uplink.publish("n", "1.0.0", tarball_url="/files/old-name_1.0.0.tar.gz")
    build = uplink.publish("n", "2.0.0+b.1")

    versions = (await registry.packument("n")).json()["versions"]
    links = [versions[version]["dist"]["tarball"] for version in ("1.0.0", "2.0.0+b.1")]
    bodies = [(await registry.get(link.removeprefix(registry.url))).body for link in links]

    assert links == [f"{registry.url}/n/-/n-1.0.0.tgz", f"{registry.url}/n/-/n-2.0.0+b.1.tgz"]
    assert bodies == [odd, build]


async def test_33_a_configured_address_is_used_alone(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """With `server.public_url` all links lead there, by whatever name the request came."""
    uplink.publish("n", "1.0.0")
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    registry.set("server", public_url="https://npm.example/registry")
    async with registry:
        replies = [await ask(registry, "/n", host=host) for host in ("a.example", "b.example:1")]
        under_prefix = await ask(registry, "/registry/n")

    assert {link_in(reply) for reply in (*replies, under_prefix)} == {
        "https://npm.example/registry/n/-/n-1.0.0.tgz"
    }
    assert replies[0].headers["etag"] == replies[1].headers["etag"]


@pytest.mark.parametrize(
    ("headers", "base"),
    [
        (["X-Forwarded-Proto: https"], "https://registry.example"),
        (["X-Forwarded-Proto: https", "X-Forwarded-Host: npm.example"], "https://npm.example"),
        (["Forwarded: for=10.0.0.1;proto=https;host=npm.example"], "https://npm.example"),
        (['Forwarded: proto=https;host="npm.example:8443"'], "https://npm.example:8443"),
        (["X-Forwarded-Proto: gopher"], "http://registry.example"),
        (["X-Forwarded-Host: evil.example/x"], "http://127.0.0.1"),
    ],
)
async def test_34_a_front_proxy_is_believed(
    behind: Registry, uplink: FakeUplink, headers: list[str], base: str
) -> None:
    """Behind a proxy that we trust, links have the scheme and host it says the client used."""
    uplink.publish("n", "1.0.0")

    link = link_in(await ask(behind, "/n", *headers))

    assert link.startswith(base)
    assert link.endswith("/n/-/n-1.0.0.tgz")


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Prefix: /evil",
        "Forwarded: proto=https;host=evil.example",
    ],
)
async def test_34_a_stranger_is_not_believed(
    registry: Registry, uplink: FakeUplink, header: str
) -> None:
    """What a client that is no trusted proxy says of itself changes no link."""
    uplink.publish("n", "1.0.0")

    plain, forged = await ask(registry, "/n"), await ask(registry, "/n", header)

    assert link_in(forged) == "http://registry.example/n/-/n-1.0.0.tgz"
    assert forged.headers["etag"] == plain.headers["etag"]


async def test_35_a_path_prefix(behind: Registry, uplink: FakeUplink) -> None:
    """Under a prefix, links stand under it, and are served with the prefix and without."""
    data = uplink.publish("@s/n", "1.0.0")
    prefix = "X-Forwarded-Prefix: /npm/"

    with_it = await ask(behind, "/npm/@s%2fn", prefix)
    stripped = await ask(behind, "/@s%2fn", prefix)
    tarballs = [
        await ask(behind, path, prefix)
        for path in ("/npm/@s/n/-/n-1.0.0.tgz", "/@s/n/-/n-1.0.0.tgz")
    ]

    link = "http://registry.example/npm/@s/n/-/n-1.0.0.tgz"
    assert (link_in(with_it), link_in(stripped)) == (link, link)
    assert [reply.body for reply in tarballs] == [data, data]


@pytest.mark.parametrize(
    "path",
    ["/-/npm/v1/oidc/token/exchange/package/@s%2fn", "/npm/-/npm/v1/oidc/token/exchange/package/n"],
)
async def test_35_what_clients_ask_at_the_origin(
    behind: Registry, uplink: FakeUplink, path: str
) -> None:
    """The OIDC exchange, for which npm and pnpm lose the prefix, is a 404 in words everywhere."""
    port = int(behind.url.rpartition(":")[2])
    request = rawhttp.get(path, "X-Forwarded-Prefix: /npm", "Content-Length: 0", method="POST")

    reply = await rawhttp.send(port, request)

    assert reply is not None
    assert (reply.status, bool(json.loads(reply.body)["error"])) == (404, True)
    assert uplink.count() == 0


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("[::1]:4873", "http://[::1]:4873"),
        ("[2001:DB8::1]", "http://[2001:db8::1]"),
        ("registry.example:80", "http://registry.example"),
        ("REGISTRY.example:8080", "http://registry.example:8080"),
        ("10.1.2.3:65535", "http://10.1.2.3:65535"),
        ("my_host", "http://my_host"),
    ],
)
async def test_36_hosts_and_ports(
    registry: Registry, uplink: FakeUplink, host: str, base: str
) -> None:
    """Brackets and ports of a Host stay; a default port and capitals do not."""
    uplink.publish("n", "1.0.0")

    assert link_in(await ask(registry, "/n", host=host)) == f"{base}/n/-/n-1.0.0.tgz"


@pytest.mark.parametrize(
    "host", ["a b", "x.example:0", "x.example:99999", "[::1", "[zz]", "a/b", "u@h"]
)
async def test_36_what_is_no_host(registry: Registry, uplink: FakeUplink, host: str) -> None:
    """A Host that cannot be one never gets into a link; our own address stands there."""
    uplink.publish("n", "1.0.0")

    reply = await ask(registry, "/n", host=host)

    assert reply.status == 400 or link_in(reply) == f"{registry.url}/n/-/n-1.0.0.tgz"


async def test_37_etags_differ_by_address(registry: Registry, uplink: FakeUplink) -> None:
    """Through two ports the same document has two ETags, and one is no 304 for the other."""
    uplink.publish("n", "1.0.0")

    one = await ask(registry, "/n", host="registry.example:1")
    two = await ask(registry, "/n", host="registry.example:2")
    crossed = await ask(
        registry, "/n", f"If-None-Match: {one.headers['etag']}", host="registry.example:2"
    )
    same = await ask(
        registry, "/n", f"If-None-Match: {one.headers['etag']}", host="registry.example:1"
    )

    assert one.headers["etag"] != two.headers["etag"]
    assert (crossed.status, same.status) == (200, 304)
    assert link_in(crossed) == "http://registry.example:2/n/-/n-1.0.0.tgz"
