"""A mirrored and a hosted packument of one name as one document.

Local versions stand beside the uplink's, and a local version takes the place of the same number
upstream. Dist-tags are the uplink's and then the local ones, but `latest` is the higher of the two,
and no prerelease unless both are. What describes the package (readme, description, licence) comes
from whoever `latest` is of; what a client sends back with a change (`_rev`, `maintainers`, `users`)
is ours, because only our part can be changed. All else passes as it is, in its order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from proxy.npm import abbreviate, semver, wire
from proxy.npm.forms import Form
from proxy.npm.packument import Packument
from proxy.npm.wire import NULL, Raw

LATEST = "latest"
_OURS = frozenset({"_rev", "maintainers", "users"})
_DESCRIBING = frozenset({
    "author", "bugs", "contributors", "description", "homepage", "keywords", "license", "readme",
    "readmeFilename", "repository",
})  # fmt: skip

Fields = dict[str, bytes | Raw]


def merge(mirrored: Packument, hosted: Packument) -> Packument:
    """The document of both, in the form of the mirrored one; the hosted one is full.

    Raises wire.Undecodable if a hosted manifest is no JSON object.
    """
    tags = {**mirrored.dist_tags, **hosted.dist_tags}
    if latest := latest_of(mirrored.dist_tags, hosted.dist_tags):
        tags[LATEST] = latest
    versions = _versions(mirrored, hosted)
    fields: Fields = _fields(mirrored, hosted, is_ours=latest in hosted.versions)
    fields["dist-tags"] = _tags(mirrored, tags)
    fields["versions"] = wire.join(versions.items())
    if "time" in fields:
        fields["time"] = _times(mirrored, hosted)
    if mirrored.form is Form.ABBREVIATED:
        fields["modified"] = _modified(mirrored, hosted)
    return Packument(
        name=mirrored.name,
        envelope={key: Raw(bytes(value)) for key, value in fields.items()},
        versions=versions,
        dist_tags=tags,
        form=mirrored.form,
        modified_at=max(mirrored.modified_at, hosted.modified_at),
    )


def tags_of(mirrored: Mapping[str, str], hosted: Mapping[str, str]) -> dict[str, str]:
    """The dist-tags of both."""
    latest = latest_of(mirrored, hosted)
    return {**mirrored, **hosted, **({LATEST: latest} if latest else {})}


def latest_of(mirrored: Mapping[str, str], hosted: Mapping[str, str]) -> str | None:
    """What `latest` names: the higher of two releases, or of two prereleases; else the release."""
    found = [tags[LATEST] for tags in (mirrored, hosted) if LATEST in tags]
    released = [version for version in found if not _is_prerelease(version)]
    return max(released or found, key=semver.order, default=None)


def _is_prerelease(version: str) -> bool:
    try:
        return bool(semver.parse(version, loose=True).prerelease)
    except semver.InvalidVersion:
        return False


def _versions(mirrored: Packument, hosted: Packument) -> dict[str, Raw]:
    """The uplink's in their order, ours in their places or at the end."""
    if mirrored.form is Form.FULL:
        return {**mirrored.versions, **hosted.versions}
    ours = {version: Raw(abbreviate.manifest(raw)) for version, raw in hosted.versions.items()}
    return {**mirrored.versions, **ours}


def _fields(mirrored: Packument, hosted: Packument, *, is_ours: bool) -> Fields:
    """The top of the document, without what is worked out of both."""
    if mirrored.form is Form.ABBREVIATED:
        return dict(mirrored.envelope)
    replaced = _OURS | _DESCRIBING if is_ours else _OURS
    fields: Fields = {
        key: raw
        for key, raw in mirrored.envelope.items()
        if key not in replaced or key in hosted.envelope
    }
    for key, raw in hosted.envelope.items():
        if key in replaced or not (key in fields or key in _DESCRIBING):
            fields[key] = raw
    return fields


def _tags(mirrored: Packument, tags: Mapping[str, str]) -> bytes:
    """The merged tags; what an uplink has among its own that is no string stays where it is."""
    fields: Fields = {**_object(mirrored.envelope.get("dist-tags", NULL))}
    for tag, version in tags.items():
        if mirrored.dist_tags.get(tag) != version:
            fields[tag] = wire.dumps(version)
    return wire.join(fields.items())


def _times(mirrored: Packument, hosted: Packument) -> bytes:
    """Every instant that is known, a local version's from us."""
    theirs = _object(mirrored.envelope.get("time", NULL))
    ours = _object(hosted.envelope.get("time", NULL))
    created = dict(_earlier(theirs, ours))
    return wire.join({**theirs, **ours, **created, "modified": _modified(mirrored, hosted)}.items())


def _earlier(theirs: Mapping[str, Raw], ours: Mapping[str, Raw]) -> Iterator[tuple[str, Raw]]:
    """Whichever was created first: instants in one notation are in the order of their texts."""
    found = [raw for each in (theirs, ours) if wire.text(raw := each.get("created", NULL))]
    if found:
        yield "created", min(found, key=lambda raw: wire.text(raw) or "")


def _modified(mirrored: Packument, hosted: Packument) -> bytes:
    at = max(mirrored.modified_at, hosted.modified_at)
    return wire.dumps(at.isoformat(timespec="milliseconds").replace("+00:00", "Z"))


def _object(raw: Raw) -> dict[str, Raw]:
    try:
        return wire.envelope(raw)
    except wire.Undecodable:
        return {}
