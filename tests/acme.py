"""An organisation that tests begin with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from proxy.storage.hosting import Deed
from proxy.storage.identity import Role
from tests.town import Person, Town

MEMBERS = "/-/org/acme/user"
TEAMS = "/-/org/acme/team"
CORE = "/-/team/acme/core"


@dataclass(frozen=True)
class Acme:
    """acme: ann owns it, adam is an admin, dora a developer; eve is not in it, and root is above.

    The team core is not made yet.
    """

    town: Town
    root: Person
    ann: Person
    adam: Person
    dora: Person
    eve: Person

    @classmethod
    async def of(cls, town: Town) -> Acme:
        """The organisation in a registry whose administrator is root."""
        people = [await town.person(name) for name in ("root", "ann", "adam", "dora", "eve")]
        deed = Deed("root", datetime.now(UTC))
        for user, role in (("ann", Role.OWNER), ("adam", Role.ADMIN), ("dora", Role.DEVELOPER)):
            await town.people.set_member("acme", user, role, deed)
        return cls(town, *people)
