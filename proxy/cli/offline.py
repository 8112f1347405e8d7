"""`packhouse offline` and `packhouse missing`: uplinks that are not asked, and what that costs.

Safe while the server runs: it goes by a switch from its next request on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from proxy import app
from proxy.app import uplinks
from proxy.cli import options
from proxy.cli.people import login_name, shown, told
from proxy.config.settings import DEFAULT_UPLINK, Config
from proxy.npm import wire
from proxy.registry.offline import wanting
from proxy.registry.offline.switching import Asking, Switches, Why
from proxy.storage.hosting import Deed
from proxy.storage.offline import Missing

T = TypeVar("T")

_FILE = click.Path(dir_okay=False, path_type=Path)
_config = click.option("--config", type=_FILE, metavar="FILE", help="The configuration (TOML).")
_data = click.option("--data", metavar="DIR", help="The folder where everything is kept.")
_uplink = click.option("--uplink", metavar="NAME", help="This uplink only; without it all of them.")


def _run(settings: Config, work: Callable[[app.Storage], Awaitable[T]]) -> T:
    """Do `work` with the index and the audit log open: the rest may be in any state."""
    folder = settings.storage.path
    if not app.Storage.is_in(folder):
        raise click.ClickException(f"there is nothing of packhouse in {folder}; see --data")

    async def run() -> T:
        storage = app.Storage.of(settings)
        async with storage.index, storage.database:
            return await work(storage)

    with told():
        return asyncio.run(run())


# --- the switch -----------------------------------------------------------------------------------


@click.group()
def offline() -> None:
    """Ask no uplink, or ask again, also while the server runs; it lasts until switched back."""


@offline.command()
@_uplink
@_data
@_config
def on(uplink: str | None, data: str | None, config: Path | None) -> None:
    """Ask nobody from now on: no packet leaves, and packages show what is held."""
    _throw(config, data, uplink, is_offline=True)


@offline.command()
@_uplink
@_data
@_config
def off(uplink: str | None, data: str | None, config: Path | None) -> None:
    """Ask again. What the configuration puts offline stays so."""
    _throw(config, data, uplink, is_offline=False)


@offline.command()
@_data
@_config
def status(data: str | None, config: Path | None) -> None:
    """Each uplink, and whether it is asked."""
    settings = options.load(config, {"data": data}, needs_uplink=False)

    async def work(storage: app.Storage) -> Sequence[Asking]:
        return _switches(settings, storage).status()

    _tell(_run(settings, work))


def _throw(config: Path | None, data: str | None, uplink: str | None, *, is_offline: bool) -> None:
    settings = options.load(config, {"data": data}, needs_uplink=False)

    async def work(storage: app.Storage) -> Sequence[Asking]:
        switches = _switches(settings, storage)
        deed = Deed(f"cli:{login_name()}", app.utcnow())
        await switches.throw(uplink, is_offline=is_offline, deed=deed)
        return switches.status()

    _tell(_run(settings, work))


def _switches(settings: Config, storage: app.Storage) -> Switches:
    configured = {each.name: uplinks.is_offline(settings, each) for each in settings.uplinks}
    # Without any here, the server was told of one on its command line, which has this name.
    configured = configured or {DEFAULT_UPLINK: settings.server.offline}
    return Switches(kept=storage.offline, people=storage.people, configured=configured)


def _tell(status: Sequence[Asking]) -> None:
    for each in status:
        click.echo(f"{each.uplink}: {_sentence(each)}")


def _sentence(asking: Asking) -> str:
    match asking.why:
        case None:
            return "asked"
        case Why.CONFIGURATION:
            return "offline by the configuration; change that and restart to ask it again"
        case Why.SWITCH:
            return f"offline since {shown(asking.since)} (UTC), switched by {asking.by}"


# --- what is missing ------------------------------------------------------------------------------


@click.command()
@click.option("--clear", is_flag=True, help="Forget it after it was printed.")
@click.option(
    "--format",
    "style",
    type=click.Choice(["list", "json"]),
    default="list",
    help="Lines for packhouse prefetch, or one JSON object a line.",
)
@_data
@_config
def missing(clear: bool, style: str, data: str | None, config: Path | None) -> None:
    """What was asked for while its uplink was away or offline, and is still not held.

    The list is what `packhouse prefetch` takes where there is an uplink.
    """
    settings = options.load(config, {"data": data}, needs_uplink=False)

    async def work(storage: app.Storage) -> Sequence[Missing]:
        found = await wanting.wanting(storage.offline, storage.index)
        if clear:
            await storage.offline.clear_missing()
        return found

    for line in _lines(_run(settings, work), style):
        click.echo(line)


def _lines(found: Sequence[Missing], style: str) -> Iterator[str]:
    for each in found:
        yield f"{each.name}@{each.version or 'latest'}" if style == "list" else _as_json(each)


def _as_json(missing: Missing) -> str:
    fields: Mapping[str, object] = {
        "name": missing.name,
        "version": missing.version or None,
        "times": missing.times,
        "asked_at": missing.asked_at.isoformat(timespec="milliseconds"),
    }
    return wire.dumps(fields).decode()
