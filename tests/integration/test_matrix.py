"""Who may do what, at every route of the table: nothing leaks, and nothing is changed by others.

What is asked and by whom is in tests/matrix.py (threats 21 and 22; CVE-2026-27771, CVE-2025-68941).
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.storage.hosting import Deed
from proxy.web import routes
from tests import matrix
from tests.fakes.uplink import FakeUplink
from tests.matrix import ASKS, MIRRORED, NAMELESS, OPEN, READS, SECRET, WHO, Package, Right, World
from tests.registry import Answer, Clock


@pytest.fixture
async def world(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[World]:
    async with matrix.world(tmp_path / "data", uplink, clock) as running:
        yield running


def told(answer: Answer) -> tuple[int, str, dict[str, str], bytes]:
    """All that a client sees, but for the time and the request's id (and so the length)."""
    request_id, passed = answer.headers["X-Request-Id"], {"date", "x-request-id", "content-length"}
    headers = {name: text for name, text in answer.headers.items() if name.lower() not in passed}
    body = re.sub(rb'"time":"[^"]+"', b"", answer.body.replace(request_id.encode(), b"ID"))
    return answer.status, answer.reason, headers, body


def test_every_route_says_who_may_use_it() -> None:
    """Each row of the table is asked here, or is on the list of those that name no package."""
    asked = {(ask.method, ask.path) for ask in ASKS}
    table = {(row.method, row.path) for row in routes.TABLE}

    assert {row for row in table - asked if row[1] not in NAMELESS} == set()
    assert asked <= table
    assert set(NAMELESS) <= {path for _, path in table}
    assert {path for path in NAMELESS if "{package}" in path} == set()


@pytest.mark.parametrize("who", [name for name, who in WHO.items() if not who.owns])
async def test_who_may_not_is_told_as_if_there_were_nothing(
    world: World, uplink: FakeUplink, who: str
) -> None:
    """To who may not read a package every route answers to the byte as before it was published.

    What they may not write is as it was, and their asking is in no log of changes; no uplink has
    heard of a name that lives here.
    """
    hidden = [name for name in (OPEN, SECRET) if name not in WHO[who].reads]
    for name in {OPEN, SECRET, "@acme/else"} - set(hidden):
        await world.publish(name)
    # Who may publish finds out by publishing whether a name is taken.
    may_publish = WHO[who].user == "pat" and "is_readonly" not in WHO[who].facts
    asks = [ask for ask in ASKS if not (may_publish and ask.right is Right.NEW)]
    before = {
        (name, number): told(await world.ask(who, ask, Package(name)))
        for name in hidden
        for number, ask in enumerate(asks)
    }
    for name in hidden:
        await world.publish(name)
    state = await world.state()

    after = {
        (name, number): told(await world.ask(who, ask, Package(name)))
        for name in hidden
        for number, ask in enumerate(asks)
    }

    assert [(key, before[key], after[key]) for key in after if after[key] != before[key]] == []
    assert await world.state() == state
    assert uplink.seen("/@acme") == []
    reads = [after[name, n][0] for name in hidden for n, ask in enumerate(asks) if _is_read(ask)]
    assert set(reads) <= {404} | (set() if WHO[who].is_known else {401})


def _is_read(ask: matrix.Ask) -> bool:
    return ask.right in {Right.READ, Right.KNOWN, Right.NEVER}


@pytest.mark.parametrize("who", [name for name, who in WHO.items() if not who.grants])
async def test_who_may_not_write_changes_nothing(world: World, who: str) -> None:
    """Every write without the right to it is 401, 403 or 404, and leaves everything as it was."""
    packages = [await world.publish(name) for name in (OPEN, SECRET)]
    state = await world.state()

    refused = [
        (ask.method, ask.path, (await world.ask(who, ask, package)).status)
        for package in packages
        for ask in ASKS
        if ask.right not in READS and not WHO[who].may(ask.right, package.name)
    ]

    assert {row for row in refused if row[2] not in {401, 403, 404}} == set()
    assert WHO[who].is_known or {status for _, _, status in refused} == {401}
    assert refused
    assert await world.state() == state


@pytest.mark.parametrize("who", [name for name, who in WHO.items() if who.reads])
async def test_who_may_read_and_write_does(world: World, who: str) -> None:
    """Whoever has the right to a route succeeds, and every one of their writes is written down."""
    failed, unwritten = [], []
    for name in WHO[who].reads:
        package = await world.publish(name)
        for ask in ASKS:
            if not WHO[who].may(ask.right, name):
                continue
            if ask.right in READS:
                answer = await world.ask(who, ask, package)
            else:
                answer, is_written = await _written(world, who, ask, name)
                unwritten += [] if is_written else [(ask.method, ask.path, name)]
            if answer.status not in _ALLOWED.get((ask.right, ask.path), {200, 201}):
                failed.append((ask.method, ask.path, name, answer.status, answer.body))

    assert failed == []
    assert unwritten == []


# Lists of an organisation, for those who are in none.
_ALLOWED = {
    (Right.LIST, "/-/org/{org}/package"): {200, 404},
    (Right.LIST, "/-/team/{org}/{team}/package"): {200, 404},
}


async def _written(world: World, who: str, ask: matrix.Ask, like: str) -> tuple[Answer, bool]:
    """The answer to a write to a package of its own, and whether anything was written."""
    user = WHO[who].user
    assert user is not None
    package = await world.publish(f"{like}-{_NUMBERS[id(ask)]}")
    if ask.right is Right.STAR:
        is_starred = ask.method == "DELETE"
        deed = Deed(user, matrix.LONG_AGO)
        await world.town.hosted.star(package.name, user, is_starred, deed)
    state = await world.state()
    answer = await world.ask(who, ask, package)
    return answer, await world.state() != state


_NUMBERS = {id(ask): number for number, ask in enumerate(ASKS)}


@pytest.mark.parametrize("who", list(WHO))
async def test_what_an_uplink_has_is_read_by_all_and_written_by_nobody(
    world: World, uplink: FakeUplink, who: str
) -> None:
    """A mirrored package is there for everybody; each write to it is refused, and stays here."""
    package = Package(MIRRORED)
    state = await world.state()

    reads = [(await world.ask(who, ask, package)).status for ask in ASKS if _is_public(ask)]
    writes = [(await world.ask(who, ask, package)).status for ask in ASKS if ask.right not in READS]

    assert set(reads) == {200}
    assert set(writes) <= {401, 403, 404}
    assert WHO[who].is_known or set(writes) == {401}
    assert await world.state() == state
    assert {seen.method for seen in uplink.requests} <= {"GET"}


def _is_public(ask: matrix.Ask) -> bool:
    return ask.right is Right.READ and not ask.path.endswith(("/visibility", "/access"))
