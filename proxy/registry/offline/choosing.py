"""What of all that is held goes into a bundle, and why something does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from proxy.npm import bundles, integrity, merge, names, render
from proxy.npm.bundles import BadBundle, Entry
from proxy.npm.packument import Packument
from proxy.npm.receipts import Receipt
from proxy.storage.base import TarballRecord
from proxy.storage.bundles import Head


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be carried: package to its versions, None for all that are held.

    An empty selection is everything that is held. Of (name, version), `integrity` is the SRI string
    that a lockfile says, and those in `optional` may be missing: they are of other platforms.
    """

    packages: dict[str, set[str] | None] = field(default_factory=dict)
    integrity: dict[tuple[str, str], str] = field(default_factory=dict)
    optional: set[tuple[str, str]] = field(default_factory=set)

    def add(self, name: str, version: str | None) -> None:
        """Choose one version, or all that are held."""
        chosen = self.packages.setdefault(name, set())
        if version is None:
            self.packages[name] = None
        elif chosen is not None:
            chosen.add(version)


@dataclass(slots=True)
class Plan:
    """What goes into a bundle, and what of the selection does not.

    `missing` are versions that were asked for and are not held; `left_out` are reasons.
    """

    entries: list[Entry] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)  # of what waits in the spool, by digest
    head: Head | None = None


def is_plain(tarball: TarballRecord) -> bool:
    """Whether its file name and version are those that an import makes of it again."""
    name = names.parse(tarball.name)
    is_usual = tarball.file == names.tarball_file(name, tarball.version)
    return is_usual and bundles.is_version(tarball.version)


def is_promised(sri: str | None, shasum: str | None, digest: str) -> bool:
    """Whether bytes with this sha512 can be what is promised, as far as their digest tells."""
    expected = integrity.parse(sri, shasum)
    if expected is None or expected.algorithm != "sha512":
        return True
    return bytes.fromhex(digest) in expected.digests


def known(document: Packument, versions: set[str] | None) -> set[str]:
    """What is listed of a package without any tarball here: the versions asked for, or its latest.

    Clients ask for the packuments of packages that they do not install, above all of optional ones
    for other platforms, and have to be told that there are such.
    """
    if versions is not None:
        return versions & document.versions.keys()
    latest = document.dist_tags.get(merge.LATEST, "")
    return {latest if latest in document.versions else list(document.versions)[-1]}


def new_in(
    document: Packument, carried: Mapping[str, TarballRecord], since: Receipt | None
) -> list[str]:
    """The versions that the receipt does not have. Raises BadBundle where it has other bytes."""
    held = None if since is None else since.packages.get(document.name)
    if held is None:
        return list(carried)
    for version, tarball in carried.items():
        other = held.versions.get(version, tarball.digest)
        if other != tarball.digest:
            raise BadBundle(
                reason=f"{document.name}@{version} is sha512 {tarball.digest} here and sha512 "
                f"{other} by the receipt: one of the two is not what was published"
            )
    return [version for version in carried if version not in held.versions]


def is_newer(document: Packument, since: Receipt | None) -> bool:
    """Whether the packument was changed after the one that the receipt tells of."""
    held = None if since is None else since.packages.get(document.name)
    return held is None or render.iso(document.modified_at) > held.modified


def lacking(missing: Sequence[str]) -> str:
    """What to say, and to do, when something is not held."""
    shown = ", ".join(missing[:20]) + (f" and {len(missing) - 20} more" if missing[20:] else "")
    return (
        f"not held here, so that nothing is written: {shown}. Fetch them first (packhouse "
        "prefetch), or carry what there is with --allow-missing"
    )
