"""Negotiation and documents over the wire: items 15 to 32 of the protocol's edge cases.

Items about hosted documents (19, 22) come with publishing. Each test is named after its item.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests import strategies
from tests.fakes import faults, packing, rawhttp
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, FULL, Registry

CORGI = "application/vnd.npm.install-v1+json"
ACCEPTS = [
    ("A", ABBREVIATED, CORGI),
    ("A2 corepack", f"{CORGI}; q=1.0, application/json; q=0.8", CORGI),
    ("alone", CORGI, CORGI),
    ("equal", f"{CORGI}, application/json", CORGI),
    ("F npm 10", FULL, FULL),
    ("F2 pnpm", "application/json; q=1.0, */*", FULL),
    ("F3 bun", "application/json, */*", FULL),
    ("low q", f"application/json; q=1.0, {CORGI}; q=0.5", FULL),
    ("refused", f"{CORGI}; q=0, */*", FULL),
    ("none berry", None, FULL),
    ("any deno", "*/*", FULL),
    ("browser", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", FULL),
    ("nonsense", ";;q=,,", FULL),
]


def port_of(registry: Registry) -> int:
    return int(registry.url.rpartition(":")[2])


async def ask(registry: Registry, target: str, *headers: str, method: str = "GET") -> Any:
    reply = await rawhttp.send(port_of(registry), rawhttp.get(target, *headers, method=method))
    assert reply is not None
    return reply


async def test_15_accept_decides_the_form(registry: Registry, uplink: FakeUplink) -> None:
    """Every Accept that clients send gives its form, with exactly that Content-Type and Vary."""
    uplink.publish("n", "1.0.0")

    for who, accept, content_type in ACCEPTS:
        reply = await ask(registry, "/n", *([f"Accept: {accept}"] if accept else []))

        assert (who, reply.status) == (who, 200)
        assert (who, reply.headers["content-type"]) == (who, content_type)
        assert ("readme" in json.loads(reply.body)) == (content_type == FULL), who
        assert reply.headers["vary"] == "Accept, Accept-Encoding"
        assert int(reply.headers["content-length"]) == len(reply.body)


async def test_16_a_packument_that_is_about_to_be_written(
    registry: Registry, uplink: FakeUplink
) -> None:
    """`?write=true` gives the full document with `_rev`, kept by nobody, even with Accept A."""
    uplink.publish("n", "1.0.0")

    reply = await registry.get("/n?write=true", accept=ABBREVIATED)

    assert reply.headers["Content-Type"] == FULL
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.json()["_rev"] == uplink.packages["n"]["_rev"]


EVERYTHING: dict[str, Any] = {
    "os": ["linux", "!win32"],
    "cpu": ["x64"],
    "libc": ["glibc"],
    "dependencies": {"a": "^1.0.0"},
    "devDependencies": {"b": "*"},
    "optionalDependencies": {"c": "1"},
    "peerDependencies": {"d": ">=1"},
    "peerDependenciesMeta": {"d": {"optional": True}},
    "acceptDependencies": {"a": "2"},
    "bundleDependencies": ["a"],
    "bundledDependencies": True,
    "bin": {"n": "cli.js"},
    "directories": {"bin": "bin"},
    "engines": {"node": ">=18"},
    "funding": [{"url": "https://fund.example"}],
    "deprecated": "use m",
    "hasInstallScript": True,
    "_hasShrinkwrap": True,
    "_npmUser": {"name": "ann", "email": "ann@registry.example"},
}
DIST = {
    "signatures": [{"keyid": "SHA256:x", "sig": "MEUC"}],
    "attestations": {"url": "https://x.example/a", "provenance": {"predicateType": "p"}},
}


@pytest.mark.parametrize("is_derived", [True, False])
async def test_17_the_abbreviated_form_keeps_what_installers_read(
    registry: Registry, uplink: FakeUplink, is_derived: bool
) -> None:
    """Every field that some client reads stands in the abbreviated form, ours or the uplink's."""
    uplink.supports_abbreviated = not is_derived
    uplink.publish("n", "1.0.0", dist=DIST, scripts={"test": "x"}, **EVERYTHING)

    found = (await registry.packument("n", accept=ABBREVIATED)).json()
    entry = found["versions"]["1.0.0"]

    lost_by_the_uplink = set() if is_derived else {"libc", "_npmUser"}
    assert set(EVERYTHING) - set(entry) == lost_by_the_uplink
    assert entry["dist"]["signatures"] == DIST["signatures"]
    assert entry["dist"]["attestations"] == DIST["attestations"]
    assert "scripts" not in entry
    assert set(found) - {"time"} == {"name", "dist-tags", "modified", "versions"}


async def test_18_the_forms_are_never_mixed(registry: Registry, uplink: FakeUplink) -> None:
    """Asked in turns, each form comes as itself, with an ETag of its own that fits no other."""
    uplink.publish("n", "1.0.0")

    for _ in range(3):
        full = await registry.packument("n")
        short = await registry.packument("n", accept=ABBREVIATED)

        assert "readme" in full.json() and "readme" not in short.json()
        assert full.headers["ETag"] != short.headers["ETag"]
        crossed = await registry.packument("n", if_none_match=short.headers["ETag"])
        assert crossed.status == 200


async def test_20_a_document_without_times(registry: Registry, uplink: FakeUplink) -> None:
    """An uplink whose documents have no `time` is served, and no time is made up."""
    uplink.publish("n", "1.0.0")
    del uplink.packages["n"]["time"]

    full = await registry.packument("n")
    short = await registry.packument("n", accept=ABBREVIATED)

    assert full.status == short.status == 200
    assert "time" not in full.json() and "time" not in short.json()
    assert "Last-Modified" in full.headers


@pytest.mark.parametrize("is_complete", [True, False])
async def test_20_times_in_the_abbreviated_form(
    registry: Registry, uplink: FakeUplink, is_complete: bool
) -> None:
    """The abbreviated form we make holds `time` if every version has one, else none (pnpm)."""
    uplink.supports_abbreviated = False
    uplink.publish("n", "1.0.0")
    uplink.publish("n", "2.0.0")
    if not is_complete:
        del uplink.packages["n"]["time"]["1.0.0"]

    found = (await registry.packument("n", accept=ABBREVIATED)).json()

    assert ("time" in found) == is_complete


async def test_21_modified_is_last_modified(registry: Registry, uplink: FakeUplink) -> None:
    """`modified` in the body is `Last-Modified` to the second: pnpm sends it as its condition."""
    at = datetime(2024, 5, 6, 7, 8, 9, 999_000, tzinfo=UTC)
    uplink.publish("n", "1.0.0", published_at=at)

    full = await registry.packument("n")
    short = await registry.packument("n", accept=ABBREVIATED)

    for reply, said in ((full, full.json()["time"]["modified"]), (short, short.json()["modified"])):
        header = parsedate_to_datetime(reply.headers["Last-Modified"])
        assert header == datetime.fromisoformat(said).replace(microsecond=0)


async def test_21_a_condition_from_the_body(registry: Registry, uplink: FakeUplink) -> None:
    """The body's time as If-Modified-Since gives 304 until there is a change, then 200."""
    at = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    uplink.publish("n", "1.0.0", published_at=at)
    since = "Mon, 06 May 2024 07:08:09 GMT"

    before = await registry.packument("n", if_modified_since=since)
    uplink.publish("n", "1.0.1", published_at=at + timedelta(seconds=1))
    registry.clock.advance(minutes=10)
    after = await registry.packument("n", if_modified_since=since)

    assert (before.status, after.status) == (304, 200)


async def test_23_a_package_without_versions(registry: Registry, uplink: FakeUplink) -> None:
    """A document whose versions are all gone is a 404, never an empty list of versions."""
    uplink.publish("n", "1.0.0")
    uplink.packages["n"]["versions"] = {}
    uplink.packages["n"]["dist-tags"] = {}

    assert (await registry.packument("n")).status == 404
    assert (await registry.packument("n", accept=ABBREVIATED)).status == 404


ODD: dict[str, Any] = {
    "deprecated": False,
    "dependencies": None,
    "os": "linux",
    "cpu": None,
    "engines": ["node >= 0.8"],
    "bin": "./cli.js",
    "bundleDependencies": False,
    "funding": "https://fund.example",
    "directories": [],
}


async def test_24_odd_fields_pass_through(registry: Registry, uplink: FakeUplink) -> None:
    """Values of types nobody expects reach clients unchanged, in both forms."""
    uplink.supports_abbreviated = False
    more = {"license": {"type": "MIT"}, "repository": "git://x.example/y"}
    uplink.publish("n", "1.0.0", **ODD, **more)

    full = (await registry.packument("n")).json()["versions"]["1.0.0"]
    short = (await registry.packument("n", accept=ABBREVIATED)).json()["versions"]["1.0.0"]

    assert {key: full[key] for key in ODD | more} == ODD | more
    assert {key: short[key] for key in ODD} == ODD


@pytest.mark.parametrize("version", ["01.2.3", "v1.2.3", "1.2", "9.0.0x", "1.0.0+b.1", "1.0.0-é"])
async def test_25_versions_nobody_would_take_today(
    registry: Registry, uplink: FakeUplink, version: str
) -> None:
    """A version that is not sound stays in the document and its tarball can be had."""
    data = uplink.publish("n", version)
    uplink.publish("n", "1.0.0-rc.1")

    found = (await registry.packument("n")).json()
    link = found["versions"][version]["dist"]["tarball"]
    tarball = await registry.get(link.removeprefix(registry.url))

    assert list(found["versions"]) == [version, "1.0.0-rc.1"]
    assert (tarball.status, tarball.body) == (200, data)


async def test_26_only_the_tarballs_address_is_rewritten(
    registry: Registry, uplink: FakeUplink
) -> None:
    """The uplink's address stays wherever else it stands: readme, repository, other fields."""
    link = f"{uplink.url}/n/-/n-1.0.0.tgz"
    uplink.publish(
        "n",
        "1.0.0",
        repository={"url": uplink.url},
        _resolved=link,
        homepage=link,
        dependencies={"tarball": link},
        dist={"tarball_old": link, "nested": {"tarball": link}},
    )
    uplink.packages["n"]["readme"] = f'see "tarball":"{link}"'
    expected = json.loads(json.dumps(uplink.packages["n"]))
    expected["versions"]["1.0.0"]["dist"]["tarball"] = f"{registry.url}/n/-/n-1.0.0.tgz"

    assert (await registry.packument("n")).json() == expected


async def test_27_numbers_and_order_survive(registry: Registry, uplink: FakeUplink) -> None:
    """Numbers of every size and spelling, white space in them, and key order stay as they were."""
    text = (
        b'{"z":1.50e+3,"name":"n","dist-tags":{"latest":"1.0.0"},"versions":{"1.0.0":'
        b'{"version":"1.0.0","name":"n","x":99999999999999999999,"dist":{"unpackedSize":1E400,'
        b'"tarball":"http://x.example/n-1.0.0.tgz","f":0.10,"fileCount":-0}}},"a":[1.0,2]}'
    )
    uplink.script("/n", faults.body(text), forever=True)

    reply = await registry.packument("n")

    link = json.dumps(f"{registry.url}/n/-/n-1.0.0.tgz")
    expected = text.replace(b'"http://x.example/n-1.0.0.tgz"', link.encode())
    assert strategies.exact(reply.body) == strategies.exact(expected)


async def test_28_twenty_platform_packages_at_once(registry: Registry, uplink: FakeUplink) -> None:
    """Packages of all platforms, asked for at once with F2 and F3, are all full and all 200."""
    names = [
        f"@esb/{system}-{cpu}" for system in "abcde" for cpu in ("x64", "arm64", "arm", "mips")
    ]
    for name in names:
        uplink.publish(name, "1.0.0", libc=["musl"])

    replies = await asyncio.gather(
        *(
            registry.packument(name, accept=accept)
            for name in names
            for accept in ("application/json; q=1.0, */*", "application/json, */*")
        )
    )

    assert {reply.status for reply in replies} == {200}
    assert all(reply.json()["versions"]["1.0.0"]["libc"] == ["musl"] for reply in replies)
    assert uplink.count() == len(names)


async def test_29_a_document_of_ten_megabytes(registry: Registry, uplink: FakeUplink) -> None:
    """A large document comes whole, with its length told, coded and not, again and again."""
    uplink.publish("n", "1.0.0")
    filler = "".join(chr(97 + (i * i) % 26) for i in range(10_000))
    uplink.packages["n"]["versions"] |= {
        f"2.0.{i}": {
            "name": "n",
            "version": f"2.0.{i}",
            "x": filler,
            "dist": {"tarball": "http://x/"},
        }
        for i in range(1_000)
    }

    for headers in ([], ["Accept-Encoding: gzip"], []):
        reply = await ask(registry, "/n", *headers)

        assert (reply.status, reply.is_complete) == (200, True)
        assert int(reply.headers["content-length"]) == len(reply.body) > 0
    assert len(json.loads(reply.body)["versions"]) == 1_001


async def test_30_single_manifests(registry: Registry, uplink: FakeUplink) -> None:
    """Versions, tags and loosely written versions give a manifest; all else a 404 that says so."""
    uplink.publish("@s/n", "1.0.0")
    uplink.publish("@s/n", "2.0.0-rc.1", tag="next")
    said = {
        "1.0.0": "1.0.0",
        "latest": "1.0.0",
        "next": "2.0.0-rc.1",
        "v1.0.0": "1.0.0",
        "=1.0.0": "1.0.0",
        "%201.0.0": "1.0.0",
        "1.0.0+b": "1.0.0",
        "2.0.0-rc.1": "2.0.0-rc.1",
    }

    for spec, version in said.items():
        encoded = await registry.get(f"/@s%2fn/{spec}", accept=ABBREVIATED)
        literal = await registry.get(f"/@s/n/{spec}")

        assert encoded.json()["version"] == version
        assert encoded.body == literal.body
        assert encoded.headers["Content-Type"] == FULL
        link = encoded.json()["dist"]["tarball"]
        assert link == f"{registry.url}/@s/n/-/n-{version}.tgz"
    for unknown in ("9.9.9", "nope", "constructor"):
        reply = await registry.get(f"/@s%2fn/{unknown}")
        assert (reply.status, reply.json()["code"]) == (404, "E_NO_VERSION")
        assert unknown in reply.json()["error"]


async def test_30_a_version_published_a_moment_ago(registry: Registry, uplink: FakeUplink) -> None:
    """A version our copy does not list is asked for before it is denied, fresh copy or not."""
    uplink.publish("n", "1.0.0")
    await registry.packument("n")
    uplink.publish("n", "1.0.1")
    registry.clock.advance(seconds=30)

    assert (await registry.get("/n/1.0.1")).status == 200
    assert (await registry.get("/n/-/n-1.0.1.tgz")).status == 200


async def test_31_signatures_are_kept_everywhere(registry: Registry, uplink: FakeUplink) -> None:
    """Signatures stand in manifest and both forms byte for byte: corepack checks them."""
    uplink.publish("n", "1.0.0", dist=DIST)
    dist = uplink.packages["n"]["versions"]["1.0.0"]["dist"]

    manifest = (await registry.get("/n/1.0.0")).json()
    full = (await registry.packument("n")).json()["versions"]["1.0.0"]
    short = (await registry.packument("n", accept=ABBREVIATED)).json()["versions"]["1.0.0"]

    expected = {**dist, "tarball": f"{registry.url}/n/-/n-1.0.0.tgz"}
    assert manifest["dist"] == full["dist"] == short["dist"] == expected


async def test_32_an_unpublished_package(registry: Registry, uplink: FakeUplink) -> None:
    """What the uplink says was unpublished is a 404, asked again when the short memory ends."""
    gone = json.dumps({"_id": "n", "name": "n", "time": {"unpublished": {"name": "ann"}}}).encode()
    uplink.script("/n", faults.status(404, body=gone))

    first = await registry.packument("n")
    second = await registry.packument("n")
    uplink.publish("n", "1.0.1")
    registry.clock.advance(seconds=61)
    third = await registry.packument("n")

    assert (first.status, second.status, third.status) == (404, 404, 200)
    assert uplink.count("/n") == 2


async def test_32_an_unpublished_document_with_200(registry: Registry, uplink: FakeUplink) -> None:
    """The same said with status 200 and no versions is a 404 as well."""
    packing.add(
        uplink.packages,
        {"name": "n", "version": "1.0.0"},
        tag=None,
        published_at=datetime(2020, 1, 1, tzinfo=UTC),
    )
    document = uplink.packages["n"]
    del document["versions"]
    document["time"] = {"unpublished": {"name": "ann", "time": "2020-01-01T00:00:00.000Z"}}
    uplink.script("/n", faults.body(json.dumps(document).encode()), forever=True)

    assert (await registry.packument("n")).status == 404
