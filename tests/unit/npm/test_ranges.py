"""Ranges: which versions they hold, what is one, and what a dist-tag may not be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import ranges, semver
from proxy.npm.ranges import InvalidRange

# Each range with versions it holds, and with versions it does not hold.
TABLE = {
    "": ("0.0.0 9.9.9", "1.0.0-a 0.0.0-0"),
    "*": ("0.0.0 9.9.9", "1.0.0-a"),
    ">=0.0.0": ("0.0.0 1.0.0", "1.0.0-a"),
    "x": ("1.2.3", "1.2.3-a"),
    "1": ("1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-0 1.0.0-a"),
    "v1": ("1.0.0", "2.0.0"),
    "1.x": ("1.0.0 1.9.9", "2.0.0-a"),
    "1.X.*": ("1.2.3", "2.0.0"),
    "1.2": ("1.2.0 1.2.9", "1.3.0 1.2.0-a"),
    "=1.2": ("1.2.0", "1.3.0"),
    "1.2.3": ("1.2.3 v1.2.3 1.2.3+b", "1.2.4 1.2.3-a"),
    "=1.2.3": ("1.2.3", "1.2.4"),
    "= v1.2.3": ("1.2.3", "1.2.4"),
    "1.2.3*": ("1.2.3", "1.2.4"),
    "1.2.3-a.1": ("1.2.3-a.1", "1.2.3-a.2 1.2.3"),
    "1.2.3+build.1": ("1.2.3 1.2.3+other", "1.2.4"),
    "^1.2.3": ("1.2.3 1.9.0", "1.2.2 2.0.0 2.0.0-a 1.3.0-a"),
    "^1.2": ("1.2.0 1.9.0", "1.1.9 2.0.0"),
    "^1": ("1.0.0 1.9.0", "2.0.0"),
    "^0.2.3": ("0.2.3 0.2.9", "0.3.0"),
    "^0.2": ("0.2.0 0.2.9", "0.3.0 0.1.0"),
    "^0.0.3": ("0.0.3", "0.0.4 0.0.2"),
    "^0.0": ("0.0.0 0.0.9", "0.1.0"),
    "^0.0.x": ("0.0.0 0.0.9", "0.1.0"),
    "^0": ("0.0.0 0.9.0", "1.0.0"),
    "^ 1.2.3": ("1.2.3", "2.0.0"),
    "^1.2.3-beta.2": ("1.2.3-beta.2 1.2.3-beta.10 1.2.3 1.9.0", "1.2.3-beta.1 1.2.4-beta.2 2.0.0"),
    "^0.2.3-b": ("0.2.3-b 0.2.4", "0.2.3-a 0.3.0"),
    "^0.0.3-b": ("0.0.3-c 0.0.3", "0.0.4"),
    "^x": ("7.0.0", "7.0.0-a"),
    "~1.2.3": ("1.2.3 1.2.9", "1.3.0 1.2.2"),
    "~1.2": ("1.2.0 1.2.9", "1.3.0"),
    "~1": ("1.0.0 1.9.9", "2.0.0"),
    "~0": ("0.9.9", "1.0.0"),
    "~> 1.2.3": ("1.2.9", "1.3.0"),
    "~ > 1.2.3": ("1.2.9", "1.3.0"),
    "~*": ("7.0.0", "7.0.0-a"),
    "~1.2.3-b": ("1.2.3-b 1.2.4", "1.2.3-a 1.2.4-b 1.3.0"),
    ">1.2.3": ("1.2.4 2.0.0", "1.2.3 1.2.4-a"),
    "> 1.2": ("1.3.0", "1.2.9"),
    ">1": ("2.0.0", "1.9.9"),
    ">=1.2": ("1.2.0", "1.1.9"),
    ">=1": ("1.0.0 3.0.0", "0.9.9"),
    "<1.2": ("1.1.9", "1.2.0 1.2.0-a"),
    "<2": ("1.9.9", "2.0.0 2.0.0-a"),
    "<=1.2": ("1.2.9", "1.3.0"),
    "<=1": ("1.9.9", "2.0.0"),
    "<=1.2.3": ("1.2.3", "1.2.4"),
    ">=1.2.3-b": ("1.2.3-b 1.2.3-c 1.2.4", "1.2.3-a 1.2.4-c"),
    "<1.2.3-b": ("1.2.2 1.2.3-a", "1.2.3-b 1.2.3"),
    "<*": ("", "0.0.0 1.0.0"),
    ">x": ("", "0.0.0 1.0.0"),
    ">=*": ("1.0.0", "1.0.0-a"),
    "* <2.0.0": ("1.0.0", "2.0.0"),
    ">=1.2 <1.4": ("1.2.0 1.3.9", "1.4.0"),
    ">= 1.2.0   <\t1.4.0": ("1.3.9", "1.4.0"),
    ">1.0.0 <*": ("", "1.0.1"),
    "1.2 - 1.4": ("1.2.0 1.4.9", "1.1.9 1.5.0"),
    "1 - 2": ("1.0.0 2.9.9", "3.0.0"),
    "1.2.3 - 2.3.4": ("1.2.3 2.3.4", "1.2.2 2.3.5"),
    "1.2.3-a - v2.3.4-b": ("1.2.3-a 2.3.4-b 2.3.4-a", "2.3.4 2.3.4-c"),
    "* - 2": ("0.0.0 2.9.9", "3.0.0"),
    "1 - *": ("1.0.0 9.0.0", "0.9.9"),
    "* - *": ("9.0.0", "9.0.0-a"),
    "1.2 || >=3 <4": ("1.2.9 3.9.9", "2.0.0 4.0.0"),
    "1.0.0-a || 2": ("1.0.0-a 2.0.0", "1.0.0"),
    "|| 1": ("0.0.0 1.0.0", "1.0.0-a"),
    "* || 1.0.0-a": ("1.0.0", "1.0.0-a"),
}
LOOSE_TABLE = {
    "1.2.3beta": ("1.2.3-beta 1.2.3beta", "1.2.3"),
    "^01.2.3": ("1.9.0", "2.0.0"),
    "^1.2.34.5": ("1.2.3-4.5 1.2.3", "2.0.0"),
    "~1.2.3beta": ("1.2.3-beta 1.2.9", "1.3.0"),
    "==1.2.3": ("1.2.3", "1.2.4"),
    "latest 1.x": ("1.2.3", "2.0.0"),
    "latest || 1": ("1.2.3", "2.0.0"),
    "1.0.0 - 2.0.0beta": ("1.0.0 2.0.0-alpha", "2.0.0"),
    "1 - 9999999999999999999999": ("1.0.0 7.0.0", "0.1.0"),
}
NEITHER = [
    "latest", "beta-1", "release-1.x", "next", "workspace:^1", "1.2.3.4", "01.2", "1.2.3beta", "~",
    "^", ">", "> >1", "1 -", "- 1", "1 - 2 - 3", "==1.2.3", "^^1", "~^1", ">1.2.3<2", "x.1",
    "1.x.3", "1,2", "1.2.3-a..b", "1.2.3-01", "1.2.3+", "1 - 01", "1 - =2.0.0", "a || b",
    "\x1c1", "9007199254740992", "<=9007199254740991", "^99999999999999999999999",
    "99999999999999999999999.0.0", "1 || foo",
]  # fmt: skip


@pytest.mark.parametrize(("text", "versions"), TABLE.items())
def test_a_range_holds_what_npm_says(text, versions):
    """Each range of the table holds the first versions and none of the others."""
    inside, outside = (part.split() for part in versions)
    assert [each for each in inside + outside if ranges.satisfies(each, text)] == inside


@pytest.mark.parametrize(("text", "versions"), LOOSE_TABLE.items())
def test_a_range_can_be_read_loosely(text, versions):
    """Read loosely, a range takes old spellings and passes over words that are no comparators."""
    inside, outside = (part.split() for part in versions)
    held = [each for each in inside + outside if ranges.satisfies(each, text, loose=True)]
    assert held == inside
    assert not ranges.is_range(text)


@pytest.mark.parametrize("text", TABLE)
def test_a_tag_may_not_be_a_range(text):
    """Whatever npm takes for a range, a version included, is no dist-tag."""
    assert ranges.is_range(text)


@pytest.mark.parametrize("text", NEITHER)
def test_other_text_is_no_range(text):
    """What npm takes for no range may be a dist-tag; nothing satisfies it."""
    assert not ranges.is_range(text)
    assert not ranges.satisfies("1.0.0", text)


@pytest.mark.parametrize("text", ["latest", "foo bar", "9007199254740992.0.0"])
def test_loosely_something_must_be_left(text):
    """A text in which even a loose reading finds no comparator, or too large a number, is none."""
    with pytest.raises(InvalidRange):
        ranges.parse(text, loose=True)


def test_a_range_has_a_longest_length():
    """A text longer than any range is refused before it is looked at."""
    with pytest.raises(InvalidRange):
        ranges.parse("1 " * 3000)


def test_the_highest_version_is_chosen():
    """The highest version in the range is given as it was written, the first of equal ones."""
    listed = ["1.0.0", "v1.5.0", "1.5.0+b", "nonsense", "1.6.0-a", "2.0.0"]
    assert ranges.max_satisfying(listed, "^1") == "v1.5.0"
    assert ranges.max_satisfying(listed, "^3") is None
    assert ranges.max_satisfying(listed, "latest") is None
    assert ranges.max_satisfying([], "*") is None


def test_a_parsed_range_is_asked_often():
    """A range that was read once answers for each version."""
    found = ranges.parse(">1.0.0 <=2")
    answers = [found.admits(semver.parse(text)) for text in ("1.0.0", "1.0.1", "2.9.9", "3.0.0")]
    assert answers == [False, True, True, False]


@given(st.text(max_size=30) | st.text("0129.-+v= x*a<>~^|", max_size=30), st.booleans())
def test_wild_text_is_a_range_or_invalid(text, loose):
    """Reading any text gives a range or raises InvalidRange, and nothing else."""
    try:
        found = ranges.parse(text, loose=loose)
    except InvalidRange:
        return
    assert found.admits(semver.parse("1.0.0")) in {True, False}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["1", "1.", "-", "v=", "v ", "> ", "~ ", "1.2.3-a ", "|| ", "0a"])
def test_long_text_takes_little_time(piece):
    """The longest text made to send a pattern back and forth is read in little time."""
    for end in ("", "!", "1.2.3"):
        with_end = piece * ((ranges.LONGEST - 8) // len(piece)) + end
        assert ranges.max_satisfying(["1.0.0"], with_end, loose=True) in {None, "1.0.0"}
