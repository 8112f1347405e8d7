"""What is in force: every setting with its value and the place it comes from, secrets masked."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config import values
from proxy.config.settings import MIRROR, RULES, SECTIONS, UPLINKS, Config, settings_of
from proxy.npm.policy import Action, Rule

DEFAULT_PLACE = "default"
NOT_SET = ""
NOBODY = "nobody"  # but administrators


def describe(config: Config) -> list[tuple[str, str, str]]:
    """Rows of (dotted name, value as it would be written, where it comes from)."""
    return [*_sections(config), *_uplinks(config), *_rules(config), *_mirror(config)]


def _sections(config: Config) -> Iterator[tuple[str, str, str]]:
    for section in SECTIONS:
        yield from _table(config, section, getattr(config, section))


def _uplinks(config: Config) -> Iterator[tuple[str, str, str]]:
    for uplink in config.uplinks:
        yield from _table(config, f"{UPLINKS}.{uplink.name}", uplink)


def _mirror(config: Config) -> Iterator[tuple[str, str, str]]:
    for index, rule in enumerate(config.mirror):
        yield from _table(config, f"{MIRROR}.{index}", rule)


def _table(config: Config, prefix: str, table: object) -> Iterator[tuple[str, str, str]]:
    for row in settings_of(type(table)):
        name = f"{prefix}.{row.name}"
        value = getattr(table, row.attribute)
        is_unset = value is None and row.kind is not values.TIME_OR_FOREVER
        text = NOT_SET if is_unset else row.kind.show(value)
        yield name, text, config.places.get(name, DEFAULT_PLACE)


def _rules(config: Config) -> Iterator[tuple[str, str, str]]:
    for index, rule in enumerate(config.rules.rules):
        name = f"{RULES}.{index}"
        place = config.places.get(f"{name}.match", DEFAULT_PLACE)
        yield name, f"{', '.join(rule.match)} from {rule.origin}", place
        for key, value in _said_by(rule):
            yield f"{name}.{key}", value, config.places.get(f"{name}.{key}", DEFAULT_PLACE)


def _said_by(rule: Rule) -> Iterator[tuple[str, str]]:
    """What else is in force for the rule's names: who may do what that can be done with them."""
    if rule.origin.is_merged:
        yield "merge", "true"
    for action in Action if rule.origin.takes_versions else (Action.READ,):
        yield action.value, ", ".join(rule.listed(action)) or NOBODY
