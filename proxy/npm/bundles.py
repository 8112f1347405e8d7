"""What a bundle says of itself: its manifest, and the one way in which that is written.

A bundle carries packages to where no uplink can be asked. docs/bundle-format.md is its format. The
manifest is written in one way only, so that the same content has the same bytes, and its SHA-512 is
the name of the bundle. Where a blob stands in the archive follows from its digest: no path is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby, pairwise

from proxy.errors import InvalidName, InvalidRequest
from proxy.npm import names, wire

FORMAT = "packhouse-bundle/1"
LARGEST_BYTES = 8 * 1024**3 - 1
"""What the size in a header of the archive has room for."""

_DIGEST = re.compile(r"[0-9a-f]{128}")
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,256}")
_UPLINK = re.compile(r"[A-Za-z0-9_-]{1,100}")


class BadBundle(InvalidRequest):
    """A bundle, or a receipt, that is not taken. Facts: reason."""

    code = "E_BUNDLE"


class Kind(Enum):
    """What a blob is. The order is the one within a package."""

    PACKUMENT = "packument"
    TARBALL = "tarball"
    ATTESTATIONS = "attestations"
    KEYS = "keys"


_ORDER = {kind: number for number, kind in enumerate(Kind)}
_HAS_NAME = {Kind.PACKUMENT, Kind.TARBALL, Kind.ATTESTATIONS}
_HAS_VERSION = {Kind.TARBALL, Kind.ATTESTATIONS}


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that is carried, and the blob that holds it.

    `sha512` (hex) and `size_bytes` are the blob's; two entries may share one. `name` is empty for
    an uplink's keys, `version` for a packument too.
    """

    kind: Kind
    uplink: str
    name: str
    version: str
    sha512: str
    size_bytes: int

    @property
    def order(self) -> tuple[str, str, int, str]:
        """Its place in the manifest: what belongs to one package stands together."""
        return (self.uplink, self.name, _ORDER[self.kind], self.version)

    def __str__(self) -> str:
        """What a person calls it."""
        if not self.name:
            return f"the keys of {self.uplink}"
        thing = f"{self.name}@{self.version}" if self.version else self.name
        return thing if self.kind is Kind.TARBALL else f"the {self.kind.value} of {thing}"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All of a bundle: its entries in their order, and the addresses of the uplinks they are of.

    `predecessor` names the bundle that has to be there already; None if this one needs none.
    """

    entries: tuple[Entry, ...]
    uplinks: Mapping[str, str]
    predecessor: str | None = None

    def groups(self) -> Iterator[list[Entry]]:
        """The entries of each package, its packument first; the keys of an uplink by themselves."""
        for _, entries in groupby(self.entries, key=lambda entry: (entry.uplink, entry.name)):
            yield list(entries)

    def blobs(self) -> dict[str, int]:
        """The size of each blob by its digest, in the order in which they stand."""
        return {entry.sha512: entry.size_bytes for entry in self.entries}


class _Entry(wire.Struct):
    kind: Kind
    sha512: str
    size: int
    uplink: str
    name: str = ""
    version: str = ""


class _Manifest(wire.Struct):
    format: str
    entries: list[_Entry]
    predecessor: str | None
    uplinks: dict[str, str]


_MANIFESTS = wire.Reader(_Manifest)


def made(
    entries: Iterable[Entry], uplinks: Mapping[str, str], predecessor: str | None = None
) -> Manifest:
    """The manifest of these entries, given in any order."""
    placed = tuple(sorted(entries, key=lambda entry: entry.order))
    used = {entry.uplink for entry in placed}
    return Manifest(placed, {name: uplinks[name] for name in sorted(used)}, predecessor)


def written(manifest: Manifest) -> bytes:
    """The bytes of a manifest; what `read` takes."""
    return wire.dumps(
        {
            "entries": [_fields(entry) for entry in manifest.entries],
            "format": FORMAT,
            "predecessor": manifest.predecessor,
            "uplinks": dict(sorted(manifest.uplinks.items())),
        }
    )


def identity(written: bytes) -> str:
    """The name of the bundle with this manifest: its SHA-512, in hex."""
    return hashlib.sha512(written).hexdigest()


def read(data: bytes) -> Manifest:
    """Read a manifest. Raises BadBundle unless it is one that `written` writes."""
    try:
        said = _MANIFESTS.read(data)
    except wire.Undecodable as error:
        raise BadBundle(reason=f"the manifest cannot be read: {error}") from error
    if said.format != FORMAT:
        raise BadBundle(
            reason=f"the format of this bundle is {said.format[:40]!r}, and this packhouse reads "
            f"{FORMAT}: import it with a newer packhouse"
        )
    entries = tuple(
        Entry(each.kind, each.uplink, each.name, each.version, each.sha512, each.size)
        for each in said.entries
    )
    manifest = Manifest(entries, said.uplinks, said.predecessor)
    _check(manifest)
    if written(manifest) != data:
        raise BadBundle(reason="the manifest is not written as packhouse writes it")
    return manifest


def is_version(text: str) -> bool:
    """Whether a version can be carried: it is a part of file names."""
    return _VERSION.fullmatch(text) is not None


def is_digest(text: str) -> bool:
    """Whether the text is a SHA-512 in hex."""
    return _DIGEST.fullmatch(text) is not None


def _fields(entry: Entry) -> dict[str, object]:
    fields = {
        "kind": entry.kind.value,
        "name": entry.name,
        "sha512": entry.sha512,
        "size": entry.size_bytes,
        "uplink": entry.uplink,
        "version": entry.version,
    }
    return {key: value for key, value in fields.items() if value != ""}


def _check(manifest: Manifest) -> None:
    for entry in manifest.entries:
        problem = _problem(entry)
        if problem is not None:
            raise BadBundle(reason=f"the manifest says of {str(entry)[:200]!r}: {problem}")
    for before, after in pairwise(manifest.entries):
        if before.order >= after.order:
            raise BadBundle(reason=f"the manifest has {after} twice, or not in its place")
    if {entry.uplink for entry in manifest.entries} != set(manifest.uplinks):
        raise BadBundle(reason="the uplinks of the manifest are not those of its entries")
    for url in manifest.uplinks.values():
        if not (url.isascii() and url.isprintable()):
            raise BadBundle(reason="the manifest has an address that cannot be shown")
    if manifest.predecessor is not None and not is_digest(manifest.predecessor):
        raise BadBundle(reason="the predecessor in the manifest is not the name of a bundle")
    _check_sizes(manifest)
    _check_packages(manifest)


def _problem(entry: Entry) -> str | None:
    """Everything that is odd about one entry by itself; None if nothing is."""
    checks = {
        "a name is missing, or one too many": bool(entry.name) == (entry.kind in _HAS_NAME),
        "a version is missing, or too many": bool(entry.version) == (entry.kind in _HAS_VERSION),
        "that is no version": not entry.version or is_version(entry.version),
        "that is no name of a package": not entry.name or _is_name(entry.name),
        "its digest is not a SHA-512 in hex": is_digest(entry.sha512),
        "its size is not possible": 0 < entry.size_bytes <= LARGEST_BYTES,
        "its uplink is not a name": _UPLINK.fullmatch(entry.uplink) is not None,
    }
    return next((problem for problem, is_sound in checks.items() if not is_sound), None)


def _is_name(name: str) -> bool:
    try:
        names.parse(name)
    except InvalidName:
        return False
    return True


def _check_sizes(manifest: Manifest) -> None:
    sizes: dict[str, int] = {}
    for entry in manifest.entries:
        if sizes.setdefault(entry.sha512, entry.size_bytes) != entry.size_bytes:
            raise BadBundle(reason=f"the manifest gives two sizes of one blob, that of {entry}")


def _check_packages(manifest: Manifest) -> None:
    """Every package has one packument, of one uplink; every uplink has one document of keys."""
    seen: set[str] = set()
    for entries in manifest.groups():
        name, first = entries[0].name, Kind.PACKUMENT if entries[0].name else Kind.KEYS
        if [entry.kind for entry in entries].count(first) != 1 or (name and name in seen):
            raise BadBundle(reason=f"the manifest has no packument of {name}, or more than one")
        seen.add(name)
