"""What the rows of people are as records, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from proxy.npm import wire
from proxy.storage.identity import (
    LoginSession,
    SessionState,
    TokenKind,
    TokenRecord,
    UserRecord,
)
from proxy.storage.rows import Row, instant, micros

TOKEN_COLUMNS = 15


def packed(value: Sequence[str] | Mapping[str, str]) -> str:
    """A list or a map as JSON."""
    return wire.dumps(dict(value) if isinstance(value, Mapping) else list(value)).decode()


def folded(name: str) -> str:
    """A user's name without its case."""
    return name.casefold()


def of_user(user: UserRecord) -> Row:
    """Return the row of `user`."""
    return (
        *(user.name, folded(user.name), micros(user.created_at), micros(user.updated_at)),
        *(user.email, user.password_hash, user.is_disabled, user.totp_secret, user.totp_mode),
        *(packed(user.recovery_hashes), packed(user.profile), user.totp_asked),
    )


def user(row: Row) -> UserRecord:
    """Undo `of_user`."""
    (
        name,
        created_at,
        updated_at,
        email,
        password_hash,
        is_disabled,
        secret,
        mode,
        codes,
        profile,
        asked,
    ) = row
    return UserRecord(
        *(name, instant(created_at), instant(updated_at), email, password_hash),
        *(bool(is_disabled), secret, mode, strings(codes), wire.loads(profile.encode())),
        totp_asked=asked,
    )


def of_token(token: TokenRecord) -> Row:
    """Return the row of `token`."""
    return (
        *(token.hash, token.key, token.user, token.kind.value, token.shown),
        *(micros(token.created_at), token.name, token.description, token.is_readonly),
        *(token.is_otp_exempt, packed(token.packages), packed(token.scopes), packed(token.cidrs)),
        *(_micros(token.expires_at), _micros(token.used_at)),
    )


def token(row: Row) -> TokenRecord:
    """Undo `of_token`."""
    fields = (
        *(*row[:3], TokenKind(row[3]), row[4], instant(row[5]), row[6], row[7]),
        *(bool(row[8]), bool(row[9]), strings(row[10]), strings(row[11]), strings(row[12])),
        *(_instant(row[13]), _instant(row[14])),
    )
    return TokenRecord(*fields)


def of_session(session: LoginSession) -> Row:
    """Return the row of `session`."""
    return (
        *(session.id_hash, micros(session.expires_at), session.state.value),
        *(session.user, session.handover, session.facts),
    )


def session(row: Row) -> LoginSession:
    """Undo `of_session`."""
    id_hash, expires_at, state, user_name, handover, facts = row
    return LoginSession(
        id_hash, instant(expires_at), SessionState(state), user_name, handover, facts
    )


def strings(text: str) -> tuple[str, ...]:
    """Undo `packed` of a list."""
    return tuple(wire.loads(text.encode()))


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _instant(number: int | None) -> datetime | None:
    return None if number is None else instant(number)
