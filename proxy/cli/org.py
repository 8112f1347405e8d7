"""`packhouse org`: organisations whose people are gone. Safe while the server runs.

All else that is done with organisations is done with npm (`npm org`, `npm team`), by their owners
and by administrators of the registry, who own every one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from proxy.cli import options
from proxy.cli.people import Desk, columns, run, told
from proxy.errors import Forbidden
from proxy.npm import groups
from proxy.storage.identity import Role

Members = Mapping[str, Role]


@click.group()
def org() -> None:
    """Organisations: see them all, and end one."""


@org.command(name="list")
@click.option("--json", "is_json", is_flag=True, help="As a JSON object, members by name.")
@options.common
def list_(is_json: bool, config: Path | None, **given: object) -> None:
    """Every organisation, with its owners and how many members and teams it has."""

    async def work(desk: Desk) -> Sequence[tuple[str, Members, int]]:
        found = await desk.people.orgs()
        return [
            (name, members, len(await desk.people.teams(name))) for name, members in found.items()
        ]

    found = run(config, given, work)
    if is_json:
        shown = {name: {user: role.value for user, role in of.items()} for name, of, _ in found}
        click.echo(json.dumps(shown, indent=2))
        return
    for line in columns([_HEADINGS, *(_row(*each) for each in found)]):
        click.echo(line)


@org.command()
@click.argument("name")
@options.common
def remove(name: str, config: Path | None, **given: object) -> None:
    """End an organisation: its teams and what they were granted go too. No user and no package."""
    with told():
        known = groups.org(name)

    async def work(desk: Desk) -> None:
        if words := desk.config.rules.groups_of(known):
            raise Forbidden(
                reason=f"rules name {', '.join(words)}: whoever starts {known} anew would have"
                " those rights; take them out of the configuration first"
            )
        await desk.people.drop_org(known, desk.deed())

    run(config, given, work)
    click.echo(f"{known} is gone")


_HEADINGS = ("organisation", "members", "teams", "owners")


def _row(name: str, members: Members, teams: int) -> tuple[str, ...]:
    owners = ", ".join(user for user, role in members.items() if role is Role.OWNER)
    return (name, str(len(members)), str(teams), owners or "-")
