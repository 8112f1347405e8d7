"""`packhouse audit`: who did what. Safe while the server runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import click

from proxy.cli import options
from proxy.cli.people import Desk, read_since, run
from proxy.storage.hosting import Action
from proxy.storage.identity import AuditQuery, AuditRow

_PAGE = 1000  # rows that are in memory at once
_ACTIONS = click.Choice([action.value for action in Action])


@click.command()
@click.option("--user", metavar="NAME", help="By whom; commands are cli:NAME.")
@click.option("--action", type=_ACTIONS, help="What was done.")
@click.option("--package", metavar="NAME", help="To what: a package, a user, an org or org:team.")
@click.option("--since", callback=read_since, metavar="TIME|DATE", help="As in 7d, 2026-05-04.")
@click.option("--limit", type=click.IntRange(0), default=100, help="Rows at most; 0 for all (100).")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a line, to export.")
@options.common
def audit(
    user: str | None,
    action: str | None,
    package: str | None,
    since: datetime | None,
    limit: int,
    is_json: bool,
    config: Path | None,
    **given: object,
) -> None:
    """What was published, changed and permitted, by whom, from where; newest first."""
    query = AuditQuery(
        user=user, action=Action(action) if action else None, subject=package, since=since
    )
    show = _as_json if is_json else _as_text

    async def work(desk: Desk) -> None:
        await _show(desk, query, limit, show)

    run(config, given, work)


async def _show(desk: Desk, query: AuditQuery, limit: int, show: Callable[[AuditRow], str]) -> None:
    """Show the rows, a page at a time: there may be very many."""
    left = limit
    while True:
        wanted = min(left, _PAGE) if limit else _PAGE
        rows = await desk.people.audit(query, wanted)
        for row in rows:
            click.echo(show(row))
        left -= len(rows)
        if len(rows) < wanted or (limit and not left):
            return
        query = replace(query, before=rows[-1].number)


def _as_text(row: AuditRow) -> str:
    deed, facts = row.deed, json.loads(row.facts)
    key = deed.token_key and f"token {deed.token_key}"
    where = " ".join(filter(None, (deed.client_ip, key)))
    parts = [f"{deed.at:%Y-%m-%d %H:%M:%S}Z", deed.user, row.action.value, row.subject]
    # As JSON, so that nothing in a fact reaches the terminal as a command.
    parts += [f"{name}={json.dumps(fact)}" for name, fact in facts.items()]
    return "  ".join(parts) + (f"  ({where})" if where else "")


def _as_json(row: AuditRow) -> str:
    deed = row.deed
    return json.dumps(
        {
            "number": row.number,
            "at": deed.at.isoformat(),
            "user": deed.user,
            "action": row.action.value,
            "subject": row.subject,
            "client_ip": deed.client_ip,
            "token_key": deed.token_key,
            "facts": json.loads(row.facts),
        }
    )
