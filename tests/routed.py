"""Registries with rules: which names come from which uplink, and which are hosted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from proxy.npm.policy import Rule, Rules, origin
from tests.fakes.uplink import FakeUplink
from tests.registry import Registry


def route(
    registry: Registry,
    *rules: tuple[str, str],
    uplinks: Mapping[str, FakeUplink] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Registry:
    """Give a registry that has not started its rules, as (pattern, "hosted" or an uplink).

    `uplinks` come beside the one it has, which is called "npm"; `settings` are those of uplinks.
    """
    first = registry.config.uplinks[0]
    others = [replace(first, name=name, url=fake.url) for name, fake in (uplinks or {}).items()]
    changed = [replace(each, **((settings or {}).get(each.name, {}))) for each in (first, *others)]
    registry.config = replace(
        registry.config,
        uplinks=tuple(changed),
        rules=Rules(tuple(Rule((pattern,), origin(word)) for pattern, word in rules)),
    )
    return registry
