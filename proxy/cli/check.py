"""`packhouse check-config`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from proxy.cli import options
from proxy.config import describe


@click.command(name="check-config")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@options.common
def check_config(file: Path | None, config: Path | None, **given: object) -> None:
    """Explain every mistake in the configuration, or show what it comes to."""
    settings = options.load(file or config, given)
    table = Table(box=None, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    for heading in ("value", "from"):
        table.add_column(heading, overflow="fold")
    for row in describe(settings):
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for warning in settings.warnings:
        console.print(f"warning: {warning}")
    console.print(f"{file or config or 'the configuration'} is fine")
