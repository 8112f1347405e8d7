"""The packument of a package published here, put together from what is stored of it.

Manifests are stored as bytes and stay bytes; only the latest one is taken apart, because npm shows
its description, licence and so on at the top of the document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from proxy.npm import manifests, semver, wire
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Packument
from proxy.npm.updates import Person
from proxy.npm.wire import Raw

LATEST = "latest"
# what npm copies from the latest version to the top, in the order of the registry's documents
_COPIED = (
    "author", "bugs", "contributors", "homepage", "keywords", "license", "repository",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HostedVersion:
    """One published version: its manifest as stored, without the deprecation kept beside it."""

    version: str
    manifest: bytes
    published_at: datetime
    deprecated: str | None = None


@dataclass(frozen=True, slots=True)
class HostedPackage:
    """All that is stored of a package; `versions` in the order they were published.

    `users` are those who starred it. `access` is not part of the document.
    """

    name: PackageName
    revision: str
    access: str | None
    tags: Mapping[str, str]
    versions: Sequence[HostedVersion]
    created_at: datetime
    modified_at: datetime
    maintainers: Sequence[Person] = ()
    users: Sequence[str] = field(default=())
    description: str | None = None
    readme: str | None = None
    readme_filename: str | None = None


def packument(package: HostedPackage) -> Packument:
    """The full document, with an instant for every version in its `time`.

    Raises wire.Undecodable if a stored manifest is no JSON object.
    """
    versions = {each.version: Raw(_manifest(each)) for each in package.versions}
    return Packument(
        name=package.name.full,
        envelope={key: Raw(value) for key, value in _envelope(package, versions)},
        versions=versions,
        dist_tags=dict(package.tags),
        form=Form.FULL,
        modified_at=package.modified_at.astimezone(UTC),
    )


def latest(package: HostedPackage) -> str | None:
    """The version tagged `latest`, or else the highest; None if there is no version."""
    listed = [each.version for each in package.versions]
    tagged = package.tags.get(LATEST)
    return tagged if tagged in listed else max(listed, key=semver.order, default=None)


def _manifest(version: HostedVersion) -> bytes:
    if not version.deprecated:
        return version.manifest
    return manifests.deprecate(version.manifest, version.deprecated)


def _envelope(
    package: HostedPackage, versions: Mapping[str, Raw]
) -> Iterator[tuple[str, bytes | Raw]]:
    """The fields at the top, in the order the registry writes them."""
    shown = latest(package)
    top = {} if shown is None else wire.envelope(versions[shown])
    yield "_id", wire.dumps(package.name.full)
    yield "_rev", wire.dumps(package.revision)
    yield "name", wire.dumps(package.name.full)
    yield "dist-tags", wire.dumps(dict(package.tags))
    yield "versions", wire.join(versions.items())
    yield "time", wire.dumps(_time(package))
    yield "maintainers", wire.dumps([manifests.person(each) for each in package.maintainers])
    if package.users:
        yield "users", wire.dumps(dict.fromkeys(package.users, True))
    yield from _described(package, top)
    yield from ((key, top[key]) for key in _COPIED if key in top)


def _described(package: HostedPackage, top: Mapping[str, Raw]) -> Iterator[tuple[str, bytes | Raw]]:
    if package.description is not None:
        yield "description", wire.dumps(package.description)
    elif "description" in top:
        yield "description", top["description"]
    yield "readme", wire.dumps(package.readme or "")
    if package.readme_filename is not None:
        yield "readmeFilename", wire.dumps(package.readme_filename)


def _time(package: HostedPackage) -> dict[str, str]:
    times = {"created": _iso(package.created_at), "modified": _iso(package.modified_at)}
    return times | {each.version: _iso(each.published_at) for each in package.versions}


def _iso(at: datetime) -> str:
    """As npm writes instants: UTC, milliseconds and a Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
