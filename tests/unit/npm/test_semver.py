"""Versions: what is one, strictly and loosely, and which comes before which."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import semver
from proxy.npm.semver import InvalidVersion, Version

# Lowest first, as section 11 of the specification and npm's odder cases have it.
ASCENDING = [
    "0.0.0-0",
    "0.0.0",
    "0.0.1-alpha",
    "0.0.1",
    "0.1.0",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-9007199254740993",
    "1.0.0--",
    "1.0.0--1",
    "1.0.0-1a",
    "1.0.0-A",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "2.0.0-rc",
    "2.0.0",
    "2.1.0",
    "2.1.1",
    "10.0.0",
    "9007199254740991.0.0",
]
STRICT = {
    "1.2.3": "1.2.3",
    "v1.2.3": "1.2.3",
    " 1.2.3\n": "1.2.3",
    "\ufeff1.2.3\u00a0": "1.2.3",
    "1.2.3-beta.1+build.5": "1.2.3-beta.1",
    "1.2.3+01.-": "1.2.3",
    "1.2.3-0a.--.b": "1.2.3-0a.--.b",
    "1.2.3-90071992547409930": "1.2.3-90071992547409930",
}
LOOSE = {
    "=1.2.3": "1.2.3",
    "v = 1.2.3": "1.2.3",
    "vv1.2.3": "1.2.3",
    "01.02.03": "1.2.3",
    "1.2.3beta": "1.2.3-beta",
    "1.2.3-01": "1.2.3-1",
    "1.2.3-": "1.2.3--",
    "1.2.3-.a": "1.2.3--.a",
    "1.2.34.5": "1.2.3-4.5",
}
NEVER = [
    "",
    " ",
    "latest",
    "1",
    "1.2",
    "1.2.x",
    "1.2.3.4",
    "1.2.3-a..b",
    "1.2.3-é",
    "1.2.3+",
    "1.2.3+a+b",
    "1.2.3+a_b",
    "-1.2.3",
    "1.2.3 4",
    "\x1c1.2.3",
    "\u0661.2.3",
    "9007199254740992.0.0",
    "1.2.3-" + "a" * 256,
    "1" * 5000 + ".0.0",
]


@pytest.mark.parametrize(("text", "said"), STRICT.items())
def test_versions_are_read_strictly(text, said):
    """A sound version is read, and written without prefix, white space and build metadata."""
    assert str(semver.parse(text)) == said == str(semver.parse(text, loose=True))


@pytest.mark.parametrize(("text", "said"), LOOSE.items())
def test_versions_of_old_packages_are_read_loosely(text, said):
    """What only old packages have is a version when read loosely, and never otherwise."""
    assert str(semver.parse(text, loose=True)) == said
    with pytest.raises(InvalidVersion):
        semver.parse(text)


@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("text", NEVER)
def test_other_text_is_no_version(text, loose):
    """What npm takes for no version is refused with its first hundred characters."""
    with pytest.raises(InvalidVersion) as caught:
        semver.parse(text, loose=loose)
    assert len(str(caught.value)) < 140


def test_the_parts_of_a_version():
    """Numbers in a prerelease are numbers, build metadata is kept as words."""
    version = semver.parse("1.2.3-rc.7+linux.01")
    assert version == Version(1, 2, 3, ("rc", 7), ("linux", "01"))


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ("v1.2.3", "1.2.3", "1.2.3"),
        (" =v1.2.3+b ", "1.2.3", "1.2.3"),
        ("== 1.2.3", "1.2.3", "1.2.3"),
        ("01.2.3", None, "1.2.3"),
        ("1.x", None, None),
    ],
)
def test_a_version_is_cleaned(text, strict, loose):
    """Cleaning takes off what stands before a version and gives None for what is none."""
    assert semver.clean(text) == strict
    assert semver.clean(text, loose=True) == loose


@given(st.randoms())
def test_versions_sort_in_npms_order(shuffler):
    """However they are shuffled, versions sort into the order of the specification."""
    shuffled = ASCENDING.copy()
    shuffler.shuffle(shuffled)
    assert sorted(shuffled, key=semver.order) == ASCENDING


def test_neighbours_compare():
    """Each version of the list is below the next one and equal to itself."""
    for low, high in itertools.pairwise(ASCENDING):
        assert (semver.compare(low, high), semver.compare(high, low)) == (-1, 1)
        assert semver.compare(low, low) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.0.0+a", "1.0.0+b"),
        ("v1.0.0", "1.0.0"),
        ("1.0.0-1" + "0" * 30, "1.0.0-1" + "0" * 29 + "1"),
    ],
)
def test_what_does_not_count_compares_equal(one, other):
    """Build metadata, prefixes and what JavaScript's numbers lose make no difference."""
    assert semver.compare(one, other) == 0


def test_comparing_needs_versions():
    """Comparing what is no version raises; read loosely it may be one."""
    with pytest.raises(InvalidVersion):
        semver.compare("1.0.0", "1.0.0beta")
    assert semver.compare("1.0.0", "1.0.0beta", loose=True) == 1


def test_what_is_no_version_sorts_first():
    """Any text has a place: what is no version comes before the lowest version."""
    texts = ["1.0.0", "0.0.0-0", "latest", "01.0.0alpha"]
    assert sorted(texts, key=semver.order) == ["latest", "0.0.0-0", "01.0.0alpha", "1.0.0"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3", True),
        ("v=1.2.3beta", True),
        ("99999999999999999999.0.0", True),
        ("1.2", False),
        ("1.2.3.4", False),
        ("1.2.3-a..b", False),
    ],
)
def test_whole_versions_are_told_by_their_form(text, expected):
    """A text with three numbers is whole, even where a number is too large for a version."""
    assert semver.is_whole(text) is expected


@given(st.text(max_size=30) | st.text("0129.-+v= xa\u00a0", max_size=30), st.booleans())
def test_wild_text_is_a_version_or_invalid(text, loose):
    """Any text is read or raises InvalidVersion, and what is read is written so that it is read."""
    try:
        version = semver.parse(text, loose=loose)
    except InvalidVersion:
        return
    assert semver.parse(str(version)).order == version.order


@pytest.mark.timeout(20)
def test_long_text_takes_no_time():
    """Text made to send a pattern back and forth is refused as fast as any other."""
    for piece in ("1", "1.", "-", "1.2.3-", "0a.", "v=", "+a"):
        for end in ("", "!", ".."):
            with pytest.raises(InvalidVersion):
                semver.parse(piece * 100_000 + end, loose=True)


def test_random_versions_come_back():
    """A version put together from parts is read back as those parts."""
    chance = random.Random(7)
    for _ in range(200):
        parts = [chance.randrange(2**53) for _ in range(3)]
        words = [chance.choice(["a", "0b", "7", "--"]) for _ in range(chance.randrange(1, 4))]
        version = semver.parse(f"{parts[0]}.{parts[1]}.{parts[2]}-{'.'.join(words)}")
        assert [*version.core] == parts and [str(each) for each in version.prerelease] == words
