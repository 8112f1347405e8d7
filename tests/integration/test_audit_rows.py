"""Every route that changes something writes its rows to the audit log; no refused request does.

The rows are told here for each row of the table, so that no route without any is added by mistake
(an audit event that is dropped silently: RELIABILITY 1, PyPI's finding 4 of 2026).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.npm import tokens
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import AuditQuery, AuditRow, People
from proxy.web import routes
from tests import matrix
from tests.accounts import log_in
from tests.fakes.uplink import FakeUplink
from tests.logins import begin
from tests.matrix import ASKS, OPEN, READS, Ask, Right, World
from tests.people import PASSWORD, add_user, code_of, people_of
from tests.registry import Answer, Clock, Registry

Actions = Sequence[Action]

# One entry for each way of tests/matrix.py to ask a route, in its order.
OF_PACKAGES: Mapping[tuple[str, str], Sequence[Actions]] = {
    ("PUT", "/-/user/v1/star"): [[Action.STAR]],
    ("DELETE", "/-/user/v1/star"): [[Action.STAR]],
    ("PUT", "/-/user/package/{package}/star"): [[Action.STAR]],
    ("DELETE", "/-/user/package/{package}/star"): [[Action.STAR]],
    ("PUT", "/{package}"): [
        [Action.PUBLISH],
        [Action.DEPRECATE],
        [Action.README],
        [Action.OWNER],
    ],
    ("PUT", "/{package}/-rev/{revision}"): [[Action.UNPUBLISH], [Action.DEPRECATE]],
    ("DELETE", "/{package}/-rev/{revision}"): [[Action.UNPUBLISH]],
    ("DELETE", "/{package}/-/{file}/-rev/{revision}"): [[Action.UNPUBLISH]],
    # One tag comes, one goes.
    ("PUT", "/-/package/{package}/dist-tags"): [[Action.TAG, Action.TAG]],
    ("POST", "/-/package/{package}/dist-tags"): [[Action.TAG]],
    ("PUT", "/-/package/{package}/dist-tags/{tag}"): [[Action.TAG]],
    ("DELETE", "/-/package/{package}/dist-tags/{tag}"): [[Action.TAG]],
    ("PUT", "/-/package/{package}/owners"): [[Action.OWNER]],
    ("DELETE", "/-/package/{package}/owners/{user}"): [[Action.OWNER]],
    ("POST", "/-/package/{package}/access"): [[Action.ACCESS]],
    ("PUT", "/-/team/{org}/{team}/package"): [[Action.PERMISSION]],
    ("DELETE", "/-/team/{org}/{team}/package"): [[Action.PERMISSION]],
}
UNCHANGING: Mapping[tuple[str, str], str] = {
    ("POST", "/-/npm/v1/security/advisories/bulk"): "a question, asked of the uplinks",
    ("POST", "/-/npm/v1/security/audits/quick"): "a question, asked of the uplinks",
    ("POST", "/-/npm/v1/security/audits"): "a question, asked of the uplinks",
    ("POST", "/-/packhouse/prefetch"): "many reads, of what anybody may bring here by asking",
    ("POST", "/-/v1/login"): "somebody asks to log in; the row comes when somebody allows it",
}
WRITES = {"PUT", "POST", "DELETE"}


async def rows_since(people: People, number: int) -> list[AuditRow]:
    """What was written down after a row, oldest first."""
    rows = await people.audit(AuditQuery(), limit=1000)
    return [row for row in reversed(rows) if row.number > number]


async def last_row(people: People) -> int:
    rows = await people.audit(AuditQuery(), limit=1)
    return rows[0].number if rows else 0


def test_every_changing_route_is_told_here() -> None:
    """Each PUT, POST and DELETE of the table has its rows here, or a reason why it has none."""
    table = {(row.method, row.path) for row in routes.TABLE if row.method in WRITES}

    told = [*OF_PACKAGES, *UNCHANGING, *{(method, path) for method, path, _ in OF_PEOPLE}]

    assert set(told) == table
    assert len(told) == len(table)


# --- packages -------------------------------------------------------------------------------------


@pytest.fixture
async def world(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> AsyncIterator[World]:
    async with matrix.world(tmp_path / "data", uplink, clock) as running:
        yield running


async def test_each_change_of_a_package_writes_its_rows(world: World) -> None:
    """Exactly one row for each thing that changed: what, of which package, by whom, from where."""
    people, found, strange = world.town.people, dict[tuple[str, str], list[Actions]](), []
    (key,) = [each.key for each in await people.tokens("root")]
    for ask in (ask for ask in ASKS if ask.right not in READS):
        package = await _prepared(world, ask, "root")
        number, before = await last_row(people), world.clock.now()
        answer = await world.ask("the administrator", ask, package)
        assert answer.status in {200, 201}, answer.body
        rows = await rows_since(people, number)
        found.setdefault((ask.method, ask.path), []).append([row.action for row in rows])
        strange += [
            row
            for row in rows
            if (row.subject, row.deed.user) != (package.name, "root")
            or (row.deed.client_ip, row.deed.token_key) != ("127.0.0.1", key)
            or not before <= row.deed.at <= world.clock.now()
        ]

    assert found == OF_PACKAGES
    assert strange == []


async def _prepared(world: World, ask: Ask, user: str) -> matrix.Package:
    """A package of its own, starred if the star is to be taken away."""
    package = await world.publish(f"{OPEN}-{ASKS.index(ask)}")
    if ask.right is Right.STAR:
        deed = Deed(user, world.clock.now())
        await world.town.hosted.star(package.name, user, ask.method == "DELETE", deed)
    return package


# --- people ---------------------------------------------------------------------------------------

OF_PEOPLE: Sequence[tuple[str, str, Actions]] = (
    ("PUT", "/-/user/{user}", [Action.USER, Action.TOKEN, Action.LOGIN]),
    ("PUT", "/-/user/{user}", [Action.TOKEN, Action.LOGIN]),
    ("PUT", "/-/user/{user}/-rev/{revision}", [Action.TOKEN, Action.LOGIN]),
    ("POST", "/-/npm/v1/tokens", [Action.TOKEN]),
    ("DELETE", "/-/npm/v1/tokens/token/{key}", [Action.TOKEN]),
    ("DELETE", "/-/user/token/{token}", [Action.TOKEN]),
    ("POST", "/-/npm/v1/user", [Action.USER]),  # a name
    ("POST", "/-/npm/v1/user", [Action.USER, Action.TOKEN]),  # a password, which ends a login
    ("POST", "/-/npm/v1/user", [Action.USER]),  # a second factor
    ("POST", "/-/login/{id}", [Action.LOGIN]),
    ("PUT", "/-/org/{org}/user", [Action.TEAM]),
    ("PUT", "/-/org/{org}/user", [Action.TEAM]),
    ("PUT", "/-/org/{org}/team", [Action.TEAM]),
    ("PUT", "/-/team/{org}/{team}/user", [Action.TEAM]),
    ("DELETE", "/-/team/{org}/{team}/user", [Action.TEAM]),
    ("DELETE", "/-/team/{org}/{team}", [Action.TEAM]),
    ("DELETE", "/-/org/{org}/user", [Action.TEAM]),
    ("PUT", "/-/packhouse/offline", [Action.SWITCH]),
)


@dataclass
class Diary:
    """A registry, root who is logged in there, and what each deed has written."""

    registry: Registry
    people: People
    token: str
    number: int

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        answer = await self.registry.ask(method, path, headers, data)
        assert answer.status in {200, 201, 204}, answer.body
        return answer

    async def page(self) -> list[AuditRow]:
        """The rows since the last time."""
        rows = await rows_since(self.people, self.number)
        self.number = await last_row(self.people)
        return rows


async def test_each_change_of_people_writes_its_rows(
    tmp_path: Path, uplink: FakeUplink, clock: Clock
) -> None:
    """Logins, sign-ups, tokens, profiles, organisations and teams: as many rows as were told."""
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    registry.set("auth", signup=True, admins=("root",))
    async with registry:
        await add_user(registry, "root")
        first = await log_in(registry, "root", PASSWORD)
        people = people_of(registry)
        diary = Diary(registry, people, first.json()["token"], await last_row(people))
        pages = [await diary.page() async for _ in _deeds(diary)]

    wanted = [list(actions) for _, _, actions in OF_PEOPLE]
    assert [[row.action for row in page] for page in pages] == wanted
    rows = [row for page in pages for row in page]
    assert {row.deed.client_ip for row in rows} == {"127.0.0.1"}
    assert {row.deed.user for row in rows} == {"root", "new"}
    # Who logs in has no token yet.
    with_token = [bool(page[-1].deed.token_key) for page in pages]
    assert with_token == [Action.LOGIN not in actions for _, _, actions in OF_PEOPLE]


async def _deeds(diary: Diary) -> AsyncIterator[None]:
    """One deed for each line of OF_PEOPLE."""
    registry = diary.registry
    await log_in(registry, "new", "staple horse correct", email="new@registry.example")
    yield
    await log_in(registry, "root", PASSWORD)
    yield
    again = await log_in(registry, "root", PASSWORD, path="/-rev/1-1")
    yield
    made = (await diary.ask("POST", "/-/npm/v1/tokens", {"password": PASSWORD})).json()
    yield
    await diary.ask("DELETE", f"/-/npm/v1/tokens/token/{made['key']}")
    yield
    await diary.ask("DELETE", f"/-/user/token/{again.json()['token']}")
    yield
    await diary.ask("POST", "/-/npm/v1/user", {"fullname": "Root"})
    yield
    changed = {"old": PASSWORD, "new": "another horse staple"}
    await diary.ask("POST", "/-/npm/v1/user", {"password": changed})
    yield
    await diary.ask(
        "POST", "/-/npm/v1/user", {"tfa": {"password": changed["new"], "mode": "auth-only"}}
    )
    yield
    page = await (await begin(registry)).answer(name="root", password=changed["new"])
    assert page.status == 200, page.body
    yield
    for method, path, body in (
        ("PUT", "/-/org/acme/user", {"user": "root", "role": "owner"}),
        ("PUT", "/-/org/acme/user", {"user": "new"}),
        ("PUT", "/-/org/acme/team", {"name": "core"}),
        ("PUT", "/-/team/acme/core/user", {"user": "new"}),
        ("DELETE", "/-/team/acme/core/user", {"user": "new"}),
        ("DELETE", "/-/team/acme/core", None),
        ("DELETE", "/-/org/acme/user", {"user": "new"}),
        ("PUT", "/-/packhouse/offline", {"offline": True}),
    ):
        await diary.ask(method, path, body)
        yield


async def test_what_fails_writes_nothing(tmp_path: Path, uplink: FakeUplink, clock: Clock) -> None:
    """Wrong passwords, codes and tokens, and refused changes, leave no row; they are counted."""
    registry = Registry(tmp_path / "data", uplink.url, clock=clock)
    registry.set("auth", signup=False)
    async with registry:
        await add_user(registry, totp_mode="auth-and-writes")
        people = people_of(registry)
        number = await last_row(people)
        statuses = [
            (await log_in(registry, "ann", "wrong password")).status,
            (await log_in(registry, "nobody", PASSWORD)).status,
            (await log_in(registry, "ann", PASSWORD)).status,
            (await log_in(registry, "ann", PASSWORD, headers={"npm-otp": "000000"})).status,
            (await (await begin(registry)).answer(password="wrong")).status,
            (await registry.ask("POST", "/-/npm/v1/tokens", {}, b"{}")).status,
            (await registry.ask("DELETE", f"/-/user/token/{tokens.new()}")).status,
        ]
        after = await rows_since(people, number)
        failures = await people.failures("login user ann", clock.now() - timedelta(minutes=5))
        good = await log_in(registry, "ann", PASSWORD, headers={"npm-otp": code_of(registry)})
        then = await rows_since(people, number)

    assert statuses == [401, 401, 401, 401, 401, 401, 401]
    assert (after, failures, good.status) == ([], 2, 201)
    assert [row.action for row in then] == [Action.TOKEN, Action.LOGIN]
