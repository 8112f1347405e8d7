"""Signing keys and attestations are on disk: what is held can be verified without an uplink."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bundles import filled, side
from tests.fakes.uplink import FakeUplink
from tests.registry import Registry

KEY = {"expires": None, "keyid": "SHA256:a", "keytype": "k", "scheme": "k", "key": "AA=="}
BUNDLE = [{"predicateType": "p", "bundle": {"n": 1}}]
ATTESTATIONS = "/-/npm/v1/attestations/@s%2fa@1.0.0"


def _published(uplink: FakeUplink) -> None:
    uplink.keys = [KEY]
    uplink.attestations = {"@s/a@1.0.0": BUNDLE}
    uplink.publish("@s/a", "1.0.0", dist={"attestations": {"url": "https://registry.example/x"}})
    uplink.publish("b", "1.0.0")


async def test_they_outlive_a_restart(registry: Registry, uplink: FakeUplink) -> None:
    """Asked for once, they are sent after a restart while the uplink is away, and called stale."""
    _published(uplink)
    paths = ("/-/npm/v1/keys", ATTESTATIONS)
    before = [await registry.get(path) for path in paths]

    await uplink.stop()
    await registry.restart()
    after = [await registry.get(path) for path in paths]
    never = await registry.get("/-/npm/v1/attestations/b@1.0.0")

    assert [each.status for each in before] == [200, 200]
    assert [each.body for each in after] == [each.body for each in before]
    assert all("stale" in each.headers["Cache-Status"] for each in after)
    assert never.status == 503


async def test_an_uplink_without_keys_is_remembered_too(
    registry: Registry, uplink: FakeUplink
) -> None:
    """That there are no keys stays known while the uplink is away: clients skip the check."""
    uplink.keys = []
    before = await registry.get("/-/npm/v1/keys")

    await uplink.stop()
    await registry.restart()
    after = await registry.get("/-/npm/v1/keys")

    assert (before.status, after.status) == (404, 404)
    assert after.json()["error"] == before.json()["error"] == "no uplink has signing keys"


async def test_they_are_carried_in_bundles(tmp_path: Path, uplink: FakeUplink) -> None:
    """A bundle has the keys of its uplink and the attestations of what has any; inside has them."""
    _published(uplink)
    outside = await filled(tmp_path / "outside", uplink, "@s/a@1.0.0", "b@1.0.0")
    inside, key = side(tmp_path / "inside", uplink), tmp_path / "key"
    key.write_text(outside.key)

    file = await outside.create(tmp_path / "a.bundle")
    asked = uplink.count("/-/npm/v1/attestations")
    again = await outside.create(tmp_path / "b.bundle")
    shown = json.loads(await outside.done("bundle", "show", "--json", file))
    await inside.take(file, "--trust", key)
    back = await inside.create(tmp_path / "back")
    await uplink.stop()
    async with Registry(inside.data, uplink.url) as registry:
        keys = await registry.get("/-/npm/v1/keys")
        attestations = await registry.get(ATTESTATIONS)

    kinds = [(each["kind"], each.get("name")) for each in shown["entries"]]
    assert kinds[0] == ("keys", None)
    assert ("attestations", "@s/a") in kinds
    assert ("attestations", "b") not in kinds
    assert (asked, uplink.count("/-/npm/v1/attestations")) == (1, 1)
    assert again.read_bytes() == file.read_bytes()
    manifests = [await each.done("bundle", "show", "--json", back) for each in (outside, inside)]
    assert json.loads(manifests[0])["entries"] == shown["entries"]
    assert keys.json()["keys"][0] == KEY
    assert attestations.json() == {"attestations": BUNDLE}


async def test_a_bundle_is_made_while_the_uplink_is_away(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """Without its uplink a bundle has what is held; which attestations it lacks is told."""
    _published(uplink)
    outside = await filled(tmp_path / "outside", uplink, "@s/a@1.0.0")
    await uplink.stop()

    made = await outside.run("bundle", "create", "--all", "-o", tmp_path / "a.bundle")

    assert made.exit_code == 0, made.output
    assert "left out: the attestations of @s/a@1.0.0" in made.stderr
