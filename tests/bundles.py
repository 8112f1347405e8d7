"""Bundles for tests: two sides of a gap, commands on both, and bundles that nobody should make."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.npm import bundles, signing
from proxy.npm.bundles import Entry, Kind, Manifest
from proxy.storage import bundle_key
from proxy.storage.bundles import Head
from tests.fakes import packing
from tests.fakes.uplink import FakeUplink
from tests.registry import ABBREVIATED, Registry

PUBLISHED = datetime(2020, 1, 1, tzinfo=UTC)
SETTINGS = {"PACKHOUSE_CACHE_MIN_FREE": "0B"}


@dataclass(frozen=True)
class Side:
    """A data folder on one side, and the address of the uplink that it is configured for."""

    data: Path
    uplink_url: str

    @property
    def folder(self) -> Path:
        return self.data.parent

    @property
    def receipt(self) -> Path:
        """Where an import writes what is held, unless it is told otherwise."""
        return self.folder / "receipt.json"

    @property
    def key(self) -> str:
        """The public key of its bundles."""
        return signing.bundle_key(bundle_key.made(self.data / "keys"))

    async def run(self, *arguments: str | Path, **settings: str) -> Result:
        """A command in this process, in this side's folder."""
        environ = SETTINGS | {f"PACKHOUSE_{key}": text for key, text in settings.items()}
        common = (
            () if arguments[1] == "show" else ("--data", self.data, "--uplink", self.uplink_url)
        )
        if arguments[:2] == ("bundle", "import") and "--receipt" not in arguments:
            common = (*common, "--receipt", self.receipt)  # and not in the folder we run in
        given = [str(each) for each in (*arguments, *common)]
        return await asyncio.to_thread(partial(CliRunner().invoke, main, given, env=environ))

    async def done(self, *arguments: str | Path, **settings: str) -> str:
        """What a command prints that has to succeed."""
        result = await self.run(*arguments, **settings)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def refused(self, *arguments: str | Path, **settings: str) -> str:
        """What a command says that has to fail."""
        result = await self.run(*arguments, **settings)
        assert result.exit_code == 1, (result.output, result.exception)
        return result.stderr

    async def create(self, file: Path, *what: str | Path) -> Path:
        await self.done("bundle", "create", "-o", file, *(what or ("--all",)))
        return file

    async def take(self, file: Path, *options: str | Path) -> Path:
        """Import a bundle; the receipt."""
        receipt = self.folder / f"{file.name}.receipt.json"
        await self.done("bundle", "import", "--receipt", receipt, *options, file)
        return receipt

    async def listed(self) -> str:
        """What is held; nothing where there is not even a data folder."""
        if not (self.data / "index.sqlite").exists():
            return ""
        return await self.done("cache", "list")

    def files(self) -> dict[str, tuple[int, int]]:
        """Every blob with its size and when it was written."""
        found = sorted((self.data / "blobs").rglob("*"))
        stats = {path.name: path.stat() for path in found if path.is_file()}
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def side(folder: Path, uplink: FakeUplink) -> Side:
    """A side that holds nothing."""
    folder.mkdir(exist_ok=True)
    return Side(folder / "data", uplink.url)


async def filled(folder: Path, uplink: FakeUplink, *specs: str, accept: str = "") -> Side:
    """A side that has fetched these packages: `name@version` each."""
    made = side(folder, uplink)
    async with Registry(made.data, uplink.url) as registry:
        for spec in specs:
            name, _, version = spec.rpartition("@")
            for form in (accept,) if accept else ("application/json", ABBREVIATED):
                assert (await registry.packument(name, accept=form)).status == 200
            bare = name.rpartition("/")[2]
            assert (await registry.get(f"/{name}/-/{bare}-{version}.tgz")).status == 200
    return made


# --- made by hand ---------------------------------------------------------------------------------


@dataclass
class Parts:
    """A bundle in parts that a test may change before it is put together."""

    entries: list[Entry]
    blobs: dict[str, bytes]
    pem: bytes
    uplink: str = "npm"
    predecessor: str | None = None

    @property
    def manifest(self) -> Manifest:
        return bundles.made(
            self.entries, {self.uplink: "http://registry.example"}, self.predecessor
        )

    def head(self) -> Head:
        written = bundles.written(self.manifest)
        signature = signing.sign_bundle(self.pem, written)
        return Head(self.manifest, written, signing.bundle_key(self.pem), signature)

    def add(
        self, kind: Kind, name: str, version: str, data: bytes, *, of: str | None = None
    ) -> Entry:
        """Add an entry and its blob; `of` is a digest that is not the blob's."""
        digest = of or hashlib.sha512(data).hexdigest()
        entry = Entry(kind, self.uplink, name, version, digest, len(data))
        self.entries.append(entry)
        self.blobs[digest] = data
        return entry

    def members(self) -> list[tuple[str, bytes]]:
        head = self.head()
        signature = json.dumps(
            {"key": head.key, "signature": head.signature}, separators=(",", ":")
        ).encode()
        blobs = [(f"blobs/{at[:64]}/{at[64:]}", self.blobs[at]) for at in self.manifest.blobs()]
        return [("manifest.json", head.written), ("manifest.sig", signature), *blobs]

    def write(self, path: Path) -> Path:
        path.write_bytes(archive(self.members()))
        return path


def parts(
    pem: bytes, versions: Mapping[str, Sequence[str]], *, tarball: bytes | None = None
) -> Parts:
    """A bundle of packages that nobody has published; every tarball is `tarball`, if given."""
    made = Parts([], {}, pem)
    for name, numbers in versions.items():
        packages: dict[str, Any] = {}
        for version in numbers:
            fields = {"name": name, "version": version}
            data = tarball or packing.tarball(fields, {})
            entry = packing.manifest(fields, data, f"http://registry.example/{name}/x.tgz")
            packing.add(packages, entry, tag="latest", published_at=PUBLISHED)
            made.add(Kind.TARBALL, name, version, data)
        made.add(Kind.PACKUMENT, name, "", json.dumps(packages[name]).encode())
    return made


def member(name: str, data: bytes = b"", **facts: Any) -> bytes:
    """One member of an archive, by Python's own hand: header, bytes and padding."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    for key, value in facts.items():
        setattr(info, key, value)
    header = info.tobuf(tarfile.USTAR_FORMAT)
    # Python leaves the numbers of devices empty, which bundles do not.
    block = bytearray(header)
    if "type" not in facts:
        block[329:345] = b"0000000\0" * 2
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


def archive(members: Sequence[tuple[str, bytes]]) -> bytes:
    """The bytes of a bundle with these members."""
    buffer = io.BytesIO()
    for name, data in members:
        buffer.write(member(name, data))
    return buffer.getvalue() + bytes(1024)
