"""Audits over the wire: items 92 and 93, and audits among several uplinks.

Where the protocol page wants an empty answer to an audit whose uplink is away, an error is sent
instead: an empty answer says that nothing is known against what is installed.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Clock, Registry
from tests.routed import Two, two_uplinks

BULK = "/-/npm/v1/security/advisories/bulk"
QUICK = "/-/npm/v1/security/audits/quick"
AUDITS = "/-/npm/v1/security/audits"
ADVISORY = {"id": 1, "url": "https://x.example/1", "severity": "high", "cvss": {"score": 7.5}}
TREE = b'{"name":"app","requires":{"a":"1"},"dependencies":{"a":{"version":"1.0.0"}}}'


def sent(body: bytes) -> Any:
    """What an uplink was asked, unpacked."""
    return json.loads(gzip.decompress(body))


@pytest.fixture
async def two(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Two]:
    """A registry in front of two uplinks."""
    async with two_uplinks(tmp_path / "data", uplink, clock) as running:
        yield running


async def post(registry: Registry, path: str, body: bytes, coding: str | None = None) -> Answer:
    headers = {"content-type": "application/json"}
    if coding:
        headers["content-encoding"] = coding
    return await registry.ask("POST", path, headers, body)


@pytest.mark.parametrize("path", [BULK, QUICK, AUDITS])
@pytest.mark.parametrize("is_packed", [True, False])
async def test_92_an_audit_may_be_packed(
    registry: Registry, uplink: FakeUplink, path: str, is_packed: bool
) -> None:
    """An audit is answered whether it comes packed (npm, bun) or plain (pnpm, berry, deno)."""
    uplink.advisories = {"a": [ADVISORY]}
    body = b'{"a":["1.0.0"]}' if path == BULK else TREE

    reply = await post(
        registry, path, gzip.compress(body) if is_packed else body, "gzip" if is_packed else None
    )

    (asked,) = uplink.seen()
    assert reply.status == 200
    assert ADVISORY in (reply.json()["a"] if path == BULK else reply.json()["advisories"].values())
    assert (asked.target, sent(asked.body)) == (path, json.loads(body))
    assert asked.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("path", [BULK, QUICK, AUDITS])
async def test_92_a_body_that_cannot_be_read(
    registry: Registry, uplink: FakeUplink, path: str
) -> None:
    """Broken gzip and broken JSON are the caller's mistakes, and nobody is asked about them."""
    whole = gzip.compress(b'{"a":["1.0.0"]}')

    for body, coding in (
        (b"no gzip", "gzip"),
        (whole[:-4], "gzip"),
        (whole + b"more", "gzip"),
        (b"", "gzip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"{}", "br"),
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"a"', None),
        (b'{"dependencies":{"a":' * 5000, None),
    ):
        reply = await post(registry, path, body, coding)

        assert (body[:20], coding, reply.status) == (body[:20], coding, 400)
        assert reply.json()["error"]
    assert uplink.count() == 0


@pytest.mark.parametrize("path", [BULK, QUICK, AUDITS])
async def test_92_a_bomb(registry: Registry, uplink: FakeUplink, path: str) -> None:
    """A small body that unpacks to more than any audit, or a large plain one, is a 413."""
    bomb = gzip.compress(b" " * 64 * 1024 * 1024, 9)

    packed = await post(registry, path, bomb, "gzip")
    plain = io.BytesIO(b" " * (17 * 1024 * 1024))
    async with registry.session.post(registry.url + path, data=plain) as reply:
        said = await reply.json()

    assert (packed.status, reply.status) == (413, 413)
    assert packed.json()["error"] and said["error"]
    assert uplink.count() == 0


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (faults.status(500), 502),
        (faults.status(502), 502),
        (faults.status(503), 502),
        (faults.status(503, {"retry-after": "9"}), 503),
        (faults.status(429), 503),
        (faults.status(401), 502),
        (faults.status(404), 404),
        (faults.refuse, 502),
        (faults.truncate_length, 502),
        (faults.html, 502),
        (faults.html_as_json, 502),
        (faults.invalid_json, 502),
        (faults.body(b"[]"), 502),
        (faults.body(b""), 502),
        (faults.gzip_garbage, 502),
    ],
)
async def test_93_an_audit_that_fails_is_an_error(
    registry: Registry, uplink: FakeUplink, script: Any, status: int
) -> None:
    """What the uplink cannot tell is never `{}`, which would read as "0 vulnerabilities"."""
    uplink.script(lambda _: True, script, forever=True)

    for path, body in ((BULK, b'{"a":["1.0.0"]}'), (QUICK, TREE)):
        reply = await post(registry, path, body)

        assert reply.status == status
        assert reply.json()["error"]


async def test_93_an_audit_while_the_uplink_is_away(registry: Registry, uplink: FakeUplink) -> None:
    """With nobody there, bulk, quick and full audits are a 503 with a text."""
    await uplink.stop()

    for path, body in ((BULK, b'{"a":["1.0.0"]}'), (QUICK, TREE), (AUDITS, TREE)):
        reply = await post(registry, path, body)

        assert reply.status == 503
        assert "uplink npm" in reply.json()["error"]


async def test_93_a_silent_uplink_does_not_hold_an_install(
    registry: Registry, uplink: FakeUplink
) -> None:
    """An uplink that takes an audit and says nothing is a 504 while clients still wait."""
    uplink.script(BULK, faults.black_hole, forever=True)

    assert (await post(registry, BULK, b'{"a":["1.0.0"]}')).status == 504


async def test_an_audit_is_divided_among_uplinks(two: Two) -> None:
    """Each uplink is asked about its own names, and the answers come as one."""
    two.npm.advisories = {"a": [ADVISORY], "@corp/b": [{"id": 66}]}
    two.corp.advisories = {"@corp/b": [{"id": 2}], "a": [{"id": 77}]}

    reply = await post(
        two.registry, BULK, b'{"a":["1.0.0"],"@corp/b":["2.0.0"],"@acme/c":["3.0.0"]}'
    )

    assert reply.json() == {"a": [ADVISORY], "@corp/b": [{"id": 2}]}
    assert [sent(each.body) for each in two.npm.seen()] == [{"a": ["1.0.0"]}]
    assert [sent(each.body) for each in two.corp.seen()] == [{"@corp/b": ["2.0.0"]}]


async def test_an_uplink_that_volunteers_advisories(two: Two) -> None:
    """An uplink has no say about names of another one."""
    answer = faults.body(b'{"@corp/b":[],"a":[{"id":66}],"@acme/c":[{"id":67}]}')
    two.corp.script(BULK, answer)

    reply = await post(two.registry, BULK, b'{"a":["1.0.0"],"@corp/b":["2.0.0"]}')

    assert reply.json() == {"@corp/b": []}


async def test_an_uplink_that_offers_no_audits(two: Two) -> None:
    """A registry of one's own without audits does not take the public advisories away."""
    two.npm.advisories = {"a": [ADVISORY]}
    two.corp.script(BULK, faults.status(404), forever=True)

    both = await post(two.registry, BULK, b'{"a":["1.0.0"],"@corp/b":["2.0.0"]}')
    alone = await post(two.registry, BULK, b'{"@corp/b":["2.0.0"]}')

    assert both.json() == {"a": [ADVISORY]}
    assert alone.status == 404


@pytest.mark.parametrize("fails", ["npm", "corp"])
async def test_an_audit_with_one_uplink_away(two: Two, fails: str) -> None:
    """If one of the uplinks cannot be asked, the whole audit fails: half would look clean."""
    await getattr(two, fails).stop()

    reply = await post(two.registry, BULK, b'{"a":["1.0.0"],"@corp/b":["2.0.0"]}')

    assert reply.status == 503
    assert f"uplink {fails}" in reply.json()["error"]


async def test_a_tree_is_for_the_uplink_of_the_rest(two: Two) -> None:
    """A quick audit goes to the uplink of all other names, without those of the second one."""
    tree = {"requires": {"a": "1", "@corp/b": "1"}, "dependencies": {"a": {}, "@corp/b": {}}}

    reply = await post(two.registry, QUICK, json.dumps(tree).encode())

    (asked,) = two.npm.seen()
    assert reply.status == 200
    assert sent(asked.body) == {"requires": {"a": "1"}, "dependencies": {"a": {}}}
    assert two.corp.count() == 0


async def test_advisories_packed_without_saying_so(registry: Registry, uplink: FakeUplink) -> None:
    """Gzip that an uplink sends without its header is recognised."""
    uplink.advisories = {"a": [ADVISORY]}
    uplink.script(BULK, faults.gzip_unlabelled)

    assert (await post(registry, BULK, b'{"a":["1.0.0"]}')).json() == {"a": [ADVISORY]}
