"""Which versions a range may bring, and what those need in turn.

Clients do not agree: npm and pnpm take `latest` where the range admits it, and pass over what is
deprecated; Yarn takes the highest. Every version that one of them would take is chosen, so that
what is fetched by these choices is enough for all, and sometimes more than one of them needs.
Source: npm-pick-manifest, and what the clients do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from proxy.npm import dist as dists
from proxy.npm import ranges, semver, wire
from proxy.npm.dist import Dist
from proxy.npm.wire import NULL, Raw

_LATEST = "latest"
_NEEDED = ("dependencies", "optionalDependencies", "peerDependencies")


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency of a version, as its manifest writes it."""

    name: str
    spec: str
    is_optional: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """A version that is wanted: its tarball, the platforms it is for, and what it needs.

    `spare` are peers that need not be there: clients look at them, and install them for others.
    """

    version: str
    dist: Dist | None
    os: tuple[str, ...]
    cpu: tuple[str, ...]
    libc: tuple[str, ...]
    needs: tuple[Need, ...]
    spare: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The versions that were found, and what of the question led to none."""

    choices: tuple[Choice, ...]
    missing: tuple[str, ...]


class _Fields(wire.Struct):
    os: Raw = NULL
    cpu: Raw = NULL
    libc: Raw = NULL
    dependencies: Raw = NULL
    optionalDependencies: Raw = NULL  # noqa: N815  # npm's spelling
    peerDependencies: Raw = NULL  # noqa: N815
    peerDependenciesMeta: Raw = NULL  # noqa: N815
    bundleDependencies: Raw = NULL  # noqa: N815
    bundledDependencies: Raw = NULL  # noqa: N815
    deprecated: Raw = NULL


_FIELDS = wire.Reader(_Fields)
_STRINGS = wire.Reader(list[str])
_OBJECTS = wire.Reader(dict[str, Raw])


def choose(
    versions: Mapping[str, bytes | Raw],
    tags: Mapping[str, str],
    *,
    exact: Sequence[str] = (),
    specs: Sequence[str] = (),
    likely: Sequence[str] = (),
) -> Chosen:
    """Choose among a package's versions, each with its manifest: `exact` ones, and by range or tag.

    Of a range in `likely` the one version is chosen that most clients take. What is wrong in a
    manifest counts as absent.
    """
    found: dict[str, None] = {}
    missing = [version for version in exact if version not in versions]
    found.update((version, None) for version in exact if version in versions)
    for spec in specs:
        picked = list(_picked(versions, tags, spec))
        found.update((version, None) for version in picked)
        if not picked:
            missing.append(spec)
    taken = {spec: _likeliest(versions, tags, spec) for spec in likely}
    found.update((version, None) for version in taken.values() if version is not None)
    missing.extend(spec for spec, version in taken.items() if version is None)
    choices = (_choice(version, versions[version]) for version in found)
    return Chosen(tuple(choices), tuple(missing))


def _picked(
    versions: Mapping[str, bytes | Raw], tags: Mapping[str, str], spec: str
) -> Iterator[str]:
    """What one client or the other would take."""
    tagged = tags.get(spec, spec)
    if tagged in versions:
        yield tagged
        return
    fit = _in_order(versions, spec)
    latest = tags.get(_LATEST)
    if latest in fit or (latest in versions and spec.strip() in {"", "*"}):
        yield str(latest)
    if fit:
        yield fit[-1]
        sound = (each for each in reversed(fit) if not _is_deprecated(versions[each]))
        yield next(sound, fit[-1])


def _likeliest(
    versions: Mapping[str, bytes | Raw], tags: Mapping[str, str], spec: str
) -> str | None:
    """`latest` where the range admits it, else the highest; few need all versions looked at."""
    tagged, latest = tags.get(spec, spec), tags.get(_LATEST)
    if tagged in versions:
        return tagged
    if latest in versions and ranges.satisfies(str(latest), spec, loose=True):
        return latest
    return ranges.max_satisfying(versions, spec, loose=True)


def _in_order(versions: Mapping[str, bytes | Raw], spec: str) -> list[str]:
    """The versions in the range, the lowest first."""
    try:
        limits = ranges.parse(spec, loose=True)
    except ranges.InvalidRange:
        return []
    fit = []
    for text in versions:
        try:
            version = semver.parse(text, loose=True)
        except semver.InvalidVersion:
            continue
        if limits.admits(version):
            fit.append((version.order, text))
    return [text for _, text in sorted(fit, key=lambda pair: pair[0])]


def _is_deprecated(manifest: bytes | Raw) -> bool:
    return bool(wire.text(_fields(manifest).deprecated))


def _choice(version: str, manifest: bytes | Raw) -> Choice:
    fields = _fields(manifest)
    needs = list(_needs(fields))
    return Choice(
        version=version,
        dist=dists.read(manifest, version),
        os=_texts(fields.os),
        cpu=_texts(fields.cpu),
        libc=_texts(fields.libc),
        needs=tuple(need for need, is_spare in needs if not is_spare),
        spare=tuple(need for need, is_spare in needs if is_spare),
    )


def _needs(fields: _Fields) -> Iterator[tuple[Need, bool]]:
    """What is not bundled, each with whether it is a peer that need not be there."""
    bundled = {*_texts(fields.bundleDependencies), *_texts(fields.bundledDependencies)}
    unneeded = {
        name
        for name, meta in _object(fields.peerDependenciesMeta).items()
        if bytes(_object(meta).get("optional", NULL)) == b"true"
    }
    optional = _object(fields.optionalDependencies).keys()
    for group in _NEEDED:
        for name, raw in _object(getattr(fields, group)).items():
            spec = wire.text(raw)
            if spec is not None and name not in bundled:
                is_spare = group == "peerDependencies" and name in unneeded
                yield Need(name, spec, name in optional), is_spare


def _fields(manifest: bytes | Raw) -> _Fields:
    try:
        return _FIELDS.read(manifest)
    except wire.Undecodable:
        return _Fields()


def _object(raw: bytes | Raw) -> dict[str, Raw]:
    try:
        return _OBJECTS.read(raw)
    except wire.Undecodable:
        return {}


def _texts(raw: bytes | Raw) -> tuple[str, ...]:
    """The texts of a list, or the only one; none if it is something else."""
    one = wire.text(raw)
    if one is not None:
        return (one,)
    try:
        return tuple(_STRINGS.read(raw))
    except wire.Undecodable:
        return ()
