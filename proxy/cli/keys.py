"""`packhouse keys`: what signs the packages and bundles made here. Safe while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from proxy import app
from proxy.app import bundles as parts
from proxy.cli import options
from proxy.errors import RegistryError
from proxy.npm import signing
from proxy.storage import bundle_key
from proxy.storage.keyring import FileKeyring, SigningKey

T = TypeVar("T")

_console = Console(highlight=False, soft_wrap=True)


@click.group()
def keys() -> None:
    """The keys that sign what is published here."""


@keys.command(name="list")
@options.common
def list_(config: Path | None, **given: object) -> None:
    """Every key that clients verify with: its number, when it was made, and its name."""

    async def work(keyring: FileKeyring) -> None:
        for key in keyring.listed():
            _show(key)

    _run(config, given, work)


@keys.command()
@options.common
def rotate(config: Path | None, **given: object) -> None:
    """Make a new key, which signs from now on.

    The old ones stay published, so that what they have signed is still verified.
    """

    async def work(keyring: FileKeyring) -> None:
        _show(await keyring.rotate())

    _run(config, given, work)


@keys.command()
@options.common
def bundle(config: Path | None, **given: object) -> None:
    """Print the public key of the bundles that are made here; it is made if there is none yet.

    It goes into bundles.trusted_keys of whoever imports them, or into a file for --trust.
    """

    async def work(_: FileKeyring) -> str:
        return signing.bundle_key(bundle_key.made(parts.keys_folder(settings)))

    settings = options.load(config, given, needs_uplink=False)
    click.echo(_run(config, given, work))


def _run(
    config: Path | None, given: dict[str, object], work: Callable[[FileKeyring], Awaitable[T]]
) -> T:
    settings = options.load(config, given, needs_uplink=False)
    folder = settings.storage.path
    if not app.Storage.is_in(folder):
        raise click.ClickException(f"there is nothing of packhouse in {folder}; see --data")

    async def run() -> T:
        async with app.Storage.of(settings).keyring as keyring:
            return await work(keyring)

    try:
        return asyncio.run(run())
    except RegistryError as error:
        raise click.ClickException(str(error)) from error


def _show(key: SigningKey) -> None:
    name = signing.key_document(key.pem)["keyid"]
    state = "signs" if key.expires_at is None else f"until {key.expires_at:%Y-%m-%d %H:%M} UTC"
    _console.print(f"{key.number}  {key.made_at:%Y-%m-%d %H:%M} UTC  {name}  {state}", markup=False)
