"""Who may do what: the one place that says so, for every story.

A caller may do something with a name if all of these say so, in this order:

1. a token they came with is not restricted to other packages or, for a write, to reading;
2. the name lives here (a write; a read goes to wherever it lives);
3. the rule's list for the action names the caller (`read` for every action: who may not read a
   package is told that it does not exist). Until here nobody has looked whether there is one, so a
   refusal is the same of a name that is free and of one that is taken;
4. the package, if it exists: a restricted one is read by its owners and collaborators, and any is
   written to by its owners and by collaborators with the permission to write;
5. for a write: the second factor, where the account asks for one.

Administrators pass 3 and 4. Reading what comes from an uplink asks only for 3. A write is told what
its token is not for, which says nothing of the package; a read is told that there is no such
package.

What is about an organisation and no package (its members, its teams) goes by the caller's role in
it. Who has none is told that it does not exist; administrators own every one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from proxy import errors
from proxy.npm.names import PackageName
from proxy.npm.policy import EVERYBODY, Action, Origin, covers_caller
from proxy.registry.people.callers import Caller
from proxy.registry.routing import Guard, Routing
from proxy.storage.hosting import Access, HostedHead, HostedIndex
from proxy.storage.identity import People, Permission, Role, TokenRecord

_RANKS = (Role.DEVELOPER, Role.ADMIN, Role.OWNER)

# Of packages judged in a row, before others have their turn: a millisecond or two.
_AT_ONCE = 200


class Shown(Protocol):
    """What decides whether a package is shown: `HostedHead` and `SearchRow` have it."""

    @property
    def name(self) -> str: ...

    @property
    def access(self) -> Access: ...

    @property
    def owners(self) -> Sequence[str]: ...


class SecondFactor(Protocol):
    """Checks the one-time password a caller sent."""

    async def require(self, caller: Caller) -> None:
        """Raises OneTimePasswordRequired, or TooManyRequests, unless the caller's is good."""

    async def require_if_set(self, caller: Caller) -> None:
        """As `require`, for a caller who has confirmed a second factor."""


class Permissions:
    """Judges callers by the rules in force and by what is kept of packages."""

    def __init__(
        self,
        *,
        routing: Routing,
        hosted: HostedIndex,
        people: People,
        second_factor: SecondFactor,
    ) -> None:
        self._routing = routing
        self._hosted = hosted
        self._people = people
        self._second_factor = second_factor

    async def require_read(self, caller: Caller, name: PackageName) -> Origin:
        """Where `name` lives, for a caller who may read it. Raises PackageNotFound for others."""
        guard = await self._routing.guard()
        origin = guard.origin_of(name.full)
        if not origin.takes_versions:
            listed = guard.rule_of(name.full).listed(Action.READ)
            if EVERYBODY not in listed:
                self._require_known(caller)
            if not (caller.is_admin or covers_caller(listed, caller.user, caller.groups)):
                raise errors.PackageNotFound(name=name.full)
            return origin
        if not await self._may_read(guard, caller, name.full):
            raise errors.PackageNotFound(name=name.full)
        return origin

    async def may_read(self, caller: Caller, name: str) -> bool:
        """Whether a package that lives here may be shown to the caller."""
        return await self._may_read(await self._routing.guard(), caller, name)

    async def readable_names(self, caller: Caller, names: Iterable[str]) -> list[str]:
        """Those names under which the caller sees a package that lives here, in their order."""
        guard, found = await self._routing.guard(), []
        for number, name in enumerate(names, 1):
            if await self._sees(guard, caller, name):
                found.append(name)
            if not number % _AT_ONCE:
                await asyncio.sleep(0)
        return found

    async def require(self, caller: Caller, action: Action, name: PackageName) -> str:
        """The caller's name, if they may write to `name`.

        Raises Unauthenticated, NotHosted, PackageNotFound (they may not even read it), Forbidden,
        OneTimePasswordRequired.
        """
        user = await self._require_listed(caller, action, name)
        await self._require_write(caller, user, name, await self._hosted.head(name.full))
        await self._require_proof(caller)
        return user

    async def require_change(self, caller: Caller, action: Action, name: PackageName) -> str:
        """As `require`, of a package that is there: PackageNotFound for a name that is free, too.

        So who may not read a restricted one is told of it what they are told of nothing.
        """
        user = await self._require_listed(caller, action, name)
        head = await self._hosted.head(name.full)
        if head is None or head.unpublished_at is not None:
            raise errors.PackageNotFound(name=name.full)
        await self._require_write(caller, user, name, head)
        await self._require_proof(caller)
        return user

    async def sees_package(self, caller: Caller, name: PackageName) -> bool:
        """Whether something is published here under `name` that the caller may read."""
        return await self._sees(await self._routing.guard(), caller, name.full)

    def require_token(self, caller: Caller, name: PackageName) -> str:
        """The caller's name, if what they came with writes anything to `name`.

        Says nothing of the package. Raises Unauthenticated, Forbidden.
        """
        user, token = caller.require(), caller.token
        if token is not None and token.is_readonly:
            raise errors.Forbidden(reason="this token is for reading only")
        if token is not None and not _reaches(token, name.full):
            raise errors.Forbidden(reason=f"this token is not for {name.full}")
        return user

    async def require_reader(self, caller: Caller, name: PackageName) -> str:
        """The caller's name, for what every reader may write to `name`: a star of their own.

        Raises Unauthenticated, NotHosted, PackageNotFound, Forbidden (the token's restrictions),
        OneTimePasswordRequired.
        """
        user = self.require_token(caller, name)
        origin = await self.require_read(caller, name)
        if not origin.takes_versions:
            raise errors.NotHosted(name=name.full, origin=str(origin))
        await self._require_proof(caller)
        return user

    async def require_second_factor(self, caller: Caller) -> str:
        """The caller's name, for a write that is about no package (teams, organisations).

        Raises Unauthenticated, Forbidden (a token to read with, or one for certain packages),
        OneTimePasswordRequired.
        """
        user = caller.require()
        _require_whole(caller.token)
        await self._require_proof(caller)
        return user

    def admin_of(self, caller: Caller) -> str:
        """The caller's name, if they look after this server. Raises Unauthenticated, Forbidden."""
        user = caller.require()
        if not caller.is_admin:
            raise errors.Forbidden(reason="only an administrator (auth.admins) may do this")
        return user

    async def require_admin(self, caller: Caller) -> str:
        """The caller's name, for a change of the server. Raises as `require_second_factor`, too."""
        self.admin_of(caller)
        return await self.require_second_factor(caller)

    def account_of(self, caller: Caller) -> str:
        """The caller's name, if what they came with is as good as they are themselves.

        Whoever changes an account could make a token without restrictions: a restricted one may
        not. Raises Unauthenticated, Forbidden.
        """
        user = caller.require()
        _require_whole(caller.token)
        if caller.token is not None and caller.token.cidrs:
            raise errors.Forbidden(reason="this token is for certain addresses only")
        return user

    async def require_account(self, caller: Caller) -> str:
        """The caller's name, for a change of their own account: profile, password, tokens.

        It asks for the second factor of whoever has one, in either mode and of every token. Raises
        Unauthenticated, Forbidden, OneTimePasswordRequired, TooManyRequests.
        """
        user = self.account_of(caller)
        if not caller.proof.is_given:
            await self._second_factor.require_if_set(caller)
            caller.proof.is_given = True
        return user

    async def role_in(self, caller: Caller, org: str) -> Role | None:
        """What the caller is in an organisation, whether it has members or not."""
        if caller.is_admin:
            return Role.OWNER
        return None if caller.user is None else (await self._people.orgs_of(caller.user)).get(org)

    async def require_role(self, caller: Caller, org: str, least: Role) -> str:
        """The caller's name, if they are `least` or more in an organisation.

        Raises Unauthenticated, NotFound for who is not in it, Forbidden. It does not ask for the
        second factor, which is used up by asking.
        """
        user = caller.require()
        role = await self.role_in(caller, org)
        if role is None:
            raise errors.NotFound(reason=no_organisation(org))
        if _RANKS.index(role) < _RANKS.index(least):
            raise errors.Forbidden(reason=f"only {_titles(least)} of {org} may do this")
        if least is not Role.DEVELOPER:
            _require_whole(caller.token)
        return user

    async def _require_listed(self, caller: Caller, action: Action, name: PackageName) -> str:
        """The caller's name, if token and rules let them; whatever is kept of the package."""
        user = self.require_token(caller, name)
        guard = await self._routing.guard()
        origin = guard.origin_of(name.full)
        if not origin.takes_versions:
            await self.require_read(caller, name)
            raise errors.NotHosted(name=name.full, origin=str(origin))
        if not self._may_read_name(guard, caller, name.full):
            raise errors.PackageNotFound(name=name.full)
        listed = guard.rule_of(name.full).listed(action)
        if not (caller.is_admin or covers_caller(listed, user, caller.groups)):
            raise errors.Forbidden(reason=f"{user} may not {action.value} {name.full} (rules)")
        return user

    async def _require_write(
        self, caller: Caller, user: str, name: PackageName, head: HostedHead | None
    ) -> None:
        """Raise unless what is kept of the package lets the caller write to it."""
        if not await self._may_read_head(caller, head):
            raise errors.PackageNotFound(name=name.full)
        if not await self._may_write(caller, user, head):
            raise errors.Forbidden(reason=f"{user} is no owner of {name.full}")

    async def _require_proof(self, caller: Caller) -> None:
        if caller.needs_otp and not caller.proof.is_given:
            await self._second_factor.require(caller)
            caller.proof.is_given = True

    async def readable(self, caller: Caller, packages: Sequence[Shown]) -> Collection[str]:
        """The names of those of many packages that may be shown to the caller, as `may_read` says.

        Whom we could not look up is shown what everybody may read.
        """
        guard = await self._routing.guard()
        user = None if caller.fault is not None else caller.user
        granted = {} if user is None else await self._people.packages_of(user)
        found = set()
        for number, each in enumerate(packages):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            name, is_open = each.name, each.access is Access.PUBLIC or caller.is_admin
            is_known = caller.fault is None or EVERYBODY in guard.rule_of(name).listed(Action.READ)
            if (
                is_known
                and self._may_read_name(guard, caller, name)
                and (is_open or (user is not None and (user in each.owners or name in granted)))
            ):
                found.add(name)
        return found

    async def _may_read(self, guard: Guard, caller: Caller, name: str) -> bool:
        if not self._may_read_name(guard, caller, name):
            return False
        return await self._may_read_head(caller, await self._hosted.head(name))

    async def _sees(self, guard: Guard, caller: Caller, name: str) -> bool:
        if not self._may_read_name(guard, caller, name):
            return False
        head = await self._hosted.head(name)
        is_there = head is not None and head.unpublished_at is None
        return is_there and await self._may_read_head(caller, head)

    async def _may_read_head(self, caller: Caller, head: HostedHead | None) -> bool:
        """What the package says of who reads it, if there is one."""
        if head is None or head.access is Access.PUBLIC or caller.is_admin:
            return True
        self._require_known(caller)
        if caller.user is None:
            return False
        if caller.user in head.owners:
            return True
        return await self._people.permission_of(caller.user, head.name) is not None

    def _may_read_name(self, guard: Guard, caller: Caller, name: str) -> bool:
        """What the rules and the token say, whatever is kept of the package."""
        listed = guard.rule_of(name).listed(Action.READ)
        if EVERYBODY not in listed:
            self._require_known(caller)
        if not (caller.is_admin or covers_caller(listed, caller.user, caller.groups)):
            return False
        return caller.token is None or _reaches(caller.token, name)

    @staticmethod
    def _require_known(caller: Caller) -> None:
        # Whom we could not look up is not told that there is nothing: that would be believed.
        if caller.fault is not None:
            raise caller.fault

    async def _may_write(self, caller: Caller, user: str, head: HostedHead | None) -> bool:
        if head is None or caller.is_admin or user in head.owners:
            return True
        return await self._people.permission_of(user, head.name) is Permission.WRITE


def no_organisation(org: str) -> str:
    """What they are told who are in no such organisation, whether there is one or not."""
    return (
        f"there is no organisation {org}, or you are not in it;"
        f" an administrator of this registry starts one: npm org set {org} NAME owner"
    )


def _titles(least: Role) -> str:
    return "an owner" if least is Role.OWNER else "an owner or admin"


def _require_whole(token: TokenRecord | None) -> None:
    if token is None:
        return
    if token.is_readonly:
        raise errors.Forbidden(reason="this token is for reading only")
    if token.packages or token.scopes:
        raise errors.Forbidden(reason="this token is for certain packages only")


def _reaches(token: TokenRecord, name: str) -> bool:
    """Whether the token's own list of packages and scopes, if it has one, names `name`."""
    if not token.packages and not token.scopes:
        return True
    scope = name.partition("/")[0] if name.startswith("@") else None
    return name in token.packages or scope in token.scopes
