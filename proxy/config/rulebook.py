"""The rules that were given, read and judged by npm's policy, each flaw with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from proxy.config.settings import REQUIRED_RULE_KEYS, RULE_KEYS, RULES
from proxy.config.sources import Given
from proxy.npm import policy, principals
from proxy.npm.policy import HOSTED_WORD, Action, Flaw, Rule, Rules

_LISTS = tuple(action.value for action in Action)

RuleGiven = Mapping[str, Given]
"""One rule, as far as it was given: what was written behind each of its keys."""


def read(
    given: Mapping[str, Given], *, uplinks: Sequence[str], file: Path | None
) -> tuple[Rules, list[str]]:
    """The rules, completed for the uplinks there are, and a sentence for each flaw.

    Rules that cannot be read are not judged any further, for a rule that is left out would make
    the others look wrong.
    """
    tables = _tables(given)
    rules = _rules(tables).completed(uplinks)
    if unreadable := [each for index in tables for each in _unreadable(index, tables[index])]:
        return rules, unreadable
    flaws = [*policy.check(rules, uplinks), *principals.check(rules), *_useless_merges(tables)]
    return rules, [_sentence(flaw, tables, file) for flaw in flaws]


def is_hosted(given: Mapping[str, Given]) -> bool:
    """Whether the rules leave no name to an uplink."""
    rules = _rules(_tables(given))
    return rules.has_catch_all and all(rule.origin.is_hosted for rule in rules.rules)


def _tables(given: Mapping[str, Given]) -> dict[int, RuleGiven]:
    """The rules by the number that the configuration gives them, in order."""
    found: dict[int, dict[str, Given]] = {}
    for name, each in given.items():
        table, *path = name.split(".")
        if table == RULES:
            found.setdefault(int(path[0]), {})[path[1]] = each
    return dict(sorted(found.items()))


def _rules(tables: Mapping[int, RuleGiven]) -> Rules:
    whole = [rule for rule in tables.values() if all(key in rule for key in REQUIRED_RULE_KEYS)]
    return Rules(tuple(map(_rule, whole)))


def _rule(given: RuleGiven) -> Rule:
    lists = {key: _texts(given[key].value) for key in _LISTS if key in given}
    is_merged = "merge" in given and given["merge"].value is True
    origin = policy.origin(str(given["from"].value), is_merged=is_merged)
    return Rule(_texts(given["match"].value) or (), origin, **lists)


def _texts(value: object) -> tuple[str, ...] | None:
    """One text or a list of them; None if it is neither."""
    texts = [value] if isinstance(value, str) else value
    if isinstance(texts, list) and all(isinstance(each, str) for each in texts):
        return tuple(texts)
    return None


# --- flaws ------------------------------------------------------------------------------------


def _unreadable(index: int, given: RuleGiven) -> Iterator[str]:
    name = f"{RULES}.{index}"
    for key in REQUIRED_RULE_KEYS:
        if key not in given:
            first = next(iter(given.values()))
            yield first.says(name, f"says no {key}: {RULE_KEYS[key]}")
    for key, each in given.items():
        if reason := _flaw_of(key, each.value):
            yield each.says(f"{name}.{key}", reason)


def _flaw_of(key: str, value: object) -> str | None:
    """Why this cannot stand behind a key of a rule, whatever else the rule says."""
    if key == "from":
        return None if isinstance(value, str) else f"is not {RULE_KEYS[key]}"
    if key == "merge":
        return None if isinstance(value, bool) else "is neither true nor false"
    if _texts(value) is not None:
        return None
    if key == "match":
        return 'is not a pattern; write "@acme/*" or ["@acme/*", "lodash"]'
    return 'is not a list of users and groups; write "$authenticated" or ["@acme", "ann"]'


def _useless_merges(tables: Mapping[int, RuleGiven]) -> Iterator[Flaw]:
    for position, given in enumerate(tables.values()):
        is_merged = "merge" in given and given["merge"].value is True
        if is_merged and given["from"].value == HOSTED_WORD:
            reason = "nothing stands beside what is hosted; name an uplink in from, or leave it out"
            yield Flaw(position, reason, "merge")


def _sentence(flaw: Flaw, tables: Mapping[int, RuleGiven], file: Path | None) -> str:
    if flaw.rule is None:
        first = next(iter(tables.values()), {})
        place = next((each.place for each in first.values()), None)
        return f"{place or file or 'rules'}: {flaw.reason}"
    index = list(tables)[flaw.rule]
    return tables[index][flaw.key].says(f"{RULES}.{index}.{flaw.key}", flaw.reason)
