"""What is kept of being offline, beside the index: the switches, and what was asked for in vain.

A switch survives a restart and is seen by every process at its next request: throwing it writes `*`
into the change log, upon which all forget the replies that were finished before. With the index
file the switches are lost; what the configuration says is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy.storage import changes, schema
from proxy.storage.database import Connection, Database, ask
from proxy.storage.rows import instant, micros

EVERY_UPLINK = "*"
"""Stands for all of them in a switch; no uplink can be called so."""

_EVERYTHING = "*"  # in the change log
_MOST_MISSING = 10_000


@dataclass(frozen=True, slots=True)
class Switch:
    """An uplink that is not asked: since when, and who said so."""

    uplink: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that was asked for `times` times, the last time `asked_at`, and was not to be had.

    `version` is a version or a dist-tag; empty if nothing of the package is held.
    """

    name: str
    version: str
    times: int
    asked_at: datetime


class SqliteOffline:
    """Switches and missing things in the file of the index, which is opened by that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def revision(self) -> int:
        """A number that differs from the last one if anybody has committed."""
        return self._database.revision()

    def switches(self) -> Sequence[Switch]:
        """The switches that are on. One look-up, on the event loop."""
        rows = self._database.read(schema.SWITCHES)
        return [Switch(uplink, instant(at), by) for uplink, at, by in rows]

    async def switch_on(self, switch: Switch) -> bool:
        """Stop asking; whether anything changed."""
        row = (switch.uplink, micros(switch.at), switch.by)
        return await self._switched(schema.SWITCH_ON, row)

    async def switch_off(self, uplink: str) -> bool:
        """Ask again, EVERY_UPLINK all that there are; whether anything changed."""
        return await self._switched(schema.SWITCH_OFF, (_one_of(uplink),))

    async def _switched(self, sql: str, values: tuple[object, ...]) -> bool:
        def work(db: Connection) -> bool:
            has_changed = bool(ask(db, sql, values))
            if has_changed:
                db.execute(changes.LOG_CHANGE, (_EVERYTHING,))
            return has_changed

        return await self._database.write(work)

    async def note(self, missing: Iterable[Missing]) -> None:
        """Add to what is missing; of more than 10,000 the oldest are forgotten."""
        rows = [(each.name, each.version, each.times, micros(each.asked_at)) for each in missing]

        def work(db: Connection) -> None:
            db.executemany(schema.NOTE_MISSING, rows)
            db.execute(schema.TRIM_MISSING, (_MOST_MISSING - 1,))

        await self._database.write(work)

    async def missing(self) -> Sequence[Missing]:
        """All that was asked for in vain, by name and version."""
        rows = await self._database.scan(schema.MISSING)
        return [Missing(name, version, times, instant(at)) for name, version, times, at in rows]

    async def clear_missing(self) -> None:
        """Forget it."""
        await self._database.write(lambda db: db.execute(schema.CLEAR_MISSING))


def _one_of(uplink: str) -> str | None:
    return None if uplink == EVERY_UPLINK else uplink
