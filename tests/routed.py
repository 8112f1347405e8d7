"""Registries with rules: which names come from which uplink, and which are hosted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from proxy.npm.policy import Rule, Rules, origin
from tests.fakes.uplink import FakeUplink
from tests.registry import Clock, Registry


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


@dataclass(frozen=True)
class Two:
    """A registry in front of two uplinks: `@corp/*` and `corp-*` from one, the rest from npm.

    `@acme/*` is hosted.
    """

    registry: Registry
    npm: FakeUplink
    corp: FakeUplink


@asynccontextmanager
async def two_uplinks(folder: Path, npm: FakeUplink, clock: Clock) -> AsyncIterator[Two]:
    """Run such a registry in `folder`."""
    async with FakeUplink() as corp:
        registry = route(
            Registry(folder, npm.url, clock=clock),
            ("@acme/*", "hosted"),
            ("@corp/*", "corp"),
            ("corp-*", "corp"),
            ("*", "npm"),
            uplinks={"corp": corp},
        )
        async with registry:
            yield Two(registry, npm, corp)
