"""Whom the lists of a rule may name: users, groups, and two words for many.

    $all             everybody, also who is not logged in
    $authenticated   whoever is logged in
    @acme            who is in that organisation
    @acme:core       who is in that team of it
    ann              one user

All else is refused before anything is served: a name that is misspelt would shut people out, or
let others in, and nobody would be told.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from proxy.npm.policy import AUTHENTICATED, EVERYBODY, Action, Flaw, Rule, Rules

_WORDS = (EVERYBODY, AUTHENTICATED)
_USER = re.compile(r"[^\s@$:/*,!\"']{1,214}")
# As groups.py has it; users may have come from another system, with other names.
_NAME = "[a-z0-9][a-z0-9._-]{0,213}"
_GROUP = re.compile(f"@{_NAME}(?::{_NAME})?")
_LONGEST_SHOWN = 80


def check(rules: Rules) -> list[Flaw]:
    """Everything in the lists of `rules` that names nobody, or more than it may."""
    return [flaw for index, rule in enumerate(rules.rules) for flaw in _check(index, rule)]


def _check(index: int, rule: Rule) -> Iterator[Flaw]:
    lists = {
        Action.READ: rule.read,
        Action.PUBLISH: rule.publish,
        Action.UNPUBLISH: rule.unpublish,
    }
    for action, listed in lists.items():
        for word in listed or ():
            if reason := _flaw_for(action, word):
                yield Flaw(index, reason, action.value)
        if listed and action is not Action.READ and not rule.origin.takes_versions:
            reason = f"nobody can {action.value} here: these names come from the uplink"
            advice = 'write merge = true to publish beside it, or from = "hosted"'
            yield Flaw(index, f"{reason} {rule.origin}; {advice}", action.value)


def _flaw_for(action: Action, word: str) -> str | None:
    if word == EVERYBODY and action is not Action.READ:
        return f"who {action.value}es has to be known; write {AUTHENTICATED}"
    return flaw_of(word)


def flaw_of(word: str) -> str | None:
    """Why a list cannot name `word`, with what to write instead; None if it can."""
    if word in _WORDS:
        return None
    # "@all" is how another registry writes "$all": no organisation has such a name.
    if word[:1] == "$" or f"${word.lstrip('@')}" in _WORDS:
        return f"{_shown(word)} is nobody; {_nearest_word(word)}"
    if word[:1] == "@":
        return None if _is(_GROUP, word) else f"{_shown(word)} is no group; {_nearest(word)}"
    return flaw_of_user(word)


def flaw_of_user(word: str) -> str | None:
    """Why `word` cannot be the name of a user; None if it can."""
    if _is(_USER, word):
        return None
    if word in _WORDS or _is(_GROUP, word):
        return f"{_shown(word)} is no user; name users one by one"
    return f"{_shown(word)} is no user; {_nearest(word)}"


def _nearest_word(word: str) -> str:
    wanted = "$" + word.lstrip("@$").lower()
    near = difflib.get_close_matches(wanted, _WORDS, n=1)
    return f"did you mean {near[0]}?" if near else f"possible: {', '.join(_WORDS)}"


def _nearest(word: str) -> str:
    """Where a sign is missing or stands in for another, the group that was meant."""
    if word == "*":
        return f"did you mean {EVERYBODY}?"
    group = "@" + word.lstrip("@").removesuffix("/*").replace("/", ":").lower()
    if any(sign in word for sign in "@:/") and _is(_GROUP, group):
        return f'did you mean "{group}"?'
    return 'a user is written "ann", an organisation "@acme", a team "@acme:core"'


def _is(pattern: re.Pattern[str], word: str) -> bool:
    return pattern.fullmatch(word) is not None and word.isprintable()


def _shown(word: str) -> str:
    short = word if len(word) <= _LONGEST_SHOWN else f"{word[:_LONGEST_SHOWN]}..."
    return f'"{short}"'
