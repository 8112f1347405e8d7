"""What several commands are asked on the command line, and the configuration that comes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from rich.console import Console

from proxy import config as loading
from proxy.config.settings import Config
from proxy.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(dir_okay=False, path_type=Path)
_OVERRIDES = {
    "listen": "server.listen",
    "data": "storage.path",
    "uplink": "uplink",
    "workers": "server.workers",
    "offline": "server.offline",
}


def common(command: F) -> F:
    """The options every command has that works on a data folder."""
    for option in (
        click.option("--uplink", metavar="URL", help="The registry to ask on a miss."),
        click.option("--data", metavar="DIR", help="The folder where everything is kept."),
        click.option("--config", type=_FILE, metavar="FILE", help="The configuration (TOML)."),
    ):
        command = option(command)
    return command


def load(config: Path | None, given: Mapping[str, object], *, needs_uplink: bool = True) -> Config:
    """The configuration of these options.

    Ends the program with every problem if it cannot be used.
    """
    try:
        return load_again(config, given, needs_uplink=needs_uplink)
    except ConfigError as error:
        fail(error)


def load_again(
    config: Path | None, given: Mapping[str, object], *, needs_uplink: bool = True
) -> Config:
    """The same, raising ConfigError."""
    return loading.load(
        file=config,
        environ=os.environ,
        find_registry=loading.find_here,
        overrides={_OVERRIDES[key]: value for key, value in given.items() if value},
        needs_uplink=needs_uplink,
    )


def fail(error: ConfigError) -> NoReturn:
    """Say everything that is wrong, and end with status 2."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for problem in error.problems:
        console.print("error:", problem, style="red", markup=False)
    raise SystemExit(2)
