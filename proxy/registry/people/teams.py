"""Organisations and their teams: who is in them, and which packages a team was granted.

1. An administrator of the registry starts an organisation by naming its first owner. From then on
   its owners and admins change it, and its owners alone say who is an owner.
2. An organisation keeps an owner, admins spare its owners, and teams are made of its members.
   Storage judges all three in the transaction that writes, so that nobody slips through between a
   look and a write.
3. A grant takes two rights: to publish the package, and to change the organisation. Either is
   enough to take it back.
4. Who is not in an organisation learns nothing of it, not even whether there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from proxy import errors
from proxy.npm import groups
from proxy.npm.names import PackageName
from proxy.npm.policy import Action
from proxy.registry.people.access import PackageAccess
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions, no_organisation
from proxy.storage.hosting import Deed
from proxy.storage.identity import People, Permission, Role, TeamRecord


class Teams:
    """Tells of organisations and changes them. `org` and `team` are names without a sign."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        access: PackageAccess,
        people: People,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._access = access
        self._people = people
        self._clock = clock

    # --- members ---

    async def members(self, caller: Caller, org: str) -> Mapping[str, Role]:
        """Everybody in an organisation, for its members."""
        await self._permissions.require_role(caller, org, Role.DEVELOPER)
        return await self._members(org)

    async def set_member(self, caller: Caller, org: str, user: str, role: Role) -> int:
        """Take somebody in, or change their role; returns how many members there are then."""
        members = await self._people.members(org)
        is_about_owner = Role.OWNER in {role, members.get(user)}
        least = Role.OWNER if is_about_owner else Role.ADMIN
        await self._permissions.require_role(caller, org, least)
        if not members:
            _check_start(org, user, role)
        if await self._people.user(user) is None:
            raise errors.NotFound(
                reason=f"there is no user {user}; whoever runs this registry adds one:"
                f" packhouse user add {user}"
            )
        deed, spares = await self._deed(caller), least is not Role.OWNER
        await self._people.set_member(org, user, role, deed, spares_owners=spares)
        return len(await self._people.members(org))

    async def drop_member(self, caller: Caller, org: str, user: str) -> None:
        """Take somebody out of an organisation and its teams; anybody may leave."""
        role = (await self._people.members(org)).get(user)
        least = Role.OWNER if role is Role.OWNER else Role.ADMIN
        if user == caller.user:
            least = Role.DEVELOPER
        await self._permissions.require_role(caller, org, least)
        if role is None:
            raise errors.NotFound(reason=f"{user} is not in {org}")
        deed, spares = await self._deed(caller), least is Role.ADMIN
        await self._people.drop_member(org, user, deed, spares_owners=spares)

    # --- teams ---

    async def teams(self, caller: Caller, org: str) -> Sequence[TeamRecord]:
        """The teams of an organisation, for its members."""
        await self.members(caller, org)
        return await self._people.teams(org)

    async def set_team(self, caller: Caller, org: str, team: str, description: str | None) -> None:
        """Make a team, or describe it anew; None leaves a description as it is."""
        await self._require_admin(caller, org)
        groups.check_new(team, "team")
        groups.check_description(description or "")
        known = {each.team: each.description for each in await self._people.teams(org)}
        told = known.get(team, "") if description is None else description
        await self._people.set_team(TeamRecord(org, team, told), await self._deed(caller))

    async def drop_team(self, caller: Caller, org: str, team: str) -> None:
        """Remove a team with its grants."""
        await self._require_admin(caller, org)
        await self._require_team(org, team)
        await self._people.drop_team(org, team, await self._deed(caller))

    async def team_members(self, caller: Caller, org: str, team: str) -> Sequence[str]:
        """Who is in a team, for members of the organisation."""
        await self._permissions.require_role(caller, org, Role.DEVELOPER)
        await self._require_team(org, team)
        return await self._people.team_members(org, team)

    async def set_team_member(self, caller: Caller, org: str, team: str, user: str) -> None:
        """Put a member of the organisation into a team."""
        await self._require_admin(caller, org)
        await self._require_team(org, team)
        if user not in await self._people.members(org):
            raise errors.NotFound(
                reason=f"{user} is not in {org}; take them in first: npm org set {org} {user}"
            )
        await self._people.set_team_member(org, team, user, await self._deed(caller))

    async def drop_team_member(self, caller: Caller, org: str, team: str, user: str) -> None:
        """Take somebody out of a team."""
        await self._require_admin(caller, org)
        await self._require_team(org, team)
        if user not in await self._people.team_members(org, team):
            raise errors.NotFound(reason=f"{user} is not in {org}:{team}")
        await self._people.drop_team_member(org, team, user, await self._deed(caller))

    # --- what teams may do ---

    async def org_packages(self, caller: Caller, org: str) -> Mapping[str, Permission]:
        """What is granted to any team of an organisation, the strongest of each package."""
        found: dict[str, Permission] = {}
        for each in await self.teams(caller, org):
            for name, permission in (await self._people.grants(org, each.team)).items():
                if found.get(name) is not Permission.WRITE:
                    found[name] = permission
        return await self._access.readable(caller, found)

    async def team_packages(self, caller: Caller, org: str, team: str) -> Mapping[str, Permission]:
        """What is granted to a team, of those packages that the caller may read."""
        await self._permissions.require_role(caller, org, Role.DEVELOPER)
        await self._require_team(org, team)
        return await self._access.readable(caller, await self._people.grants(org, team))

    async def grant(
        self, caller: Caller, org: str, team: str, name: PackageName, permission: Permission
    ) -> None:
        """Let a team read or write a package.

        Of a package that is not there yet nothing is granted: whoever publishes it first would not
        know.
        """
        await self._require_admin(caller, org)
        await self._require_team(org, team)
        await self._permissions.require_change(caller, Action.PUBLISH, name)
        deed = caller.deed(self._clock())
        await self._people.set_grant(org, team, name.full, permission, deed)

    async def revoke(self, caller: Caller, org: str, team: str, name: PackageName) -> None:
        """Take a grant back."""
        is_granted = name.full in await self._people.grants(org, team)
        if is_granted and await self._permissions.role_in(caller, org) in {None, Role.DEVELOPER}:
            await self._require_publisher(caller, org, name)
            deed = caller.deed(self._clock())
        else:
            await self._require_admin(caller, org)
            await self._require_team(org, team)
            if not is_granted:
                raise errors.NotFound(reason=f"{org}:{team} has no grant of {name.full}")
            deed = await self._deed(caller)
        await self._people.drop_grant(org, team, name.full, deed)

    # --- judging ---

    async def _require_admin(self, caller: Caller, org: str) -> None:
        await self._permissions.require_role(caller, org, Role.ADMIN)
        await self._members(org)

    async def _require_publisher(self, caller: Caller, org: str, name: PackageName) -> None:
        try:
            await self._permissions.require(caller, Action.PUBLISH, name)
        except (errors.Forbidden, errors.NotFound):
            # As if there were no grant, or they would learn of it.
            await self._require_admin(caller, org)
            raise

    async def _members(self, org: str) -> Mapping[str, Role]:
        """The members, of whom there are some. Administrators ask for what is not there, too."""
        members = await self._people.members(org)
        if not members:
            raise errors.NotFound(reason=no_organisation(org))
        return members

    async def _require_team(self, org: str, team: str) -> None:
        if team not in {each.team for each in await self._people.teams(org)}:
            raise errors.NotFound(reason=f"there is no team {org}:{team}")

    async def _deed(self, caller: Caller) -> Deed:
        """What the caller is about to do: the last question, for it uses the second factor up."""
        await self._permissions.require_second_factor(caller)
        return caller.deed(self._clock())


def _check_start(org: str, user: str, role: Role) -> None:
    groups.check_new(org, "organisation")
    if role is not Role.OWNER:
        raise errors.InvalidRequest(
            reason=f"the first member of {org} has to own it: npm org set {org} {user} owner"
        )
