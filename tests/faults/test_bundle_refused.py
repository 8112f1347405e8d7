"""Bundles that are not taken: each is refused with its reason, and nothing of it is imported."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.npm import signing
from proxy.npm.bundles import BadBundle, Kind
from proxy.registry.offline import verifying
from proxy.storage.bundles import BundleReader
from tests.bundles import Parts, Side, archive, filled, member, parts, side
from tests.fakes.uplink import FakeUplink

PEM = signing.new_bundle_key()
KEY = signing.bundle_key(PEM)


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Side]:
    """A side that holds nothing, trusts KEY, and has an uplink that is never asked."""
    async with FakeUplink() as uplink:
        made = side(tmp_path / "inside", uplink)
        (tmp_path / "key").write_text(f"# outside\n{KEY}\n")
        yield made
        assert [seen.path for seen in uplink.requests] == []


async def _refused(inside: Side, tmp_path: Path, data: bytes) -> str:
    """What an import says of these bytes; it has imported nothing, and verifying says the same."""
    file = tmp_path / "a.bundle"
    file.write_bytes(data)
    trust = ("--trust", tmp_path / "key", file)
    before = inside.files(), await inside.listed()
    said = await inside.refused("bundle", "import", *trust)
    rehearsed = await inside.refused("bundle", "import", "--dry-run", *trust)
    assert (inside.files(), await inside.listed()) == before or before == ({}, "")
    assert inside.files() == before[0]
    assert rehearsed == said
    assert not inside.receipt.exists()
    return said


def _ab() -> Parts:
    return parts(PEM, {"a": ["1.0.0", "2.0.0"], "b": ["1.0.0"]})


def _flipped(data: bytes, what: bytes) -> bytes:
    at = data.index(what)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _bit_of_a_tarball(made: Parts) -> bytes:
    digest = made.entries[0].sha512
    return _flipped(archive(made.members()), made.blobs[digest][20:60])


def _bit_of_the_manifest(made: Parts) -> bytes:
    written = made.head().written
    at = written.index(b'"sha512":"') + 10
    digit = b"1" if written[at : at + 1] == b"0" else b"0"
    changed = written[:at] + digit + written[at + 1 :]
    return archive([("manifest.json", changed), *made.members()[1:]])


def _missing(made: Parts) -> bytes:
    return archive([*made.members()[:3], *made.members()[4:]])


def _missing_last(made: Parts) -> bytes:
    return archive(made.members()[:-1])


def _extra(made: Parts) -> bytes:
    return archive([*made.members(), ("blobs/extra", b"more")])


def _extra_between(made: Parts) -> bytes:
    return archive([*made.members()[:3], ("package.json", b"{}"), *made.members()[3:]])


def _climbing(made: Parts) -> bytes:
    return archive([*made.members()[:3], ("../../climbed", b"out"), *made.members()[3:]])


def _linked(kind: bytes) -> Callable[[Parts], bytes]:
    def forge(made: Parts) -> bytes:
        members = [member(name, data) for name, data in made.members()]
        members[3] = member(made.members()[3][0], type=kind, linkname="/etc/passwd")
        return b"".join(members) + bytes(1024)

    return forge


def _swapped(made: Parts) -> bytes:
    first, second, *others = made.members()[2:]
    return archive([*made.members()[:2], second, first, *others])


def _of_another_signer(made: Parts) -> bytes:
    made.pem = signing.new_bundle_key()
    return archive(made.members())


def _signature_of_another(made: Parts) -> bytes:
    signature = parts(PEM, {"c": ["1.0.0"]}).members()[1]
    return archive([made.members()[0], signature, *made.members()[2:]])


def _bomb(made: Parts) -> bytes:
    forged = parts(PEM, {"bomb": ["1.0.0"]}, tarball=gzip.compress(bytes(64 * 1024 * 1024)))
    return archive(forged.members())


def _second_bomb(made: Parts) -> bytes:
    plain = gzip.compress(b"x") + gzip.compress(bytes(1024))
    return archive(parts(PEM, {"bomb": ["1.0.0"]}, tarball=plain).members())


def _changed(made: Parts, change: Callable[[dict[str, object]], object]) -> bytes:
    """With another packument of b."""
    entry = made.entries.pop()
    document = json.loads(made.blobs.pop(entry.sha512))
    change(document)
    made.add(Kind.PACKUMENT, "b", "", json.dumps(document).encode())
    return archive(made.members())


def _other_promise(made: Parts) -> bytes:
    def change(document: dict[str, object]) -> None:
        document["versions"]["1.0.0"]["dist"]["integrity"] = f"sha512-{'A' * 86}=="  # type: ignore[index]

    return _changed(made, change)


def _other_shasum(made: Parts) -> bytes:
    def change(document: dict[str, object]) -> None:
        dist = document["versions"]["1.0.0"]["dist"]  # type: ignore[index]
        del dist["integrity"]
        dist["shasum"] = "0" * 40

    return _changed(made, change)


def _other_name(made: Parts) -> bytes:
    return _changed(made, lambda document: document.update(name="c"))


def _unlisted(made: Parts) -> bytes:
    return _changed(made, lambda document: document.update(versions={"9.0.0": {}}))


def _uncarried(made: Parts) -> bytes:
    made.entries = [each for each in made.entries if each.version != "2.0.0"]
    return archive(made.members())


def _no_packument(made: Parts) -> bytes:
    made.entries.pop()
    return archive(made.members())


def _named(name: str, version: str) -> Callable[[Parts], bytes]:
    def forge(made: Parts) -> bytes:
        made.entries[0] = replace(made.entries[0], name=name, version=version)
        return archive(made.members())

    return forge


def _other_uplink(made: Parts) -> bytes:
    made.uplink = "elsewhere"
    made.entries = [replace(each, uplink="elsewhere") for each in made.entries]
    return archive(made.members())


def _newer_format(made: Parts) -> bytes:
    written = made.head().written.replace(b"packhouse-bundle/1", b"packhouse-bundle/2")
    return archive([("manifest.json", written), *made.members()[1:]])


def _white_space(made: Parts) -> bytes:
    written = made.head().written + b"\n"
    signature = json.dumps(
        {"key": KEY, "signature": signing.sign_bundle(PEM, written)}, separators=(",", ":")
    ).encode()
    members = [("manifest.json", written), ("manifest.sig", signature), *made.members()[2:]]
    return archive(members)


FORGED = {
    "a bit of a tarball": (_bit_of_a_tarball, "a@1.0.0 is not what the manifest says"),
    "a bit of the manifest": (_bit_of_the_manifest, "the signature is wrong"),
    "a missing file": (_missing, "a@1.0.0 is missing"),
    "a missing last file": (_missing_last, "b@1.0.0 is missing: the bundle ends before it"),
    "an extra file": (_extra, "a file that is not in the manifest: 'blobs/extra'"),
    "an extra file between": (_extra_between, "not in the manifest: 'package.json'"),
    "a path that climbs out": (_climbing, "not in the manifest: '../../climbed'"),
    "a symbolic link": (_linked(b"2"), "a@1.0.0 is a symbolic link"),
    "a hard link": (_linked(b"1"), "a@1.0.0 is a hard link"),
    "a device": (_linked(b"3"), "a@1.0.0 is a device"),
    "a pipe": (_linked(b"6"), "a@1.0.0 is not the plain file"),
    "another order": (_swapped, "the packument of a is missing, or not in its place"),
    "another signer": (_of_another_signer, "which is not trusted here"),
    "the signature of another": (_signature_of_another, "the signature is wrong"),
    "a bomb": (_bomb, "the tarball of bomb@1.0.0 is refused: the body grows more than 200 times"),
    "a second gzip member": (_second_bomb, "bytes follow the end of the gzip body"),
    "another integrity": (_other_promise, "b@1.0.0: its packument promises sha512-AAAA"),
    "another shasum": (_other_shasum, "b@1.0.0: its packument promises sha1-AAAA"),
    "another name": (_other_name, "a packument of another package: 'c' instead of 'b'"),
    "a version that is not listed": (_unlisted, "the packument of b does not list 1.0.0"),
    "a version that is not carried": (_uncarried, "lists 2.0.0, whose tarball is not here"),
    "no packument": (_no_packument, "no packument of b"),
    "a name that climbs out": (_named("../../x", "1.0.0"), "that is no name of a package"),
    "a version that climbs out": (_named("a", "../../x"), "that is no version"),
    "another uplink": (_other_uplink, 'packages of the uplink "elsewhere"'),
    "a newer format": (_newer_format, "import it with a newer packhouse"),
    "white space": (_white_space, "not written as packhouse writes it"),
    "bytes after the end": (lambda made: archive(made.members()) + b"\0", "bytes after its end"),
    "half of it": (lambda made: archive(made.members())[:3000], "cut short"),
    "no end": (lambda made: archive(made.members())[:-512], "cut short at its end"),
    "nothing": (lambda _: b"", "this is no bundle"),
    "something else": (lambda _: b"PK\3\4" * 400, "this is no bundle"),
}


@pytest.mark.parametrize("what", FORGED)
async def test_a_forged_bundle_is_refused(inside: Side, tmp_path: Path, what: str) -> None:
    """Whatever differs from what was signed refuses the whole bundle, and the reason names it."""
    forge, reason = FORGED[what]

    said = await _refused(inside, tmp_path, forge(_ab()))

    assert reason in said
    assert not (tmp_path.parent / "climbed").exists()


async def test_what_is_not_forged_is_taken(inside: Side, tmp_path: Path) -> None:
    """The bundle that the forged ones are made from is imported: only the forgery is refused."""
    file = _ab().write(tmp_path / "a.bundle")

    await inside.take(file, "--trust", tmp_path / "key")

    assert await inside.listed() == "a  1.0.0 2.0.0\nb  1.0.0\n"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
async def test_every_bit_counts(tmp_path: Path, at: float, bit: int) -> None:
    """A bundle in which any one bit is flipped does not verify."""
    data = bytearray(archive(_ab().members()))
    data[int(at * len(data))] ^= 1 << bit
    file = tmp_path / "a.bundle"
    file.write_bytes(data)

    with pytest.raises(BadBundle), BundleReader(file) as reader:
        head = verifying.signed(reader, {KEY})
        await verifying.verify(reader, head, on_bytes=lambda _done, _total: None)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.floats(0, 1, exclude_max=True))
async def test_every_byte_is_needed(tmp_path: Path, at: float) -> None:
    """A bundle that ends anywhere before its end does not verify."""
    data = archive(_ab().members())
    file = tmp_path / "a.bundle"
    file.write_bytes(data[: int(at * len(data))])

    with pytest.raises(BadBundle), BundleReader(file) as reader:
        head = verifying.signed(reader, {KEY})
        await verifying.verify(reader, head, on_bytes=lambda _done, _total: None)


@pytest.mark.parametrize("is_listed", [True, False])
async def test_other_bytes_for_a_known_version(
    tmp_path: Path, uplink: FakeUplink, is_listed: bool
) -> None:
    """A version that is held with other bytes refuses the bundle, with both digests.

    So it does if the packument that lists it was lost.
    """
    digest = hashlib.sha512(uplink.publish("a", "1.0.0", files={"x": b"one"})).hexdigest()
    inside = await filled(tmp_path / "inside", uplink, "a@1.0.0")
    for name in () if is_listed else inside.files().keys() - {digest}:
        (inside.data / "blobs" / name[:2] / name).unlink()
    forged = parts(PEM, {"a": ["1.0.0"], "b": ["1.0.0"]})
    (tmp_path / "key").write_text(KEY)

    said = await _refused(inside, tmp_path, archive(forged.members()))

    assert f"a@1.0.0 is sha512 {digest} here and sha512 {forged.entries[0].sha512} there" in said
    assert await inside.listed() == "a  1.0.0\n"


async def test_other_bytes_are_noticed_by_the_packument_alone(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """A version whose tarball is not held, but promised, is not given other bytes either."""
    uplink.publish("a", "1.0.0", files={"x": b"one"})
    uplink.publish("a", "2.0.0")
    inside = await filled(tmp_path / "inside", uplink, "a@2.0.0")
    (tmp_path / "key").write_text(KEY)

    said = await _refused(inside, tmp_path, archive(parts(PEM, {"a": ["1.0.0"]}).members()))

    assert "a@1.0.0 is sha512 " in said
    assert await inside.listed() == "a  2.0.0\n"


async def test_volumes_are_all_needed(tmp_path: Path, uplink: FakeUplink) -> None:
    """A volume that is missing, and a whole file beside volumes, are told by their names."""
    uplink.publish("a", "1.0.0", files={"x": b"one"})
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    file = tmp_path / "a.bundle"
    await outside.create(file, "--all", "--volume-size", "1024")
    second = tmp_path / "a.bundle.002"
    data = second.read_bytes()

    second.unlink()
    without = await outside.refused("bundle", "verify", file)
    second.write_bytes(data)
    file.write_bytes(b"")
    beside = await outside.refused("bundle", "verify", file)

    assert f"{second} is missing" in without
    assert f"there are both {file} and {file}.001" in beside


async def test_the_chain_is_kept(tmp_path: Path, uplink: FakeUplink) -> None:
    """A bundle is taken right after its predecessor: neither without it, nor after another one."""
    uplink.publish("a", "1.0.0")
    outside = await filled(tmp_path / "outside", uplink, "a@1.0.0")
    inside, empty = side(tmp_path / "inside", uplink), side(tmp_path / "empty", uplink)
    key = tmp_path / "key"
    key.write_text(outside.key)
    first = await outside.create(tmp_path / "first")
    receipt = await inside.take(first, "--trust", key)
    name = json.loads(receipt.read_text())["bundle"]
    deltas = []
    for version in ("2.0.0", "3.0.0"):
        uplink.publish("a", version)
        await outside.run("cache", "purge", "a")
        await filled(tmp_path / "outside", uplink, "a@1.0.0", f"a@{version}")
        delta = tmp_path / f"to-{version}"
        deltas.append(await outside.create(delta, "--since", receipt))

    too_early = await empty.refused("bundle", "import", "--trust", key, deltas[0])
    await inside.take(deltas[0], "--trust", key)
    too_old = await inside.refused("bundle", "import", "--trust", key, deltas[1])
    await inside.take(deltas[0], "--trust", key)
    await inside.take(first, "--trust", key)

    assert f"goes with bundle {name}, which was not imported here" in too_early
    assert f"older than what is here: it follows {name}" in too_old
    assert await empty.listed() == ""
    assert await inside.listed() == "a  1.0.0 2.0.0\n"
