"""Where an uplink may lead us, and what is said there: secrets, redirects, private hosts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy import errors
from proxy.upstream.base import Document, NotModified
from tests.fakes import faults
from tests.fakes.asker import NAME, TARBALL, Asked, asking
from tests.fakes.uplink import FakeUplink


@pytest.fixture
async def published(uplink: FakeUplink) -> FakeUplink:
    """An uplink with one package of one version, about 100 kB large."""
    uplink.publish(NAME, "1.0.0", files={"index.js": bytes(range(256)) * 4})
    uplink.packages[NAME]["readme"] = "".join(f"line {number}\n" for number in range(9000))
    return uplink


@pytest.fixture
async def asked(published: FakeUplink) -> AsyncIterator[Asked]:
    """A client of that uplink."""
    async with asking(published.url) as one:
        yield one


SECRETS = {"X-Registry-Token": "s3cret-header", "Cookie": "s3cret-cookie"}


def secrets_seen(uplink: FakeUplink) -> list[str]:
    """Every header value of every request that holds a secret or a validator."""
    return [
        f"{name}: {value}"
        for request in uplink.requests
        for name, value in request.headers.items()
        if "s3cret" in value or name in ("authorization", "if-none-match", "if-modified-since")
    ]


@pytest.mark.parametrize("who", [{"token": "s3cret"}, {"basic": ("user", "s3cret-password")}])
async def test_credentials_are_sent_home(published: FakeUplink, who: dict[str, Any]) -> None:
    """The token or the user, and every configured header."""
    async with asking(published.url, headers=SECRETS, **who) as asked:
        await asked.packument()

    seen = published.requests[0].headers
    expected = {"token": "Bearer s3cret", "basic": "Basic dXNlcjpzM2NyZXQtcGFzc3dvcmQ="}
    assert seen["authorization"] == expected[next(iter(who))]
    assert seen["x-registry-token"] == "s3cret-header"


@pytest.mark.parametrize("what", ["packument", "tarball"])
async def test_threat_6_no_secret_leaves_with_a_redirect(published: FakeUplink, what: str) -> None:
    """A listed origin is followed to without credentials, validators or our request id.

    Nor does the way back home bring them along.
    """
    path = {"packument": "/a", "tarball": TARBALL}[what]
    async with FakeUplink() as other:
        other.publish(NAME, "1.0.0")
        published.script(path, faults.redirect(f"{other.url}{path}"))
        other.script(path, faults.redirect(f"{published.url}/back"))
        published.script("/back", faults.redirect(f"{other.url}{path}", 307))
        async with asking(
            published.url, origins=(other.url,), token="s3cret", headers=SECRETS
        ) as asked:
            if what == "packument":
                answer = await asked.packument(etag='"known"', last_modified="then")
                assert isinstance(answer, Document)
                assert (answer.etag, answer.last_modified) == (None, None)
            else:
                await asked.tarball(published.url + path, offset=5, etag='"known"')

        assert other.count(path) == 2
        assert secrets_seen(other) == []
        assert all("x-request-id" not in request.headers for request in other.requests)
    assert [line for line in secrets_seen(published) if "back" in line] == []
    back = published.seen("/back")[0]
    assert not {"authorization", "x-registry-token", "cookie", "if-none-match"} & set(back.headers)


async def test_row_37_a_304_from_elsewhere_proves_nothing(published: FakeUplink) -> None:
    """Only the origin that gave a validator may answer to it."""
    async with FakeUplink() as other:
        published.script("/a", faults.redirect(f"{other.url}/a"))
        other.script("/a", faults.not_modified_unasked)
        async with asking(published.url, origins=(other.url,)) as asked:
            with pytest.raises(errors.UplinkBroken):
                await asked.packument(etag='"known"')


async def test_redirects_within_the_origin_keep_everything(published: FakeUplink) -> None:
    """The same origin is the same trust."""
    published.script("/a", faults.redirect("/elsewhere"))
    published.script("/elsewhere", faults.status(304))
    async with asking(published.url, token="s3cret") as asked:
        answer = await asked.packument(etag='"known"')

    assert answer == NotModified('"known"', None)
    assert published.requests[-1].headers["authorization"] == "Bearer s3cret"


@pytest.mark.parametrize(("code", "is_followed"), [(302, False), (303, False), (307, True)])
async def test_a_post_is_never_turned_into_a_get(
    published: FakeUplink, asked: Asked, code: int, *, is_followed: bool
) -> None:
    """Only redirects that keep the method are followed."""
    bulk = "/-/npm/v1/security/advisories/bulk"
    published.script("/here", faults.redirect(bulk, code))

    call = asked.forward("here", "POST", body=b"{}", headers={"content-type": "application/json"})
    if is_followed:
        assert (await call).body == b"{}"
    else:
        with pytest.raises(errors.UplinkBroken):
            await call
    assert published.count(bulk) == int(is_followed)


LOOPBACK = [
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "0",
    "0.0.0.0",
    "127.0.0.1.",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "①②⑦.0.0.1",
    "127。0。0。1",
]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("how", ["dist.tarball", "redirect"])
async def test_threat_5_no_spelling_of_loopback_is_reached(
    published: FakeUplink, tmp_path: Path, host: str, how: str
) -> None:
    """Neither by dist.tarball nor by a redirect; the canary is not even dialled."""
    dialled: list[object] = []

    async def canary(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dialled.append(1)
        writer.close()

    server = await asyncio.start_server(canary, None, 0, family=2)
    port = server.sockets[0].getsockname()[1]
    url = f"https://{host}:{port}/a.tgz"
    async with server, asking(published.url) as asked:
        if how == "redirect":
            location = faults.redirect(url.encode().decode("latin-1"))
            published.script(TARBALL, location, forever=True)
            url = published.url + TARBALL
        with pytest.raises(errors.UplinkError):
            await asked.tarball(url)

    assert dialled == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/a.tgz", "ftp://x/a.tgz", "file:///a", "a b"])
async def test_plain_http_to_a_stranger_is_refused(asked: Asked, url: str) -> None:
    """Only https, and only addresses that are addresses."""
    with pytest.raises(errors.UplinkBroken):
        await asked.tarball(url)


async def test_listed_origins_may_be_private(published: FakeUplink) -> None:
    """What the operator names is dialled wherever it is, without credentials."""
    async with FakeUplink() as cdn:
        data = cdn.publish(NAME, "1.0.0")
        async with asking(published.url, origins=(cdn.url,), token="s3cret") as asked:
            assert await asked.tarball(cdn.url + TARBALL) == data

        assert secrets_seen(cdn) == []


async def test_a_broken_cdn_does_not_stop_packuments(published: FakeUplink) -> None:
    """Each origin has a breaker of its own."""
    async with FakeUplink() as cdn:
        cdn.script(TARBALL, faults.status(500), forever=True)
        async with asking(published.url, origins=(cdn.url,)) as asked:
            for _ in range(4):
                with pytest.raises(errors.UplinkError):
                    await asked.tarball(cdn.url + TARBALL)

            assert asked.client.state == "closed"
            assert isinstance(await asked.packument(), Document)
        assert cdn.count() == 5


async def test_requests_go_through_the_proxy(published: FakeUplink) -> None:
    """The proxy sees an absolute target and is dialled although it is private."""
    async with FakeUplink() as relay:
        relay.script(lambda _: True, faults.body(b'{"name":"a"}'))
        async with asking("http://registry.example", proxy=relay.url) as asked:
            await asked.packument()

        assert relay.requests[0].target == "http://registry.example/a"


async def test_no_cookie_comes_back(published: FakeUplink) -> None:
    """What an uplink sets is forgotten."""
    published.script("/a", faults.body(b"{}", set_cookie="a=b; Path=/"))

    # By name, because a jar keeps no cookies of IP addresses.
    async with asking(f"http://localhost:{published.port}") as asked:
        await asked.packument()
        await asked.packument()

    assert "cookie" not in published.requests[-1].headers
