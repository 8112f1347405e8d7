"""A packument narrowed to the versions whose tarballs are held, for when no other can be had.

Whoever chooses a version from it chooses one that can be installed. What is hidden is gone
everywhere: from `versions`, from `time`, and from the dist-tags, which are repaired:

- A tag whose version is shown stays as it is.
- Any other goes to the highest version shown that is not above the one it named: never to a
  prerelease unless it named one, to a deprecated version only if there is no other, and, but for
  `latest`, never to another major version (`v5-lts` is no name for 4.9.0). Where there is none the
  tag is gone.
- `latest` is there as long as any version is, because yarn 1 and deno take no document without it:
  if nothing suits, it goes to the lowest release above the one it named, else to the highest
  version there is.

`created`, `modified` and every field we do not know stay as they are.

Of a package of which nothing is held, versions that are for certain platforms alone (`os`, `cpu`,
`libc`) are shown all the same. They are somebody's optional dependencies: a client elsewhere never
fetches their tarballs, but writes them into its lockfile. Without them yarn finds no solution, and
`npm ci` refuses the lockfile that npm has just made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from proxy.npm import semver, wire
from proxy.npm.merge import LATEST
from proxy.npm.packument import Packument
from proxy.npm.wire import NULL, Raw

_PLATFORMS = ("os", "cpu", "libc")
# What `deprecated` is where nobody meant anything by it.
_NOT_DEPRECATED = frozenset({b"null", b"false", b'""'})


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What is shown, and the versions that are hidden, in the document's order."""

    packument: Packument
    hidden: tuple[str, ...]


def narrowed(packument: Packument, held: Collection[str]) -> Narrowed:
    """The document with the versions that can be installed; the same one if it names no other.

    Raises nothing: one without any version left has no dist-tags either.
    """
    shown = {version: raw for version, raw in packument.versions.items() if version in held}
    if not shown:
        shown = {v: raw for v, raw in packument.versions.items() if _is_for_some_platforms(raw)}
    tags = _repaired(packument.dist_tags, shown)
    hidden = tuple(version for version in packument.versions if version not in shown)
    if not hidden and tags == packument.dist_tags:
        return Narrowed(packument, ())
    changed = {
        "versions": wire.join(shown.items()),
        "dist-tags": _tags(packument, tags),
        "time": _times(packument, shown),
    }
    fields = ((key, changed.get(key), raw) for key, raw in packument.envelope.items())
    envelope = {key: raw if new is None else Raw(new) for key, new, raw in fields}
    return Narrowed(replace(packument, envelope=envelope, versions=shown, dist_tags=tags), hidden)


def _repaired(tags: Mapping[str, str], shown: Mapping[str, Raw]) -> dict[str, str]:
    found = (
        (tag, version if version in shown else _stand_in(tag, version, shown))
        for tag, version in tags.items()
    )
    return {tag: version for tag, version in found if version is not None}


def _stand_in(tag: str, named: str, shown: Mapping[str, Raw]) -> str | None:
    """The version a tag goes to when the one it named is hidden."""
    suitable = shown if _is_prerelease(named) else [v for v in shown if not _is_prerelease(v)]
    limit = semver.order(named)
    below = [version for version in suitable if semver.order(version) <= limit]
    if tag != LATEST:
        return _highest([version for version in below if _major(version) == _major(named)], shown)
    if below:
        return _highest(below, shown)
    return min(suitable, key=semver.order) if suitable else _highest(shown, shown)


def _highest(versions: Iterable[str], shown: Mapping[str, Raw]) -> str | None:
    """The highest that is not deprecated, else the highest."""
    found = list(versions)
    sound = [version for version in found if not _is_deprecated(shown[version])]
    return max(sound or found, key=semver.order, default=None)


def _tags(packument: Packument, tags: Mapping[str, str]) -> bytes | None:
    """The tags as they are now; what an uplink has among its own that is no string stays."""
    fields = _object(packument.envelope.get("dist-tags", NULL))
    if fields is None:
        return None
    return wire.join(
        (tag, wire.dumps(tags[tag]) if tag in packument.dist_tags else raw)
        for tag, raw in fields.items()
        if tag in tags or tag not in packument.dist_tags
    )


def _times(packument: Packument, shown: Mapping[str, Raw]) -> bytes | None:
    """Without the instants of versions that are hidden, or were unpublished long ago."""
    fields = _object(packument.envelope.get("time", NULL))
    if fields is None:
        return None
    hidden = packument.versions.keys() - shown.keys()
    return wire.join(
        (key, raw)
        for key, raw in fields.items()
        if key in shown or not (key in hidden or _is_version(key))
    )


def _object(raw: Raw) -> dict[str, Raw] | None:
    try:
        return wire.envelope(raw)
    except wire.Undecodable:
        return None


def _is_version(text: str) -> bool:
    try:
        semver.parse(text)
    except semver.InvalidVersion:
        return False
    return True


def _is_prerelease(version: str) -> bool:
    try:
        return bool(semver.parse(version, loose=True).prerelease)
    except semver.InvalidVersion:
        return False


def _major(version: str) -> int:
    return semver.order(version)[0]


def _is_deprecated(manifest: Raw) -> bool:
    fields = _object(manifest)
    return fields is not None and bytes(fields.get("deprecated", NULL)) not in _NOT_DEPRECATED


def _is_for_some_platforms(manifest: Raw) -> bool:
    """Whether it names platforms it is for; `!win32` names but one that it is not for."""
    fields = _object(manifest) or {}
    return any(_names_some(wire.loads(fields[key])) for key in _PLATFORMS if key in fields)


def _names_some(value: object) -> bool:
    words = value if isinstance(value, list) else [value]
    return bool(words) and all(
        isinstance(word, str) and word not in {"", "any"} and not word.startswith("!")
        for word in words
    )
