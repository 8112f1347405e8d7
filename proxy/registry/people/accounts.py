"""Accounts: logging in with a password, signing up, logging out, and who somebody is.

A client that logs in and one that signs up send the same thing. So a name that is known is logged
in, if the password is right; one that is not is signed up, if that is allowed (`auth.signup`). Not
under a name that the configuration gives rights to: whoever came first would have them.

Where nobody may sign up, nobody is told whether a name is known: what is answered to a wrong
password and to an unknown name is the same, and takes as long.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from proxy import errors
from proxy.npm import tokens as form
from proxy.npm import users
from proxy.registry.people.callers import Caller, Passwords
from proxy.registry.people.limits import Limit, Limits
from proxy.registry.people.second_factor import SecondFactor
from proxy.registry.people.tokens import Tokens
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import People, TokenKind, UserRecord

# An office that begins to use this registry signs up from one address.
SIGN_UPS = Limit(30, timedelta(hours=1))
_WRONG = "the user name or the password is wrong"
_RESERVED = (
    "nobody can sign up as {name}; an administrator makes that account: packhouse user add {name}"
)
_CLOSED = "nobody can sign up here; an administrator makes accounts: packhouse user add NAME"


class Hashes(Protocol):
    """Makes hashes of passwords (storage/passwords.py)."""

    async def hash(self, password: str) -> str: ...


class Accounts:
    """The users of this registry, as they come and go."""

    def __init__(
        self,
        *,
        people: People,
        passwords: Passwords,
        hashes: Hashes,
        second_factor: SecondFactor,
        tokens: Tokens,
        limits: Limits,
        can_sign_up: bool,
        is_reserved: Callable[[str], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._people = people
        self._passwords = passwords
        self._hashes = hashes
        self._second_factor = second_factor
        self._tokens = tokens
        self._limits = limits
        self._can_sign_up = can_sign_up
        self._is_reserved = is_reserved
        self._clock = clock

    async def log_in(
        self,
        name: str,
        password: str,
        *,
        email: str | None = None,
        otp: str | None = None,
        client_ip: str = "",
    ) -> tuple[UserRecord, str]:
        """The user and a new token of theirs; who is new is signed up if that is allowed.

        Who sends an e-mail address means to sign up. Raises WrongPassword, Forbidden (they mean
        to, and it is not allowed), Unprocessable, OneTimePasswordRequired, TooManyRequests.
        """
        user = await self._known_or_new(name, password, email, client_ip)
        if user.totp_mode is not None:
            caller = Caller(client_ip=client_ip, user=user.name)
            if not await self._second_factor.is_good(user, otp, caller):
                raise errors.OneTimePasswordRequired
        deed = Deed(user.name, self._clock(), client_ip or None)
        token, record = await self._tokens.issue(user.name, deed, kind=TokenKind.LOGIN)
        if not await self._is_still(user, password, client_ip):
            await self._tokens.revoke(user.name, record.key, deed)
            raise errors.WrongPassword(reason=_WRONG)
        await self._people.note(Action.LOGIN, user.name, deed, {"change": "with a password"})
        return user, token

    async def sign_up(
        self, name: str, password: str, email: str | None, client_ip: str
    ) -> UserRecord:
        """A new user. Raises Forbidden, Unprocessable, Conflict (taken), TooManyRequests."""
        if not self._can_sign_up:
            raise errors.Forbidden(reason=_CLOSED)
        users.check_new(name)
        if self._is_reserved(name):
            raise errors.Forbidden(reason=_RESERVED.format(name=name))
        users.check_password(password, name)
        if email is not None:
            users.check_email(email)
        key = f"sign-up address {client_ip}"
        await self._limits.admit(SIGN_UPS, key)
        await self._limits.failed(key)
        now = self._clock()
        user = UserRecord(
            name=name,
            created_at=now,
            updated_at=now,
            email=email,
            password_hash=await self._hashes.hash(password),
        )
        await self._people.add_user(user, Deed(name, now, client_ip or None))
        return user

    async def log_out(self, caller: Caller, token: str) -> None:
        """Revoke a token of the caller's own, whole. Raises Unauthenticated, NotFound.

        Who has a token may always end it: no restriction and no second factor keeps them from it.
        """
        deed = caller.deed(self._clock())
        is_one = form.is_sound(token)
        if not is_one or not await self._tokens.revoke(deed.user, token, deed):
            raise errors.NotFound(reason="you have no such token; it may have been revoked before")

    async def user(self, caller: Caller, name: str) -> UserRecord:
        """Somebody, as everybody who is logged in may know them. Raises NotFound."""
        caller.require()
        found = await self._people.user(name)
        if found is None:
            raise errors.NotFound(reason=f"there is no user {name[:100]}")
        return found

    async def _is_still(self, user: UserRecord, password: str, client_ip: str) -> bool:
        """Whether it is their password now, too, when there is a token that a new one would end.

        Checking takes long enough for another to be set meanwhile, which ends all logins but this.
        """
        now = await self._people.user(user.name)
        if now is not None and not now.is_disabled and now.password_hash == user.password_hash:
            return True
        return await self._passwords.check(user.name, password, client_ip) is not None

    async def _known_or_new(
        self, name: str, password: str, email: str | None, client_ip: str
    ) -> UserRecord:
        if self._can_sign_up and await self._people.user(name) is None:
            try:
                return await self.sign_up(name, password, email, client_ip)
            except errors.Conflict:
                # Taken in another case, or a moment ago by the same person's other request.
                pass
        user = await self._passwords.check(name, password, client_ip)
        if user is not None:
            return user
        if self._can_sign_up:
            raise errors.WrongPassword(reason=f"{_WRONG}, or the name is taken")
        if email is not None:
            raise errors.Forbidden(reason=f"{_WRONG}; {_CLOSED}")
        raise errors.WrongPassword(reason=f"{_WRONG}; {_CLOSED}")
