"""Organisations and teams, as `npm org` and `npm team` ask them (PROTOCOL 1.9)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.storage.hosting import Access
from tests.acme import CORE, MEMBERS, TEAMS, Acme
from tests.fakes.uplink import FakeUplink
from tests.town import Town, inhabited


@pytest.fixture
async def town(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Town]:
    async with inhabited(tmp_path / "data", uplink.url) as running:
        yield running


@pytest.fixture
async def acme(town: Town) -> Acme:
    return await Acme.of(town)


# --- organisations --------------------------------------------------------------------------------


async def test_an_administrator_starts_an_organisation(town: Town) -> None:
    """The first member is its owner, put there by an administrator; then the owner takes over."""
    root, ann, bob = [await town.person(name) for name in ("root", "ann", "bob")]

    early = await ann.refused("PUT", MEMBERS, {"user": "ann", "role": "owner"})
    lesser = await root.refused("PUT", MEMBERS, {"user": "ann"})
    started = await root.do("PUT", MEMBERS, {"user": "ann", "role": "owner"})
    joined = await ann.do("PUT", MEMBERS, {"user": "bob", "role": "admin"})

    assert early[0] == 404
    assert "npm org set acme NAME owner" in early[1]
    assert lesser == (400, "the first member of acme has to own it: npm org set acme ann owner")
    assert started == {"org": {"name": "acme", "size": 1}, "user": "ann", "role": "owner"}
    assert joined == {"org": {"name": "acme", "size": 2}, "user": "bob", "role": "admin"}
    assert await bob.get(MEMBERS) == {"ann": "owner", "bob": "admin"}


async def test_90_org_set_answers_what_npm_prints(acme: Acme) -> None:
    """`{org: {name, size}, user, role}`; without a role somebody is a developer."""
    answer = await acme.adam.do("PUT", "/-/org/%40acme/user", {"user": "eve"})

    assert answer == {"org": {"name": "acme", "size": 4}, "user": "eve", "role": "developer"}


async def test_81_a_delete_has_a_body(acme: Acme) -> None:
    """Who or what is to go stands in the body of a DELETE, for members, teams and grants."""
    town = acme.town
    await town.publish("@acme/ui", "ann")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    await acme.ann.do("PUT", f"{CORE}/user", {"user": "dora"})
    grant = {"package": "@acme/ui", "permissions": "read-write"}
    await acme.ann.do("PUT", f"{CORE}/package", grant)

    await acme.ann.do("DELETE", f"{CORE}/package", {"package": "@acme/ui"})
    await acme.ann.do("DELETE", f"{CORE}/user", {"user": "dora"})
    await acme.ann.do("DELETE", MEMBERS, {"user": "dora"})
    bare = await acme.ann.refused("DELETE", MEMBERS)

    assert await acme.ann.get(f"{CORE}/package") == {}
    assert await acme.ann.get(f"{CORE}/user") == []
    assert await acme.ann.get(MEMBERS) == {"adam": "admin", "ann": "owner"}
    assert bare[0] == 400


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", MEMBERS, None),
        ("PUT", MEMBERS, {"user": "eve", "role": "owner"}),
        ("DELETE", MEMBERS, {"user": "ann"}),
        ("GET", "/-/org/acme/package", None),
        ("GET", TEAMS, None),
        ("PUT", TEAMS, {"name": "more"}),
        ("DELETE", CORE, None),
        ("GET", f"{CORE}/user", None),
        ("PUT", f"{CORE}/user", {"user": "eve"}),
        ("DELETE", f"{CORE}/user", {"user": "dora"}),
        ("GET", f"{CORE}/package", None),
        ("PUT", f"{CORE}/package", {"package": "tools", "permissions": "read-only"}),
        ("DELETE", f"{CORE}/package", {"package": "@acme/ui"}),
    ],
)
async def test_who_is_not_in_it_learns_nothing(
    acme: Acme, method: str, path: str, body: object
) -> None:
    """An organisation is the same 404 to strangers as one that does not exist, at every address."""
    await acme.town.publish("@acme/ui", "ann")
    await acme.town.publish("tools", "eve")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    grant = {"package": "@acme/ui", "permissions": "read-write"}
    await acme.ann.do("PUT", f"{CORE}/package", grant)

    told = await acme.eve.refused(method, path, body)
    elsewhere = await acme.eve.refused(method, path.replace("acme", "none", 1), body)
    anonymous = await acme.town.registry.ask(method, path, {"content-type": "application/json"})

    assert told[0] == 404
    assert told[1].replace("acme", "none") == elsewhere[1]
    assert anonymous.status == (401 if body is None else 400)


async def test_developers_look_and_change_nothing(acme: Acme) -> None:
    """A developer sees members and teams; what changes them is refused with whom to ask."""
    await acme.ann.do("PUT", TEAMS, {"name": "core"})

    refusals = {
        await acme.dora.refused(method, path, body)
        for method, path, body in (
            ("PUT", MEMBERS, {"user": "eve"}),
            ("DELETE", MEMBERS, {"user": "adam"}),
            ("PUT", TEAMS, {"name": "more"}),
            ("DELETE", CORE, None),
            ("PUT", f"{CORE}/user", {"user": "dora"}),
        )
    }

    assert refusals == {(403, "only an owner or admin of acme may do this")}
    assert set(await acme.dora.get(MEMBERS)) == {"adam", "ann", "dora"}


async def test_only_owners_make_and_unmake_owners(acme: Acme) -> None:
    """An admin makes neither themselves nor anybody an owner, and takes no owner away."""
    for method, body in (
        ("PUT", {"user": "adam", "role": "owner"}),
        ("PUT", {"user": "ann", "role": "developer"}),
        ("DELETE", {"user": "ann"}),
    ):
        assert await acme.adam.refused(method, MEMBERS, body) == (
            403,
            "only an owner of acme may do this",
        )
    await acme.ann.do("PUT", MEMBERS, {"user": "adam", "role": "owner"})

    assert (await acme.dora.get(MEMBERS))["adam"] == "owner"


async def test_an_organisation_keeps_an_owner(acme: Acme) -> None:
    """The last owner can neither leave nor become less; of two who leave at once one stays."""
    alone = await acme.ann.refused("DELETE", MEMBERS, {"user": "ann"})
    lesser = await acme.root.refused("PUT", MEMBERS, {"user": "ann", "role": "admin"})
    await acme.ann.do("PUT", MEMBERS, {"user": "adam", "role": "owner"})

    replies = await asyncio.gather(
        acme.ann.ask("DELETE", MEMBERS, {"user": "ann"}),
        acme.adam.ask("DELETE", MEMBERS, {"user": "adam"}),
    )

    assert {alone, lesser} == {(403, "ann is the last owner of acme; make somebody else one first")}
    assert sorted(reply.status for reply in replies) == [200, 403]
    assert list((await acme.dora.get(MEMBERS)).values()).count("owner") == 1


async def test_anybody_may_leave(acme: Acme) -> None:
    """A developer takes themselves out, and is a stranger then."""
    await acme.dora.do("DELETE", MEMBERS, {"user": "dora"})

    assert (await acme.dora.refused("GET", MEMBERS))[0] == 404


async def test_only_known_users_are_taken_in(acme: Acme) -> None:
    """A name nobody has is not a member, and who is no member cannot be taken out."""
    unknown = await acme.ann.refused("PUT", MEMBERS, {"user": "nobody"})
    absent = await acme.ann.refused("DELETE", MEMBERS, {"user": "eve"})
    role = await acme.ann.refused("PUT", MEMBERS, {"user": "eve", "role": "king"})

    assert unknown[0] == 404
    assert "packhouse user add nobody" in unknown[1]
    assert absent == (404, "eve is not in acme")
    assert role == (400, '"role" has to be one of developer, admin, owner in the body')


@pytest.mark.parametrize("name", ["All", "a%20b", "a:b", "-x", "@@acme", "a" * 215])
async def test_names_no_rule_could_mean_are_refused(acme: Acme, name: str) -> None:
    """An organisation is called what a rule can call it, whoever asks."""
    reply = await acme.root.refused("PUT", f"/-/org/{name}/user", {"user": "ann", "role": "owner"})

    assert reply[0] == 404
    assert "a name is up to 214 characters" in reply[1]


async def test_no_organisation_is_called_all(acme: Acme) -> None:
    """`@all` would be read as the word `$all`."""
    reply = await acme.root.refused("PUT", "/-/org/all/user", {"user": "ann", "role": "owner"})

    assert reply == (400, "no organisation is called all: rules have a word like it")


# --- teams ----------------------------------------------------------------------------------------


async def test_teams_are_listed_for_npm_and_for_pnpm(acme: Acme) -> None:
    """With `?format=cli` strings, as npm and yarn read them; without, objects, as pnpm does."""
    await acme.adam.do("PUT", TEAMS, {"name": "core", "description": "who decides"})
    await acme.adam.do("PUT", TEAMS, {"name": "ci"})
    await acme.adam.do("PUT", TEAMS, {"name": "core"})
    await acme.adam.do("PUT", f"{CORE}/user", {"user": "dora"})

    assert await acme.dora.get(f"{TEAMS}?format=cli") == ["acme:ci", "acme:core"]
    assert await acme.dora.get(TEAMS) == [
        {"name": "ci", "description": ""},
        {"name": "core", "description": "who decides"},
    ]
    assert await acme.dora.get(f"{CORE}/user?format=cli") == ["dora"]
    assert await acme.dora.get("/-/team/@acme/core/user") == [{"name": "dora"}]


async def test_teams_are_made_of_members(acme: Acme) -> None:
    """A stranger is put into no team, and who leaves the organisation leaves its teams."""
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    stranger = await acme.ann.refused("PUT", f"{CORE}/user", {"user": "eve"})
    await acme.ann.do("PUT", f"{CORE}/user", {"user": "dora"})

    await acme.ann.do("DELETE", MEMBERS, {"user": "dora"})

    assert stranger == (
        404,
        "eve is not in acme; take them in first: npm org set acme eve",
    )
    assert await acme.ann.get(f"{CORE}/user") == []


async def test_what_is_not_there_is_404(acme: Acme) -> None:
    """Teams, members of teams and grants that are not there are told apart."""
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    await acme.town.publish("@acme/ui", "ann")

    told = [
        await acme.ann.refused(method, path, body)
        for method, path, body in (
            ("DELETE", "/-/team/acme/none", None),
            ("GET", "/-/team/acme/none/user", None),
            ("DELETE", f"{CORE}/user", {"user": "dora"}),
            ("DELETE", f"{CORE}/package", {"package": "@acme/ui"}),
            ("PUT", TEAMS, {"name": "No Name"}),
        )
    ]

    assert [status for status, _ in told] == [404, 404, 404, 404, 400]
    assert [sentence for _, sentence in told[:4]] == [
        "there is no team acme:none",
        "there is no team acme:none",
        "dora is not in acme:core",
        "acme:core has no grant of @acme/ui",
    ]


async def test_a_removed_team_takes_its_grants_along(acme: Acme) -> None:
    """From the next request on its members may do no more than before."""
    await acme.town.publish("@acme/ui", "ann", access=Access.RESTRICTED)
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    await acme.ann.do("PUT", f"{CORE}/user", {"user": "dora"})
    grant = {"package": "@acme/ui", "permissions": "read-only"}
    await acme.ann.do("PUT", f"{CORE}/package", grant)
    before = await acme.dora.ask("GET", "/@acme%2fui")

    await acme.ann.do("DELETE", CORE)

    assert before.status == 200
    assert (await acme.dora.ask("GET", "/@acme%2fui")).status == 404
