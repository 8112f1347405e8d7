"""Which of the packages that live here a search is for, and which of them come first.

The text is words and qualifiers, as the public registry reads them: every word has to be in the
name, the keywords or the description; `scope:`, `author:`, `maintainer:` and `keywords:` narrow it
(`,` is or, `+` is and, `-` in front is not), and `is:unstable` is what has no 1.0.0 yet. Other
qualifiers (`boost-exact:`, `not:insecure`) change nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

LARGEST_PAGE = 250
_USUAL_PAGE = 20
_FURTHEST = 1_000_000
_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_QUALIFIED = re.compile(r"(author|maintainer|scope|keywords|is|not|boost-exact):(.+)", re.DOTALL)
_EXACT, _START, _IN_NAME, _KEYWORD, _DESCRIBED = 100, 50, 20, 10, 5


@dataclass(frozen=True, slots=True)
class Entry:
    """What is searched of one package. `people` are its maintainers, `author` a name or address."""

    name: str
    version: str
    description: str = ""
    keywords: tuple[str, ...] = ()
    author: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    low: tuple[str, str, str, frozenset[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keep name, bare name, description and keywords in lower case."""
        name = self.name.lower()
        words = frozenset(word.lower() for word in self.keywords)
        low = (name, name.rpartition("/")[2], self.description.lower(), words)
        object.__setattr__(self, "low", low)

    @property
    def is_unstable(self) -> bool:
        """Whether it has no release with a promise yet."""
        return self.version.startswith("0.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A search's text, read. Lists of qualifiers: the package fits one value of each."""

    words: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    keywords: tuple[tuple[frozenset[str], ...], ...] = ()
    unwanted_keywords: frozenset[str] = frozenset()
    is_unstable: bool | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """How many results, from which on."""

    start: int = 0
    size: int = _USUAL_PAGE


def page(start: str | None, size: str | None) -> Page:
    """The page asked for; what is no number is not asked for. At most 250 results."""
    return Page(_number(start, 0, _FURTHEST), _number(size, _USUAL_PAGE, LARGEST_PAGE))


def read(text: str) -> Wanted:
    """Read a search's text, of which nothing is wrong."""
    words: list[str] = []
    unwanted: list[str] = []
    said: dict[str, list[str]] = {}
    for part in _WORD.findall(text.lower()):
        plain = part.replace('"', "")
        qualified = _QUALIFIED.fullmatch(plain)
        if qualified:
            said.setdefault(qualified[1], []).append(qualified[2])
        elif plain.startswith("-") and len(plain) > 1:
            unwanted.append(plain[1:])
        elif plain:
            words.append(plain)
    return Wanted(
        words=tuple(words),
        unwanted=tuple(unwanted),
        scopes=tuple(value.removeprefix("@") for value in said.get("scope", ())),
        authors=tuple(said.get("author", ())),
        people=tuple(said.get("maintainer", ())),
        keywords=tuple(filter(None, map(_alternatives, said.get("keywords", ())))),
        unwanted_keywords=frozenset(_unwanted(said.get("keywords", ()))),
        is_unstable=_stability(said),
    )


def ranked(entries: Iterable[Entry], wanted: Wanted) -> list[Entry]:
    """The entries that fit, the best first; equally good ones by name."""
    found = [(score, entry) for entry in entries if (score := _score(entry, wanted)) is not None]
    found.sort(key=lambda each: (-each[0], each[1].name))
    return [entry for _, entry in found]


def _score(entry: Entry, wanted: Wanted) -> int | None:
    """How well it fits; None if it does not."""
    total = 0
    for word in wanted.words:
        points = _points(entry, word)
        if points == 0:
            return None
        total += points
    if any(_points(entry, word) for word in wanted.unwanted) or not _fits(entry, wanted):
        return None
    return total


def _points(entry: Entry, word: str) -> int:
    name, bare, description, keywords = entry.low
    if word in name:
        if word in {name, bare}:
            return _EXACT
        return _START if name.startswith(word) or bare.startswith(word) else _IN_NAME
    if word in keywords:
        return _KEYWORD
    return _DESCRIBED if word in description else 0


def _fits(entry: Entry, wanted: Wanted) -> bool:
    keywords = entry.low[3]
    scope = entry.low[0].partition("/")[0].removeprefix("@") if "/" in entry.name else "unscoped"
    return (
        (not wanted.scopes or scope in wanted.scopes)
        and (not wanted.authors or _is_one_of(entry.author, wanted.authors))
        and (not wanted.people or _is_one_of(entry.people, wanted.people))
        and all(any(group <= keywords for group in groups) for groups in wanted.keywords)
        and not wanted.unwanted_keywords & keywords
        and wanted.is_unstable in {None, entry.is_unstable}
    )


def _is_one_of(people: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(person.lower() in wanted for person in people)


def _alternatives(value: str) -> tuple[frozenset[str], ...]:
    """`a,b+c,-d` as ({a}, {b, c})."""
    groups = (group.split("+") for group in value.split(","))
    found = (frozenset(w for w in group if w and not w.startswith("-")) for group in groups)
    return tuple(group for group in found if group)


def _unwanted(values: Iterable[str]) -> Iterable[str]:
    for value in values:
        yield from (word[1:] for word in re.split("[,+]", value) if word.startswith("-"))


def _stability(said: dict[str, list[str]]) -> bool | None:
    if "unstable" in said.get("is", ()):
        return True
    return False if "unstable" in said.get("not", ()) else None


def _number(text: str | None, default: int, largest: int) -> int:
    if text is None or not (text.isascii() and text.isdigit()):
        return default
    # No more digits than that are looked at: they would be a large number too.
    return min(int(text[:9]), largest)
