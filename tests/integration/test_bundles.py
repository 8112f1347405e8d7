"""Packages carried across a gap: what is made, what is told, what the other side serves."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from proxy.npm import bundles
from tests.bundles import Side, filled, side
from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.process import FULL, Process, command
from tests.registry import ABBREVIATED, Registry


async def _crossed(tmp_path: Path, uplink: FakeUplink, outside: Side, *what: str | Path) -> Side:
    """A side that holds what another one carries to it."""
    inside = side(tmp_path / "inside", uplink)
    key, file = tmp_path / "key", tmp_path / f"{len(list(tmp_path.iterdir()))}.bundle"
    key.write_text(outside.key)
    await outside.create(file, *what)
    await inside.take(file, "--trust", key)
    return inside


async def _document(inside: Side, name: str, accept: str = "application/json") -> Any:
    """The packument as a client inside gets it, with the uplink away."""
    async with Registry(inside.data, inside.uplink_url) as registry:
        answer = await registry.packument(name, accept=accept)
        assert answer.status == 200, answer.body
        return answer.json()


async def test_packages_are_served_without_their_uplink(tmp_path: Path, uplink: FakeUplink) -> None:
    """What was carried is served to the byte: both forms, one manifest, the tarball."""
    data = uplink.publish("@s/a", "1.0.0", files={"x": b"one"}, dist={"signatures": [{"sig": "s"}]})
    uplink.publish("@s/a", "2.0.0")
    whole = uplink.packages["@s/a"]
    outside = await filled(tmp_path / "outside", uplink, "@s/a@1.0.0")
    inside = await _crossed(tmp_path, uplink, outside)
    await uplink.stop()

    async with Registry(inside.data, uplink.url) as registry:
        full = (await registry.packument("@s%2fa")).json()
        short = (await registry.packument("@s%2fa", accept=ABBREVIATED)).json()
        manifest = await registry.get("/@s%2fa/latest")
        tarball = await registry.get("/@s/a/-/a-1.0.0.tgz")

    assert list(full["versions"]) == list(short["versions"]) == ["1.0.0"]
    assert full["dist-tags"] == short["dist-tags"] == {"latest": "1.0.0"}
    assert set(full["time"]) == {"created", "modified", "1.0.0"}
    kept = whole["versions"]["1.0.0"]["dist"]
    dist = full["versions"]["1.0.0"]["dist"]
    assert {**dist, "tarball": ""} == {**kept, "tarball": ""}
    assert {key: full[key] for key in ("readme", "maintainers")} == {
        key: whole[key] for key in ("readme", "maintainers")
    }
    assert manifest.json()["version"] == "1.0.0"
    assert tarball.body == data


async def test_what_was_only_ever_abbreviated_is_carried_so(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A package of which only the abbreviated form is held is served in both on the other side."""
    uplink.publish("a", "1.0.0", scripts={"test": "x"})
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0", accept=ABBREVIATED)
    inside = await _crossed(tmp_path, uplink, outside)
    await uplink.stop()

    full, short = await _document(inside, "a"), await _document(inside, "a", ABBREVIATED)

    assert list(full["versions"]) == list(short["versions"]) == ["1.0.0"]
    assert "scripts" not in full["versions"]["1.0.0"]


async def test_the_same_content_has_the_same_bytes(tmp_path: Path, uplink: FakeUplink) -> None:
    """Made again, and made by who has imported it, a bundle is the same; its name whoever signs."""
    for version in ("1.0.0", "1.1.0", "2.0.0-rc.1"):
        uplink.publish("a", version)
    uplink.publish("@s/b", "1.0.0", tag="next")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0", "a@2.0.0-rc.1", "@s/b@1.0.0")

    first = await outside.create(tmp_path / "first")
    again = await outside.create(tmp_path / "again")
    inside = await _crossed(tmp_path, uplink, outside)
    (inside.data / "keys" / "bundle.pem").unlink()
    signed_inside = await inside.create(tmp_path / "signed-inside")
    (inside.data / "keys" / "bundle.pem").write_bytes(
        (outside.data / "keys" / "bundle.pem").read_bytes()
    )
    back = await inside.create(tmp_path / "back")

    assert first.read_bytes() == again.read_bytes() == back.read_bytes()
    assert signed_inside.read_bytes() != back.read_bytes()
    manifests = [await inside.done("bundle", "show", "--json", f) for f in (signed_inside, back)]
    assert manifests[0] == manifests[1]


async def test_a_second_import_writes_nothing(tmp_path: Path, uplink: FakeUplink) -> None:
    """Importing the same bundle again touches no blob and no row, and says that all is known."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    inside = await _crossed(tmp_path, uplink, outside)
    before = inside.files(), (inside.data / "index.sqlite").read_bytes()
    file = await outside.create(tmp_path / "same")

    said = await inside.done("bundle", "import", "--trust", tmp_path / "key", file)

    assert "versions new 0, known 1; packages changed 0" in said
    assert (inside.files(), (inside.data / "index.sqlite").read_bytes()) == before


async def test_a_receipt_is_written_where_the_import_runs(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """Without --receipt it stands in the current folder, and names what is held."""
    data = uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    file, key = await outside.create(tmp_path / "a.bundle"), tmp_path / "key"
    key.write_text(outside.key)
    where = ("--data", str(tmp_path / "inside"), "--uplink", uplink.url)

    status, said = await command(
        "bundle", "import", "--trust", str(key), str(file), *where, folder=tmp_path / "outside"
    )
    receipt = json.loads((tmp_path / "outside" / "a.bundle.receipt.json").read_text())

    assert status == 0, said
    assert receipt["packages"]["a"]["versions"] == {"1.0.0": hashlib.sha512(data).hexdigest()}


async def test_what_is_lost_inside_is_healed_by_the_same_bundle(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A tarball whose bytes have changed on the disk comes back with another import."""
    data = uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    inside = await _crossed(tmp_path, uplink, outside)
    digest = hashlib.sha512(data).hexdigest()
    blob = inside.data / "blobs" / digest[:2] / digest
    blob.write_bytes(bytes(len(data)))

    await inside.take(await outside.create(tmp_path / "same"), "--trust", tmp_path / "key")

    assert blob.read_bytes() == data


async def test_a_running_server_shows_what_is_imported(tmp_path: Path, uplink: FakeUplink) -> None:
    """Beside a server with two workers, a package appears for both at once, a 404 before or not."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    uplink.packages.clear()
    (tmp_path / "inside").mkdir()
    async with Process(tmp_path / "inside", uplink.url, workers=2) as server:
        absent = [(await server.get("/a", FULL)).status for _ in range(8)]
        await _crossed(tmp_path, uplink, outside)
        found = [(await server.get("/a", FULL)).status for _ in range(8)]
        tarball = await server.get("/a/-/a-1.0.0.tgz")

    assert set(absent) == {404}
    assert set(found) == {200}
    assert tarball.body == uplink.tarballs["/a/-/a-1.0.0.tgz"]


async def test_only_what_is_new_is_carried_by_receipt(tmp_path: Path, uplink: FakeUplink) -> None:
    """The next bundle has new versions and newer packuments, nothing else; inside has it all."""
    for name in ("a", "b", "c"):
        uplink.publish(name, "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0", "b@1.0.0", "c@1.0.0")
    inside = side(tmp_path / "inside", uplink)
    key = tmp_path / "key"
    key.write_text(outside.key)
    receipt = await inside.take(await outside.create(tmp_path / "1"), "--trust", key)
    first = json.loads(receipt.read_text())["bundle"]

    nothing = await outside.done("bundle", "create", "-o", tmp_path / "0", "--since", receipt)
    uplink.publish("a", "2.0.0")
    uplink.packages["b"]["versions"]["1.0.0"]["deprecated"] = "do not"
    uplink.packages["b"]["time"]["modified"] = "2026-01-01T00:00:00.000Z"
    await outside.done("cache", "purge", "a", "b")
    await filled(tmp_path / "outside", uplink, "a@1.0.0", "a@2.0.0", "b@1.0.0")
    delta = await outside.create(tmp_path / "2", "--since", receipt)
    shown = json.loads(await outside.done("bundle", "show", "--json", delta))
    await inside.take(delta, "--trust", key)
    await uplink.stop()

    assert "there is nothing to carry" in nothing
    assert not (tmp_path / "0").exists()
    entries = shown["entries"]
    assert [(each["kind"], each.get("name"), each.get("version")) for each in entries] == [
        ("keys", None, None),
        ("packument", "a", None),
        ("tarball", "a", "2.0.0"),
        ("packument", "b", None),
    ]
    assert shown["predecessor"] == first
    assert (await _document(inside, "a"))["dist-tags"] == {"latest": "2.0.0"}
    assert list((await _document(inside, "a"))["versions"]) == ["1.0.0", "2.0.0"]
    assert (await _document(inside, "b"))["versions"]["1.0.0"]["deprecated"] == "do not"


async def test_two_bundles_are_united(tmp_path: Path, uplink: FakeUplink) -> None:
    """Bundles with other versions of a package add up; `latest` is the higher of theirs."""
    for version in ("1.0.0", "2.0.0", "3.0.0"):
        uplink.publish("a", version)
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0", "a@2.0.0")
    await _crossed(tmp_path, uplink, outside, "a@2.0.0")

    inside = await _crossed(tmp_path, uplink, outside, "a@1.0.0")
    await uplink.stop()
    document = await _document(inside, "a")

    assert sorted(document["versions"]) == ["1.0.0", "2.0.0"]
    assert document["dist-tags"] == {"latest": "2.0.0"}
    assert sorted(document["time"]) == ["1.0.0", "2.0.0", "created", "modified"]


@pytest.mark.parametrize("accept", ["application/json", ABBREVIATED])
async def test_what_is_held_of_the_uplink_stays(
    tmp_path: Path, uplink: FakeUplink, accept: str
) -> None:
    """An import hides no version of a copy that is held in one form only, and no dist-tag."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    uplink.publish("a", "2.0.0")
    await filled(tmp_path / "inside", uplink, "a@2.0.0", accept=accept)
    inside = await _crossed(tmp_path, uplink, outside)
    await uplink.stop()

    for asked in ("application/json", ABBREVIATED):
        document = await _document(inside, "a", asked)
        assert sorted(document["versions"]) == ["1.0.0", "2.0.0"]
        assert document["dist-tags"] == {"latest": "2.0.0"}


async def test_the_uplink_has_the_last_word(tmp_path: Path, uplink: FakeUplink) -> None:
    """When the uplink can be asked again, its answer takes the place of what was carried."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    inside = await _crossed(tmp_path, uplink, outside)
    uplink.publish("a", "2.0.0")

    async with Registry(inside.data, uplink.url) as registry:
        carried = (await registry.packument("a")).json()
        registry.clock.advance(minutes=6)
        asked = (await registry.packument("a")).json()

    assert list(carried["versions"]) == ["1.0.0"]
    assert list(asked["versions"]) == ["1.0.0", "2.0.0"]


async def test_what_is_missing_is_told_and_nothing_written(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A name or version that is not held ends with status 1, unless something may be missing."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    what = ("bundle", "create", "-o", tmp_path / "a.bundle", "a", "b")

    said = await outside.refused(*what)
    is_written = (tmp_path / "a.bundle").exists()
    partly = await outside.run(*what, "--allow-missing")

    assert "so that nothing is written: b. Fetch" in said
    assert not is_written
    assert partly.exit_code == 0
    assert "not held: b\n" in partly.stderr


async def test_a_lockfile_says_what_is_carried(tmp_path: Path, uplink: FakeUplink) -> None:
    """Its versions and no others; optional ones may be missing, other bytes than it wants not."""
    one, other = uplink.publish("a", "1.0.0"), uplink.publish("a", "2.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0", "a@2.0.0")
    lock = tmp_path / "package-lock.json"

    def locked(data: bytes) -> None:
        packages = {
            "node_modules/a": {"version": "1.0.0", "integrity": packing.sri(data)},
            "node_modules/b": {
                "version": "1.0.0",
                "integrity": packing.sri(data),
                "optional": True,
            },
        }
        lock.write_text(json.dumps({"lockfileVersion": 3, "packages": {"": {}, **packages}}))

    locked(one)
    result = await outside.run("bundle", "create", "-o", tmp_path / "x", "--lockfile", lock)
    shown = await outside.done("bundle", "show", tmp_path / "x")
    locked(other)
    said = await outside.refused("bundle", "create", "-o", tmp_path / "y", "--lockfile", lock)

    assert result.exit_code == 0
    assert "left out: b@1.0.0: optional, and not held" in result.stderr
    assert shown.splitlines()[0] == "a  1.0.0"
    assert "a@1.0.0" in said


async def test_a_package_without_tarballs_is_known_inside(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """Of a package that is only asked about, the packument goes along with its latest version."""
    uplink.publish("a", "1.0.0", optionalDependencies={"a-haiku": "*"})
    uplink.publish("a-haiku", "1.0.0", os=["haiku"])
    uplink.publish("a-haiku", "2.0.0", os=["haiku"])
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    async with Registry(outside.data, uplink.url) as registry:
        assert (await registry.packument("a-haiku")).status == 200

    inside = await _crossed(tmp_path, uplink, outside)
    listed = await inside.listed()
    document = await _document(inside, "a-haiku")

    assert listed == "a  1.0.0\na-haiku\n"
    assert list(document["versions"]) == ["2.0.0"]


async def test_what_lives_here_is_not_carried_and_not_taken(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A name that a rule keeps here is left out on both sides, with a line that says so."""
    uplink.publish("@acme/a", "1.0.0")
    uplink.publish("b", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "@acme/a@1.0.0", "b@1.0.0")
    inside = side(tmp_path / "inside", uplink)
    file, key = tmp_path / "a.bundle", tmp_path / "key"
    key.write_text(outside.key)
    rules = {"RULES": '[{"match": "@acme/*", "from": "hosted"}]'}

    made = await outside.run("bundle", "create", "-o", tmp_path / "b.bundle", "--all", **rules)
    await outside.create(file)
    taken = await inside.run("bundle", "import", "--trust", key, file, **rules)

    assert "left out: @acme/a: it lives here" in made.stderr
    assert taken.exit_code == 0, taken.output
    assert "left out: @acme/a" in taken.stderr
    assert await inside.listed() == "b  1.0.0\n"


async def test_a_bundle_that_is_evicted_at_once_is_refused(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """What does not fit into cache.max_size is not imported: it could not be fetched again."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    inside = side(tmp_path / "inside", uplink)
    key = tmp_path / "key"
    key.write_text(outside.key)
    file = await outside.create(tmp_path / "a.bundle")

    said = await inside.refused("bundle", "import", "--trust", key, file, CACHE_MAX_SIZE="100B")

    assert "cache.max_size is 100: raise it" in said
    assert inside.files() == {}


async def test_our_own_bundles_and_configured_keys_are_trusted(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A side takes what it has made itself, and what bundles.trusted_keys names."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    inside = side(tmp_path / "inside", uplink)
    file = await outside.create(tmp_path / "a.bundle")

    own = await outside.done("bundle", "verify", file)
    printed = (await outside.done("keys", "bundle")).strip()
    configured = await inside.done("bundle", "verify", file, BUNDLES_TRUSTED_KEYS=printed)
    unknown = await inside.refused("bundle", "verify", file)

    assert printed == outside.key
    assert "everything in it is as it was signed" in own
    assert "everything in it is as it was signed" in configured
    assert f"{printed}, which is not trusted here" in unknown


async def test_the_name_of_a_bundle_is_that_of_its_manifest(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """What is shown as its name is the SHA-512 of the manifest."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    file = await outside.create(tmp_path / "a.bundle")

    manifest = await outside.done("bundle", "show", "--json", file)
    shown = await outside.done("bundle", "show", file)

    assert f"bundle       {bundles.identity(manifest.rstrip().encode())}" in shown
