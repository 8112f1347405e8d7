"""Publishing over HTTP, as clients do it. The numbers are those of the protocol's edge cases."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Document, Home, Publish, a_publish, address, home
from tests.registry import ABBREVIATED, Clock

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle+json;version=0.3"
SLSA = "https://slsa.dev/provenance/v1"


@pytest.fixture
async def acme(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[Home]:
    """A registry where `@acme/*` and `ours-*` live."""
    async with home(tmp_path / "data", uplink, clock) as found:
        yield found


async def test_a_version_is_published(acme: Home) -> None:
    """What was published is acknowledged, and its packument and tarball are there at once."""
    publish = a_publish("1.0.0", description="buttons")

    told = await acme.put(publish)
    packument = await acme.packument()
    tarball = await acme.get(f"/{UI}/-/ui-1.0.0.tgz")

    assert told.status == 201
    assert told.json() == {"ok": True, "success": True, "id": UI, "rev": packument["_rev"]}
    assert packument["dist-tags"] == {"latest": "1.0.0"}
    assert packument["description"] == "buttons"
    assert tarball.body == publish.tarball


async def test_what_we_say_of_a_version(acme: Home) -> None:
    """The manifest has our facts: dist, publisher, owners, scripts; and what the client wrote."""
    publish = a_publish(
        "1.0.0",
        scripts={"postinstall": "node ."},
        files={"npm-shrinkwrap.json": b"{}", "a.js": b"1"},
        x_unknown={"b": 1, "a": [1.5, 12345678901234567890]},
        _resolved="/srv/ann/ui",
        _nodeVersion="22.1.0",
    )
    await acme.put(publish)

    manifest = (await acme.packument())["versions"]["1.0.0"]

    person = {"name": "ann", "email": "ann@registry.example"}
    dist = manifest["dist"]
    assert manifest["x_unknown"] == publish.manifest["x_unknown"]
    assert manifest["_npmUser"] == person
    assert manifest["maintainers"] == [person]
    assert (manifest["hasInstallScript"], manifest["_hasShrinkwrap"]) == (True, True)
    assert "_resolved" not in manifest
    assert dist["integrity"] == packing.sri(publish.tarball)
    assert dist["shasum"] == hashlib.sha1(publish.tarball, usedforsecurity=False).hexdigest()
    assert dist["fileCount"] == 3
    assert [set(each) for each in dist["signatures"]] == [{"keyid", "sig"}]


@pytest.mark.parametrize("name", ["@acme/ui", "ours-tools"])
@pytest.mark.parametrize("spelling", ["/{name}", "/{escaped}"])
async def test_every_spelling_of_the_address(acme: Home, name: str, spelling: str) -> None:
    """A scope's slash may be literal or encoded in the address of a publish."""
    path = spelling.format(name=name, escaped=name.replace("/", "%2F"))

    told = await acme.put(a_publish(name=name), name, path=path)

    assert told.status == 201
    assert (await acme.packument(name))["name"] == name


async def test_without_a_length(acme: Home) -> None:
    """A body that comes in chunks, without a Content-Length, is published too."""
    publish = a_publish(files={"data": b"x" * 300_000})

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(publish.body), 777):
            yield publish.body[at : at + 777]

    url = acme.registry.url + address(UI)
    async with acme.registry.session.put(
        url, data=pieces(), headers=acme.authorization("ann")
    ) as reply:
        assert reply.status == 201
    assert (await acme.get(f"/{UI}/-/ui-1.0.0.tgz")).body == publish.tarball


@pytest.mark.parametrize("user", ["ann", "bob"])
async def test_who_is_no_owner_publishes_nothing(acme: Home, user: str) -> None:
    """The first to publish owns the name, and others are told so; their bytes are not kept."""
    await acme.put(a_publish("1.0.0"))

    told = await acme.put(a_publish("1.1.0"), user=user)

    assert told.status == (201 if user == "ann" else 403)
    assert user == "ann" or "no owner" in told.json()["error"]
    assert len(acme.stored()) == (2 if user == "ann" else 1)


async def test_63_the_same_publish_again(acme: Home, clock: Clock) -> None:
    """The same bytes by the same user soon after are told 201 again; all else is told 403."""
    publish = a_publish("1.0.0")
    first = await acme.put(publish)

    again = await acme.put(publish)
    by_bob = await acme.put(publish, user="bob")
    other = await acme.put(a_publish("1.0.0", files={"index.js": b"other"}))
    clock.advance(minutes=11)
    late = await acme.put(publish)

    assert (again.status, again.json()) == (201, first.json())
    assert [reply.status for reply in (by_bob, other, late)] == [403, 403, 403]
    assert late.json()["error"] == (
        "You cannot publish over the previously published versions: 1.0.0."
    )
    assert (await acme.get(f"/{UI}/-/ui-1.0.0.tgz")).body == publish.tarball
    assert len(acme.stored()) == 1


async def test_63_a_taken_version_is_refused_before_it_has_come(acme: Home) -> None:
    """Who sends a version that exists is told as soon as the tarball begins, not at its end."""
    await acme.put(a_publish("1.0.0"))
    body = a_publish("1.0.0", files={"data": b"x" * 2_000_000}).body
    head, sent = body[:400_000], asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield head
        await sent.wait()

    url = acme.registry.url + address(UI)
    headers = {**acme.authorization("bob"), "content-length": str(len(body))}
    async with acme.registry.session.put(url, data=stalling(), headers=headers) as reply:
        status = reply.status
        sent.set()

    assert status == 403


async def test_64_a_removed_version_is_never_published_again(acme: Home) -> None:
    """After its unpublish a version is refused, the same bytes by the same user included."""
    publish = a_publish("1.0.0")
    await acme.put(a_publish("0.9.0"))
    rev = (await acme.put(publish)).json()["rev"]
    path = f"/{UI}/-/ui-1.0.0.tgz/-rev/{rev}"
    removed = await acme.registry.ask("DELETE", path, acme.authorization("ann"))

    again = await acme.put(publish)

    assert removed.status == 200
    assert (again.status, again.json()["code"]) == (403, "E_VERSION_EXISTS")
    assert list((await acme.packument())["versions"]) == ["0.9.0"]


async def test_65_a_first_publish_with_another_tag(acme: Home) -> None:
    """The first version of a package is its `latest`, whatever it was tagged."""
    await acme.put(a_publish("1.0.0-beta.1", tag="next"))
    await acme.put(a_publish("1.0.0-beta.2", tag="next"))

    tags = (await acme.packument())["dist-tags"]

    assert tags == {"latest": "1.0.0-beta.1", "next": "1.0.0-beta.2"}


@pytest.mark.parametrize("tag", ["1.x", "1.0.0", "^2", "", " latest"])
async def test_66_a_tag_that_is_a_range(acme: Home, tag: str) -> None:
    """A dist-tag that could be meant as a version is refused in words."""
    told = await acme.put(a_publish(tag=tag))

    assert told.status == 400
    assert "dist-tag" in told.json()["error"]
    assert acme.stored() == []


async def test_67_a_tarball_that_is_not_the_promised_one(acme: Home) -> None:
    """A length, an integrity or a shasum of other bytes is refused, and nothing is left on disk."""
    short, wrong, old = a_publish(), a_publish(), a_publish()
    short.attachment["length"] -= 1
    wrong.document["versions"]["1.0.0"]["dist"]["integrity"] = packing.sri(b"other")
    old.document["versions"]["1.0.0"]["dist"]["shasum"] = "0" * 40

    told = [await acme.put(publish) for publish in (short, wrong, old)]

    assert [reply.status for reply in told] == [400, 400, 400]
    assert [word in reply.json()["error"] for reply, word in zip(
        told, ("length", "dist.integrity", "dist.shasum"), strict=True
    )] == [True, True, True]  # fmt: skip
    assert acme.stored() == []
    assert await acme.packument() == {}


@pytest.mark.parametrize(
    ("field", "inner"),
    [
        ("name", {"name": "@acme/other", "version": "1.0.0"}),
        ("version", {"name": UI, "version": "1.0.1"}),
        ("scripts", {"name": UI, "version": "1.0.0", "scripts": {"install": "node evil.js"}}),
        ("dependencies", {"name": UI, "version": "1.0.0", "dependencies": {"evil": "*"}}),
    ],
)
async def test_68_a_manifest_that_is_not_its_tarball_s(
    acme: Home, field: str, inner: Document
) -> None:
    """A manifest that says other than the package.json inside is refused, naming the field."""
    told = await acme.put(a_publish(tarball=packing.tarball(inner, {})))

    assert told.status == 422
    assert told.json()["error"].startswith(f"{field}: ")
    assert acme.stored() == []


def bundle(data: bytes, **changes: Any) -> str:
    """What npm attaches with --provenance, as far as we look at it."""
    digest = {"sha512": hashlib.sha512(data).hexdigest()}
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "pkg:npm/%40acme/ui@1.0.0", "digest": digest}],
        "predicateType": SLSA,
        "predicate": {"é": "ä"},
    } | changes
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    envelope = {"payload": payload, "payloadType": "application/vnd.in-toto+json"}
    return json.dumps({"mediaType": BUNDLE_TYPE, "dsseEnvelope": envelope, "n": 1.50}, indent=1)


def with_bundle(publish: Publish, text: str) -> Publish:
    """The publish with a provenance bundle attached, whose data is the text itself."""
    attachment = {"content_type": BUNDLE_TYPE, "data": text, "length": len(text)}
    publish.document["_attachments"][f"{UI}-1.0.0.sigstore"] = attachment
    return publish


async def test_69_provenance(acme: Home) -> None:
    """A provenance bundle is kept as it came, and the manifest says where it is."""
    publish = a_publish()
    text = bundle(publish.tarball)

    told = await acme.put(with_bundle(publish, text))
    manifest = (await acme.packument())["versions"]["1.0.0"]
    abbreviated = await acme.get(address(UI), accept=ABBREVIATED)
    found = manifest["dist"]["attestations"]
    attestations = await acme.get(found["url"].removeprefix(acme.registry.url))

    assert told.status == 201
    assert found["url"] == f"{acme.registry.url}/-/npm/v1/attestations/@acme%2fui@1.0.0"
    assert found["provenance"] == {"predicateType": SLSA}
    assert abbreviated.json()["versions"]["1.0.0"]["dist"]["attestations"] == found
    assert attestations.json() == {
        "attestations": [{"predicateType": SLSA, "bundle": json.loads(text)}]
    }
    assert text.encode() in attestations.body


async def test_69_provenance_of_another_tarball(acme: Home) -> None:
    """A bundle about other bytes is refused, and so is one that states nothing."""
    other = await acme.put(with_bundle(a_publish(), bundle(b"other")))
    nothing = await acme.put(with_bundle(a_publish(), "{}"))

    assert (other.status, nothing.status) == (422, 400)
    assert "another tarball" in other.json()["error"]
    assert acme.stored() == []


async def test_71_the_payload_s_own_tarball_address(acme: Home) -> None:
    """Whatever address the payload gives its tarball, ours is sent and the other never asked."""
    publish = a_publish()
    publish.document["versions"]["1.0.0"]["dist"]["tarball"] = f"{acme.uplink.url}/steal.tgz"

    await acme.put(publish)
    manifest = (await acme.packument())["versions"]["1.0.0"]
    tarball = await acme.get(f"/{UI}/-/ui-1.0.0.tgz")

    assert manifest["dist"]["tarball"] == f"{acme.registry.url}/{UI}/-/ui-1.0.0.tgz"
    assert tarball.body == publish.tarball
    assert acme.uplink.requests == []


@pytest.mark.parametrize("place", ["root", "version", "tarball"])
async def test_72_the_readme(acme: Home, place: str) -> None:
    """A readme at the root, in the version or only in the tarball is shown in the full document."""
    publish = a_publish(files={"README.md": b"# inside"})
    manifest = publish.document["versions"]["1.0.0"]
    expected = "# inside"
    if place != "tarball":
        expected = f"# {place}"
    del manifest["readme"]
    {"root": publish.document, "version": manifest, "tarball": {}}[place]["readme"] = expected

    await acme.put(publish)
    packument = await acme.packument()
    abbreviated = await acme.get(address(UI), accept=ABBREVIATED)

    assert (packument["readme"], packument["readmeFilename"]) == (expected, "README.md")
    assert "readme" not in packument["versions"]["1.0.0"]
    assert b"readme" not in abbreviated.body.lower()


async def test_73_a_whole_document_with_one_tarball(acme: Home) -> None:
    """After a conflict npm 6 sends all it has read with its version in it: that one is added."""
    await acme.put(a_publish("1.0.0", description="first"))
    before = await acme.packument()
    publish = a_publish("1.1.0")
    echoed = json.loads(json.dumps(before))
    echoed["versions"]["1.0.0"]["description"] = "changed by a client"
    echoed["versions"] |= publish.document["versions"]
    echoed["dist-tags"]["latest"] = "1.1.0"
    echoed["_attachments"] = publish.document["_attachments"]

    told = await acme.put(echoed)
    after = await acme.packument()

    assert told.status == 201
    assert list(after["versions"]) == ["1.0.0", "1.1.0"]
    assert after["versions"]["1.0.0"] == before["versions"]["1.0.0"]
    assert after["dist-tags"] == {"latest": "1.1.0"}


async def test_79_two_versions_at_once(acme: Home) -> None:
    """Versions that are published at the same moment are all there afterwards."""
    publishes = [a_publish(f"1.{number}.0") for number in range(12)]

    told = await asyncio.gather(*map(acme.put, publishes))
    packument = await acme.packument()

    assert {reply.status for reply in told} == {201}
    assert sorted(packument["versions"]) == sorted(f"1.{number}.0" for number in range(12))
    assert len(acme.stored()) == 12


async def test_82_a_name_that_comes_from_an_uplink(acme: Home) -> None:
    """A write to a name that lives elsewhere is refused in words, and no uplink hears of it."""
    acme.uplink.publish("lodash", "4.0.0")
    acme.uplink.publish(UI, "9.9.9")

    public = await acme.put(a_publish("4.0.1", "lodash"), "lodash")
    private = await acme.put(a_publish("1.0.0"))
    packument = await acme.packument()

    assert (public.status, public.json()["code"]) == (403, "E_NOT_HOSTED")
    assert 'from = "hosted"' in public.json()["error"]
    assert private.status == 201
    assert list(packument["versions"]) == ["1.0.0"]
    assert acme.uplink.requests == []


async def test_101_a_publish_is_seen_at_once(acme: Home) -> None:
    """Who holds a packument is sent the new one with the next question, in both forms."""
    await acme.put(a_publish("1.0.0"))
    held = [await acme.get(address(UI), accept=form) for form in ("application/json", ABBREVIATED)]
    same = await acme.get(address(UI), if_none_match=held[0].headers["etag"])

    await acme.put(a_publish("1.1.0"))
    forms = zip(("application/json", ABBREVIATED), held, strict=True)
    now = [
        await acme.get(address(UI), accept=form, if_none_match=old.headers["etag"])
        for form, old in forms
    ]

    assert same.status == 304
    assert [reply.status for reply in now] == [200, 200]
    assert [list(reply.json()["versions"]) for reply in now] == [["1.0.0", "1.1.0"]] * 2
    assert all("no-cache" in reply.headers["cache-control"] for reply in held)


@pytest.mark.parametrize("path", ["/{n}/1.0.0", "/{n}/latest", "/{n}/-/ui-1.0.0.tgz/-rev/1-a"])
async def test_forms_of_the_old_days(acme: Home, path: str) -> None:
    """A manifest or a tarball alone, as npm sent them before 1.4, is told 404 or 405."""
    told = await acme.put(b'"1.0.0"', path=path.format(n=UI))

    assert told.status in {404, 405}
    assert acme.stored() == []


@pytest.mark.parametrize("spec", ["1.0.0", "v1.0.0", "=1.0.0", "1.0.0+build.7", "latest"])
async def test_a_manifest_by_a_loosely_written_version(acme: Home, spec: str) -> None:
    """A version is found as it is of a mirrored package, however it is written; a range is not."""
    await acme.put(a_publish())

    found = await acme.get(f"{address(UI)}/{spec}")
    ranged = await acme.get(f"{address(UI)}/^1.0.0")

    assert (found.status, found.json()["version"]) == (200, "1.0.0")
    assert ranged.status == 404
