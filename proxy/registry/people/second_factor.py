"""The second factor: a one-time password from an authenticator, or a recovery code.

Five wrong ones in five minutes, and none of that user is looked at until the oldest is that old. A
code that was right and is used up is no guess, and is not counted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from datetime import datetime

from proxy import errors
from proxy.npm import totp
from proxy.registry.people import confirmations
from proxy.registry.people.callers import Caller
from proxy.registry.people.limits import SECOND_FACTORS, Limits
from proxy.storage.identity import People, UserRecord


class SecondFactor:
    """Checks one-time passwords, each of which is good once."""

    def __init__(self, *, people: People, limits: Limits, clock: Callable[[], datetime]) -> None:
        self._people = people
        self._limits = limits
        self._clock = clock
        self._one_at_a_time = asyncio.Lock()

    async def require(self, caller: Caller) -> None:
        """Raises OneTimePasswordRequired unless the caller sent a good one; TooManyRequests."""
        user = await self._people.user(caller.require())
        if user is None or not await self.is_good(user, caller.otp, caller):
            raise errors.OneTimePasswordRequired(user=caller.require())

    async def require_if_set(self, caller: Caller) -> None:
        """As `require`, of a caller who has confirmed a second factor; for changes to accounts."""
        user = await self._people.user(caller.require())
        if user is not None and user.totp_mode is not None:
            await self.require(caller)

    async def is_good(self, user: UserRecord, code: str | None, caller: Caller) -> bool:
        """Whether `code` is the user's; it is used up by asking. Raises TooManyRequests."""
        if user.totp_secret is None or not code:
            return False
        now, key = self._clock(), f"second factor {user.name}"
        if confirmations.is_one(code):
            return await confirmations.spend(self._people, user.name, code, now)
        async with self._one_at_a_time:
            await self._limits.admit(SECOND_FACTORS, key)
            step = totp.step_of(user.totp_secret, code, now)
            if step is not None:
                return await self._people.spend_totp(user.name, step)
            is_good = await self._people.spend_recovery(user.name, hash_of(code), caller.deed(now))
            if not is_good:
                await self._limits.failed(key)
            return is_good


def hash_of(code: str) -> str:
    """What is kept of a recovery code, which is random: its sha256, hex."""
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
