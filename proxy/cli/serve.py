"""`packhouse serve`."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from socket import socket

import click
from rich.console import Console
from rich.markup import escape

from proxy import app
from proxy.app import uplinks
from proxy.cli import options
from proxy.config.settings import Config
from proxy.errors import RegistryError
from proxy.serving import counts, logs, worker, workers
from proxy.serving.current import Current
from proxy.web import metrics

_log = logging.getLogger(__name__)

# A worker has this long, beyond its own limit, before it is killed.
_MARGIN = worker.GRACE / 10


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
    # Who has read the greeting may send a signal: from now on none ends us before it is heeded.
    signal.pthread_sigmask(signal.SIG_BLOCK, worker.SIGNALS)
    _greet(settings, listener)
    current = Current(settings, lambda: options.load_again(config, given))
    status = _alone(listener, current) if settings.server.workers == 1 else _many(listener, current)
    _let_go_of_the_log()
    raise SystemExit(status)


def _prepare(settings: Config) -> None:
    folder = settings.storage.path
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise click.ClickException(
            f"the data folder {folder} cannot be written to: {error.strerror};"
            " choose another with --data"
        ) from error
    # The usual 1,024 are few for a fleet of clients with a file and a connection each.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _bind(settings: Config) -> socket:
    listen = settings.server.listen
    try:
        return workers.bind(listen.host, listen.port)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {listen}: {error.strerror}; choose another address with --listen"
        ) from error


def _alone(listener: socket, current: Current) -> int:
    try:
        worker.run(listener, current, app.build)
    except RegistryError as error:
        raise click.ClickException(f"cannot start: {error}") from error
    return 0


def _many(listener: socket, current: Current) -> int:
    folder = counts.claim(counts.place(current.config.storage.path))
    metrics.prepare(folder)
    parent = os.getpid()
    supervisor = workers.Supervisor(
        listener=listener,
        count=current.config.server.workers,
        run_worker=lambda inherited: worker.run(inherited, current, app.build, parent=parent),
        mourn=metrics.forget,
        reload=current.reload,
        patience=worker.longest_end(current.config) + _MARGIN,
    )
    status = supervisor.run()
    shutil.rmtree(folder, ignore_errors=True)
    return status


def _let_go_of_the_log() -> None:
    """What cannot be written now (a full disk) would fail again, with a traceback, at the exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _greet(settings: Config, listener: socket) -> None:
    """What a person who has just started it wants to know.

    On standard error, because the log is on the other.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    own = f"http://{_reachable(listener)}/"
    url = f"{settings.server.public_url}/" if settings.server.public_url else own
    with suppress(OSError):
        console.print(f"[bold]Packhouse {app.VERSION}[/] listens on [bold]{escape(own)}[/]")
        console.print(f"  data     {escape(str(settings.storage.path))}")
        for line in _uplinks(settings):
            console.print(f"  uplink   {line}")
        console.print(f"  use it   npm config set registry {escape(url)}")
        sys.stderr.flush()


def _uplinks(settings: Config) -> list[str]:
    lines = []
    for uplink in settings.uplinks:
        is_offline = uplinks.is_offline(settings, uplink)
        offline = " [yellow](offline: not asked)[/]" if is_offline else ""
        place = settings.places.get(f"uplinks.{uplink.name}.url", "")
        origin = f" from {place}" if place else ""
        lines.append(escape(f"{uplink.name}: {uplink.url}{origin}") + offline)
    return lines


def _reachable(listener: socket) -> str:
    """The address a client on this machine uses: a wildcard is no address to connect to."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
