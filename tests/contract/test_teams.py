"""What every People keeps to, whatever it is made of: organisations, teams and grants."""

from __future__ import annotations

import json

import pytest

from proxy.errors import Forbidden, NotFound
from proxy.storage.hosting import Action
from proxy.storage.identity import AuditQuery, People, Permission, Role, TeamRecord
from tests.hosting import ANN

READ, WRITE = Permission.READ, Permission.WRITE


async def test_members_have_one_role(people: People) -> None:
    """A member of an organisation has the role that was set last."""
    await people.set_member("acme", "zoe", Role.DEVELOPER, ANN)
    await people.set_member("acme", "ann", Role.OWNER, ANN)
    await people.set_member("acme", "zoe", Role.ADMIN, ANN)
    await people.set_member("other", "zoe", Role.DEVELOPER, ANN)

    assert await people.members("acme") == {"ann": Role.OWNER, "zoe": Role.ADMIN}
    assert await people.orgs_of("zoe") == {"acme": Role.ADMIN, "other": Role.DEVELOPER}
    assert await people.members("none") == {}


async def test_who_leaves_leaves_the_teams(people: People) -> None:
    """Who is taken out of an organisation is out of its teams, and stays in others'."""
    for org in ("acme", "other"):
        await people.set_member(org, "ann", Role.DEVELOPER, ANN)
        await people.set_team(TeamRecord(org, "devs", ""), ANN)
        await people.set_team_member(org, "devs", "ann", ANN)

    await people.drop_member("acme", "ann", ANN)

    assert await people.members("acme") == {}
    assert await people.team_members("acme", "devs") == []
    assert await people.team_members("other", "devs") == ["ann"]


async def test_teams_have_members_and_grants(people: People) -> None:
    """A team is listed with its description; its members and grants are its own."""
    await people.set_team(TeamRecord("acme", "devs", "old"), ANN)
    await people.set_team(TeamRecord("acme", "devs", "who develops"), ANN)
    await people.set_team(TeamRecord("acme", "ci", ""), ANN)
    for user in ("zoe", "ann", "zoe"):
        await people.set_member("acme", user, Role.DEVELOPER, ANN)
        await people.set_team_member("acme", "devs", user, ANN)
    await people.set_grant("acme", "devs", "@acme/ui", READ, ANN)
    await people.set_grant("acme", "devs", "@acme/ui", WRITE, ANN)
    await people.drop_team_member("acme", "devs", "zoe", ANN)

    teams = await people.teams("acme")
    assert teams == [TeamRecord("acme", "ci", ""), TeamRecord("acme", "devs", "who develops")]
    assert await people.team_members("acme", "devs") == ["ann"]
    assert await people.grants("acme", "devs") == {"@acme/ui": WRITE}
    assert await people.grants("acme", "ci") == {}


async def test_a_users_teams_are_listed_with_their_organisations(people: People) -> None:
    """Somebody's teams are told sorted, of all organisations, and nobody else's."""
    for org, team in (("other", "devs"), ("acme", "web"), ("acme", "core"), ("acme", "ci")):
        await people.set_team(TeamRecord(org, team, ""), ANN)
        for user in ("ann", "zoe"):
            await people.set_member(org, user, Role.DEVELOPER, ANN)
    for org, team in (("other", "devs"), ("acme", "web"), ("acme", "core")):
        await people.set_team_member(org, team, "ann", ANN)
    await people.set_team_member("acme", "ci", "zoe", ANN)

    assert await people.teams_of("ann") == [("acme", "core"), ("acme", "web"), ("other", "devs")]
    assert await people.teams_of("zoe") == [("acme", "ci")]
    assert await people.teams_of("eve") == []


async def test_who_is_out_of_a_team_is_told_of_it_no_more(people: People) -> None:
    """A team that one has left, that is gone, or whose organisation one has left is not theirs."""
    for org in ("acme", "other"):
        await people.set_member(org, "ann", Role.DEVELOPER, ANN)
        for team in ("core", "web", "ci"):
            await people.set_team(TeamRecord(org, team, ""), ANN)
            await people.set_team_member(org, team, "ann", ANN)

    await people.drop_team_member("acme", "core", "ann", ANN)
    await people.drop_team("acme", "web", ANN)
    await people.drop_member("other", "ann", ANN)

    assert await people.teams_of("ann") == [("acme", "ci")]


async def test_unknown_team_is_refused(people: People) -> None:
    """A team that is not there gets neither members nor grants."""
    with pytest.raises(NotFound, match="acme:devs"):
        await people.set_team_member("acme", "devs", "ann", ANN)
    with pytest.raises(NotFound, match="acme:devs"):
        await people.set_grant("acme", "devs", "@acme/ui", READ, ANN)


async def test_teams_are_made_of_members(people: People) -> None:
    """Who is not in an organisation is not put into its teams."""
    await people.set_team(TeamRecord("acme", "devs", ""), ANN)
    await people.set_member("other", "ann", Role.OWNER, ANN)

    with pytest.raises(NotFound, match="ann is not in acme"):
        await people.set_team_member("acme", "devs", "ann", ANN)
    assert await people.team_members("acme", "devs") == []


async def test_an_organisation_keeps_an_owner(people: People) -> None:
    """The last owner neither leaves nor becomes less; one of two may."""
    await people.set_member("acme", "ann", Role.OWNER, ANN)
    await people.set_member("acme", "bob", Role.ADMIN, ANN)

    with pytest.raises(Forbidden, match="ann is the last owner of acme"):
        await people.drop_member("acme", "ann", ANN)
    with pytest.raises(Forbidden, match="ann is the last owner of acme"):
        await people.set_member("acme", "ann", Role.DEVELOPER, ANN)
    assert await people.members("acme") == {"ann": Role.OWNER, "bob": Role.ADMIN}

    await people.set_member("acme", "bob", Role.OWNER, ANN)
    await people.drop_member("acme", "ann", ANN)

    assert await people.members("acme") == {"bob": Role.OWNER}


async def test_a_removed_organisation_leaves_nothing(people: People) -> None:
    """With an organisation go members, teams and grants, also when it is made anew."""
    for org in ("acme", "other"):
        await people.set_member(org, "ann", Role.OWNER, ANN)
        await people.set_team(TeamRecord(org, "devs", ""), ANN)
        await people.set_team_member(org, "devs", "ann", ANN)
        await people.set_grant(org, "devs", f"@{org}/ui", WRITE, ANN)

    await people.drop_org("acme", ANN)

    assert await people.orgs() == {"other": {"ann": Role.OWNER}}
    assert await people.teams("acme") == []
    assert await people.packages_of("ann") == {"@other/ui": WRITE}
    await people.set_member("acme", "ann", Role.OWNER, ANN)
    await people.set_team(TeamRecord("acme", "devs", ""), ANN)
    assert await people.team_members("acme", "devs") == []
    assert await people.grants("acme", "devs") == {}


async def test_what_a_removed_organisation_was_is_told(people: People) -> None:
    """The audit log says who was in an organisation that was removed, and which teams it had."""
    await people.set_member("acme", "ann", Role.OWNER, ANN)
    await people.set_team(TeamRecord("acme", "devs", ""), ANN)

    await people.drop_org("acme", ANN)

    (row,) = await people.audit(AuditQuery(subject="acme"), limit=1)
    told = {"is_removed": True, "members": ["ann"], "teams": ["devs"]}
    assert (row.action, json.loads(row.facts)) == (Action.TEAM, told)


async def test_no_organisation_is_removed_twice(people: People) -> None:
    """One that is not there cannot be removed, and nothing is written down."""
    with pytest.raises(NotFound, match="there is no organisation acme"):
        await people.drop_org("acme", ANN)

    assert await people.audit(AuditQuery()) == []


async def test_who_spares_owners_makes_and_unmakes_none(people: People) -> None:
    """Whoever may not say who is an owner cannot, whatever they saw before they wrote."""
    for user, role in (("ann", Role.OWNER), ("bob", Role.OWNER), ("cat", Role.DEVELOPER)):
        await people.set_member("acme", user, role, ANN)

    with pytest.raises(Forbidden, match="only an owner of acme says who is one"):
        await people.set_member("acme", "bob", Role.DEVELOPER, ANN, spares_owners=True)
    with pytest.raises(Forbidden, match="only an owner of acme says who is one"):
        await people.set_member("acme", "cat", Role.OWNER, ANN, spares_owners=True)
    with pytest.raises(Forbidden, match="only an owner of acme says who is one"):
        await people.drop_member("acme", "bob", ANN, spares_owners=True)

    await people.set_member("acme", "dan", Role.ADMIN, ANN, spares_owners=True)
    await people.drop_member("acme", "cat", ANN, spares_owners=True)
    assert list(await people.members("acme")) == ["ann", "bob", "dan"]


async def test_removed_team_grants_nothing(people: People) -> None:
    """With a team go its members and grants, also when it is made anew."""
    devs = TeamRecord("acme", "devs", "")
    await people.set_team(devs, ANN)
    await people.set_member("acme", "ann", Role.DEVELOPER, ANN)
    await people.set_team_member("acme", "devs", "ann", ANN)
    await people.set_grant("acme", "devs", "@acme/ui", WRITE, ANN)

    await people.drop_team("acme", "devs", ANN)
    await people.set_team(devs, ANN)

    assert (await people.team_members("acme", "devs"), await people.grants("acme", "devs")) == (
        [],
        {},
    )
    assert await people.permission_of("ann", "@acme/ui") is None


async def test_the_stronger_permission_counts(people: People) -> None:
    """Of what somebody is granted by themselves and by teams, the stronger holds."""
    for team, permission in (("devs", READ), ("leads", WRITE)):
        await people.set_team(TeamRecord("acme", team, ""), ANN)
        await people.set_grant("acme", team, "@acme/ui", permission, ANN)
    for user in ("ann", "bob"):
        await people.set_member("acme", user, Role.DEVELOPER, ANN)
        await people.set_team_member("acme", "devs", user, ANN)
    await people.set_team_member("acme", "leads", "ann", ANN)
    await people.set_collaborator("@acme/ui", "zoe", READ, ANN)
    await people.set_collaborator("left-pad", "bob", WRITE, ANN)

    assert await people.collaborators("@acme/ui") == {"ann": WRITE, "bob": READ, "zoe": READ}
    assert await people.packages_of("bob") == {"@acme/ui": READ, "left-pad": WRITE}
    permissions = [await people.permission_of(user, "@acme/ui") for user in ("ann", "bob", "eve")]
    assert permissions == [WRITE, READ, None]


async def test_dropped_grants_are_gone(people: People) -> None:
    """A grant that is dropped, to a team or to somebody, grants nothing any more."""
    await people.set_team(TeamRecord("acme", "devs", ""), ANN)
    await people.set_member("acme", "ann", Role.DEVELOPER, ANN)
    await people.set_team_member("acme", "devs", "ann", ANN)
    await people.set_grant("acme", "devs", "@acme/ui", WRITE, ANN)
    await people.set_collaborator("@acme/ui", "bob", WRITE, ANN)

    await people.drop_grant("acme", "devs", "@acme/ui", ANN)
    await people.drop_collaborator("@acme/ui", "bob", ANN)

    assert await people.collaborators("@acme/ui") == {}
