"""`packhouse mirror`: rules that keep packages fresh, run by hand; and how they stand.

Safe while the server runs, which runs them at their times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from proxy.app import mirrors
from proxy.cli import options
from proxy.cli.people import told
from proxy.cli.prefetch import Telling
from proxy.config.settings import Config
from proxy.registry.offline.errands import Report
from proxy.registry.offline.pacing import End
from proxy.registry.offline.runs import Result
from proxy.registry.offline.timetable import Standing


@click.group()
def mirror() -> None:
    """Packages that are kept fresh at given hours: the [[mirror]] rules of the configuration."""


@mirror.command()
@click.argument("rules", nargs=-1, metavar="[RULE...]")
@options.common
def run(rules: Sequence[str], config: Path | None, **given: object) -> None:
    """Run these rules now, or all of them, whatever the time is.

    Ends with status 1 unless every rule is complete.
    """
    settings = options.load(config, given)
    with told(), Telling("mirror") as telling:
        results = asyncio.run(_run(settings, rules, telling.tell))
    telling.sum_up()
    for name, result in results:
        click.echo(f"{name}: {result}")
    if any(result.end is not End.COMPLETE for _, result in results):
        raise SystemExit(1)


async def _run(
    settings: Config, rules: Sequence[str], report: Report
) -> Sequence[tuple[str, Result]]:
    async with mirrors.opened(settings) as timetable:
        return await timetable.run_now(rules, report)


@mirror.command()
@options.common
def status(config: Path | None, **given: object) -> None:
    """Each rule: its last run, what that came to, and when the next one is."""
    settings = options.load(config, given)
    with told():
        standings = asyncio.run(_standings(settings))
    for standing in standings:
        click.echo(f"{standing.rule}: {_last(standing)}; next at {_shown(standing.next_at)}")
    if not standings:
        click.echo("the configuration has no mirror rule: write [[mirror]] (docs/offline.md)")


async def _standings(settings: Config) -> Sequence[Standing]:
    async with mirrors.opened(settings) as timetable:
        return timetable.standings()


def _last(standing: Standing) -> str:
    last = standing.last
    if last is None or last.began_at is None:
        return "has not run yet"
    if last.ended_at is None:
        return f"began at {_shown(last.began_at)} and has not ended"
    return f"last run at {_shown(last.began_at)}, {last.result}"


def _shown(at: datetime) -> str:
    """An instant in the local time of this machine, and which zone that is."""
    return f"{at.astimezone():%Y-%m-%d %H:%M %Z}"
