"""Mirror rules: at their times, within their budget, what they name is fresh and here."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from proxy import errors
from proxy.npm.policy import HOSTED, Origin, Rule, Rules
from proxy.registry.offline.timetable import LEASE
from proxy.storage.offline import EVERY_UPLINK, Switch
from tests.fakes import faults
from tests.fakes.uplink import FakeUplink
from tests.mirror_rules import Node
from tests.prefetches import locked, written
from tests.process import until

OTHER = "other-platform"


def paths(uplink: FakeUplink) -> list[str]:
    return sorted(seen.decoded_path for seen in uplink.requests)


# --- what is brought ------------------------------------------------------------------------------


async def test_the_versions_of_tags_and_of_the_range(tmp_path: Path, uplink: FakeUplink) -> None:
    """Of a package the versions come that dist-tags lead to, and the highest of its range."""
    for version in ("1.0.0", "1.5.0", "2.0.0", "2.1.0"):
        uplink.publish("a", version, dependencies={"needed": "*"})
    uplink.publish("a", "3.0.0-beta", tag="next")

    async with Node(tmp_path, uplink, "a@^1") as node:
        await node.pass_its_time()

        assert await node.versions("a") == ["1.5.0", "2.1.0", "3.0.0-beta"]
        assert node.last.result.startswith("complete: 3 fetched; requests: 4, ")
    assert uplink.count("/needed") == 0


async def test_a_pattern_means_what_is_held(tmp_path: Path, uplink: FakeUplink) -> None:
    """Of a pattern's packages those are made fresh that are held; no others are asked for."""
    for name in ("@types/a", "@types/b", "c"):
        uplink.publish(name, "1.0.0")
    async with Node(tmp_path, uplink, "@types/*") as node:
        await node.hold("@types/a", "c")
        uplink.requests.clear()

        await node.pass_its_time()

    assert paths(uplink) == ["/@types/a", "/@types/a/-/a-1.0.0.tgz"]


async def test_what_is_new_comes_with_the_next_run(tmp_path: Path, uplink: FakeUplink) -> None:
    """The next run revalidates what has not changed, and brings the version that is new."""
    uplink.publish("a", "1.0.0")
    uplink.publish("b", "1.0.0")
    async with Node(tmp_path, uplink, "a", "b") as node:
        await node.pass_its_time()
        uplink.publish("a", "1.1.0")
        uplink.requests.clear()

        await node.pass_its_time(hours=24)

        assert await node.versions("a") == ["1.0.0", "1.1.0"]
    assert paths(uplink) == ["/a", "/a/-/a-1.1.0.tgz", "/b"]
    assert all("if-none-match" in seen.headers for seen in uplink.seen("/b"))


async def test_other_platforms_are_passed_over(tmp_path: Path, uplink: FakeUplink) -> None:
    """A version that is for none of the rule's platforms is not fetched."""
    uplink.publish("a", "1.0.0", os=[OTHER])
    async with Node(tmp_path, uplink, "a") as node:
        await node.pass_its_time()

        assert "1 for another platform" in node.last.result
    assert paths(uplink) == ["/a"]


async def test_lockfiles_in_a_folder(tmp_path: Path, uplink: FakeUplink) -> None:
    """Every lockfile at any depth is brought; one that cannot be read ends no other."""
    uplink.publish("a", "1.0.0")
    folder = tmp_path / "lockfiles"
    (folder / "web").mkdir(parents=True)
    (folder / "node_modules" / "x").mkdir(parents=True)
    written(folder / "web", locked(uplink), "web.package-lock.json")
    written(folder, "{", "package-lock.json")
    written(folder / "node_modules" / "x", "{", "yarn.lock")
    written(folder, "not a lockfile", "README.md")

    async with Node(tmp_path, uplink, lockfiles=folder) as node:
        await node.pass_its_time()

        assert await node.versions("a") == ["1.0.0"]
        assert node.last.result.startswith("incomplete: 1 fetched, 1 failed; requests: 2, ")


async def test_no_uplink_hears_of_what_lives_here(tmp_path: Path, uplink: FakeUplink) -> None:
    """Names that are hosted are asked of nobody: not by name, pattern or lockfile."""
    for name in ("@acme/a", "@acme/b", "@acme/c"):
        uplink.publish(name, "1.0.0")
    folder = tmp_path / "lockfiles"
    folder.mkdir()
    written(folder, locked(uplink))
    async with Node(tmp_path, uplink, "@acme/a", "@acme/*", lockfiles=folder) as node:
        await node.hold("@acme/b")
        hosted = Rules((Rule(("@acme/*",), HOSTED), Rule(("*",), Origin("npm"))))
        node.mirroring.rules.replace(hosted)
        uplink.requests.clear()

        await node.pass_its_time()

    assert uplink.count() == 0


# --- when -----------------------------------------------------------------------------------------


async def test_once_at_its_time(tmp_path: Path, uplink: FakeUplink) -> None:
    """A rule that is new waits for its time, runs then, and not again before the next day."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        await node.timetable.look()
        node.clock.advance(seconds=-1)  # seen once more, and not before its time
        await node.timetable.look()
        assert uplink.count() == 0

        await node.pass_its_time()
        assert uplink.count() == 2
        await node.pass_its_time(hours=10)
        assert uplink.count() == 2


async def test_missed_runs_are_made_up_for_once(tmp_path: Path, uplink: FakeUplink) -> None:
    """Runs that were missed while no server was up are one run of the next start."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        await node.timetable.look()
        clock, at = node.clock, node.config.mirror[0].at
    clock.advance(days=3)

    async with Node(tmp_path, uplink, "a", clock=clock, at=at) as node:
        await node.timetable.look()
        assert uplink.count("/a") == 2
        await node.timetable.look()
        assert uplink.count("/a") == 2


async def test_one_process_of_a_node_runs_rules(tmp_path: Path, uplink: FakeUplink) -> None:
    """While somebody else has the lease nothing is run, at its time or by hand."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        async with node.storage.leases.hold(LEASE):
            await node.pass_its_time()
            assert uplink.count() == 0
            refused = await asyncio.gather(
                node.timetable.run_now((), lambda _: None), return_exceptions=True
            )
            assert isinstance(refused[0], errors.Busy)

        await node.timetable.look()

    assert uplink.count("/a") == 2


async def test_the_lease_is_that_of_the_node(tmp_path: Path, uplink: FakeUplink) -> None:
    """A run holds its lease until it has ended."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        await node.timetable.look()
        node.clock.advance(hours=2)
        uplink.pause()
        run = asyncio.create_task(node.timetable.look())
        await uplink.wait_for(1)
        assert not await node.storage.leases.try_acquire(LEASE)
        uplink.resume()
        await run
        assert await node.storage.leases.try_acquire(LEASE)


# --- the budget -----------------------------------------------------------------------------------


async def test_the_next_run_goes_on_where_the_budget_ended(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """No run asks more often than its budget, and each begins with what was checked longest ago."""
    packages = [f"p{number:02}" for number in range(12)]
    for name in packages:
        uplink.publish(name, "1.0.0")
    async with Node(tmp_path, uplink, "*", max_requests=8) as node:
        await node.hold(*packages)
        asked: set[str] = set()
        for hours in (2, 24, 24):
            uplink.requests.clear()
            await node.pass_its_time(hours=hours)
            assert uplink.count() == 8
            assert node.last.result.startswith("budget spent: ")
            asked |= {path for path in paths(uplink) if "/-/" not in path}

        assert asked == {f"/{name}" for name in packages}


async def test_a_budget_that_is_spent_is_told_in_the_log(
    tmp_path: Path, uplink: FakeUplink, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that stops at its budget says so in one sentence, and what goes on from there."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a", max_requests=1) as node:
        with caplog.at_level("INFO"):
            await node.pass_its_time()

    said = [record.getMessage() for record in caplog.records if "mirror" in record.getMessage()]
    assert said == [
        "mirror rule begins",
        "mirror rule stopped at its max_requests; the next run goes on from there",
    ]


async def test_the_budget_holds_for_lockfiles(tmp_path: Path, uplink: FakeUplink) -> None:
    """A lockfile that needs more than the budget is brought by several runs, nothing twice."""
    for name in "abcd":
        uplink.publish(name, "1.0.0")
    folder = tmp_path / "lockfiles"
    folder.mkdir()
    written(folder, locked(uplink))
    async with Node(tmp_path, uplink, lockfiles=folder, max_requests=5) as node:
        await node.pass_its_time()
        assert (uplink.count(), node.last.result[:12]) == (5, "budget spent")
        assert "failed" not in node.last.result

        await node.pass_its_time(hours=24)
        assert node.last.result.startswith("complete: ")
    assert len(set(paths(uplink))) == uplink.count() == 8


async def test_bytes_are_paid_for_with_time(tmp_path: Path, uplink: FakeUplink) -> None:
    """What has come is paid for before more is asked; meanwhile clients wait for no lease."""
    uplink.publish("a", "1.0.0", files={"x": bytes(range(256)) * 400})
    uplink.publish("b", "1.0.0")
    async with Node(tmp_path, uplink, "a", "b", max_bytes_per_second=1) as node:
        await node.timetable.look()
        node.clock.advance(hours=2)
        run = asyncio.create_task(node.timetable.look())
        await uplink.wait_for(2)
        await until(lambda: node.mirroring.mirrors["npm"].in_flight == 0)
        await asyncio.sleep(0.05)
        assert uplink.count("/a/-/") + uplink.count("/b/-/") == 0

        assert list(node.storage.leases._held) == [LEASE]
        node.clock.advance(hours=1)
        await until(lambda: uplink.count("/a/-/") + uplink.count("/b/-/") >= 1)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)


# --- an uplink that is not to be had --------------------------------------------------------------


async def test_offline_nothing_is_asked(tmp_path: Path, uplink: FakeUplink) -> None:
    """While we are offline no packet leaves, and what was due is run once we are not."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        await node.timetable.look()
        await node.storage.offline.switch_on(Switch(EVERY_UPLINK, node.clock.now(), "ann"))
        await node.pass_its_time()
        assert (uplink.count(), node.last.began_at) == (0, None)

        await node.storage.offline.switch_off(EVERY_UPLINK)
        await node.timetable.look()
        assert uplink.count() == 2


async def test_switched_off_in_between(tmp_path: Path, uplink: FakeUplink) -> None:
    """A run that a switch cuts off asks nothing more, and goes on when that is thrown back."""
    for name in ("a", "b", "c", "d", "e", "f"):
        uplink.publish(name, "1.0.0")
    async with Node(tmp_path, uplink, *"abcdef") as node:
        await node.timetable.look()
        node.clock.advance(hours=2)
        uplink.pause()
        run = asyncio.create_task(node.timetable.look())
        await uplink.wait_for(4)
        await node.storage.offline.switch_on(Switch(EVERY_UPLINK, node.clock.now(), "ann"))
        uplink.resume()
        await run
        assert (uplink.count(), node.last.result[:7]) == (4, "offline")

        await node.storage.offline.switch_off(EVERY_UPLINK)
        await node.timetable.look()
        assert node.last.result.startswith("complete: 6 fetched; requests: 8")


async def test_a_run_pauses_while_the_breaker_is_open(tmp_path: Path, uplink: FakeUplink) -> None:
    """An uplink that is left alone after failures is asked nothing; then the run completes."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        uplink.script(lambda _: True, faults.status(500), forever=True)
        asked = (node.hold(f"x{number}") for number in range(6))
        await asyncio.gather(*asked, return_exceptions=True)
        assert node.mirroring.states() == {"npm": "open"}
        uplink.clear_scripts()
        uplink.requests.clear()
        await node.timetable.look()
        # The wall clock alone: the breaker goes by the other one.
        last = replace(node.last, handled_at=node.last.handled_at.replace(year=2020))
        await node.timetable._kept.put(last)

        run = asyncio.create_task(node.timetable.look())
        await until(lambda: node.last.began_at is not None)
        await asyncio.sleep(0.1)
        assert uplink.count() == 0
        node.clock.advance(seconds=31)
        await run

        assert node.last.result.startswith("complete: 1 fetched")


async def test_a_run_that_a_stop_cuts_off_is_run_again(tmp_path: Path, uplink: FakeUplink) -> None:
    """A server that stops in a run has let go of its lease, and the next look runs it again."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        await node.timetable.look()
        node.clock.advance(hours=2)
        uplink.pause()
        run = asyncio.create_task(node.timetable.look())
        await uplink.wait_for(1)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert node.last.ended_at is None
        uplink.resume()

        await node.timetable.look()
        assert node.last.result.startswith("complete: 1 fetched")


async def test_a_disk_without_room_ends_a_run(tmp_path: Path, uplink: FakeUplink) -> None:
    """Below the floor of free space nothing is fetched, and the run says so."""
    uplink.publish("a", "1.0.0")
    node = Node(tmp_path, uplink, "a")
    cache = replace(node.config.cache, min_free_bytes=2**62)
    node.config = replace(node.config, cache=cache)
    async with node:
        await node.pass_its_time()

        assert node.last.result.startswith("no room: 1 failed; requests: 1, ")
    assert uplink.count("/a/-/") == 0


async def test_what_fails_is_tried_by_the_next_run(tmp_path: Path, uplink: FakeUplink) -> None:
    """A package that the uplink has not, or breaks, is told of; the others are brought."""
    uplink.publish("a", "1.0.0")
    uplink.publish("broken", "1.0.0")
    uplink.script("/broken", faults.invalid_json, forever=True)
    async with Node(tmp_path, uplink, "a", "broken", "gone") as node:
        await node.pass_its_time()

        assert node.last.result.startswith("incomplete: 1 fetched, 1 missing, 1 failed; ")
        assert await node.versions("a") == ["1.0.0"]


async def test_the_state_survives(tmp_path: Path, uplink: FakeUplink) -> None:
    """What the last run came to is told after a restart."""
    uplink.publish("a", "1.0.0")
    async with Node(tmp_path, uplink, "a") as node:
        await node.pass_its_time()
        said, clock = node.last, node.clock
    async with Node(tmp_path, uplink, "a", clock=clock) as node:
        assert node.last == said
