"""Organisations, teams and grants on SQLite: the part of People that says who belongs to what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proxy.errors import Forbidden, NotFound
from proxy.storage import audit
from proxy.storage import people_schema as schema
from proxy.storage.database import Connection, Database, ask
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import Permission, Role, TeamRecord
from proxy.storage.rows import Row


class SqliteTeams:
    """Memberships and grants in `database`, which its caller opens and closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- organisations ---

    async def set_member(
        self, org: str, user: str, role: Role, deed: Deed, *, spares_owners: bool = False
    ) -> None:
        """Make somebody a member, or change their role."""

        def work(db: Connection) -> None:
            if spares_owners:
                _require_no_owner(db, org, user, role)
            if role is not Role.OWNER:
                _require_other_owner(db, org, user)
            db.execute(schema.SET_MEMBER, (org, user, role.value))
            audit.append(db, Action.TEAM, org, deed, {"user": user, "role": role.value})

        await self._database.write(work)

    async def drop_member(
        self, org: str, user: str, deed: Deed, *, spares_owners: bool = False
    ) -> None:
        """Take somebody out of an organisation and its teams."""

        def work(db: Connection) -> None:
            if spares_owners:
                _require_no_owner(db, org, user)
            _require_other_owner(db, org, user)
            db.execute(schema.DROP_FROM_TEAMS, (org, user))
            db.execute(schema.DROP_MEMBER, (org, user))
            audit.append(db, Action.TEAM, org, deed, {"user": user, "role": None})

        await self._database.write(work)

    async def drop_org(self, org: str, deed: Deed) -> None:
        """Remove an organisation: its members, its teams and what they were granted."""

        def work(db: Connection) -> None:
            teams = [row[0] for row in ask(db, schema.DROP_TEAMS, (org,))]
            members = [row[0] for row in ask(db, schema.DROP_MEMBERS, (org,))]
            if not (members or teams):
                raise NotFound(reason=f"there is no organisation {org}")
            facts = {"is_removed": True, "members": sorted(members), "teams": sorted(teams)}
            audit.append(db, Action.TEAM, org, deed, facts)

        await self._database.write(work)

    async def orgs(self) -> Mapping[str, Mapping[str, Role]]:
        found: dict[str, dict[str, Role]] = {}
        for org, user, role in await self._database.scan(schema.ORGS, ()):
            found.setdefault(org, {})[user] = Role(role)
        return found

    async def members(self, org: str) -> Mapping[str, Role]:
        return {user: Role(role) for user, role in self._database.read(schema.MEMBERS, (org,))}

    async def orgs_of(self, user: str) -> Mapping[str, Role]:
        return {org: Role(role) for org, role in self._database.read(schema.ORGS_OF, (user,))}

    async def teams_of(self, user: str) -> Sequence[tuple[str, str]]:
        return [(org, team) for org, team in self._database.read(schema.TEAMS_OF, (user,))]

    # --- teams ---

    async def set_team(self, team: TeamRecord, deed: Deed) -> None:
        """Add a team, or change its description."""
        row = (team.org, team.team, team.description)
        subject = _subject(team.org, team.team)
        facts = {"description": team.description}
        await self._set(schema.SET_TEAM, row, Action.TEAM, subject, deed, facts)

    async def drop_team(self, org: str, team: str, deed: Deed) -> None:
        """Remove a team with its members and grants."""
        subject, facts = _subject(org, team), {"is_removed": True}
        await self._set(schema.DROP_TEAM, (org, team), Action.TEAM, subject, deed, facts)

    async def teams(self, org: str) -> Sequence[TeamRecord]:
        return [TeamRecord(*row) for row in self._database.read(schema.TEAMS, (org,))]

    async def set_team_member(self, org: str, team: str, user: str, deed: Deed) -> None:
        """Add a member of the organisation to a team that is there."""

        def work(db: Connection) -> None:
            _require_team(db, org, team)
            _require_member(db, org, user)
            db.execute(schema.ADD_TEAM_MEMBER, (org, team, user))
            facts = {"user": user, "is_member": True}
            audit.append(db, Action.TEAM, _subject(org, team), deed, facts)

        await self._database.write(work)

    async def drop_team_member(self, org: str, team: str, user: str, deed: Deed) -> None:
        """Take somebody out of a team."""
        subject, facts = _subject(org, team), {"user": user, "is_member": False}
        row = (org, team, user)
        await self._set(schema.DROP_TEAM_MEMBER, row, Action.TEAM, subject, deed, facts)

    async def team_members(self, org: str, team: str) -> Sequence[str]:
        return [row[0] for row in self._database.read(schema.TEAM_MEMBERS, (org, team))]

    # --- grants ---

    async def set_grant(
        self, org: str, team: str, package: str, permission: Permission, deed: Deed
    ) -> None:
        """Let a team that is there read or write a package."""

        def work(db: Connection) -> None:
            _require_team(db, org, team)
            db.execute(schema.SET_GRANT, (org, team, package, permission.value))
            facts = {"team": _subject(org, team), "permission": permission.value}
            audit.append(db, Action.PERMISSION, package, deed, facts)

        await self._database.write(work)

    async def drop_grant(self, org: str, team: str, package: str, deed: Deed) -> None:
        """Take a team's grant away."""
        facts = {"team": _subject(org, team), "permission": None}
        row = (org, team, package)
        await self._set(schema.DROP_GRANT, row, Action.PERMISSION, package, deed, facts)

    async def grants(self, org: str, team: str) -> Mapping[str, Permission]:
        return _permissions(self._database.read(schema.GRANTS, (org, team)))

    async def set_collaborator(
        self, package: str, user: str, permission: Permission, deed: Deed
    ) -> None:
        """Let somebody read or write a package."""
        facts = {"user": user, "permission": permission.value}
        row = (package, user, permission.value)
        await self._set(schema.SET_COLLABORATOR, row, Action.PERMISSION, package, deed, facts)

    async def drop_collaborator(self, package: str, user: str, deed: Deed) -> None:
        """Take somebody's own grant away."""
        facts = {"user": user, "permission": None}
        row = (package, user)
        await self._set(schema.DROP_COLLABORATOR, row, Action.PERMISSION, package, deed, facts)

    async def collaborators(self, package: str) -> Mapping[str, Permission]:
        return _permissions(self._database.read(schema.COLLABORATORS, (package,)))

    async def permission_of(self, user: str, package: str) -> Permission | None:
        found = self._database.read(schema.PERMISSION_OF, (user, package))[0][0]
        return None if found is None else Permission(found)

    async def packages_of(self, user: str) -> Mapping[str, Permission]:
        return _permissions(self._database.read(schema.PACKAGES_OF, (user,)))

    async def _set(
        self,
        sql: str,
        row: Row,
        action: Action,
        subject: str,
        deed: Deed,
        facts: Mapping[str, object],
    ) -> None:
        def work(db: Connection) -> None:
            db.execute(sql, row)
            audit.append(db, action, subject, deed, facts)

        await self._database.write(work)


def _require_team(db: Connection, org: str, team: str) -> None:
    if not ask(db, schema.IS_TEAM, (org, team)):
        raise NotFound(reason=f"no such team: {_subject(org, team)}")


def _require_member(db: Connection, org: str, user: str) -> None:
    if org not in {of for of, _ in ask(db, schema.ORGS_OF, (user,))}:
        raise NotFound(reason=f"{user} is not in {org}; teams are made of members")


def _require_no_owner(db: Connection, org: str, user: str, role: Role | None = None) -> None:
    had = dict(ask(db, schema.MEMBERS, (org,))).get(user)
    if role is Role.OWNER or had == Role.OWNER.value:
        raise Forbidden(reason=f"only an owner of {org} says who is one")


def _require_other_owner(db: Connection, org: str, user: str) -> None:
    members = ask(db, schema.MEMBERS, (org,))
    if [of for of, role in members if role == Role.OWNER.value] == [user]:
        raise Forbidden(reason=f"{user} is the last owner of {org}; make somebody else one first")


def _subject(org: str, team: str) -> str:
    return f"{org}:{team}"


def _permissions(rows: Sequence[Row]) -> Mapping[str, Permission]:
    return {key: Permission(permission) for key, permission in rows}
