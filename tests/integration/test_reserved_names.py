"""Names that the configuration gives rights to are nobody's to sign up with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.npm.policy import HOSTED, Origin, Rule, Rules
from proxy.web import keys
from tests.fakes.uplink import FakeUplink
from tests.registry import Answer, Registry

OURS = Rule(("@acme/*",), HOSTED, ("carl", "$authenticated"), ("ci-bot", "@core"), ("lea",))
REST = Rule(("*",), Origin("npm"))


@pytest.fixture
async def open_registry(uplink: FakeUplink, tmp_path: Path) -> AsyncIterator[Registry]:
    """A registry where people may sign up, root administers, and a rule names some."""
    registry = Registry(tmp_path / "data", uplink.url)
    registry.set("auth", signup=True, admins=("root",))
    registry.config = replace(registry.config, rules=Rules((OURS, REST)))
    async with registry:
        yield registry


async def sign_up(registry: Registry, name: str) -> Answer:
    """What `npm adduser` sends."""
    user = {
        "_id": f"org.couchdb.user:{name}",
        "name": name,
        "password": "correct horse battery",
        "email": f"{name}@acme.example",
        "type": "user",
        "roles": [],
    }
    path = f"/-/user/org.couchdb.user:{name}"
    headers = {"content-type": "application/json"}
    return await registry.ask("PUT", path, headers, json.dumps(user).encode())


@pytest.mark.parametrize("name", ["root", "carl", "ci-bot", "lea"])
async def test_a_name_with_rights_is_not_signed_up(open_registry: Registry, name: str) -> None:
    """Whoever came first would administer, or publish: such accounts are made by somebody."""
    answer = await sign_up(open_registry, name)

    assert answer.status == 403
    assert f"packhouse user add {name}" in answer.json()["error"]


@pytest.mark.parametrize("name", ["zoe", "core", "acme"])
async def test_other_names_are_signed_up(open_registry: Registry, name: str) -> None:
    """A group in a list is not a user of that name, and all other names are free."""
    assert (await sign_up(open_registry, name)).status == 201


async def test_rules_in_force_now_decide(open_registry: Registry) -> None:
    """A name that a reload has put into a rule is nobody's to sign up with from then on."""
    assert open_registry.app is not None
    rules = Rules((replace(OURS, publish=("dora",)), REST))

    open_registry.app[keys.ROUTING].replace(rules)

    answers = [await sign_up(open_registry, name) for name in ("dora", "ci-bot")]
    assert [answer.status for answer in answers] == [403, 201]
