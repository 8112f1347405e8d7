"""Who is calling, as every story is told.

A token is looked up by its hash, once: what was found is remembered until anybody has written to
the database of people, which its change counter tells. So a request costs a hash and a look at that
counter, and a token that was revoked is nobody's at the next request, on every worker.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from proxy import errors
from proxy.npm import tokens
from proxy.registry.people.limits import BAD_CREDENTIALS, Limits
from proxy.storage.hosting import Deed
from proxy.storage.identity import People, TokenRecord, UserRecord

_MOST_REMEMBERED = 16_384


@dataclass(slots=True)
class Proof:
    """Whether a request's one-time password was found good.

    A password is good once: it is checked once, however many things the request does.
    """

    is_given: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks, known by `user` or unknown (None).

    `groups` are the organisations (`acme`) and teams (`acme:core`) they are in; `token` is what
    they came with, None after a password. `is_rejected` says that they sent credentials that are
    not good: they are nobody then, and reads of public packages go on. `fault` is set if their
    credentials could not be looked up; `otp` is the one-time password they sent, and `needs_otp`
    says that a write has to have one.
    """

    client_ip: str = ""
    user: str | None = None
    groups: frozenset[str] = frozenset()
    is_admin: bool = False
    token: TokenRecord | None = None
    is_rejected: bool = False
    fault: errors.RegistryError | None = None
    otp: str | None = None
    needs_otp: bool = False
    proof: Proof = field(default_factory=Proof, compare=False, repr=False)

    def require(self) -> str:
        """The user's name. Raises Unauthenticated, or the fault that kept us from knowing it."""
        if self.fault is not None:
            raise self.fault
        if self.user is None:
            raise errors.Unauthenticated(
                reason="the credentials are not valid here (any more); log in again"
                if self.is_rejected
                else "you have to log in first: npm login"
            )
        return self.user

    def deed(self, at: datetime) -> Deed:
        """What they are about to do, for the audit log. Raises as `require`."""
        key = None if self.token is None else self.token.key
        return Deed(self.require(), at, self.client_ip or None, key)


ANONYMOUS = Caller()


class Passwords(Protocol):
    """Checks a name and a password, within limits (accounts.py)."""

    async def check(self, user: str, password: str, client_ip: str) -> UserRecord | None:
        """The user, or None. Raises TooManyRequests."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What credentials turned out to be: nobody's, or a user's (with a token, or a password)."""

    user: UserRecord | None
    token: TokenRecord | None = None
    groups: frozenset[str] = frozenset()


class Callers:
    """Finds out who sent a request."""

    def __init__(
        self,
        *,
        people: People,
        passwords: Passwords,
        limits: Limits,
        admins: Collection[str],
        clock: Callable[[], datetime],
    ) -> None:
        self._people = people
        self._passwords = passwords
        self._limits = limits
        self._admins = frozenset(admins)
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._revision: int | None = None
        self._has_looked = False
        # Passwords are remembered by a hash that is of no use outside this process.
        self._salt = secrets.token_bytes(16)
        self._used: set[str] = set()

    async def resolve(
        self, authorization: str | None, client_ip: str, otp: str | None = None
    ) -> Caller:
        """Who sent these credentials. Never raises: bad ones are `is_rejected`."""
        if authorization is None:
            return Caller(client_ip=client_ip, otp=otp)
        kind, _, value = authorization.partition(" ")
        try:
            known = await self._of(kind.lower(), value.strip(), client_ip)
        except errors.RegistryError as fault:
            return Caller(client_ip=client_ip, otp=otp, fault=fault)
        if known is None or not self._is_good(known, client_ip):
            return Caller(client_ip=client_ip, otp=otp, is_rejected=True)
        return self._caller(known, client_ip, otp)

    async def refused(self, caller: Caller) -> None:
        """Count that this caller had to be known and is not. Raises TooManyRequests.

        Only who sent something wrong comes here; a token that is good goes on being so, whatever
        else comes from its address.
        """
        key = f"credentials address {caller.client_ip}"
        await self._limits.admit(BAD_CREDENTIALS, key)
        await self._limits.failed(key)

    async def flush(self) -> None:
        """Write down which tokens were used since the last time; never on the way of a request."""
        for _ in range(len(self._used)):
            await self._people.mark_token_used(self._used.pop(), self._clock())

    async def _of(self, kind: str, value: str, client_ip: str) -> _Known | None:
        self._forget_if_changed()
        if kind == "bearer":
            return await self._by_token(value)
        if kind == "basic":
            return await self._by_password(value, client_ip)
        return None

    def _forget_if_changed(self) -> None:
        # Requests that wait at the same turn of the loop share one look: all of them came before
        # it, so that none is answered by what was true before it was sent.
        if self._has_looked:
            return
        revision = self._people.revision()
        if revision != self._revision or len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
            self._revision = revision
        self._has_looked = True
        asyncio.get_running_loop().call_soon(self._look_again)

    def _look_again(self) -> None:
        self._has_looked = False

    async def _by_token(self, token: str) -> _Known | None:
        token_hash = tokens.hash_of(token)
        known = self._known.get(token_hash)
        if known is None:
            if not tokens.is_sound(token):
                return None
            found = await self._people.token(token_hash)
            if found is None:
                return None
            record, user = found
            known = _Known(user, record, await self._groups(user.name))
            self._known[token_hash] = known
        self._used.add(token_hash)
        return known

    async def _by_password(self, value: str, client_ip: str) -> _Known | None:
        try:
            text = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        name, _, password = text.partition(":")
        key = hashlib.blake2b(text.encode(), key=self._salt).hexdigest()
        known = self._known.get(key)
        if known is None:
            revision = self._revision
            user = await self._passwords.check(name, password, client_ip)
            if user is None:
                return None
            known = _Known(user, None, await self._groups(name))
            # It took a while: what was changed meanwhile is asked for anew at the next request.
            if self._revision == revision == self._people.revision():
                self._known[key] = known
        return known

    async def _groups(self, user: str) -> frozenset[str]:
        orgs = await self._people.orgs_of(user)
        teams = await self._people.teams_of(user)
        return frozenset(orgs) | {f"{org}:{team}" for org, team in teams}

    def _is_good(self, known: _Known, client_ip: str) -> bool:
        if known.user is None or known.user.is_disabled:
            return False
        token = known.token
        if token is None:
            # A password alone is not enough for who has a second factor: they log in.
            return known.user.totp_mode is None
        if token.expires_at is not None and token.expires_at <= self._clock():
            return False
        return not token.cidrs or _is_within(client_ip, token.cidrs)

    def _caller(self, known: _Known, client_ip: str, otp: str | None) -> Caller:
        user = known.user
        if user is None:
            return Caller(client_ip=client_ip, otp=otp, is_rejected=True)
        is_exempt = known.token is not None and known.token.is_otp_exempt
        return Caller(
            client_ip=client_ip,
            user=user.name,
            groups=known.groups,
            is_admin=user.name in self._admins,
            token=known.token,
            otp=otp,
            needs_otp=user.totp_mode == "auth-and-writes" and not is_exempt,
        )


def _is_within(client_ip: str, cidrs: Collection[str]) -> bool:
    try:
        address = ipaddress.ip_address(client_ip)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(cidr, strict=False) for cidr in cidrs)
