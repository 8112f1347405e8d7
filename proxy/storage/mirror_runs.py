"""What became of the last run of each mirror rule, in the file of the index.

With that file they are lost, and every rule waits for its next time of day.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from proxy.storage import schema
from proxy.storage.database import Database
from proxy.storage.rows import instant, micros


@dataclass(frozen=True, slots=True)
class MirrorRun:
    """The last run of a rule; one without an end is under way, or was killed.

    `handled_at` is the instant until which nothing is due any more: when the last run began that
    ended, or when the rule was first seen. `result` is a sentence about the last run that ended.
    """

    rule: str
    handled_at: datetime
    began_at: datetime | None = None
    ended_at: datetime | None = None
    result: str = ""


class SqliteMirrorRuns:
    """The runs in the file of the index, which is opened by that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self, rule: str) -> MirrorRun | None:
        """The last run of a rule. One look-up, on the event loop."""
        rows = self._database.read(schema.MIRROR_RUN, (rule,))
        return next((_run(*row) for row in rows), None)

    async def put(self, run: MirrorRun) -> None:
        """Note a run; there is one for each rule."""
        row = (
            *(run.rule, micros(run.handled_at), _micros(run.began_at), _micros(run.ended_at)),
            run.result,
        )
        await self._database.write(lambda db: db.execute(schema.PUT_MIRROR_RUN, row))


def _run(
    rule: str, handled_at: int, began_at: int | None, ended_at: int | None, result: str
) -> MirrorRun:
    began = None if began_at is None else instant(began_at)
    ended = None if ended_at is None else instant(ended_at)
    return MirrorRun(rule, instant(handled_at), began, ended, result)


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)
