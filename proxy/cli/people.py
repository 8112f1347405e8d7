"""What the commands about people begin with: the database they work on, and who does it.

They are safe while the server runs: it learns of every change at its next request.
"""

from __future__ import annotations

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import click

from proxy import app
from proxy.cli import options
from proxy.config.settings import Config
from proxy.config.values import Unfit, read_time
from proxy.errors import RegistryError
from proxy.storage.hosting import Deed
from proxy.storage.people import SqlitePeople

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works on."""

    config: Config
    people: SqlitePeople

    def deed(self) -> Deed:
        """What is done now, by whoever runs the command."""
        return Deed(f"cli:{login_name()}", app.utcnow())


def run(
    config: Path | None, given: Mapping[str, object], work: Callable[[Desk], Awaitable[T]]
) -> T:
    """Do `work` on the data folder of this configuration."""
    settings = options.load(config, given, needs_uplink=False)
    folder = settings.storage.path
    if not app.Storage.is_in(folder):
        raise click.ClickException(
            f"there is nothing of packhouse in {folder}; see --data, or start packhouse serve once"
        )

    async def on_database() -> T:
        # Nothing but this one file: the others may be damaged, and the server may be down.
        storage = app.Storage.of(settings)
        async with storage.database:
            return await work(Desk(settings, storage.people))

    with told():
        return asyncio.run(on_database())


@contextmanager
def told() -> Iterator[None]:
    """Turn our errors into the sentence a command ends with."""
    try:
        yield
    except RegistryError as error:
        raise click.ClickException(str(error)) from error


def login_name() -> str:
    """Who runs this: the name they logged in with, else the one the process runs as."""
    with suppress(OSError):
        return os.getlogin()
    with suppress(KeyError):
        return pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def shown(at: datetime | None, absent: str = "-") -> str:
    """An instant for a person to read, in UTC."""
    return absent if at is None else f"{at:%Y-%m-%d %H:%M}"


def columns(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Lines of a table; the last column is as wide as it likes. Quick for very many rows."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def read_length(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> timedelta | None:
    """A length of time as an option has it: `30d`, `12h`."""
    try:
        return None if value is None else read_time(value)
    except Unfit as error:
        raise click.BadParameter(str(error)) from None


def read_since(_ctx: click.Context, _param: click.Parameter, value: str | None) -> datetime | None:
    """A length of time before now, or a date in UTC: `7d`, `2026-05-04`, `2026-05-04T12:00`."""
    if value is None:
        return None
    with suppress(Unfit):
        return app.utcnow() - read_time(value)
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f'"{value}" is neither a time such as "7d" nor a date') from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
