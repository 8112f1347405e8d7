"""The second factor: a one-time password from an authenticator, or a recovery code."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime

from proxy import errors
from proxy.npm import totp
from proxy.registry import confirmations
from proxy.registry.callers import Caller
from proxy.storage.identity import People, UserRecord


class SecondFactor:
    """Checks one-time passwords, each of which is good once."""

    def __init__(self, *, people: People, clock: Callable[[], datetime]) -> None:
        self._people = people
        self._clock = clock

    async def require(self, caller: Caller) -> None:
        """Raises OneTimePasswordRequired unless the caller sent a good one."""
        user = await self._people.user(caller.require())
        if user is None or not await self.is_good(user, caller.otp, caller):
            raise errors.OneTimePasswordRequired(user=caller.require())

    async def is_good(self, user: UserRecord, code: str | None, caller: Caller) -> bool:
        """Whether `code` is the user's; it is used up by asking."""
        if user.totp_secret is None or not code:
            return False
        now = self._clock()
        if confirmations.is_one(code):
            return await confirmations.spend(self._people, user.name, code, now)
        step = totp.step_of(user.totp_secret, code, now)
        if step is not None:
            return await self._people.spend_totp(user.name, step)
        code_hash = hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
        return await self._people.spend_recovery(user.name, code_hash, caller.deed(now))
