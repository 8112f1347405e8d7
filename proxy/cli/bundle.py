"""`packhouse bundle`: packages in a file, to where no uplink can be asked. Safe beside a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from proxy.app import bundles as parts
from proxy.cli import options
from proxy.cli.people import told
from proxy.config.settings import Config
from proxy.config.values import Unfit, read_size
from proxy.npm import lockfiles, names, receipts, signing
from proxy.npm.bundles import BadBundle, Kind, Manifest
from proxy.npm.lockfiles import Lockfile
from proxy.registry.offline import verifying
from proxy.registry.offline.choosing import Plan, Selection
from proxy.registry.offline.examining import Findings
from proxy.storage import bundle_key
from proxy.storage.bundles import BundleReader
from proxy.storage.volumes import SMALLEST_VOLUME_BYTES, VolumesWriter

T = TypeVar("T")

_FILE = click.Path(dir_okay=False, path_type=Path)
_KEPT_LINES = 50
_console = Console(highlight=False, soft_wrap=True, markup=False)
_aside = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)


@click.group()
def bundle() -> None:
    """Carry packages to where no uplink can be asked, in a file that is signed."""


def _read_volume_size(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> int | None:
    if value is None:
        return None
    try:
        size_bytes = read_size(value)
    except Unfit as error:
        raise click.BadParameter(str(error)) from None
    if size_bytes < SMALLEST_VOLUME_BYTES:
        raise click.BadParameter(f"a volume has at least {SMALLEST_VOLUME_BYTES} bytes")
    return size_bytes


_trust = click.option(
    "--trust",
    "trust",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="KEYFILE",
    help="Keys to trust besides bundles.trusted_keys and our own, one on each line.",
)


# --- create ---------------------------------------------------------------------------------------


@bundle.command()
@click.argument("specs", nargs=-1, metavar="[NAME[@VERSION]]...")
@click.option("-o", "--output", type=_FILE, required=True, metavar="FILE", help="What to write.")
@click.option("--all", "is_all", is_flag=True, help="Everything that is held of uplinks.")
@click.option(
    "--lockfile",
    "files",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="What this lockfile names; may be given several times.",
)
@click.option(
    "--since",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="RECEIPT",
    help="Only what the registry with this receipt does not have; alone, of everything.",
)
@click.option(
    "--volume-size",
    callback=_read_volume_size,
    metavar="SIZE",
    help="Write volumes FILE.001, FILE.002 ... of this size, as in 4GiB.",
)
@click.option("--allow-missing", is_flag=True, help="Write it though something is not held.")
@options.common
def create(
    specs: Sequence[str],
    output: Path,
    is_all: bool,
    files: Sequence[Path],
    since: Path | None,
    volume_size: int | None,
    allow_missing: bool,
    config: Path | None,
    **given: object,
) -> None:
    """Write what is held here of some packages to a file, for `bundle import` to take.

    Nothing is fetched but signing keys and attestations: what is missing is told, and nothing is
    written. A run that was interrupted is gone on with by the same command.
    """
    if not (is_all or specs or files or since):
        raise click.UsageError("say what to carry: names, --lockfile, --since or --all")
    if is_all and (specs or files):
        raise click.UsageError("--all is everything; leave it out to carry some packages")
    settings = options.load(config, given)
    with _told():
        selection = _selection(specs, files)
        receipt = None if since is None else receipts.read(since.read_bytes())

    async def work(stories: parts.Bundles) -> tuple[Plan, VolumesWriter | None]:
        with _progress("writing") as on_bytes:
            return await stories.bundling.create(
                selection,
                output,
                since=receipt,
                volume_bytes=volume_size,
                may_lack=allow_missing,
                on_bytes=on_bytes,
            )

    plan, volumes = _run(settings, work)
    _tell("left out", plan.left_out)
    _tell("not held", plan.missing)
    if plan.head is None or volumes is None:
        _console.print("there is nothing to carry, and nothing was written")
        return
    for path in volumes.paths:
        _console.print(f"{path}  {decimal(path.stat().st_size)}")
    if volumes.reused_bytes:
        _console.print(f"{decimal(volumes.reused_bytes)} of it were there already")
    _show(plan.head.manifest, plan.head.identity, plan.head.key)


def _selection(specs: Sequence[str], files: Sequence[Path]) -> Selection:
    """What the command line names. Raises InvalidRequest and InvalidName."""
    selection = Selection({}, {}, set())
    for spec in specs:
        # The first character may be a scope's "@".
        text, at, version = spec.rpartition("@") if "@" in spec[1:] else (spec, "", "")
        if at and not version:
            raise BadBundle(reason=f"{spec}: a version is missing behind the @")
        selection.add(names.parse(text).full, version or None)
    for file in files:
        _add(selection, file, lockfiles.read(file.name, file.read_bytes()))
    return selection


def _add(selection: Selection, file: Path, found: Lockfile) -> None:
    if found.asked:
        raise BadBundle(
            reason=f"{file} asks for ranges ({found.asked[0].name}), and a bundle is made of "
            "versions: give the lockfile that a client makes of it"
        )
    for wanted in found.wanted:
        selection.add(wanted.name, wanted.version)
        if wanted.integrity is not None:
            selection.integrity[wanted.name, wanted.version] = wanted.integrity
        if wanted.is_optional:
            selection.optional.add((wanted.name, wanted.version))
    _tell(f"left out of {file.name}", [f"{each.what}: {each.why}" for each in found.left_out])


# --- verify, show, import -------------------------------------------------------------------------


@bundle.command()
@click.argument("file", type=_FILE)
@_trust
@options.common
def verify(file: Path, trust: Sequence[Path], config: Path | None, **given: object) -> None:
    """Read a bundle and check everything that can be checked without importing it."""
    settings = options.load(config, given, needs_uplink=False)

    async def work() -> None:
        with BundleReader(file) as reader, _progress("verifying") as on_bytes:
            head = verifying.signed(reader, _trusted(settings, trust))
            await verifying.verify(reader, head, on_bytes=on_bytes)
            _show(head.manifest, head.identity, head.key)

    with _told():
        asyncio.run(work())
    _console.print("everything in it is as it was signed")


@bundle.command()
@click.argument("file", type=_FILE)
@click.option("--json", "is_json", is_flag=True, help="The manifest itself.")
def show(file: Path, is_json: bool) -> None:
    """What a bundle says that it holds; nothing is verified."""
    with _told(), BundleReader(file) as reader:
        head = reader.head()
    if is_json:
        click.echo(head.written)
        return
    for entries in head.manifest.groups():
        if entries[0].name:
            versions = [each.version for each in entries if each.kind is Kind.TARBALL]
            _console.print(f"{entries[0].name}  {' '.join(versions)}".rstrip())
    _show(head.manifest, head.identity, head.key)


@bundle.command(name="import")
@click.argument("file", type=_FILE)
@click.option("--dry-run", is_flag=True, help="Check it and say what it would change.")
@click.option(
    "--receipt", type=_FILE, metavar="FILE", help="Where to write what is held afterwards."
)
@_trust
@options.common
def import_(
    file: Path,
    dry_run: bool,
    receipt: Path | None,
    trust: Sequence[Path],
    config: Path | None,
    **given: object,
) -> None:
    """Take the packages of a bundle in, to be served as if they had been fetched.

    All of it is checked before any of it is shown. It may be repeated: what is here already is not
    written again. The receipt (FILE.receipt.json in this folder, unless --receipt says otherwise)
    is what `bundle create --since` takes.
    """
    settings = options.load(config, given)

    async def work(stories: parts.Bundles) -> Findings:
        with BundleReader(file) as reader:
            with _progress("verifying") as on_bytes:
                trusted = _trusted(settings, trust)
                findings = await stories.examining.examine(reader, trusted, on_bytes)
            if dry_run:
                return findings
            with _progress("importing") as on_bytes:
                await stories.importing.take(reader, findings, on_bytes)
        place = receipt or Path(f"{file.name}.receipt.json")
        place.write_bytes(receipts.written(await stories.importing.receipt()))
        _console.print(f"{place} says what is held now")
        return findings

    findings = _run(settings, work)
    _tell("left out", [f"{name}: it does not come from there" for name in findings.left_out])
    for entry in findings.new if dry_run else ():
        _console.print(f"new  {entry}")
    _console.print(
        f"versions {'that would be' if dry_run else ''} new {len(findings.new)}, known "
        f"{findings.known}; packages changed {len(findings.changed)}".replace("  ", " ")
    )
    _show(findings.head.manifest, findings.head.identity, findings.head.key)


# --- parts ----------------------------------------------------------------------------------------


def _run(settings: Config, work: Callable[[parts.Bundles], Awaitable[T]]) -> T:
    async def run() -> T:
        async with parts.opened(settings) as stories:
            return await work(stories)

    with _told():
        return asyncio.run(run())


@contextmanager
def _told() -> Iterator[None]:
    """Turn our errors, and what the system says of a file, into the last line of a command."""
    try:
        with told():
            yield
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _trusted(settings: Config, files: Sequence[Path]) -> set[str]:
    """The keys of the configuration, of these files, and our own if there is one."""
    own = bundle_key.read(parts.keys_folder(settings))
    keys = set(settings.bundles.trusted_keys)
    if own is not None:
        keys.add(signing.bundle_key(own))
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            text = line.partition("#")[0].strip()
            if text and not signing.is_bundle_key(text):
                raise BadBundle(reason=f"{file}: {text[:100]!r} is not a key of bundles")
            keys.update({text} - {""})
    return keys


def _show(manifest: Manifest, identity: str, key: str) -> None:
    counts = {kind: sum(each.kind is kind for each in manifest.entries) for kind in Kind}
    _console.print(f"bundle       {identity}")
    _console.print(f"predecessor  {manifest.predecessor or '-'}")
    _console.print(f"signed by    {key}")
    for uplink, url in manifest.uplinks.items():
        _console.print(f"from         {uplink} ({url})")
    _console.print(
        f"holds        {counts[Kind.PACKUMENT]} packages, {counts[Kind.TARBALL]} versions, "
        f"{counts[Kind.ATTESTATIONS]} with attestations, "
        f"{decimal(sum(manifest.blobs().values()))}"
    )


def _tell(what: str, lines: Sequence[str]) -> None:
    for line in lines[:_KEPT_LINES]:
        _aside.print(f"{what}: {line}")
    if lines[_KEPT_LINES:]:
        _aside.print(f"{what}: {len(lines) - _KEPT_LINES} more")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_aside, disable=not _aside.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
