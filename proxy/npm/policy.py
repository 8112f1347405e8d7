"""Where a name lives: every package name has exactly one origin, and nobody else is asked for it.

A rule names patterns and an origin; rules are read from top to bottom and the first match wins.
A pattern is

- `*`, alone: every name, scoped names included;
- else a name in which each `*` stands for any run of characters, none included, but never for `/`:
  `lodash` is that name, `@acme/*` every name of one scope, `acme-*` the unscoped names with that
  prefix, `@*/ui` that name in any scope.

A rule may also say who may do what with its names (`Rule.allows`). Upper and lower case differ, as
they do in npm's names. There is no negation and no other wildcard:
what `@acme/*` should leave out stands in a rule above it.

A name's 404 is the answer of its origin. It is never a reason to ask someone else: that
fall-through is how a public package takes the place of a private one of the same name
(dependency confusion).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

EVERYTHING = "*"
HOSTED_WORD = "hosted"
# A pattern is no longer than the longest name we read, so that a pasted file does not become one.
_LONGEST_PATTERN = 512


EVERYBODY = "$all"
AUTHENTICATED = "$authenticated"


class Action(Enum):
    """What somebody may do with a package. PUBLISH is every change but taking versions away."""

    READ = "read"
    PUBLISH = "publish"
    UNPUBLISH = "unpublish"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who answers for a name: the uplink of that name, or nobody but us (None).

    `is_merged` puts what is published here beside what the uplink has (forks).
    """

    uplink: str | None
    is_merged: bool = False

    @property
    def is_hosted(self) -> bool:
        """Whether the name is ours alone: its absence is our own 404, and no uplink hears of it."""
        return self.uplink is None

    @property
    def takes_versions(self) -> bool:
        """Whether versions may be published here."""
        return self.is_hosted or self.is_merged

    def __str__(self) -> str:
        return HOSTED_WORD if self.uplink is None else self.uplink


HOSTED = Origin(None)


def origin(word: str, *, is_merged: bool = False) -> Origin:
    """The origin that a rule's `from` names: `hosted`, or an uplink."""
    return HOSTED if word == HOSTED_WORD else Origin(word, is_merged)


class Named(Protocol):
    """Anything that carries a package's full name, such as `names.PackageName`."""

    @property
    def full(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """Names that match any of `match` live at `origin`.

    `read`, `publish` and `unpublish` list who may do that: users (`ann`), groups (`@acme`,
    `@acme:core`), `$authenticated` and `$all`. None is the default: everybody reads what comes
    from an uplink, and who is logged in reads and publishes what lives here; who may publish may
    unpublish. Nobody publishes to a name that only an uplink has.
    """

    match: tuple[str, ...]
    origin: Origin
    read: tuple[str, ...] | None = None
    publish: tuple[str, ...] | None = None
    unpublish: tuple[str, ...] | None = None

    def matches(self, name: str) -> bool:
        return any(matches(pattern, name) for pattern in self.match)

    def listed(self, action: Action) -> tuple[str, ...]:
        """Who may do this, by the words of the rule or by default."""
        if action is Action.READ:
            by_default = AUTHENTICATED if self.origin.takes_versions else EVERYBODY
            return (by_default,) if self.read is None else self.read
        if not self.origin.takes_versions:
            return ()
        publish = (AUTHENTICATED,) if self.publish is None else self.publish
        if action is Action.PUBLISH or self.unpublish is None:
            return publish
        return self.unpublish


def covers_caller(listed: Sequence[str], user: str | None, groups: Collection[str]) -> bool:
    """Whether a list of users and groups names this user (None: somebody unknown)."""
    if EVERYBODY in listed:
        return True
    if user is None:
        return False
    return (
        AUTHENTICATED in listed or user in listed or any(f"@{group}" in listed for group in groups)
    )


_UNRULED = Rule((), HOSTED)


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules, in the order they are tried."""

    rules: tuple[Rule, ...] = ()

    def origin_of(self, name: str | Named) -> Origin:
        """The one place that answers for `name` (decoded, with its scope).

        A name that no rule matches is hosted, so that nobody is asked about it.
        """
        return self.rule_of(name).origin

    def rule_of(self, name: str | Named) -> Rule:
        """The first rule that matches `name`; one of its own, hosted, if none does."""
        full = name if isinstance(name, str) else name.full
        for rule in self.rules:
            if rule.matches(full):
                return rule
        return _UNRULED

    @property
    def has_catch_all(self) -> bool:
        """Whether some rule takes whatever the others leave."""
        return any(EVERYTHING in rule.match for rule in self.rules)

    @property
    def claimed(self) -> Sequence[str]:
        """The patterns of the names that live here and nowhere else, in the order of the rules."""
        patterns = (each for rule in self.rules if rule.origin.is_hosted for each in rule.match)
        return tuple(dict.fromkeys(patterns))

    def names(self, user: str) -> bool:
        """Whether any list names this very user."""
        lists = (each for rule in self.rules for each in (rule.read, rule.publish, rule.unpublish))
        return any(user in listed for listed in lists if listed)

    def groups_of(self, org: str) -> tuple[str, ...]:
        """The words of any list that mean an organisation or a team of it, as they are written."""
        lists = (each for rule in self.rules for each in (rule.read, rule.publish, rule.unpublish))
        words = dict.fromkeys(word for listed in lists for word in listed or ())
        return tuple(word for word in words if word.partition(":")[0] == f"@{org}")

    def completed(self, uplinks: Sequence[str]) -> Rules:
        """These rules, ending with `*` if just one uplink can be meant by it."""
        if self.has_catch_all or len(uplinks) != 1:
            return self
        return Rules((*self.rules, Rule((EVERYTHING,), Origin(uplinks[0]))))


def matches(pattern: str, name: str) -> bool:
    """Whether `pattern` covers `name`. Each `*` costs at most one pass over the name."""
    if pattern == EVERYTHING:
        return True
    # A wildcard never crosses a slash, so the pieces between slashes are compared one by one.
    globs, pieces = pattern.split("/"), name.split("/")
    return len(globs) == len(pieces) and all(map(_piece_matches, globs, pieces))


def _piece_matches(glob: str, piece: str) -> bool:
    head, *rest = glob.split("*")
    if not rest:
        return glob == piece
    *middles, tail = rest
    at, end = len(head), len(piece) - len(tail)
    if at > end or not (piece.startswith(head) and piece.endswith(tail)):
        return False
    # The leftmost place for a part leaves most room for the next: no choice is ever taken back.
    for part in middles:
        found = piece.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def covers(general: str, special: str) -> bool:
    """Whether every name that `special` matches is matched by `general` as well.

    The `*` of `special` is replaced by a character no pattern holds. What matches it then can
    only be a `*` of `general`, and that one takes any other text in its place, too.
    """
    if special == EVERYTHING:
        return general == EVERYTHING
    return matches(general, special.replace("*", "\0"))


# --- checking, before anything is served ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with the rules. `rule` is the rule's index, None for all of them together.

    `key` is what of the rule it is about, as the configuration calls it.
    """

    rule: int | None
    reason: str
    key: str = "match"


def check(rules: Rules, uplinks: Sequence[str]) -> list[Flaw]:
    """Everything that would make the rules mean something else than they seem to say.

    Looks for uplinks that do not exist, patterns no name can match, patterns that stand twice or
    that an earlier rule leaves nothing to, and names that no rule gives an origin. `rules` is what
    `completed` returned.
    """
    return [
        *_unknown_uplinks(rules, uplinks),
        *_impossible_patterns(rules),
        *_hidden_patterns(rules),
        *_rest(rules, uplinks),
    ]


def _unknown_uplinks(rules: Rules, uplinks: Sequence[str]) -> Iterator[Flaw]:
    known = ", ".join([HOSTED_WORD, *uplinks])
    for index, rule in enumerate(rules.rules):
        if rule.origin.uplink is not None and rule.origin.uplink not in uplinks:
            near = difflib.get_close_matches(rule.origin.uplink, [HOSTED_WORD, *uplinks], n=1)
            advice = f"did you mean {near[0]}?" if near else f"possible: {known}"
            reason = f'there is no uplink called "{rule.origin}"; {advice}'
            yield Flaw(index, reason, "from")


def _impossible_patterns(rules: Rules) -> Iterator[Flaw]:
    for index, rule in enumerate(rules.rules):
        if not rule.match:
            yield Flaw(index, "match is empty, so that this rule never applies; name a pattern")
        for pattern in rule.match:
            if reason := flaw_of_pattern(pattern):
                yield Flaw(index, f'"{pattern}" matches no package: {reason}')


def flaw_of_pattern(pattern: str) -> str | None:
    """Why no package name can match `pattern`, with what to write instead; None if one can."""
    if len(pattern) > _LONGEST_PATTERN:
        return f"it is longer than {_LONGEST_PATTERN} characters"
    if not pattern or pattern != "".join(pattern.split()) or not pattern.isprintable():
        return "a name is not empty and holds no spaces"
    if "**" in pattern:
        return 'one "*" is enough; "*" alone matches every name, "@scope/*" a scope'
    if pattern[0] in "!^" or any(sign in pattern for sign in "?[]{}\\"):
        return 'the only wildcard is "*"; what is to be left out stands in a rule above'
    return _flaw_of_scope(pattern)


def _flaw_of_scope(pattern: str) -> str | None:
    scope, slash, bare = pattern.rpartition("/")
    if pattern[0] == "@" and not slash:
        return f'a scope is written "{pattern}/*"'
    if slash and (scope[:1] != "@" or scope == "@" or "/" in scope or not bare):
        return 'a slash stands only between a scope and a name, as in "@scope/name" and "@scope/*"'
    return None


def _hidden_patterns(rules: Rules) -> Iterator[Flaw]:
    seen: list[tuple[int, str]] = []
    for index, rule in enumerate(rules.rules):
        for pattern in rule.match:
            yield from _hidden_by(seen, rules, index, pattern)
            seen.append((index, pattern))


def _hidden_by(
    seen: Sequence[tuple[int, str]], rules: Rules, index: int, pattern: str
) -> Iterator[Flaw]:
    """At most one flaw: the first of the patterns before this one that leaves nothing to it."""
    for earlier, other in seen:
        place = "in this rule" if earlier == index else f"in rules.{earlier}"
        if other == pattern:
            fate = f'stands twice; {place} it goes to "{rules.rules[earlier].origin}" already'
            yield Flaw(index, f'"{pattern}" {fate}')
            return
        # Within one rule the answer is the same either way: a list may spell out part of a pattern.
        if earlier != index and covers(other, pattern):
            fate = f'"{other}" {place} takes all of them first; move this rule above it'
            yield Flaw(index, f'"{pattern}" never applies: {fate}')
            return


def _rest(rules: Rules, uplinks: Sequence[str]) -> Iterator[Flaw]:
    if len(uplinks) > 1 and not rules.has_catch_all:
        choices = " or ".join(f'"{name}"' for name in (*uplinks, HOSTED_WORD))
        reason = 'no rule says where all other names live; end with one that has match = "*"'
        yield Flaw(None, f"{reason} and from = {choices}")
