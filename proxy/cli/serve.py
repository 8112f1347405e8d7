"""`packhouse serve`."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from socket import socket

import click
from rich.console import Console

from proxy import app
from proxy.cli import options
from proxy.config.settings import Config
from proxy.serving import logs, worker, workers
from proxy.web import metrics

_log = logging.getLogger(__name__)


@click.command()
@options.common
@click.option("--listen", metavar="HOST:PORT", help="Where to listen (127.0.0.1:4873).")
@click.option("--workers", metavar="N", help='Processes that serve, or "auto": one for each core.')
@click.option("--offline", is_flag=True, help="Ask no uplink; serve what is held.")
def serve(config: Path | None, **given: object) -> None:
    """Serve until told to stop: SIGTERM drains, SIGHUP reads the rules again."""
    settings = options.load(config, given)
    logs.configure(settings.log)
    for warning in settings.warnings:
        _log.warning(warning)
    _prepare(settings)
    listener = _bind(settings)
    _greet(settings, listener)

    def run_worker(inherited: socket) -> None:
        worker.run(inherited, settings, app.build, lambda: options.load_again(config, given))

    if settings.server.workers == 1:
        run_worker(listener)
        return
    supervisor = workers.Supervisor(
        listener=listener,
        count=settings.server.workers,
        run_worker=run_worker,
        mourn=metrics.forget,
    )
    raise SystemExit(supervisor.run())


def _prepare(settings: Config) -> None:
    folder = settings.storage.path
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise click.ClickException(
            f"the data folder {folder} cannot be made: {error.strerror}; choose another with --data"
        ) from error
    if settings.server.workers > 1:
        shutil.rmtree(folder / "metrics", ignore_errors=True)
        metrics.prepare(folder / "metrics")


def _bind(settings: Config) -> socket:
    listen = settings.server.listen
    try:
        return workers.bind(listen.host, listen.port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {listen}: {error.strerror}; choose another address with --listen"
        ) from error


def _greet(settings: Config, listener: socket) -> None:
    """What a person who has just started it wants to know.

    On standard error, because the log is on the other.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    url = settings.server.public_url or f"http://{_reachable(listener)}"
    console.print(f"[bold]Packhouse {app.VERSION}[/bold] listens on [bold]{url}/[/bold]")
    console.print(f"  data     {settings.storage.path}")
    for uplink in settings.uplinks:
        place = settings.places.get(f"uplinks.{uplink.name}.url", "")
        offline = " [yellow](offline: not asked)[/yellow]" if settings.server.offline else ""
        console.print(
            f"  uplink   {uplink.name}: {uplink.url}{f' from {place}' if place else ''}{offline}"
        )
    console.print(f"  use it   npm config set registry {url}/")
    sys.stderr.flush()


def _reachable(listener: socket) -> str:
    """The address a client on this machine uses: a wildcard is no address to connect to."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
