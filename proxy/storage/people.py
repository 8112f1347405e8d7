"""People on SQLite, in the file of hosted packages: users, tokens, web logins, failures.

1. Whatever may be used once (a code, a token that is handed over) is used by the transaction that
   takes it: of two who try at the same moment one succeeds, in whatever process.
2. A token that was revoked has no row. Who asks for it reads that row anew, or remembers it no
   longer than `revision` stays the same.
3. Audit rows name keys and names, never a hash or a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from proxy.errors import Conflict, NotFound
from proxy.storage import audit, people_rows
from proxy.storage import people_schema as schema
from proxy.storage.database import Connection, ask
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import (
    AuditQuery,
    AuditRow,
    LoginSession,
    SessionState,
    TokenRecord,
    UserRecord,
)
from proxy.storage.rows import Row, micros
from proxy.storage.teams import SqliteTeams

_FAILURES_KEPT = timedelta(days=1)


class SqlitePeople(SqliteTeams):
    """People in `database`, which its caller opens and closes."""

    # --- users ---

    async def user(self, name: str) -> UserRecord | None:
        found = self._database.read(schema.GET_USER, (name,))
        return people_rows.user(found[0]) if found else None

    async def users(self) -> Sequence[UserRecord]:
        return [people_rows.user(row) for row in await self._database.scan(schema.USERS)]

    async def add_user(self, user: UserRecord, deed: Deed) -> None:
        """Add somebody whose name is free."""

        def work(db: Connection) -> None:
            if ask(db, schema.IS_NAME_TAKEN, (people_rows.folded(user.name),)):
                raise Conflict(reason=f"the user name {user.name} is taken")
            db.execute(schema.ADD_USER, people_rows.of_user(user))
            audit.append(db, Action.USER, user.name, deed, {"change": "added"})

        await self._database.write(work)

    async def set_password(self, name: str, password_hash: str | None, deed: Deed) -> int:
        """Replace the hash of a password, and end the other logins with the same commit."""

        def work(db: Connection) -> int:
            _require_user(db, name)
            db.execute(schema.SET_PASSWORD, (name, micros(deed.at), password_hash))
            audit.append(db, Action.USER, name, deed, {"change": "password"})
            db.execute(schema.DROP_GRANTED, (name,))
            return _drop_tokens(db, schema.DROP_LOGINS, (name, deed.token_key), deed)

        return await self._database.write(work)

    async def renew_hash(self, name: str, before: str, after: str) -> None:
        """Hash a password anew, unless it was changed meanwhile."""
        await self._database.write(lambda db: db.execute(schema.RENEW_HASH, (name, before, after)))

    async def set_profile(
        self, name: str, email: str | None, profile: Mapping[str, str], deed: Deed
    ) -> None:
        """Replace what a user says of themselves."""
        values = (email, people_rows.packed(profile))
        await self._alter(name, schema.SET_PROFILE, values, deed, "profile")

    async def set_disabled(self, name: str, is_disabled: bool, deed: Deed) -> None:
        """Shut somebody out, or let them in again."""
        change = "disabled" if is_disabled else "enabled"
        await self._alter(name, schema.SET_DISABLED, (is_disabled,), deed, change)

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
        """Replace the second factor; another secret has no used codes."""
        values = (secret, mode, people_rows.packed(recovery_hashes), asked)
        change = f"second factor: {mode or ('unconfirmed' if secret else 'none')}"
        await self._alter(name, schema.SET_TOTP, values, deed, change)

    async def spend_totp(self, name: str, step: int) -> bool:
        """Use the code of a time step, once."""
        used = await self._database.write(lambda db: ask(db, schema.SPEND_TOTP, (name, step)))
        return bool(used)

    async def spend_recovery(self, name: str, code_hash: str, deed: Deed) -> bool:
        """Use a recovery code, once."""

        def work(db: Connection) -> bool:
            found = ask(db, schema.RECOVERY, (name,))
            codes = people_rows.strings(found[0][0]) if found else ()
            if code_hash not in codes:
                return False
            left = [code for code in codes if code != code_hash]
            db.execute(schema.SET_RECOVERY, (name, people_rows.packed(left)))
            facts = {"change": "recovery code used", "left": len(left)}
            audit.append(db, Action.USER, name, deed, facts)
            return True

        return await self._database.write(work)

    async def _alter(self, name: str, sql: str, values: Row, deed: Deed, change: str) -> None:
        def work(db: Connection) -> None:
            _require_user(db, name)
            db.execute(sql, (name, micros(deed.at), *values))
            audit.append(db, Action.USER, name, deed, {"change": change})

        await self._database.write(work)

    # --- tokens ---

    async def add_token(self, token: TokenRecord, deed: Deed) -> None:
        """Keep a token of somebody who is known."""

        def work(db: Connection) -> None:
            _require_user(db, token.user)
            db.execute(schema.ADD_TOKEN, people_rows.of_token(token))
            facts = {"key": token.key, "change": "created", "kind": token.kind.value}
            audit.append(db, Action.TOKEN, token.user, deed, facts)

        await self._database.write(work)

    async def token(self, token_hash: str) -> tuple[TokenRecord, UserRecord] | None:
        found = self._database.read(schema.GET_TOKEN, (token_hash,))
        if not found:
            return None
        columns = people_rows.TOKEN_COLUMNS
        return people_rows.token(found[0][:columns]), people_rows.user(found[0][columns:])

    async def tokens(self, user: str) -> Sequence[TokenRecord]:
        return [people_rows.token(row) for row in self._database.read(schema.TOKENS, (user,))]

    async def revoke_token(self, user: str, key: str, deed: Deed) -> bool:
        """Forget one token."""
        return await self._revoke(schema.DROP_TOKEN, (user, key), deed) > 0

    async def revoke_tokens(self, user: str, deed: Deed) -> int:
        """Forget every token of a user."""
        return await self._revoke(schema.DROP_TOKENS, (user,), deed)

    async def _revoke(self, sql: str, values: Row, deed: Deed) -> int:
        return await self._database.write(lambda db: _drop_tokens(db, sql, values, deed))

    async def mark_token_used(self, token_hash: str, at: datetime) -> None:
        """Note the hour of a use, unless it is noted."""
        hour = micros(at.replace(minute=0, second=0, microsecond=0))
        found = self._database.read(schema.USED_AT, (token_hash,))
        if found and (found[0][0] is None or found[0][0] < hour):
            await self._database.write(
                lambda db: db.execute(schema.MARK_TOKEN_USED, (token_hash, hour))
            )

    # --- web logins ---

    async def add_session(self, session: LoginSession) -> None:
        """Begin a web login."""
        row = people_rows.of_session(session)
        await self._database.write(lambda db: db.execute(schema.ADD_SESSION, row))

    async def session(self, id_hash: str, at: datetime) -> LoginSession | None:
        found = self._database.read(schema.GET_SESSION, (id_hash, micros(at)))
        return people_rows.session(found[0]) if found else None

    async def grant_session(self, id_hash: str, user: str, handover: bytes, deed: Deed) -> bool:
        """Give a pending login its token."""

        def work(db: Connection) -> bool:
            state = SessionState.GRANTED.value
            row = (id_hash, micros(deed.at), state, user, handover)
            is_granted = bool(ask(db, schema.END_SESSION, row))
            if is_granted:
                audit.append(db, Action.LOGIN, user, deed, {"change": "granted on the web"})
            return is_granted

        return await self._database.write(work)

    async def refuse_session(self, id_hash: str, at: datetime) -> bool:
        """End a pending login without a token."""
        row = (id_hash, micros(at), SessionState.REFUSED.value, None, None)
        return bool(await self._database.write(lambda db: ask(db, schema.END_SESSION, row)))

    async def take_session(self, id_hash: str, at: datetime) -> LoginSession | None:
        """Hand over a granted login, and forget it."""
        row = (id_hash, micros(at))
        taken = await self._database.write(lambda db: ask(db, schema.TAKE_SESSION, row))
        return people_rows.session(taken[0]) if taken else None

    # --- failures ---

    async def add_failure(self, key: str, at: datetime) -> None:
        """Count one failure in its minute."""
        row = (key, _minute(at))
        await self._database.write(lambda db: db.execute(schema.ADD_FAILURE, row))

    async def failures(self, key: str, since: datetime) -> int:
        return int(self._database.read(schema.FAILURES, (key, _minute(since)))[0][0])

    async def forget_failures(self, key: str) -> None:
        """Begin to count anew."""
        await self._database.write(lambda db: db.execute(schema.DROP_FAILURES, (key,)))

    async def drop_expired(self, at: datetime) -> int:
        """Forget tokens and logins that have expired, and failures of a day ago."""

        def work(db: Connection) -> int:
            tokens = ask(db, schema.DROP_EXPIRED_TOKENS, (micros(at),))
            sessions = ask(db, schema.DROP_EXPIRED_SESSIONS, (micros(at),))
            old = ask(db, schema.DROP_OLD_FAILURES, (_minute(at - _FAILURES_KEPT),))
            return len(tokens) + len(sessions) + len(old)

        return await self._database.write(work)

    # --- what was done ---

    async def note(
        self, action: Action, subject: str, deed: Deed, facts: Mapping[str, object] | None = None
    ) -> None:
        """Append an audit row by itself."""
        told = facts or {}
        await self._database.write(lambda db: audit.append(db, action, subject, deed, told))

    async def audit(self, query: AuditQuery, limit: int = 100) -> Sequence[AuditRow]:
        return await audit.rows(self._database, query, limit)

    def revision(self) -> int:
        """A number that counts the commits of every process."""
        return self._database.revision()


def _require_user(db: Connection, name: str) -> None:
    if not ask(db, schema.IS_USER, (name,)):
        raise NotFound(reason=f"no such user: {name}")


def _drop_tokens(db: Connection, sql: str, values: Row, deed: Deed) -> int:
    dropped = ask(db, sql, values)
    for (key,) in dropped:
        audit.append(db, Action.TOKEN, values[0], deed, {"key": key, "change": "revoked"})
    return len(dropped)


def _minute(at: datetime) -> int:
    return micros(at) // 60_000_000
