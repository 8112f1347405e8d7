"""`packhouse cache`: look at what is kept, and take things out. Safe while the server runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import Progress

from proxy import app
from proxy.cli import options
from proxy.errors import RegistryError
from proxy.npm import names
from proxy.registry import scrub

T = TypeVar("T")

_console = Console(highlight=False, soft_wrap=True)


@click.group()
def cache() -> None:
    """Look at the cache, and take things out of it, also while the server runs."""


def _run(
    config: Path | None, given: dict[str, object], work: Callable[[app.Storage], Awaitable[T]]
) -> T:
    """Do `work` on the storage of this configuration."""
    settings = options.load(config, given, needs_uplink=False)
    folder = settings.storage.path
    if not app.Storage.is_in(folder):
        raise click.ClickException(f"there is nothing of packhouse in {folder}; see --data")

    async def run() -> T:
        async with AsyncExitStack() as stack:
            storage = app.Storage.of(settings)
            await storage.open(stack)
            return await work(storage)

    try:
        return asyncio.run(run())
    except RegistryError as error:
        raise click.ClickException(str(error)) from error


@cache.command()
@options.common
def stats(config: Path | None, **given: object) -> None:
    """How much is kept, and how much of the disk is free."""

    async def work(storage: app.Storage) -> None:
        usage = await storage.index.usage()
        rendered_bytes = await storage.cache.volume()
        _console.print(f"packuments  {usage.packuments:>8}  {decimal(usage.packument_bytes):>10}")
        _console.print(f"tarballs    {usage.tarballs:>8}  {decimal(usage.tarball_bytes):>10}")
        _console.print(f"rendered    {'':>8}  {decimal(rendered_bytes):>10}")
        _console.print(f"disk free   {'':>8}  {decimal(await storage.blobs.free_bytes()):>10}")

    _run(config, given, work)


@cache.command(name="list")
@click.argument("prefix", default="")
@options.common
def list_(prefix: str, config: Path | None, **given: object) -> None:
    """The packages of which anything is kept, and which versions' tarballs."""

    async def work(storage: app.Storage) -> None:
        for name in await storage.index.names(prefix):
            versions = [record.version for record in await storage.index.tarballs(name)]
            _console.print(f"{name}  {' '.join(versions)}".rstrip(), markup=False)

    _run(config, given, work)


@cache.command()
@click.argument("specs", nargs=-1, required=True, metavar="NAME[@VERSION]...")
@options.common
def purge(specs: tuple[str, ...], config: Path | None, **given: object) -> None:
    """Forget packages or single versions; they are fetched again when they are asked for."""

    async def work(storage: app.Storage) -> int:
        return sum([await _purge(storage, spec) for spec in specs])

    removed = _run(config, given, work)
    _console.print(f"{removed} tarballs removed")


async def _purge(storage: app.Storage, spec: str) -> int:
    # The first character may be a scope's "@".
    text, at, version = spec.rpartition("@") if "@" in spec[1:] else (spec, "", "")
    name = names.parse(text)
    if at and not version:
        raise click.UsageError(f"{spec}: a version is missing behind the @")
    if not version:
        for digest in await storage.index.drop_packuments(name.full):
            await storage.blobs.delete(digest)
    removed = 0
    for record in await storage.index.tarballs(name.full):
        if not version or record.version == version:
            await storage.upkeep.remove(record)
            removed += 1
    return removed


@cache.command()
@options.common
def verify(config: Path | None, **given: object) -> None:
    """Read all that is kept and compare digests; what is damaged is removed, to be fetched again.

    What was published here is read too, and only told: restore that from a backup. Ends with status
    1 if anything is damaged.
    """

    async def work(storage: app.Storage) -> int:
        usage = await storage.index.usage()
        read = damaged = 0
        with Progress(console=Console(stderr=True), disable=not _console.is_terminal) as progress:
            task = progress.add_task("verifying", total=usage.tarballs + usage.packuments)
            async for verdict in storage.upkeep.verify():
                progress.advance(task)
                read += 1
                if verdict.damage is not None:
                    damaged += 1
                    _console.print(f"{verdict.what}: {verdict.damage}; removed", markup=False)
        _console.print(f"{read} files read, {damaged} damaged")
        return damaged + await _verify_hosted(storage)

    if _run(config, given, work):
        raise SystemExit(1)


async def _verify_hosted(storage: app.Storage) -> int:
    read = damaged = 0
    async for verdict in scrub.hosted(storage.hosted, storage.hosted_blobs):
        read += 1
        if verdict.damage is not None:
            damaged += 1
            _console.print(f"{verdict.what}: {verdict.damage}; restore it", markup=False)
    if read:
        _console.print(f"{read} published tarballs read, {damaged} damaged")
    return damaged


@cache.command()
@options.common
def gc(config: Path | None, **given: object) -> None:
    """Remove what crashes have left, and evict what is above the limits."""

    async def work(storage: app.Storage) -> None:
        swept, freed_bytes = await storage.upkeep.collect()
        _console.print(f"unfinished downloads removed  {swept.unfinished}")
        _console.print(
            f"orphans removed               {swept.orphans} ({decimal(swept.orphan_bytes)})"
        )
        _console.print(f"rendered files removed        {swept.rendered}")
        _console.print(f"evicted                       {decimal(freed_bytes)}")

    _run(config, given, work)
