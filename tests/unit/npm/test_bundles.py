"""The manifest of a bundle: written in one way, and read in no other."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import bundles, receipts
from proxy.npm.bundles import BadBundle, Entry, Kind
from proxy.npm.receipts import Held, Receipt

URLS = {"npm": "https://registry.example", "other": "https://other.example"}


def entry(kind: Kind, name: str = "", version: str = "", uplink: str = "npm") -> Entry:
    digest = bundles.identity(f"{kind}{name}{version}".encode())
    return Entry(kind, uplink, name, version, digest, 1 + len(name))


def package(name: str, *versions: str, uplink: str = "npm") -> list[Entry]:
    tarballs = [entry(Kind.TARBALL, name, version, uplink) for version in versions]
    return [entry(Kind.PACKUMENT, name, uplink=uplink), *tarballs]


NAMES = st.sampled_from(["a", "b", "@s/a", "lodash.map", "z"])
VERSIONS = st.sampled_from(["1.0.0", "1.0.0-rc.1", "10.0.0", "2.0.0+build"])
PACKAGES = st.dictionaries(NAMES, st.sets(VERSIONS), max_size=5)


@given(packages=PACKAGES, seed=st.integers())
def test_one_content_has_one_writing(packages: dict[str, set[str]], seed: int) -> None:
    """In whatever order entries are given, the bytes are the same, and they are read back."""
    entries = [each for name, versions in packages.items() for each in package(name, *versions)]
    shuffled = random.Random(seed).sample(entries, len(entries))

    one = bundles.written(bundles.made(entries, URLS))
    other = bundles.written(bundles.made(shuffled, URLS))

    assert one == other
    assert bundles.written(bundles.read(one)) == one
    assert set(bundles.read(one).entries) == set(entries)


@given(packages=PACKAGES, at=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_another_byte_is_another_manifest_or_none(
    packages: dict[str, set[str]], at: int, byte: int
) -> None:
    """What is read is what was written: no two texts are one manifest."""
    entries = [each for name, versions in packages.items() for each in package(name, *versions)]
    data = bytearray(bundles.written(bundles.made(entries, URLS)))
    original, data[at % len(data)] = bytes(data), byte
    try:
        read = bundles.read(bytes(data))
    except BadBundle:
        return

    assert (read == bundles.read(original)) == (data == original)


GOOD = package("a", "1.0.0")
DIGEST = GOOD[0].sha512


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ([replace(GOOD[0], name="../x"), GOOD[1]], "that is no name of a package"),
        ([GOOD[0], replace(GOOD[1], version="../1")], "that is no version"),
        ([GOOD[0], replace(GOOD[1], version="")], "a version is missing"),
        ([replace(GOOD[0], version="1.0.0")], "a version is missing, or too many"),
        ([replace(GOOD[0], name="")], "a name is missing"),
        ([replace(GOOD[0], sha512=DIGEST.upper())], "not a SHA-512"),
        ([replace(GOOD[0], sha512="../" + DIGEST[3:])], "not a SHA-512"),
        ([replace(GOOD[0], size_bytes=0)], "its size is not possible"),
        ([replace(GOOD[0], size_bytes=8 * 1024**3)], "its size is not possible"),
        ([GOOD[0], GOOD[0]], "twice"),
        ([GOOD[1]], "no packument of a"),
        ([GOOD[0], replace(GOOD[1], sha512=DIGEST, size_bytes=77)], "two sizes of one blob"),
        ([*GOOD, *package("a", "1.0.0", uplink="other")], "no packument of a, or more than one"),
    ],
)
def test_what_no_manifest_says(entries: list[Entry], reason: str) -> None:
    """Names, versions, digests and sizes that cannot be are refused, and named."""
    written = bundles.written(bundles.made(entries, URLS))

    with pytest.raises(BadBundle, match=reason):
        bundles.read(written)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"packhouse-bundle/1", b"packhouse-bundle/2", "newer packhouse"),
        (b'"predecessor":null', b'"predecessor":"x"', "not the name of a bundle"),
        (b'"npm":"https', b'"other":"https', "uplinks of the manifest"),
        (b"https://registry.example", b"\\u001b[31mred", "cannot be shown"),
        (b'{"entries"', b'{"more":1,"entries"', "not written as packhouse writes"),
        (b'{"entries"', b'{"entries":[],"entries"', "not written as packhouse writes"),
        (b'{"entries":[', b'{"entries":[7,', "cannot be read"),
        (b"}", b"", "cannot be read"),
    ],
)
def test_another_writing_is_refused(old: bytes, new: bytes, reason: str) -> None:
    """A key too many, or twice, an address too few or another format is told for what it is."""
    written = bundles.written(bundles.made(GOOD, URLS))

    with pytest.raises(BadBundle, match=reason):
        bundles.read(written.replace(old, new))


def test_keys_stand_before_the_packages_of_their_uplink() -> None:
    """An uplink's keys come first, and make a group of their own."""
    manifest = bundles.made([*GOOD, *package("b"), entry(Kind.KEYS)], URLS)

    assert [[each.kind for each in group] for group in manifest.groups()] == [
        [Kind.KEYS],
        [Kind.PACKUMENT, Kind.TARBALL],
        [Kind.PACKUMENT],
    ]


def test_receipts_come_back() -> None:
    """A receipt is read as it was written."""
    held = {"b": Held("2020", {"2.0.0": "ee", "1.0.0": "dd"}), "@s/a": Held("2021", {})}
    receipt = Receipt(DIGEST, held)

    assert receipts.read(receipts.written(receipt)) == receipt


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b'{"bundle":"x","format":"packhouse-receipt/1","packages":{}}'],
)
def test_what_is_no_receipt(data: bytes) -> None:
    """Anything else is refused, and called so."""
    with pytest.raises(BadBundle, match="no receipt"):
        receipts.read(data)
