"""The audit log: rows that are appended in the transaction of what they tell, and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from proxy.npm import wire
from proxy.storage import hosted_schema as schema
from proxy.storage.database import Connection, Database
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import AuditQuery, AuditRow
from proxy.storage.rows import Row, instant, micros


def append(
    db: Connection, action: Action, subject: str, deed: Deed, facts: Mapping[str, object]
) -> None:
    """Add a row, as part of the transaction that `db` is in."""
    who = (micros(deed.at), deed.user, deed.client_ip, deed.token_key)
    db.execute(schema.ADD_AUDIT, (*who, action.value, subject, wire.dumps(facts)))


async def rows(database: Database, query: AuditQuery, limit: int) -> Sequence[AuditRow]:
    """Rows that match, newest first."""
    wanted = list(_conditions(query))
    where = " AND ".join(condition for condition, _ in wanted) or "1"
    values = (*(value for _, value in wanted), limit)
    return [_row(row) for row in await database.scan(schema.GET_AUDIT.format(wanted=where), values)]


def _conditions(query: AuditQuery) -> list[tuple[str, object]]:
    asked = [
        ("user = ?", query.user),
        ("action = ?", query.action and query.action.value),
        ("subject = ?", query.subject),
        ("at >= ?", query.since and micros(query.since)),
        ("at < ?", query.until and micros(query.until)),
        ("number < ?", query.before),
    ]
    return [(condition, value) for condition, value in asked if value is not None]


def _row(row: Row) -> AuditRow:
    number, at, user, client_ip, token_key, action, subject, facts = row
    return AuditRow(
        number, Deed(user, instant(at), client_ip, token_key), Action(action), subject, facts
    )
