"""Signatures of what is published here, and the keys that everything is verified with: 94, 95."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from proxy.cli import main
from proxy.npm import names, signing
from proxy.npm.policy import HOSTED, Rule, Rules
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.publishing import UI, Home, a_publish, home
from tests.registry import Clock, Registry

THEIRS = signing.new_key()


@pytest.fixture
async def here(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> AsyncIterator[Home]:
    """A registry where @acme/* lives, in front of an uplink that signs."""
    uplink.keys = [dict(signing.key_document(THEIRS))]
    async with home(tmp_path / "data", uplink, clock) as running:
        yield running


async def keys(here: Home) -> list[dict[str, Any]]:
    found = await here.get("/-/npm/v1/keys", None)
    assert found.status == 200, found.body
    return list(found.json()["keys"])


def verdict(listed: list[dict[str, Any]], document: dict[str, Any], version: str) -> str:
    """What `npm audit signatures` says of a version, by the rules of its source."""
    dist = document["versions"][version]["dist"]
    if not dist.get("signatures"):
        return "missing"
    name = names.parse(document["name"])
    for signature in dist["signatures"]:
        key = next((each for each in listed if each["keyid"] == signature["keyid"]), None)
        if key is None:
            return "unknown key"
        at = datetime.fromisoformat(document["time"][version])
        if key["expires"] is not None and at > datetime.fromisoformat(key["expires"]):
            return "expired"
        if not signing.verify(key, signature, name, version, dist["integrity"]):
            return "tampered"
    return "verified"


async def test_94_public_and_private_are_verified(here: Home) -> None:
    """One list of keys verifies a mirrored package and one that was published here."""
    here.uplink.publish("plain", "1.0.0")
    entry = here.uplink.packages["plain"]["versions"]["1.0.0"]
    integrity = entry["dist"]["integrity"]
    signature = signing.sign(THEIRS, names.parse("plain"), "1.0.0", integrity)
    entry["dist"]["signatures"] = [signature]
    await here.put(a_publish())

    listed = await keys(here)
    seen = [verdict(listed, await here.packument(name), "1.0.0") for name in ("plain", UI)]

    assert seen == ["verified", "verified"]
    assert listed[0]["keyid"] == here.uplink.keys[0]["keyid"]
    assert len({each["keyid"] for each in listed}) == 2


async def test_94_keys_have_the_shape_that_clients_read(here: Home) -> None:
    """A key of ours says what the public registry's say, and its name is made of it."""
    own = (await keys(here))[-1]

    assert own.keys() == {"expires", "keyid", "keytype", "scheme", "key"}
    assert own["expires"] is None
    assert own["keytype"] == own["scheme"] == "ecdsa-sha2-nistp256"
    assert base64.b64decode(own["key"], validate=True)
    assert own["keyid"].startswith("SHA256:")


async def test_95_every_version_is_signed(here: Home) -> None:
    """Each version that is published has a signature, in the full and the abbreviated form."""
    for version in ("1.0.0", "1.0.1", "2.0.0-beta.1"):
        assert (await here.put(a_publish(version))).status == 201

    listed, document = await keys(here), await here.packument()
    manifest = (await here.get("/@acme%2fui/1.0.1")).json()

    assert {verdict(listed, document, each) for each in document["versions"]} == {"verified"}
    assert manifest["dist"]["signatures"] == document["versions"]["1.0.1"]["dist"]["signatures"]


async def test_a_signature_that_a_client_sends_is_not_ours(here: Home) -> None:
    """A publish that brings signatures of its own gets ours in their place."""
    publish = a_publish()
    (manifest,) = publish.document["versions"].values()
    manifest["dist"]["signatures"] = [{"keyid": "SHA256:evil", "sig": "AA=="}]
    await here.put(publish)

    document = await here.packument()

    assert verdict(await keys(here), document, "1.0.0") == "verified"
    assert len(document["versions"]["1.0.0"]["dist"]["signatures"]) == 1


async def test_after_a_rotation(here: Home) -> None:
    """What the old key has signed is still verified, what comes after it is signed with the new."""
    await here.put(a_publish("1.0.0"))
    before = await keys(here)
    status, said = await _keys(here, "rotate")
    here.registry.clock.advance(hours=1)
    await here.put(a_publish("1.0.1"))

    listed, document = await keys(here), await here.packument()

    assert status == 0, said
    assert [each["keyid"] for each in listed][:2] == [each["keyid"] for each in before]
    assert len(listed) == 3
    assert [verdict(listed, document, each) for each in ("1.0.0", "1.0.1")] == ["verified"] * 2
    assert listed[1]["expires"] is not None
    signed_by = document["versions"]["1.0.1"]["dist"]["signatures"][0]["keyid"]
    assert signed_by == listed[2]["keyid"]


async def test_listing_keys(here: Home) -> None:
    """`packhouse keys list` names each key and says which one signs; no secret is shown."""
    await _keys(here, "rotate")

    status, said = await _keys(here, "list")

    lines = said.splitlines()
    assert (status, len(lines)) == (0, 2)
    assert "until" in lines[0]
    assert lines[1].endswith("signs")
    assert [each["keyid"] in said for each in (await keys(here))[1:]] == [True, True]
    assert "PRIVATE" not in said


async def test_keys_of_a_folder_that_is_none(tmp_path: Path) -> None:
    """In a folder that is not ours no keys are made."""
    given = ["keys", "rotate", "--data", str(tmp_path)]
    result = await asyncio.to_thread(partial(CliRunner().invoke, main, given))

    assert result.exit_code == 1
    assert "nothing of packhouse" in result.output
    assert list(tmp_path.iterdir()) == []


async def test_an_uplink_without_keys(here: Home) -> None:
    """Where the uplink has no keys the list is ours, or nothing of what lives here is verified."""
    here.uplink.keys = []
    await here.put(a_publish())

    listed = await keys(here)

    assert len(listed) == 1
    assert verdict(listed, await here.packument(), "1.0.0") == "verified"


async def test_a_mirror_only(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> None:
    """Where nothing can be published the list is the uplink's, and there is none if it has none."""
    async with Registry(tmp_path / "data", uplink.url, clock=clock) as mirror:
        found = await mirror.get("/-/npm/v1/keys")

    assert found.status == 404


@pytest.mark.parametrize("script", [faults.status(500), faults.body(b"<html>")])
async def test_an_uplink_whose_keys_cannot_be_had(here: Home, script: Any) -> None:
    """Keys that cannot be asked for are an error and no list, until they have been had once."""
    here.uplink.script("/-/npm/v1/keys", script, script, script, script)
    early = await here.get("/-/npm/v1/keys", None)
    here.uplink.clear_scripts()
    had = await keys(here)
    here.registry.clock.advance(hours=3)
    await here.uplink.stop()

    later = await keys(here)

    assert early.status == 502
    assert later == had


async def test_without_an_uplink(uplink: FakeUplink, tmp_path: Path, clock: Clock) -> None:
    """A registry whose rules name no uplink lists its own keys, and asks nobody."""
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    registry.config = replace(registry.config, rules=Rules((Rule(("*",), HOSTED),)))
    async with registry:
        found = await registry.get("/-/npm/v1/keys")

    assert [each["expires"] for each in found.json()["keys"]] == [None]
    assert uplink.requests == []


async def test_keys_are_asked_for_often_enough(here: Home) -> None:
    """A client asks again within a minute: it fails on every version of a key it does not know."""
    found = await here.get("/-/npm/v1/keys", None)

    assert found.headers["Cache-Control"] == "public, max-age=60"


async def test_a_damaged_key_stops_the_start(
    uplink: FakeUplink, tmp_path: Path, clock: Clock
) -> None:
    """With a damaged key the server does not start, and says what to do."""
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    async with registry:
        pass
    (tmp_path / "data" / "keys" / "0001.pem").write_bytes(b"noise")

    with pytest.raises(Exception, match=r"0001\.pem is damaged.*Restore the folder of keys"):
        await registry.start()


async def test_a_key_that_is_lost_stops_publishing_only(here: Home) -> None:
    """While the keys are gone nothing is published, and everything is read."""
    await here.put(a_publish("1.0.0"))
    key = here.data / "keys" / "0001.pem"
    kept = key.read_bytes()
    key.unlink()

    refused = await here.put(a_publish("1.0.1"))
    read = await here.get("/@acme%2fui/-/ui-1.0.0.tgz")
    key.write_bytes(kept)
    again = await here.put(a_publish("1.0.1"))

    assert refused.status == 500
    assert read.status == 200
    assert again.status == 201
    assert list((await here.packument())["versions"]) == ["1.0.0", "1.0.1"]


async def _keys(here: Home, command: str) -> tuple[int, str]:
    given = ["keys", command, "--data", str(here.data)]
    result = await asyncio.to_thread(partial(CliRunner().invoke, main, given))
    return result.exit_code, result.output
