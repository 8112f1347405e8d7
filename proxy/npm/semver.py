"""Versions, strictly and loosely read, in npm's order.

Source: Semantic Versioning 2.0.0 and, where that is silent, npm's `semver`: the longest version,
the largest number, and the loose form that only old packages have. Every pattern here and in
`ranges.py` matches without trying a text twice, so that a long text takes little time too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LONGEST = 256  # characters, as in npm
LARGEST = 2**53 - 1  # what JavaScript counts to
SPACE = (
    "\t\n\v\f\r \xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""White space as JavaScript knows it."""

BUILD = re.compile(r"\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*")
"""Build metadata with its plus sign."""

_MAIN = re.compile(r"([0-9]++)\.([0-9]++)\.([0-9]++)([0-9A-Za-z.-]*)")
_IDENTIFIER = re.compile(r"[0-9A-Za-z-]+")


class InvalidVersion(ValueError):
    """The text is not a version. Its text says so."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version; `str` writes it as npm does, without the build metadata."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[int | str, ...] = ()
    build: tuple[str, ...] = ()

    @property
    def core(self) -> tuple[int, int, int]:
        """Major, minor and patch."""
        return (self.major, self.minor, self.patch)

    @property
    def order(self) -> Order:
        """What sorts as versions do: a prerelease before its release, build metadata ignored."""
        identifiers = tuple(_identifier_order(each) for each in self.prerelease)
        return (*self.core, not self.prerelease, identifiers)

    def __str__(self) -> str:
        main = ".".join(map(str, self.core))
        return main if not self.prerelease else f"{main}-{'.'.join(map(str, self.prerelease))}"


Order = tuple[int, int, int, bool, tuple[tuple[bool, float, str], ...]]
"""A version's place among others."""

_LOWEST: Order = (-1, 0, 0, False, ())


def parse(text: str, *, loose: bool = False) -> Version:
    """Read a version; `loose` also takes `=1.2.3`, `1.2.3beta` and leading zeros.

    Raises InvalidVersion.
    """
    trimmed = text.strip(SPACE)
    start = _end_of_prefix(trimmed) if loose else len(trimmed) - len(trimmed.removeprefix("v"))
    main, plus, build = trimmed[start:].partition("+")
    found = _MAIN.fullmatch(main)
    is_built = not plus or BUILD.fullmatch(plus + build) is not None
    version = None
    if len(text) <= LONGEST and found is not None and is_built:
        version = _version(found.groups(), loose=loose, build=build)
    if version is None:
        raise InvalidVersion(f"not a version: {text[:100]!r}")
    return version


def clean(text: str, *, loose: bool = False) -> str | None:
    """The version as npm writes it, without `v`, `=`, spaces and build; None if it is none."""
    try:
        return str(parse(text.strip(SPACE).lstrip("=v"), loose=loose))
    except InvalidVersion:
        return None


def compare(one: str, other: str, *, loose: bool = False) -> int:
    """-1, 0 or 1 as the first is lower than, equal to or higher than the other.

    Raises InvalidVersion.
    """
    first, second = parse(one, loose=loose).order, parse(other, loose=loose).order
    return (first > second) - (first < second)


def order(text: str) -> Order:
    """A key to sort any texts by, loosely read; what is not a version comes first."""
    try:
        return parse(text, loose=True).order
    except InvalidVersion:
        return _LOWEST


def _identifier_order(identifier: int | str) -> tuple[bool, float, str]:
    """Numbers before words. Beyond what JavaScript counts to, they compare as its numbers do."""
    if isinstance(identifier, str) and not identifier.isdigit():
        return (True, 0.0, identifier)
    return (False, float(identifier), "")


def is_whole(text: str) -> bool:
    """Whether the text is, loosely, a version without build metadata, however large its numbers."""
    found = _MAIN.fullmatch(text, _end_of_prefix(text))
    if found is None:
        return False
    _, tail = divided(found[3], found[4], loose=True)
    return prerelease(tail, loose=True) is not None


def _version(parts: tuple[str, ...], *, loose: bool, build: str) -> Version | None:
    """The version of major, minor, patch and what follows them."""
    major, minor, *end = parts
    patch, tail = divided(*end, loose=loose)
    identifiers = prerelease(tail, loose=loose)
    numbers = (major, minor, patch)
    is_plain = loose or not any(map(is_padded, numbers))
    if identifiers is None or not is_plain or max(map(int, numbers)) > LARGEST:
        return None
    builds = tuple(build.split(".")) if build else ()
    return Version(int(major), int(minor), int(patch), identifiers, builds)


def divided(patch: str, tail: str, *, loose: bool) -> tuple[str, str]:
    """The patch and what follows it, in `1.2.34.5` as npm's loose pattern has them: 3 and 4.5."""
    if loose and tail.startswith(".") and patch[:-1].isdigit():
        return patch[:-1], patch[-1] + tail
    return patch, tail


def is_padded(digits: str) -> bool:
    """Whether a number has leading zeros."""
    return len(digits) > 1 and digits.startswith("0")


def prerelease(tail: str, *, loose: bool) -> tuple[int | str, ...] | None:
    """The identifiers in what follows the patch; None if that is no prerelease."""
    if not tail:
        return ()
    candidates = [tail[1:]] if tail.startswith("-") else []
    if loose:
        candidates.append(tail)
    for text in candidates:
        identifiers = text.split(".")
        if all(_is_identifier(each, loose=loose) for each in identifiers):
            return tuple(map(_identifier, identifiers))
    return None


def _is_identifier(text: str, *, loose: bool) -> bool:
    is_sound = _IDENTIFIER.fullmatch(text) is not None
    return is_sound and (loose or not (text.isdigit() and is_padded(text)))


def _identifier(text: str) -> int | str:
    return int(text) if text.isdigit() and int(text) < LARGEST else text


def _end_of_prefix(text: str) -> int:
    return len(text) - len(text.lstrip("v=" + SPACE))
