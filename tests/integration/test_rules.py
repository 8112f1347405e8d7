"""Rules that change while it serves: who may read is decided by those that are in force now."""

from __future__ import annotations

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Deed
from tests import process as processes
from tests.fakes.uplink import FakeUplink
from tests.hosting import a_version
from tests.process import FULL, Process, until
from tests.publishing import add_users

CONFIG = """
[uplinks.npm]
url = "{url}"
[[rules]]
match = "@acme/*"
from = "hosted"
{read}
"""
WORKERS = 2
# So often that each worker has answered, and from memory, too.
ASKS = 5 * WORKERS


async def _statuses(process: Process, *headers: str) -> set[int]:
    return {(await process.get("/@acme/ui", FULL, *headers)).status for _ in range(ASKS)}


async def _seen(process: Process, tokens: dict[str, str]) -> dict[str, set[int]]:
    """What everybody gets who asks for the package."""
    seen = {"nobody": await _statuses(process)}
    for user, token in tokens.items():
        seen[user] = await _statuses(process, f"Authorization: Bearer {token}")
    return seen


@pytest.fixture
async def tokens(tmp_path: Path) -> dict[str, str]:
    """The tokens of ann, who has published @acme/ui, and bob, in the data folder of a process."""
    held = await add_users(tmp_path / "data", "ann", "bob")
    async with open_database(tmp_path / "data" / "hosted.sqlite") as database:
        await SqliteHosted(database).publish(a_version(), Deed("ann", datetime.now(UTC)))
    return held


async def test_a_changed_list_of_readers_is_in_force_after_sighup(
    tmp_path: Path, uplink: FakeUplink, tokens: dict[str, str]
) -> None:
    """Who may read changes in every worker without a restart, whatever it has in memory."""
    file = tmp_path / "config.toml"
    seen = []
    file.write_text(CONFIG.format(url=uplink.url, read=""))
    options = ("--config", str(file))
    async with Process(tmp_path, None, workers=WORKERS, options=options) as process:
        seen.append(await _seen(process, tokens))
        for count, read in enumerate(['read = "ann"', 'read = "$all"'], 1):
            file.write_text(CONFIG.format(url=uplink.url, read=read))
            processes.kill(process.pid, signal.SIGHUP)
            told = count * (WORKERS + 1)  # by the supervisor as well
            await until(lambda told=told: len(process.events("rules reloaded")) == told)
            seen.append(await _seen(process, tokens))

    assert seen == [
        {"nobody": {404}, "ann": {200}, "bob": {200}},
        {"nobody": {404}, "ann": {200}, "bob": {404}},
        {"nobody": {200}, "ann": {200}, "bob": {200}},
    ]
    assert uplink.count("/@acme") == 0


async def test_a_list_that_names_nobody_changes_nothing(
    tmp_path: Path, uplink: FakeUplink, tokens: dict[str, str]
) -> None:
    """A slip in a list is refused at the reload as a whole, and shuts nobody out or in."""
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(url=uplink.url, read='read = "ann"'))
    async with Process(tmp_path, None, options=("--config", str(file))) as process:
        file.write_text(CONFIG.format(url=uplink.url, read='read = ["ann", "$al"]'))
        processes.kill(process.pid, signal.SIGHUP)
        await until(lambda: process.events("the old one stays in force"))
        seen = await _seen(process, tokens)

    assert seen == {"nobody": {404}, "ann": {200}, "bob": {404}}
    assert "did you mean $all?" in process.events("the old one stays in force")[0]["problems"]
