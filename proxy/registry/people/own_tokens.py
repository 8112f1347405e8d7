"""What people do with their own tokens: see them, make them, revoke them.

A token is made by who can do everything their account can: by a login, not by a token that is
restricted in any way, and after the password and the second factor were asked for again. So nobody
who has found a token makes more of it than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy import errors
from proxy.npm.token_requests import TokenRequest
from proxy.registry.people.callers import Caller, Passwords
from proxy.registry.people.permissions import Permissions
from proxy.registry.people.tokens import Tokens
from proxy.storage.identity import TokenKind, TokenRecord


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the tokens, how many there are, and whether more come after these."""

    tokens: Sequence[TokenRecord]
    total: int
    has_more: bool


class OwnTokens:
    """The tokens of whoever asks."""

    def __init__(
        self,
        *,
        permissions: Permissions,
        passwords: Passwords,
        tokens: Tokens,
        clock: Callable[[], datetime],
    ) -> None:
        self._permissions = permissions
        self._passwords = passwords
        self._tokens = tokens
        self._clock = clock

    def now(self) -> datetime:
        """The time by which a request is read that asks for days."""
        return self._clock()

    async def page(self, caller: Caller, number: int, length: int) -> Page:
        """A page of them, newest first; the first is number 0.

        A restricted token is told of itself alone: whoever has found it does not learn which others
        there are, and what those are good for.
        """
        found, own = await self._tokens.list(caller.require()), caller.token
        if own is not None and own.is_restricted:
            found = [token for token in found if token.key == own.key]
        start = number * length
        end = start + length
        return Page(found[start:end], len(found), has_more=end < len(found))

    async def create(self, caller: Caller, request: TokenRequest) -> tuple[str, TokenRecord]:
        """A new token. Raises Forbidden, WrongPassword, InvalidRequest, and as the judges do."""
        user = self._permissions.account_of(caller)
        await self._require_password(caller, user, request.password)
        await self._permissions.require_account(caller)
        return await self._tokens.issue(
            user,
            caller.deed(self._clock()),
            kind=TokenKind.GRANULAR,
            name=request.name,
            description=request.description,
            is_readonly=request.is_readonly,
            is_otp_exempt=request.is_otp_exempt,
            packages=request.packages,
            scopes=request.scopes,
            cidrs=request.cidrs,
            expires_at=request.expires_at,
        )

    async def revoke(self, caller: Caller, which: str) -> None:
        """Revoke one by its key, its hash or itself. Raises NotFound, and as the judges do."""
        deed = caller.deed(self._clock())
        await self._permissions.require_account(caller)
        if not await self._tokens.revoke(deed.user, which, deed):
            raise errors.NotFound(reason="you have no such token; npm token list shows yours")

    async def _require_password(self, caller: Caller, user: str, password: str | None) -> None:
        if not password:
            raise errors.WrongPassword(reason="a token is made with your password: send it along")
        if await self._passwords.check(user, password, caller.client_ip) is None:
            raise errors.WrongPassword(reason="the password is wrong")
