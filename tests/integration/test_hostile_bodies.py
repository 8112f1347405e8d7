"""Bodies that are small on the wire and large in memory, at every route that reads one.

Threats 23 and 27: gzip bombs, and JSON that is nested without end or made of nothing but brackets.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import re
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from proxy.web import routes
from tests.fakes.uplink import FakeUplink
from tests.process import Process
from tests.publishing import hosting

MIB = 1024 * 1024
WORDS = {"package": "@acme%2fui", "org": "acme", "team": "core", "revision": "1-0", "tag": "beta"}
WORDS |= {"user": "org.couchdb.user:ann", "file": "ui-1.0.0.tgz", "id": "x", "key": "x"}
TARGETS = sorted(
    (row.method, re.sub(r"{(\w+)}", lambda found: WORDS.get(found[1], "x"), row.path))
    for row in routes.TABLE
    if row.method != "GET"
)
BODIES = {
    "a bomb": gzip.compress(b'{"name":"' + b"x" * (48 * MIB), 9),
    "a bomb in a bomb": gzip.compress(gzip.compress(b"0" * (400 * MIB), 1), 9),
    "nested": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "brackets": b"[" + b"[]," * 20_000 + b"[]]",
    "brackets in an object": b'{"versions":{"1.0.0":[' + b"[]," * 20_000 + b"[]]}}",
    "nested in a version": b'{"versions":{"1.0.0":' + b"[" * 30_000 + b"]" * 30_000 + b"}}",
}


@pytest.mark.parametrize("is_packed", [False, True])
async def test_an_audit_of_nothing_but_brackets(
    tmp_path: Path, uplink: FakeUplink, is_packed: bool
) -> None:
    """An audit whose values would take hundreds of MiB is refused before they are made."""
    body = b'{"a":[' + b"[]," * (5 * MIB) + b"[]]}"
    headers = {"content-type": "application/json"}
    if is_packed:
        body, headers = gzip.compress(body), {**headers, "content-encoding": "gzip"}
    async with Process(tmp_path, uplink.url) as process, aiohttp.ClientSession() as session:
        before = _peak_bytes(process.pid)
        url = f"{process.url}/-/npm/v1/security/advisories/bulk"
        async with session.post(url, data=io.BytesIO(body), headers=headers) as reply:
            said = await reply.json()
        grown = _peak_bytes(process.pid) - before

    assert (reply.status, said["code"]) == (400, "E_INVALID")
    assert "values" in said["error"]
    assert grown < 100 * MIB  # the body itself, packed and plain, and its pieces


@pytest.mark.parametrize("kind", BODIES)
async def test_small_bodies_that_grow(tmp_path: Path, uplink: FakeUplink, kind: str) -> None:
    """No route that takes a body fails by one or unpacks it all; only audits are asked further."""
    body = BODIES[kind]
    headers = {"content-type": "application/json"}
    if kind.startswith("a bomb"):
        headers["content-encoding"] = "gzip"
    settings = {"AUTH_ADMINS": "ann"}
    async with hosting(tmp_path, uplink.url, settings=settings) as (process, tokens):
        headers["authorization"] = f"Bearer {tokens['ann']}"
        before = _peak_bytes(process.pid)
        async with aiohttp.ClientSession(headers=headers) as session:
            statuses = {}
            for method, path in TARGETS:
                url = URL(process.url + path, encoded=True)
                async with session.request(method, url, data=body) as reply:
                    statuses[method, path] = reply.status
                    await reply.read()
        grown = _peak_bytes(process.pid) - before

    assert {key: status for key, status in statuses.items() if status >= 500} == {}
    assert len(statuses) > 30
    assert grown < 32 * MIB
    assert [seen.target for seen in uplink.requests if "/security/" not in seen.target] == []


def _peak_bytes(pid: int) -> int:
    """The most memory it has had so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def test_a_large_publish_of_brackets(tmp_path: Path, uplink: FakeUplink) -> None:
    """The metadata of a publish that would grow twentyfold is refused before it is taken apart."""
    body = b'{"name":"@acme/ui","versions":{"1.0.0":[' + b"[]," * (7 * MIB) + b"[]]}}"
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        aiohttp.ClientSession() as session,
    ):
        before = _peak_bytes(process.pid)
        url = URL(f"{process.url}/@acme%2fui", encoded=True)
        sent = {"authorization": f"Bearer {tokens['ann']}", "content-type": "application/json"}
        async with (
            asyncio.timeout(30),
            session.put(url, data=io.BytesIO(body), headers=sent) as reply,
        ):
            status = reply.status
        grown = _peak_bytes(process.pid) - before

    assert status in {400, 413}
    assert grown < 64 * MIB
