"""`packhouse prefetch`: bring what lockfiles name here. Safe while the server runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from proxy.app import prefetch as bringing
from proxy.cli import options
from proxy.cli.people import told
from proxy.npm import lockfiles
from proxy.npm.lockfiles import Lockfile, platforms
from proxy.npm.lockfiles.platforms import Platform
from proxy.registry.offline.errands import Outcome, Progress

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_ALL = "all"
# What is told for every single package, of the good outcomes; the others are counted.
_TOLD = {Outcome.FETCHED, Outcome.LEFT_OUT, Outcome.LIVES_HERE}


@click.command()
@click.argument("files", type=_FILE, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--platform",
    "wanted",
    multiple=True,
    metavar="OS/CPU[/LIBC]",
    help='Bring the optional packages of this platform too; several times, or "all".',
)
@options.common
def prefetch(
    files: Sequence[Path], wanted: Sequence[str], config: Path | None, **given: object
) -> None:
    """Bring what lockfiles name here, so that it can be installed without an uplink.

    FILE is a lockfile of npm, pnpm, yarn or bun, a bill of materials (CycloneDX or SPDX, as JSON),
    a package.json, or a list of NAME@RANGE, one on each line. What is here already is not fetched
    again. Ends with status 1 if anything is missing.
    """
    settings = options.load(config, given)
    fit = _platforms(wanted)
    with told(), Telling() as telling:
        found = [_read(file) for file in files]
        try:
            asyncio.run(bringing.prefetch(settings, found, fit, telling.tell))
        except OSError as error:
            folder = settings.storage.path
            raise click.ClickException(
                f"the data folder {folder} cannot be used: {error.strerror}"
            ) from error
    if not telling.sum_up():
        raise SystemExit(1)


def _read(file: Path) -> Lockfile:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}") from error
    return lockfiles.read(str(file), data)


def _platforms(wanted: Sequence[str]) -> Sequence[Platform] | None:
    """The platforms that are asked for and this machine's; None for every one."""
    if _ALL in wanted:
        return None
    with told():
        return [bringing.this_machine(), *(platforms.parse(each) for each in wanted)]


class Telling:
    """Tells people how far it is: a bar on a terminal, lines in a log; then what it came to."""

    def __init__(self, title: str = "prefetch") -> None:
        self._console = Console(highlight=False, soft_wrap=True, markup=False)
        self._bar = Bar(
            TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=self._console,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)
        self._counts: Counter[Outcome] = Counter()
        self._fetched_bytes = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def tell(self, progress: Progress) -> None:
        """Take note of one thing that is settled."""
        outcome = progress.outcome
        self._counts[outcome] += 1
        if outcome is Outcome.FETCHED:
            self._fetched_bytes += progress.size_bytes
        size = decimal(self._fetched_bytes)
        self._bar.update(
            self._task, completed=progress.done, total=progress.known, description=size
        )
        if not outcome.is_good or (outcome in _TOLD and not self._console.is_terminal):
            self._console.print(_line(progress), style=None if outcome.is_good else "red")

    def sum_up(self) -> bool:
        """Say what it came to; whether nothing is missing."""
        parts = [f"{count} {each.counted}" for each in Outcome if (count := self._counts[each])]
        self._console.print(
            f"{', '.join(parts) or 'nothing to bring'} ({decimal(self._fetched_bytes)} fetched)"
        )
        return all(each.is_good for each in self._counts)


def _line(progress: Progress) -> str:
    size = f" ({decimal(progress.size_bytes)})" if progress.size_bytes else ""
    reason = f": {progress.reason}" if progress.reason else ""
    return f"{progress.outcome.value}  {progress.what}{size}{reason}"
