"""Tokens: made, listed and revoked.

A token is shown to its owner once; what is kept is its hash, and what it may do. One that may write
ends after `auth.token_age` at the latest, and after a week if nothing is said.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy import errors
from proxy.npm import names, tokens
from proxy.storage.hosting import Deed
from proxy.storage.identity import People, TokenKind, TokenRecord

# The public registry's own default for tokens that may write.
_DEFAULT_AGE = timedelta(days=7)
_LONGEST_TEXT = 255
_MOST_ENTRIES = 100


@dataclass(frozen=True, slots=True)
class Lives:
    """How long tokens are good: of a login, and at most of any other that may write."""

    login: timedelta
    token: timedelta


class Tokens:
    """The tokens of users. Who may do this for whom is judged by whoever asks."""

    def __init__(self, *, people: People, lives: Lives, clock: Callable[[], datetime]) -> None:
        self._people = people
        self._lives = lives
        self._clock = clock

    async def issue(
        self,
        user: str,
        deed: Deed,
        *,
        kind: TokenKind,
        name: str | None = None,
        description: str | None = None,
        is_readonly: bool = False,
        is_otp_exempt: bool = False,
        packages: Sequence[str] = (),
        scopes: Sequence[str] = (),
        cidrs: Sequence[str] = (),
        expires_at: datetime | None = None,
    ) -> tuple[str, TokenRecord]:
        """A new token of `user`, and what is kept of it.

        `scopes` are written with their @. Without `expires_at` a login lives as long as logins do,
        another token that may write a week, one to read with for ever. Raises InvalidRequest for
        what no token can be restricted to, or a life too long; NotFound for an unknown user.
        """
        now = self._clock()
        token = tokens.new()
        record = TokenRecord(
            hash=tokens.hash_of(token),
            key=secrets.token_hex(16),
            user=user,
            kind=kind,
            shown=tokens.shown(token),
            created_at=now,
            name=_text("name", name),
            description=_text("description", description),
            is_readonly=is_readonly,
            is_otp_exempt=is_otp_exempt,
            packages=_packages(packages),
            scopes=_scopes(scopes),
            cidrs=_cidrs(cidrs),
            expires_at=self._end(kind, now, expires_at, is_readonly=is_readonly),
        )
        await self._people.add_token(record, deed)
        return token, record

    async def list(self, user: str) -> Sequence[TokenRecord]:
        """The tokens of `user` that are still good, newest first."""
        now = self._clock()
        return [
            token
            for token in await self._people.tokens(user)
            if token.expires_at is None or token.expires_at > now
        ]

    async def revoke(self, user: str, which: str, deed: Deed) -> bool:
        """Revoke a token of `user`, by its key, its hash or itself; False if there is none."""
        key = tokens.hash_of(which) if tokens.is_sound(which) else which
        return await self._people.revoke_token(user, key, deed)

    def _end(
        self, kind: TokenKind, now: datetime, asked: datetime | None, *, is_readonly: bool
    ) -> datetime | None:
        if asked is not None and asked <= now:
            raise errors.InvalidRequest(reason="the token would have expired already")
        if kind is not TokenKind.GRANULAR:
            return now + self._lives.login if asked is None else asked
        if is_readonly:
            return asked
        if asked is None:
            return now + min(_DEFAULT_AGE, self._lives.token)
        if asked > now + self._lives.token:
            raise errors.InvalidRequest(
                reason=f"a token that may write is good for {_words(self._lives.token)} at most "
                "here; ask for fewer days, or for a token to read with"
            )
        return asked


def _words(life: timedelta) -> str:
    days = life.days
    if life == timedelta(days=days):
        return "a day" if days == 1 else f"{days} days"
    return str(life)


def _text(field: str, value: str | None) -> str | None:
    if not value:
        return None
    if len(value) > _LONGEST_TEXT or not value.isprintable():
        raise errors.InvalidRequest(
            reason=f"the {field} of a token is one line of at most {_LONGEST_TEXT} characters"
        )
    return value


def _packages(values: Sequence[str]) -> tuple[str, ...]:
    _check_count("packages", values)
    try:
        return tuple(dict.fromkeys(names.parse(value).full for value in values))
    except errors.InvalidName as error:
        raise errors.InvalidRequest(reason=f"packages: {error}") from None


def _scopes(values: Sequence[str]) -> tuple[str, ...]:
    _check_count("scopes", values)
    for value in values:
        if not _is_scope(value):
            raise errors.InvalidRequest(
                reason=f"scopes: {value[:100]!r} is no scope; write it like @acme"
            )
    return tuple(dict.fromkeys(values))


def _is_scope(value: str) -> bool:
    if not value.startswith("@"):
        return False
    try:
        return names.parse(f"{value}/a").full == f"{value}/a"
    except errors.InvalidName:
        return False


def _cidrs(values: Sequence[str]) -> tuple[str, ...]:
    _check_count("addresses", values)
    found: list[str] = []
    for value in values:
        try:
            found.append(str(ipaddress.ip_network(value, strict=False)))
        except ValueError:
            raise errors.InvalidRequest(
                reason=f"{value[:100]!r} is no network; write it like 192.0.2.0/24"
            ) from None
    return tuple(dict.fromkeys(found))


def _check_count(field: str, values: Sequence[str]) -> None:
    if len(values) > _MOST_ENTRIES:
        raise errors.InvalidRequest(
            reason=f"a token may be restricted to {_MOST_ENTRIES} {field} at most"
        )
