"""Uplinks taken offline and back while we serve, by administrators or on the command line.

What the configuration puts offline stays so, whatever is switched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Protocol

from proxy import errors
from proxy.registry.people.callers import Caller
from proxy.registry.people.permissions import Permissions
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import People
from proxy.storage.offline import EVERY_UPLINK, Switch


class Why(Enum):
    """Who says that an uplink is not asked."""

    CONFIGURATION = "configuration"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Asking:
    """Whether an uplink is asked; if not, why, and for a switch since when and by whom."""

    uplink: str
    why: Why | None = None
    since: datetime | None = None
    by: str | None = None

    @property
    def is_offline(self) -> bool:
        """Whether nothing goes to it."""
        return self.why is not None


class Kept(Protocol):
    """Where the switches are kept (storage/offline.py)."""

    def switches(self) -> Sequence[Switch]: ...

    async def switch_on(self, switch: Switch) -> bool: ...

    async def switch_off(self, uplink: str) -> bool: ...


class Switches:
    """The switches of some uplinks; `configured` says which are offline by the configuration."""

    def __init__(self, *, kept: Kept, people: People, configured: Mapping[str, bool]) -> None:
        self._kept = kept
        self._people = people
        self._configured = configured

    def status(self) -> Sequence[Asking]:
        """Each uplink, in the configuration's order."""
        on = {switch.uplink: switch for switch in self._kept.switches()}
        return [
            _asking(uplink, on.get(EVERY_UPLINK) or on.get(uplink), is_configured=is_configured)
            for uplink, is_configured in self._configured.items()
        ]

    async def throw(self, uplink: str | None, *, is_offline: bool, deed: Deed) -> None:
        """Take an uplink offline or back; None is all of them. Again it changes nothing.

        Raises NotFound for an uplink there is not, Conflict where one is to be asked while all are
        offline.
        """
        known = ", ".join(self._configured) or "none"
        if uplink is not None and uplink not in self._configured:
            raise errors.NotFound(reason=f"there is no uplink called {uplink}; known: {known}")
        place = EVERY_UPLINK if uplink is None else uplink
        if is_offline:
            has_changed = await self._kept.switch_on(Switch(place, deed.at, deed.user))
        else:
            self._check_alone(uplink)
            has_changed = await self._kept.switch_off(place)
        if has_changed:
            facts = {"change": "offline" if is_offline else "online"}
            await self._people.note(Action.SWITCH, place, deed, facts)

    def _check_alone(self, uplink: str | None) -> None:
        on = {switch.uplink for switch in self._kept.switches()}
        if uplink is not None and EVERY_UPLINK in on:
            raise errors.Conflict(
                reason=f"all uplinks were switched offline, not {uplink} alone: switch all of them"
                " back, then those offline that have to be"
            )


class Switching:
    """The same for callers, who have to be administrators."""

    def __init__(
        self, *, permissions: Permissions, switches: Switches, clock: Callable[[], datetime]
    ) -> None:
        self._permissions = permissions
        self._switches = switches
        self._clock = clock

    async def status(self, caller: Caller) -> Sequence[Asking]:
        """Each uplink. Raises Unauthenticated, Forbidden."""
        self._permissions.admin_of(caller)
        return self._switches.status()

    async def switch(
        self, caller: Caller, uplink: str | None, *, is_offline: bool
    ) -> Sequence[Asking]:
        """Take an uplink, or all of them, offline or back. It is written to the audit log.

        Raises Unauthenticated, Forbidden, OneTimePasswordRequired, NotFound, Conflict.
        """
        await self._permissions.require_admin(caller)
        deed = caller.deed(self._clock())
        await self._switches.throw(uplink, is_offline=is_offline, deed=deed)
        return self._switches.status()


def _asking(uplink: str, switch: Switch | None, *, is_configured: bool) -> Asking:
    if is_configured:
        return Asking(uplink, Why.CONFIGURATION)
    if switch is None:
        return Asking(uplink)
    return Asking(uplink, Why.SWITCH, switch.at, switch.by)
