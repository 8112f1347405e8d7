"""`packhouse setup`: what to tell each client, as the start page shows it."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from proxy.cli import options
from proxy.config import values
from proxy.config.settings import Server
from proxy.npm import clients

_FILE = click.Path(dir_okay=False, path_type=Path)
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared, not bound


@click.command()
@click.option("--config", type=_FILE, metavar="FILE", help="The configuration (TOML).")
@click.option("--url", metavar="URL", help="The address clients use, if not that of the settings.")
@click.option("--client", metavar="NAME", help="Only this client: npm, pnpm, yarn, bun ...")
def setup(config: Path | None, url: str | None, client: str | None) -> None:
    """Print the lines that point each client here, log it in, and exempt what is published here."""
    settings = options.load(config, {}, needs_uplink=False)
    base_url = _base_url(settings.server) if url is None else _checked(url)
    guides = clients.guides(base_url, settings.rules.claimed)
    wanted = [each for each in guides if client is None or client in each.client.split()]
    if not wanted:
        known = ", ".join(each.client for each in guides)
        raise click.UsageError(f"there is no client called {client}; possible: {known}")
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for guide in wanted:
        console.print(guide.client, style="bold")
        for step in guide.steps:
            console.print(f"  # {step.about}{f', in {step.file}' if step.file else ''}")
            for line in step.lines:
                console.print(f"  {line}")
        console.print()


def _checked(url: str) -> str:
    try:
        return str(values.URL.read(url))
    except ValueError as error:
        raise click.UsageError(f"--url: {error}") from error


def _base_url(server: Server) -> str:
    if server.public_url:
        return server.public_url
    host = _HERE.get(server.listen.host, server.listen.host)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.listen.port}"
