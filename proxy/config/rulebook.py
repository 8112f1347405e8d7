"""The rules that were given, read and judged by npm's policy, each flaw with its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from proxy.config.settings import RULE_KEYS, RULES
from proxy.config.sources import Given
from proxy.npm import policy
from proxy.npm.policy import Flaw, Rule, Rules


def read(
    given: Mapping[str, Given], *, uplinks: Sequence[str], file: Path | None
) -> tuple[Rules, list[str]]:
    """The rules, completed for the uplinks there are, and a sentence for each flaw.

    Rules that cannot be read are not judged any further, for a rule that is left out would make
    the others look wrong.
    """
    rules = _rules(given).completed(uplinks)
    if unreadable := list(_unreadable(given)):
        return rules, unreadable
    return rules, [_sentence(flaw, given, file) for flaw in policy.check(rules, uplinks)]


def is_hosted(given: Mapping[str, Given]) -> bool:
    """Whether the rules leave no name to an uplink."""
    rules = _rules(given)
    return rules.has_catch_all and all(rule.origin.is_hosted for rule in rules.rules)


def _rules(given: Mapping[str, Given]) -> Rules:
    found = []
    for index in _indices(given):
        match, origin = (given.get(f"{RULES}.{index}.{key}") for key in RULE_KEYS)
        if match and origin:
            found.append(Rule(_patterns(match.value) or (), policy.origin(str(origin.value))))
    return Rules(tuple(found))


def _patterns(value: object) -> tuple[str, ...] | None:
    """One pattern or a list of them; None if it is neither."""
    patterns = [value] if isinstance(value, str) else value
    if isinstance(patterns, list) and all(isinstance(each, str) for each in patterns):
        return tuple(patterns)
    return None


def _unreadable(given: Mapping[str, Given]) -> Iterator[str]:
    for index in _indices(given):
        match, origin = (given.get(f"{RULES}.{index}.{key}") for key in RULE_KEYS)
        if match and _patterns(match.value) is None:
            reason = 'is not a pattern; write "@acme/*" or ["@acme/*", "lodash"]'
            yield match.says(f"{RULES}.{index}.match", reason)
        if origin and not isinstance(origin.value, str):
            yield origin.says(f"{RULES}.{index}.from", f"is not {RULE_KEYS['from']}")
        if not (match and origin):
            half, other = (match, "from") if match else (origin, "match")
            if half:
                yield half.says(f"{RULES}.{index}", f"says no {other}: {RULE_KEYS[other]}")


def _sentence(flaw: Flaw, given: Mapping[str, Given], file: Path | None) -> str:
    if flaw.rule is None:
        place = next((each.place for name, each in given.items() if _index(name) == 0), None)
        return f"{place or file or 'rules'}: {flaw.reason}"
    name = f"{RULES}.{flaw.rule}.{'from' if flaw.is_about_origin else 'match'}"
    return given[name].says(name, flaw.reason)


def _indices(given: Mapping[str, Given]) -> list[int]:
    return sorted({index for name in given if (index := _index(name)) is not None})


def _index(name: str) -> int | None:
    table, *rest = name.split(".")
    return int(rest[0]) if table == RULES else None
