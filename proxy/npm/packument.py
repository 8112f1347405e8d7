"""Packuments: tolerant reading, and the questions an answer is made of.

Only the envelope is decoded: top-level keys, versions and dist-tags. Each manifest stays the bytes
it came as. What is wrong beyond repair is an uplink's error (`Malformed`); what is merely odd
passes through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import unquote

from proxy.npm import dist as dists
from proxy.npm import names, wire
from proxy.npm.dist import Dist
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.wire import NULL, Raw

__all__ = [
    "Dist",
    "Empty",
    "Judged",
    "Malformed",
    "Packument",
    "dist",
    "judge",
    "read",
    "resolve",
    "version_for_file",
    "with_shasums",
]

T = TypeVar("T")

# An abbreviated document has `modified` at its top, where a full one has `time.modified`, and none
# of these. `time` decides nothing: a poor uplink's full document has one without `created`, and
# registries like us add a complete one to the abbreviated form.
_FULL_ONLY = frozenset({"_id", "_rev", "readme", "maintainers"})
_CLEANED = re.compile(r"^[=v\s]+")
_BUILD = re.compile(r"\+.*$", re.DOTALL)


class Malformed(ValueError):
    """An uplink's document that cannot be used. `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Empty(Malformed):
    """A sound document of a package that has no versions: it was unpublished."""


@dataclass(frozen=True, slots=True)
class Packument:
    """All that one uplink knows of one package.

    `envelope` maps each top-level key to its exact bytes, `versions` each version to its
    manifest's, both in the document's order. `dist_tags` holds the tags that are strings. `form`
    is what the document is, whatever was asked for. `modified_at` is what the document says of its
    last change.
    """

    name: str
    envelope: dict[str, Raw]
    versions: dict[str, Raw]
    dist_tags: dict[str, str]
    form: Form
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Judged:
    """What is asked of a sound document before it is stored.

    `form` and `modified_at` as in Packument. `unhashed` are the dists that name a tarball and
    neither an integrity nor a shasum, most wanted first: those a dist-tag points to, then the later
    ones in the document. An empty string is no hash: clients take it for none.
    """

    form: Form
    modified_at: datetime
    unhashed: tuple[Dist, ...]


def read(body: bytes, *, name: PackageName, fetched_at: datetime) -> Packument:
    """Read an uplink's answer about `name`.

    `fetched_at` stands in where the document has no time of its own.
    Raises Malformed if the body is not a JSON object, is cut short, or tells of another package;
    Empty if the package has no versions.
    """
    envelope = _envelope(body)
    _check_name(envelope, name)
    times = _object(envelope.get("time", NULL))
    return Packument(
        name=name.full,
        envelope=envelope,
        versions=_from_versions(envelope, times, _split),
        dist_tags=_tags(envelope),
        form=_form(envelope),
        modified_at=_modified_at(envelope, times) or fetched_at.astimezone(UTC),
    )


def dist(packument: Packument, version: str) -> Dist | None:
    """The dist of a version; None if there is no such version, or if it has no tarball."""
    manifest = packument.versions.get(version)
    return None if manifest is None else dists.read(manifest, version)


def judge(body: bytes, *, name: PackageName, fetched_at: datetime) -> Judged:
    """Judge an uplink's answer about `name` as `read` does, in no more time. Raises the same."""
    envelope = _envelope(body)
    _check_name(envelope, name)
    times = _object(envelope.get("time", NULL))
    unhashed = _from_versions(envelope, times, dists.unhashed)
    return Judged(
        form=_form(envelope),
        modified_at=_modified_at(envelope, times) or fetched_at.astimezone(UTC),
        unhashed=_most_wanted_first(unhashed, _tags(envelope)),
    )


def with_shasums(body: bytes, shasums: Mapping[str, str]) -> bytes:
    """A packument's body with the `dist.shasum` of these versions set; no other byte changes.

    The versions are some of the unhashed. Half an emoji is mended on the way, as `read` does it.
    Raises Undecodable if the body is no packument that has these versions.
    """
    try:
        return _with_shasums(body, shasums)
    except wire.Undecodable:
        return _with_shasums(wire.mend(body), shasums)


def version_for_file(packument: Packument, name: PackageName, file: str) -> str | None:
    """The version whose tarball has this (decoded) file name; else None.

    `@scope/x-1.0.0.tgz` and `download/x-1.0.0.tgz`, as others write it, are read too. What the
    file name itself says counts first, because that is how our links are written. Old packages'
    files follow other rules: they are found by the last piece of their `dist.tarball`.
    """
    plain = _plain_file(name, file)
    derived = names.version_of(name, plain)
    if derived is not None and derived in packument.versions:
        return derived
    if "/" in plain:
        return None
    found = (dists.read(manifest, version) for version, manifest in packument.versions.items())
    return next((each.version for each in found if each and _file_of(each) == plain), None)


def resolve(packument: Packument, spec: str) -> str | None:
    """The version meant by a version, a dist-tag or a loosely written version; else None.

    `v1.0.0`, `=1.0.0` and `1.0.0+build` mean 1.0.0.
    """
    wanted = spec.strip()
    tagged = packument.dist_tags.get(wanted, wanted)
    for version in (spec, wanted, tagged):
        if version in packument.versions:
            return version
    identity = _identity(wanted)
    alike = (version for version in packument.versions if _identity(version) == identity)
    return next(alike, None) if identity else None


def _envelope(body: bytes) -> dict[str, Raw]:
    try:
        wire.check_text(body)
        return _tolerant_envelope(body)
    except wire.Undecodable as error:
        raise Malformed(f"not a JSON object: {error}") from error


def _tolerant_envelope(body: bytes) -> dict[str, Raw]:
    try:
        return wire.envelope(body)
    except wire.Undecodable:
        mended = wire.mend(body)
        if mended == body:
            raise
        return wire.envelope(mended)


def _with_shasums(body: bytes, shasums: Mapping[str, str]) -> bytes:
    text = wire.envelope(body).get("versions", NULL)
    versions = wire.envelope(text)
    stated = {
        version: dists.with_shasum(versions.get(version, NULL), shasum)
        for version, shasum in shasums.items()
    }
    return wire.replace(body, {"versions": wire.replace(text, stated)})


def _check_name(envelope: dict[str, Raw], name: PackageName) -> None:
    said = wire.text(envelope.get("name", NULL)) or wire.text(envelope.get("_id", NULL))
    if said is None:
        raise Malformed("not a packument: it has no name")
    if said != name.full:
        raise Malformed(f"a packument of another package: {said[:100]!r} instead of {name.full!r}")


def _from_versions(
    envelope: dict[str, Raw], times: dict[str, Raw], take: Callable[[Raw], tuple[int, T]]
) -> T:
    """What `take` makes of the versions, besides counting them. Raises Malformed, Empty."""
    try:
        count, taken = take(envelope.get("versions", NULL))
    except wire.Undecodable as error:
        if "unpublished" in times:
            raise Empty("the package was unpublished") from error
        raise Malformed("not a packument: its versions are not an object") from error
    if not count:
        raise Empty("the package has no versions")
    return taken


def _split(versions: Raw) -> tuple[int, dict[str, Raw]]:
    manifests = wire.envelope(versions)
    return len(manifests), manifests


def _tags(envelope: dict[str, Raw]) -> dict[str, str]:
    return _strings(_object(envelope.get("dist-tags", NULL)))


def _most_wanted_first(found: list[Dist], tags: dict[str, str]) -> tuple[Dist, ...]:
    tagged, newest_first = set(tags.values()), found[::-1]
    return tuple(sorted(newest_first, key=lambda each: each.version not in tagged))


def _form(envelope: dict[str, Raw]) -> Form:
    if _FULL_ONLY & envelope.keys() or wire.text(envelope.get("modified", NULL)) is None:
        return Form.FULL
    return Form.ABBREVIATED


def _modified_at(envelope: dict[str, Raw], times: dict[str, Raw]) -> datetime | None:
    said = _instant(times.get("modified", NULL))
    return said or _instant(envelope.get("modified", NULL)) or _latest(times.values())


def _latest(times: Iterable[Raw]) -> datetime | None:
    return max((at for at in map(_instant, times) if at is not None), default=None)


def _instant(raw: Raw) -> datetime | None:
    """An ISO 8601 instant; one without a zone is taken as UTC. None if it is not one."""
    try:
        at = datetime.fromisoformat(wire.text(raw) or "")
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # OverflowError: a zone that leads out of the calendar
        return None


def _object(raw: Raw) -> dict[str, Raw]:
    try:
        return wire.envelope(raw)
    except wire.Undecodable:
        return {}


def _strings(fields: dict[str, Raw]) -> dict[str, str]:
    found = ((key, wire.text(raw)) for key, raw in fields.items())
    return {key: value for key, value in found if value is not None}


def _plain_file(name: PackageName, file: str) -> str:
    """The file name without the forms that other registries put before it."""
    plain = file.removeprefix("download/")
    return plain if name.scope is None else plain.removeprefix(f"@{name.scope}/")


def _file_of(found: Dist) -> str:
    path = found.tarball.partition("#")[0].partition("?")[0]
    return unquote(path.rpartition("/")[2])


def _identity(version: str) -> str:
    """A version cleaned as npm's semver does, without the build metadata, which never counts."""
    return _BUILD.sub("", _CLEANED.sub("", version.strip()))
