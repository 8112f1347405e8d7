"""Profiles: what users say of themselves, their password and their second factor.

A second factor is there once it was confirmed by a code; until then its secret is kept and asks
nobody for anything. Whoever has one needs it for every change here, and to take it away.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime

from proxy import errors
from proxy.npm import totp, users
from proxy.npm.profile_requests import DISABLE, ProfileChange
from proxy.registry.people.accounts import Hashes
from proxy.registry.people.callers import Caller, Passwords
from proxy.registry.people.permissions import Permissions
from proxy.registry.people.second_factor import SecondFactor, hash_of
from proxy.storage.identity import People, UserRecord

_RECOVERY_CODES = 10
# 80 bits: long enough to be kept as a plain hash. At a prompt for a code npm takes digits, however
# many, and of hex digits 64 only.
_RECOVERY_DIGITS = 24


class Profiles:
    """The profile of whoever asks."""

    def __init__(
        self,
        *,
        people: People,
        permissions: Permissions,
        passwords: Passwords,
        hashes: Hashes,
        second_factor: SecondFactor,
        clock: Callable[[], datetime],
    ) -> None:
        self._people = people
        self._permissions = permissions
        self._passwords = passwords
        self._hashes = hashes
        self._second_factor = second_factor
        self._clock = clock

    async def own(self, caller: Caller) -> UserRecord:
        """The caller themselves."""
        user = await self._people.user(caller.require())
        if user is None:
            raise errors.NotFound(reason="your account is not there any more")
        return user

    async def change(self, caller: Caller, change: ProfileChange) -> UserRecord:
        """Say something else, or take another password, which ends every other login.

        Raises WrongPassword, Unprocessable, and as the judges do.
        """
        name = self._permissions.account_of(caller)
        if change.password is not None:
            old, new = change.password
            await self._require_password(caller, old)
            users.check_password(new, name)
        await self._permissions.require_account(caller)
        await self._say(caller, change)
        if change.password is not None:
            await self._replace_password(caller, change.password[1])
        return await self.own(caller)

    async def change_factor(self, caller: Caller, password: str, mode: str) -> str | None:
        """Begin with a second factor, give it another mode, or take it away (`DISABLE`).

        Returns the `otpauth://` address of a new one, which has to be confirmed. Raises
        WrongPassword, and as the judges do.
        """
        self._permissions.account_of(caller)
        await self._require_password(caller, password)
        await self._permissions.require_account(caller)
        # Read after the code was used up: it may have been one of those to recover with.
        user, deed = await self.own(caller), caller.deed(self._clock())
        if mode == DISABLE:
            if user.totp_secret is not None:
                await self._people.set_totp(user.name, None, None, deed)
            return None
        if user.totp_mode is not None:
            kept = user.recovery_hashes
            await self._people.set_totp(user.name, user.totp_secret, mode, deed, kept)
            return None
        secret = totp.new_secret()
        await self._people.set_totp(user.name, secret, None, deed, asked=mode)
        return totp.address(secret, user.name)

    async def confirm_factor(self, caller: Caller, code: str) -> list[str]:
        """Put the second factor in force; returns codes to recover with, each good once.

        Raises Unprocessable for a wrong code, InvalidRequest if none was begun.
        """
        self._permissions.account_of(caller)
        user = await self.own(caller)
        if user.totp_mode is not None or user.totp_asked is None:
            raise errors.InvalidRequest(
                reason="tfa: no second factor waits to be confirmed: npm profile enable-2fa"
            )
        if not await self._second_factor.is_good(user, code, caller):
            raise errors.Unprocessable(
                field="tfa",
                reason="the code is wrong; see whether the clock of your device is right, then "
                "begin again: npm profile enable-2fa",
            )
        codes = [_recovery_code() for _ in range(_RECOVERY_CODES)]
        await self._people.set_totp(
            user.name,
            user.totp_secret,
            user.totp_asked,
            caller.deed(self._clock()),
            [hash_of(each) for each in codes],
        )
        return codes

    async def _say(self, caller: Caller, change: ProfileChange) -> None:
        user = await self.own(caller)
        said = {**user.profile, **change.said}
        email = said.pop("email", user.email)
        profile = {key: text for key, text in said.items() if text}
        if (email, profile) != (user.email, dict(user.profile)):
            deed = caller.deed(self._clock())
            await self._people.set_profile(user.name, email, profile, deed)

    async def _replace_password(self, caller: Caller, password: str) -> None:
        hashed = await self._hashes.hash(password)
        deed = caller.deed(self._clock())
        await self._people.set_password(deed.user, hashed, deed)

    async def _require_password(self, caller: Caller, password: str) -> None:
        if await self._passwords.check(caller.require(), password, caller.client_ip) is None:
            raise errors.WrongPassword(reason="the password is wrong")


def _recovery_code() -> str:
    return f"{secrets.randbelow(10**_RECOVERY_DIGITS):0{_RECOVERY_DIGITS}}"
