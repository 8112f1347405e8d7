"""Ranges of versions, as npm reads them: `^1.2.0`, `~1`, `1.x || >=2 <3`, `1.2 - 2`.

Source: npm's `semver`, its oddities included: a prerelease is chosen only by a range that names a
prerelease of the same major.minor.patch. A range is brought to comparators with whole versions as
npm does it, as text and in npm's order, because what an odd range means follows from those steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy.npm import semver
from proxy.npm.semver import Version

LONGEST = 4096  # characters; npm knows no limit, and no package comes near it

_PLAIN_DIGITS = 21  # JavaScript writes a longer number with an exponent
_SPACES = re.compile(f"[{semver.SPACE}]+")
_PARTIAL = (
    r"(?P<prefix>[v= ]*+)(?P<major>[0-9]++|[xX*])(?:\.(?P<minor>[0-9]++|[xX*])"
    r"(?:\.(?P<patch>[0-9]++|[xX*])(?P<tail>[0-9A-Za-z.-]*+))?)?"
)
_HYPHEN = re.compile(r"(.*?) - (.*)", re.DOTALL)
_PARTIALS = re.compile(_PARTIAL)
_TERM = re.compile(r"(?P<operator>\^|~>?|[<>]?=?)" + _PARTIAL)
_OPERATOR = re.compile(r"[<>]?=?")
_STAR = re.compile(r"[<>]?=?\*")
_AFTER_OPERATOR = re.compile(r"( *)([<>]?=?) *([v= ]*[0-9xX*][0-9A-Za-z.*-]*)")
_AFTER_TILDE = re.compile(r"(~>?|\^) +")
_ANYTHING = ("", ">=0.0.0")
_NOTHING = "<0.0.0-0"


class InvalidRange(ValueError):
    """The text is not a range. Its text says so."""


@dataclass(frozen=True, slots=True)
class _Comparator:
    operator: str
    version: Version

    def admits(self, other: semver.Order) -> bool:
        mine = self.version.order
        match self.operator:
            case ">":
                return other > mine
            case ">=":
                return other >= mine
            case "<":
                return other < mine
            case "<=":
                return other <= mine
            case _:
                return other == mine


@dataclass(frozen=True, slots=True)
class Range:
    """A set of versions: those that all comparators of one alternative admit."""

    alternatives: tuple[tuple[_Comparator, ...], ...]

    def admits(self, version: Version) -> bool:
        """Whether the version is in the range."""
        return any(_admits(each, version) for each in self.alternatives)


def parse(text: str, *, loose: bool = False) -> Range:
    """Read a range; `loose` passes over what is not a comparator. Raises InvalidRange."""
    if len(text) > LONGEST:
        raise InvalidRange(f"a range is not longer than {LONGEST} characters")
    plain = _SPACES.sub(" ", text.strip(semver.SPACE))
    found = [_alternative(part.strip(semver.SPACE), loose=loose) for part in plain.split("||")]
    alternatives = [each for each in found if each is not None]
    if not alternatives:
        raise InvalidRange(f"not a range: {text[:100]!r}")
    # as in npm, what is anything without a word on prereleases overrules what names one
    return Range(((),) if () in alternatives else tuple(alternatives))


def satisfies(version: str, wanted: str, *, loose: bool = False) -> bool:
    """Whether a version is in a range; False where one of them is none."""
    return max_satisfying([version], wanted, loose=loose) is not None


def max_satisfying(versions: Iterable[str], wanted: str, *, loose: bool = False) -> str | None:
    """The highest version in the range, as it was written; None if there is none.

    What is not a version is passed over; a text that is not a range is satisfied by nothing.
    """
    try:
        limits = parse(wanted, loose=loose)
    except InvalidRange:
        return None
    parsed = _parsed(versions, loose=loose)
    admitted = [(version.order, text) for text, version in parsed if limits.admits(version)]
    return max(admitted, key=lambda pair: pair[0])[1] if admitted else None


def is_range(text: str) -> bool:
    """Whether npm would take the text for a range, versions included; a dist-tag must not be one.

    Source: npm's `dist-tag` and `publish` refuse what semver's `validRange` accepts.
    """
    try:
        parse(text)
    except InvalidRange:
        return False
    return True


def _parsed(versions: Iterable[str], *, loose: bool) -> Iterator[tuple[str, Version]]:
    for text in versions:
        try:
            yield text, semver.parse(text, loose=loose)
        except semver.InvalidVersion:
            continue


def _admits(comparators: tuple[_Comparator, ...], version: Version) -> bool:
    place = version.order
    if not all(each.admits(place) for each in comparators):
        return False
    named = (each.version for each in comparators if each.version.prerelease)
    return not version.prerelease or any(each.core == version.core for each in named)


def _alternative(text: str, *, loose: bool) -> tuple[_Comparator, ...] | None:
    """The comparators of one alternative, () for anything; None if (loosely) nothing is left."""
    plain = _joined(_hyphen(semver.BUILD.sub("", text), loose=loose))
    expanded = [part for term in plain.split(" ") for part in _expanded(term, loose=loose)]
    # joined and divided once more, as in npm: between others, what stands for anything is gone
    terms = _SPACES.split(" ".join(expanded))
    sound = [term for term in terms if not loose or _is_comparator(term)]
    if not sound:
        return None
    return tuple(_comparator(each, loose=loose) for each in sound if each not in _ANYTHING)


def _joined(text: str) -> str:
    """The range with no space between an operator and its version."""
    return _AFTER_TILDE.sub(r"\1", _AFTER_OPERATOR.sub(r"\1\2\3", text))


def _hyphen(text: str, *, loose: bool) -> str:
    """`1.2 - 3` as `>=1.2.0 <4.0.0-0`; any other text as it is."""
    sides = _HYPHEN.fullmatch(text)
    if sides is None:
        return text
    low, high = _PARTIALS.fullmatch(sides[1]), _PARTIALS.fullmatch(sides[2])
    if low is None or high is None or not (_is_sound(low, loose) and _is_sound(high, loose)):
        return text
    return f"{_from(low)} {_to(high, loose=loose)}".strip()


def _from(low: re.Match[str]) -> str:
    major, minor, patch = low.group("major", "minor", "patch")
    if _is_x(major):
        return ""
    if _is_x(minor):
        return f">={major}.0.0"
    return f">={major}.{minor}.0" if _is_x(patch) else f">={low[0]}"


def _to(high: re.Match[str], *, loose: bool) -> str:
    major, minor, patch = high.group("major", "minor", "patch")
    if _is_x(major):
        return ""
    if _is_x(minor):
        return f"<{_next(major)}.0.0-0"
    if _is_x(patch):
        return f"<{major}.{_next(minor)}.0-0"
    _, tail = _end(high, loose=loose)
    return f"<={high[0][high.end('prefix') :]}" if tail else f"<={high[0]}"


def _expanded(term: str, *, loose: bool) -> list[str]:
    """One term as comparators, each with a whole version; what is none comes back as it is."""
    found = _TERM.fullmatch(term)
    if found is None or not _is_sound(found, loose):
        return [_STAR.sub("", term, count=1)]
    match found["operator"]:
        case "^":
            return _caret(found, loose=loose)
        case "~" | "~>":
            return _tilde(found, loose=loose)
        case _:
            return _x_range(found)


def _caret(term: re.Match[str], *, loose: bool) -> list[str]:
    major, minor, patch = term.group("major", "minor", "patch")
    if _is_x(major):
        return [""]
    if _is_x(minor):
        return [f">={major}.0.0", f"<{_next(major)}.0.0-0"]
    whole, _ = _end(term, loose=loose)
    high = f"<{major}.{_next(minor)}.0-0"
    if major != "0":
        high = f"<{_next(major)}.0.0-0"
    elif minor == "0" and not _is_x(patch):
        high = f"<0.0.{_next(whole)}-0"
    return [_low(term, loose=loose), high]


def _tilde(term: re.Match[str], *, loose: bool) -> list[str]:
    major, minor = term.group("major", "minor")
    if _is_x(major):
        return [""]
    if _is_x(minor):
        return [f">={major}.0.0", f"<{_next(major)}.0.0-0"]
    return [_low(term, loose=loose), f"<{major}.{_next(minor)}.0-0"]


def _low(term: re.Match[str], *, loose: bool) -> str:
    """The lower bound of a caret or a tilde with at least a major and a minor."""
    major, minor = term.group("major", "minor")
    if _is_x(term["patch"]):
        return f">={major}.{minor}.0"
    patch, tail = _end(term, loose=loose)
    identifiers = semver.prerelease(tail, loose=loose) or ()
    return f">={major}.{minor}.{patch}" + _dashed(".".join(map(str, identifiers)))


def _dashed(prerelease: str) -> str:
    return f"-{prerelease}" if prerelease else ""


def _x_range(term: re.Match[str]) -> list[str]:
    operator, major, minor, patch = term.group("operator", "major", "minor", "patch")
    if (_is_x(major) and not _is_x(minor)) or (_is_x(minor) and not _is_x(patch)):
        return [_STAR.sub("", term[0], count=1)]
    if _is_x(major):
        return [_NOTHING if operator in {"<", ">"} else ""]
    if not _is_x(patch):
        return [term[0]]
    start = (major, "0" if _is_x(minor) else minor)
    after = (_next(major), "0") if _is_x(minor) else (major, _next(minor))
    return _bounds(operator, f"{'.'.join(start)}.0", f"{'.'.join(after)}.0")


def _bounds(operator: str, start: str, after: str) -> list[str]:
    """The comparators of an operator and a partial version that runs from start to after."""
    match operator:
        case ">":
            return [f">={after}"]
        case ">=":
            return [f">={start}"]
        case "<":
            return [f"<{start}-0"]
        case "<=":
            return [f"<{after}-0"]
        case _:
            return [f">={start}", f"<{after}-0"]


def _is_x(part: str | None) -> bool:
    return part is None or part in {"x", "X", "*"}


def _next(digits: str) -> str:
    """The number after it; nothing for one that JavaScript would write with an exponent."""
    return str(int(digits) + 1) if len(digits) <= _PLAIN_DIGITS else ""


def _is_sound(partial: re.Match[str], loose: bool) -> bool:
    """Whether numbers and prerelease are written as they must be."""
    numbers = [part for part in partial.group("major", "minor", "patch") if not _is_x(part)]
    _, tail = _end(partial, loose=loose)
    is_plain = loose or not any(map(semver.is_padded, numbers))
    return is_plain and semver.prerelease(tail, loose=loose) is not None


def _end(partial: re.Match[str], *, loose: bool) -> tuple[str, str]:
    """The patch and what follows it; empty strings if there are none."""
    return semver.divided(partial["patch"] or "", partial["tail"] or "", loose=loose)


def _comparator(text: str, *, loose: bool) -> _Comparator:
    """Read an operator and a whole version. Raises InvalidRange."""
    version = _OPERATOR.sub("", text, count=1)
    operator = text[: len(text) - len(version)]
    try:
        return _Comparator(operator, semver.parse(version, loose=loose))
    except semver.InvalidVersion as error:
        raise InvalidRange(f"not a range: {text[:100]!r}") from error


def _is_comparator(text: str) -> bool:
    return not text or semver.is_whole(_OPERATOR.sub("", text, count=1))
