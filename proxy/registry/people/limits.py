"""How often one may fail: counted for all workers, by user and by address.

A wrong password costs a failure of the user and one of the address; ten of either in five minutes,
and nobody is checked for that user or from that address until the oldest is five minutes old. So
nobody is locked out for good, and a password cannot be tried out. Source: the limits of PyPI.

Who is let in has not failed yet: a thousand tries at the same moment would all be let in. So a
worker lets in and checks two passwords at a time, and one second factor (second_factor.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy import errors
from proxy.storage.identity import People, UserRecord
from proxy.storage.passwords import AT_ONCE, Passwords, is_outdated

_log = logging.getLogger(__name__)

# Longer than any name here: what somebody makes up is not kept whole.
_LONGEST_KEY = 256


@dataclass(frozen=True, slots=True)
class Limit:
    """So many failures within so much time."""

    most: int
    within: timedelta


LOGINS = Limit(10, timedelta(minutes=5))
SECOND_FACTORS = Limit(5, timedelta(minutes=5))
BAD_CREDENTIALS = Limit(30, timedelta(minutes=1))


class Limits:
    """Counts failures, and refuses who has had too many."""

    def __init__(self, *, people: People, clock: Callable[[], datetime]) -> None:
        self._people = people
        self._clock = clock

    async def admit(self, limit: Limit, *keys: str) -> None:
        """Raise TooManyRequests if any of `keys` has failed as often as it may."""
        since = self._clock() - limit.within
        for key in keys:
            if await self._people.failures(key, since) >= limit.most:
                raise errors.TooManyRequests(
                    reason="too many failed attempts; wait a few minutes and try again",
                    retry_after=limit.within,
                )

    async def failed(self, *keys: str) -> None:
        """Count a failure of each of `keys`."""
        for key in keys:
            await self._people.add_failure(key, self._clock())


class PasswordCheck:
    """Checks names and passwords, within limits."""

    def __init__(self, *, people: People, passwords: Passwords, limits: Limits) -> None:
        self._people = people
        self._passwords = passwords
        self._limits = limits
        self._room = asyncio.Semaphore(AT_ONCE)

    async def check(self, user: str, password: str, client_ip: str) -> UserRecord | None:
        """The user, if there is one and this is their password. Raises TooManyRequests.

        It takes as long for a user who does not exist. A hash of an old kind becomes a new one.
        """
        keys = (f"login user {user[:_LONGEST_KEY]}", f"login address {client_ip}")
        async with self._room:
            await self._limits.admit(LOGINS, *keys)
            found = await self._people.user(user)
            known = found.password_hash if found and not found.is_disabled else None
            if not await self._passwords.is_right(password, known):
                await self._limits.failed(*keys)
                return None
        if known is not None and is_outdated(known):
            await self._renew(user, password, known)
        return found

    async def _renew(self, user: str, password: str, known: str) -> None:
        try:
            await self._people.renew_hash(user, known, await self._passwords.hash(password))
        except errors.RegistryError as fault:
            # It is as good as it was; the next login tries again.
            _log.warning("a password hash cannot be renewed", extra={"reason": str(fault)})
