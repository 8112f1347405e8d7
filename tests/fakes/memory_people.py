"""People in dicts: what the protocol means, without a disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from proxy.errors import Conflict, Forbidden, NotFound
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import (
    AuditQuery,
    AuditRow,
    LoginSession,
    Permission,
    Role,
    SessionState,
    TeamRecord,
    TokenKind,
    TokenRecord,
    UserRecord,
)
from tests.fakes.memory_hosting import MemoryStore

_OWNER = Role.OWNER


class MemoryPeople:
    """People in dicts; give it the store of a MemoryHosted to share its audit log."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self._users: dict[str, UserRecord] = {}
        self._steps: dict[str, int] = {}
        self._members: dict[tuple[str, str], Role] = {}
        self._teams: dict[tuple[str, str], TeamRecord] = {}
        self._team_members: set[tuple[str, str, str]] = set()
        self._grants: dict[tuple[str, str, str], Permission] = {}
        self._collaborators: dict[tuple[str, str], Permission] = {}
        self._tokens: dict[str, TokenRecord] = {}
        self._sessions: dict[str, LoginSession] = {}
        self._failures: dict[tuple[str, datetime], int] = {}

    # --- users ---

    async def user(self, name: str) -> UserRecord | None:
        self.store.alive()
        return self._users.get(name)

    async def users(self) -> Sequence[UserRecord]:
        self.store.alive()
        return [self._users[name] for name in sorted(self._users)]

    async def add_user(self, user: UserRecord, deed: Deed) -> None:
        self.store.commit()
        if user.name.casefold() in {name.casefold() for name in self._users}:
            raise Conflict(reason=f"the user name {user.name} is taken")
        self._users[user.name] = user
        self.store.append(Action.USER, user.name, deed, {"change": "added"})

    async def set_password(self, name: str, password_hash: str | None, deed: Deed) -> int:
        self._alter(name, deed, "password", password_hash=password_hash)
        granted = (SessionState.GRANTED, name)
        self._sessions = {h: s for h, s in self._sessions.items() if (s.state, s.user) != granted}
        held = [token for token in await self.tokens(name) if token.kind is not TokenKind.GRANULAR]
        ended = [token for token in held if token.key != deed.token_key]
        self._revoke(ended, deed)
        return len(ended)

    async def renew_hash(self, name: str, before: str, after: str) -> None:
        self.store.commit()
        user = self._users.get(name)
        if user is not None and user.password_hash == before:
            self._users[name] = replace(user, password_hash=after)

    async def set_profile(
        self, name: str, email: str | None, profile: Mapping[str, str], deed: Deed
    ) -> None:
        self._alter(name, deed, "profile", email=email, profile=dict(profile))

    async def set_disabled(self, name: str, is_disabled: bool, deed: Deed) -> None:
        self._alter(name, deed, "disabled" if is_disabled else "enabled", is_disabled=is_disabled)

    async def set_totp(
        self,
        name: str,
        secret: str | None,
        mode: str | None,
        deed: Deed,
        recovery_hashes: Sequence[str] = (),
        *,
        asked: str | None = None,
    ) -> None:
        before = self._users.get(name)
        change = f"second factor: {mode or ('unconfirmed' if secret else 'none')}"
        codes = tuple(recovery_hashes)
        fields = {"totp_secret": secret, "totp_mode": mode, "totp_asked": asked}
        self._alter(name, deed, change, **fields, recovery_hashes=codes)
        if before is not None and before.totp_secret != secret:
            self._steps.pop(name, None)

    async def spend_totp(self, name: str, step: int) -> bool:
        self.store.commit()
        if name not in self._users or self._steps.get(name, -1) >= step:
            return False
        self._steps[name] = step
        return True

    async def spend_recovery(self, name: str, code_hash: str, deed: Deed) -> bool:
        self.store.commit()
        user = self._users.get(name)
        if user is None or code_hash not in user.recovery_hashes:
            return False
        left = tuple(code for code in user.recovery_hashes if code != code_hash)
        self._users[name] = replace(user, recovery_hashes=left)
        facts = {"change": "recovery code used", "left": len(left)}
        self.store.append(Action.USER, name, deed, facts)
        return True

    def _alter(self, name: str, deed: Deed, change: str, **fields: object) -> None:
        self.store.commit()
        self._require_user(name)
        self._users[name] = replace(self._users[name], updated_at=deed.at, **fields)
        self.store.append(Action.USER, name, deed, {"change": change})

    def _require_user(self, name: str) -> None:
        if name not in self._users:
            raise NotFound(reason=f"no such user: {name}")

    # --- organisations, teams, grants ---

    async def set_member(
        self, org: str, user: str, role: Role, deed: Deed, *, spares_owners: bool = False
    ) -> None:
        if spares_owners:
            self._require_no_owner(org, user, role)
        if role is not Role.OWNER:
            self._require_other_owner(org, user)
        self._told(Action.TEAM, org, deed, user=user, role=role.value)
        self._members[org, user] = role

    async def drop_member(
        self, org: str, user: str, deed: Deed, *, spares_owners: bool = False
    ) -> None:
        if spares_owners:
            self._require_no_owner(org, user)
        self._require_other_owner(org, user)
        self._told(Action.TEAM, org, deed, user=user, role=None)
        self._members.pop((org, user), None)
        self._team_members = {m for m in self._team_members if (m[0], m[2]) != (org, user)}

    def _require_no_owner(self, org: str, user: str, role: Role | None = None) -> None:
        if Role.OWNER in {role, self._members.get((org, user))}:
            raise Forbidden(reason=f"only an owner of {org} says who is one")

    async def drop_org(self, org: str, deed: Deed) -> None:
        members, teams = list(await self.members(org)), [t for of, t in self._teams if of == org]
        if not (members or teams):
            raise NotFound(reason=f"there is no organisation {org}")
        facts = {"is_removed": True, "members": sorted(members), "teams": sorted(teams)}
        self._told(Action.TEAM, org, deed, **facts)
        self._members = {key: role for key, role in self._members.items() if key[0] != org}
        self._teams = {key: team for key, team in self._teams.items() if key[0] != org}
        self._team_members = {m for m in self._team_members if m[0] != org}
        self._grants = {key: p for key, p in self._grants.items() if key[0] != org}

    async def orgs(self) -> Mapping[str, Mapping[str, Role]]:
        return {org: await self.members(org) for org in sorted({of for of, _ in self._members})}

    async def members(self, org: str) -> Mapping[str, Role]:
        return {
            user: role for (of, user), role in sorted(self._members.items(), key=_key) if of == org
        }

    async def orgs_of(self, user: str) -> Mapping[str, Role]:
        return {
            org: role for (org, who), role in sorted(self._members.items(), key=_key) if who == user
        }

    async def teams_of(self, user: str) -> Sequence[tuple[str, str]]:
        return sorted((org, team) for org, team, who in self._team_members if who == user)

    async def set_team(self, team: TeamRecord, deed: Deed) -> None:
        self._told(Action.TEAM, f"{team.org}:{team.team}", deed, description=team.description)
        self._teams[team.org, team.team] = team

    async def drop_team(self, org: str, team: str, deed: Deed) -> None:
        self._told(Action.TEAM, f"{org}:{team}", deed, is_removed=True)
        self._teams.pop((org, team), None)
        self._team_members = {m for m in self._team_members if m[:2] != (org, team)}
        self._grants = {key: p for key, p in self._grants.items() if key[:2] != (org, team)}

    async def teams(self, org: str) -> Sequence[TeamRecord]:
        return [team for key, team in sorted(self._teams.items(), key=_key) if key[0] == org]

    async def set_team_member(self, org: str, team: str, user: str, deed: Deed) -> None:
        self._require_team(org, team)
        if (org, user) not in self._members:
            raise NotFound(reason=f"{user} is not in {org}; teams are made of members")
        self._told(Action.TEAM, f"{org}:{team}", deed, user=user, is_member=True)
        self._team_members.add((org, team, user))

    async def drop_team_member(self, org: str, team: str, user: str, deed: Deed) -> None:
        self._told(Action.TEAM, f"{org}:{team}", deed, user=user, is_member=False)
        self._team_members.discard((org, team, user))

    async def team_members(self, org: str, team: str) -> Sequence[str]:
        return sorted(user for *of, user in self._team_members if of == [org, team])

    async def set_grant(
        self, org: str, team: str, package: str, permission: Permission, deed: Deed
    ) -> None:
        self._require_team(org, team)
        facts = {"team": f"{org}:{team}", "permission": permission.value}
        self._told(Action.PERMISSION, package, deed, **facts)
        self._grants[org, team, package] = permission

    async def drop_grant(self, org: str, team: str, package: str, deed: Deed) -> None:
        self._told(Action.PERMISSION, package, deed, team=f"{org}:{team}", permission=None)
        self._grants.pop((org, team, package), None)

    async def grants(self, org: str, team: str) -> Mapping[str, Permission]:
        held = sorted(self._grants.items(), key=_key)
        return {key[2]: permission for key, permission in held if key[:2] == (org, team)}

    async def set_collaborator(
        self, package: str, user: str, permission: Permission, deed: Deed
    ) -> None:
        self._told(Action.PERMISSION, package, deed, user=user, permission=permission.value)
        self._collaborators[package, user] = permission

    async def drop_collaborator(self, package: str, user: str, deed: Deed) -> None:
        self._told(Action.PERMISSION, package, deed, user=user, permission=None)
        self._collaborators.pop((package, user), None)

    async def collaborators(self, package: str) -> Mapping[str, Permission]:
        return _strongest((u, permission) for p, u, permission in self._given() if p == package)

    async def permission_of(self, user: str, package: str) -> Permission | None:
        return (await self.collaborators(package)).get(user)

    async def packages_of(self, user: str) -> Mapping[str, Permission]:
        return _strongest((p, permission) for p, u, permission in self._given() if u == user)

    def _given(self) -> Iterator[tuple[str, str, Permission]]:
        self.store.alive()
        for (package, user), permission in self._collaborators.items():
            yield package, user, permission
        for (org, team, package), permission in self._grants.items():
            for of, name, user in self._team_members:
                if (of, name) == (org, team):
                    yield package, user, permission

    def _require_team(self, org: str, team: str) -> None:
        self.store.alive()
        if (org, team) not in self._teams:
            raise NotFound(reason=f"no such team: {org}:{team}")

    def _require_other_owner(self, org: str, user: str) -> None:
        owners = [who for (of, who), role in self._members.items() if (of, role) == (org, _OWNER)]
        if owners == [user]:
            raise Forbidden(reason=f"{user} is the last owner of {org}")

    def _told(self, action: Action, subject: str, deed: Deed, **facts: object) -> None:
        self.store.commit()
        self.store.append(action, subject, deed, facts)

    # --- tokens ---

    async def add_token(self, token: TokenRecord, deed: Deed) -> None:
        self._require_user(token.user)
        facts = {"key": token.key, "change": "created", "kind": token.kind.value}
        self._told(Action.TOKEN, token.user, deed, **facts)
        self._tokens[token.hash] = token

    async def token(self, token_hash: str) -> tuple[TokenRecord, UserRecord] | None:
        self.store.alive()
        token = self._tokens.get(token_hash)
        return None if token is None else (token, self._users[token.user])

    async def tokens(self, user: str) -> Sequence[TokenRecord]:
        self.store.alive()
        held = sorted((t for t in self._tokens.values() if t.user == user), key=lambda t: t.key)
        return sorted(held, key=lambda token: token.created_at, reverse=True)

    async def revoke_token(self, user: str, key: str, deed: Deed) -> bool:
        held = [token for token in await self.tokens(user) if key in {token.key, token.hash}]
        self._revoke(held, deed)
        return bool(held)

    async def revoke_tokens(self, user: str, deed: Deed) -> int:
        held = await self.tokens(user)
        self._revoke(held, deed)
        return len(held)

    def _revoke(self, tokens: Sequence[TokenRecord], deed: Deed) -> None:
        for token in tokens:
            del self._tokens[token.hash]
            self._told(Action.TOKEN, token.user, deed, key=token.key, change="revoked")

    async def mark_token_used(self, token_hash: str, at: datetime) -> None:
        token, hour = self._tokens.get(token_hash), at.replace(minute=0, second=0, microsecond=0)
        if token is not None and (token.used_at is None or token.used_at < hour):
            self.store.commit()
            self._tokens[token_hash] = replace(token, used_at=hour)

    # --- web logins ---

    async def add_session(self, session: LoginSession) -> None:
        self.store.commit()
        self._sessions[session.id_hash] = session

    async def session(self, id_hash: str, at: datetime) -> LoginSession | None:
        self.store.alive()
        found = self._sessions.get(id_hash)
        return found if found is not None and found.expires_at > at else None

    async def grant_session(self, id_hash: str, user: str, handover: bytes, deed: Deed) -> bool:
        fields = {"state": SessionState.GRANTED, "user": user, "handover": handover}
        is_granted = await self._end(id_hash, deed.at, **fields)
        if is_granted:
            self._told(Action.LOGIN, user, deed, change="granted on the web")
        return is_granted

    async def refuse_session(self, id_hash: str, at: datetime) -> bool:
        return await self._end(id_hash, at, state=SessionState.REFUSED)

    async def take_session(self, id_hash: str, at: datetime) -> LoginSession | None:
        self.store.commit()
        found = await self.session(id_hash, at)
        if found is None or found.state is not SessionState.GRANTED:
            return None
        return self._sessions.pop(id_hash)

    async def _end(self, id_hash: str, at: datetime, **fields: object) -> bool:
        self.store.commit()
        found = await self.session(id_hash, at)
        if found is None or found.state is not SessionState.PENDING:
            return False
        self._sessions[id_hash] = replace(found, **fields)
        return True

    # --- failures ---

    async def add_failure(self, key: str, at: datetime) -> None:
        self.store.commit()
        row = (key, _minute(at))
        self._failures[row] = self._failures.get(row, 0) + 1

    async def failures(self, key: str, since: datetime) -> int:
        self.store.alive()
        start = _minute(since)
        return sum(n for (of, at), n in self._failures.items() if of == key and at >= start)

    async def forget_failures(self, key: str) -> None:
        self.store.commit()
        self._failures = {row: n for row, n in self._failures.items() if row[0] != key}

    async def drop_expired(self, at: datetime) -> int:
        self.store.commit()
        before = len(self._tokens) + len(self._sessions) + len(self._failures)
        oldest = _minute(at - timedelta(days=1))
        self._tokens = {h: t for h, t in self._tokens.items() if not _is_over(t.expires_at, at)}
        self._sessions = {h: s for h, s in self._sessions.items() if not _is_over(s.expires_at, at)}
        self._failures = {row: n for row, n in self._failures.items() if row[1] >= oldest}
        return before - len(self._tokens) - len(self._sessions) - len(self._failures)

    # --- what was done ---

    async def note(
        self, action: Action, subject: str, deed: Deed, facts: Mapping[str, object] | None = None
    ) -> None:
        self._told(action, subject, deed, **(facts or {}))

    async def audit(self, query: AuditQuery, limit: int = 100) -> Sequence[AuditRow]:
        return self.store.audit(query, limit)

    def revision(self) -> int:
        self.store.alive()
        return self.store.commits


def _key(item):
    return item[0]


def _strongest(given) -> Mapping[str, Permission]:
    found: dict[str, Permission] = {}
    for key, permission in given:
        if found.get(key) is not Permission.WRITE:
            found[key] = permission
    return dict(sorted(found.items()))


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _is_over(expires_at: datetime | None, at: datetime) -> bool:
    return expires_at is not None and expires_at <= at
