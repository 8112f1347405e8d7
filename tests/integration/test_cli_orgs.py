"""`packhouse org`: organisations are seen and ended, beside a running server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acme import CORE, MEMBERS, TEAMS, Acme
from tests.commands import done, empty, refused, rows, run
from tests.fakes.uplink import FakeUplink
from tests.town import Town, inhabited


@pytest.fixture
async def town(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Town]:
    async with inhabited(tmp_path / "data", uplink.url) as running:
        yield running


@pytest.fixture
async def acme(town: Town) -> Acme:
    return await Acme.of(town)


@pytest.fixture
def data(acme: Acme) -> Path:
    return acme.town.registry.config.storage.path


async def test_every_organisation_is_listed(acme: Acme, data: Path) -> None:
    """A line for each says how many are in it and who owns it; `--json` says everybody's role."""
    await acme.ann.do("PUT", TEAMS, {"name": "core"})

    _, line = (await done(data, "org", "list")).splitlines()
    told = json.loads(await done(data, "org", "list", "--json"))

    assert line.split() == ["acme", "3", "1", "ann"]
    assert told == {"acme": {"adam": "admin", "ann": "owner", "dora": "developer"}}


async def test_an_organisation_is_ended(acme: Acme, data: Path) -> None:
    """Its members and grants are gone at the server's next request; its packages stay."""
    await acme.town.publish("@acme/ui", "ann")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    await acme.ann.do("PUT", f"{CORE}/user", {"user": "dora"})
    grant = {"package": "@acme/ui", "permissions": "read-write"}
    await acme.ann.do("PUT", f"{CORE}/package", grant)
    before = await acme.dora.get("/-/user/dora/package")

    assert await done(data, "org", "remove", "@acme") == "acme is gone\n"

    assert before == {"@acme/ui": "write"}
    assert await acme.dora.get("/-/user/dora/package") == {}
    assert (await acme.ann.refused("GET", MEMBERS))[0] == 404
    assert list((await acme.ann.get("/@acme%2fui"))["versions"]) == ["1.0.0"]
    told = (await rows(data, "--package", "acme"))[-1]
    assert told["facts"] == {
        "is_removed": True,
        "members": ["adam", "ann", "dora"],
        "teams": ["core"],
    }
    assert told["user"].startswith("cli:")


async def test_one_that_a_rule_names_stays(acme: Acme, data: Path, tmp_path: Path) -> None:
    """Whoever starts it anew would have the rights of the old one, so it is refused."""
    config = tmp_path / "config.toml"
    config.write_text(
        f'storage.path = "{data}"\n[[rules]]\nmatch = "@acme/*"\nfrom = "hosted"\n'
        'read = ["@acme", "@acme:core", "@acme-labs"]\n'
    )

    result = await run(data, "org", "remove", "acme", "--config", str(config))

    assert result.exit_code == 1
    assert "rules name @acme, @acme:core:" in result.stderr
    assert len(await acme.ann.get(MEMBERS)) == 3


async def test_one_that_is_not_there(tmp_path: Path) -> None:
    """There is nothing to end, and it says so."""
    assert "there is no organisation acme" in await refused(
        empty(tmp_path), "org", "remove", "acme"
    )
