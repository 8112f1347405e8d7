"""The `dist` of a manifest: where a version's tarball is, and what its bytes must be."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.npm import wire
from proxy.npm.wire import NULL, Raw


@dataclass(frozen=True, slots=True)
class Dist:
    """What a packument says of one tarball; `tarball` is the address as the uplink wrote it."""

    version: str
    tarball: str
    integrity: str | None
    shasum: str | None


class _Manifest(wire.Struct):
    dist: Raw = NULL


class _Fields(wire.Struct):
    tarball: Raw = NULL
    integrity: Raw = NULL
    shasum: Raw = NULL


class _Promise(wire.Struct, gc=False):
    tarball: str | None = None
    integrity: str | None = None
    shasum: str | None = None


class _Promising(wire.Struct, gc=False):
    dist: _Promise | None = None


# Two steps, because every value fits Raw: a field that occurs twice, once with the wrong type, is
# still read as clients read it (the last one counts), where one step would refuse the manifest at
# the first.
_MANIFESTS = wire.Reader(_Manifest)
_DISTS = wire.Reader(_Fields)
# One step for all versions at once, where every field is what it should be: it takes no longer than
# to split them.
_PROMISES = wire.Reader(dict[str, _Promising])


def read(manifest: bytes | Raw, version: str) -> Dist | None:
    """Read the dist of a version's manifest; None if it has no tarball.

    A field of the wrong type counts as absent.
    """
    fields = _fields(manifest)
    tarball = None if fields is None else wire.text(fields.tarball)
    if fields is None or tarball is None:
        return None
    return Dist(version, tarball, wire.text(fields.integrity), wire.text(fields.shasum))


def unhashed(versions: bytes | Raw) -> tuple[int, list[Dist]]:
    """How many versions there are, and which dists name a tarball and no hash at all, in order.

    `versions` maps each version to its manifest. Raises Undecodable if it is no object.
    """
    try:
        promises = _PROMISES.read(versions)
    except wire.Undecodable:
        manifests = wire.envelope(versions)
        found = [read(manifest, version) for version, manifest in manifests.items()]
        return len(manifests), [each for each in found if each and _is_unhashed(each)]
    return len(promises), [
        Dist(version, said.tarball, None, None)
        for version, each in promises.items()
        if (said := each.dist) is not None and _is_unhashed(said) and said.tarball is not None
    ]


def with_shasum(manifest: bytes | Raw, shasum: str) -> bytes:
    """The manifest with this `dist.shasum`, every other byte as it is.

    Raises Undecodable if there is no object for it to stand in.
    """
    dist = wire.envelope(manifest).get("dist", NULL)
    stated = wire.replace(dist, {"shasum": wire.dumps(shasum)})
    return wire.replace(manifest, {"dist": stated})


def _is_unhashed(said: Dist | _Promise) -> bool:
    return not said.integrity and not said.shasum


def tarball_token(manifest: bytes | Raw) -> bytes | None:
    """The exact bytes of the string `dist.tarball` in the manifest, quotes included."""
    fields = _fields(manifest)
    token = b"" if fields is None else bytes(fields.tarball)
    return token if token.startswith(wire.QUOTE) else None


def _fields(manifest: bytes | Raw) -> _Fields | None:
    try:
        return _DISTS.read(_MANIFESTS.read(manifest).dist)
    except wire.Undecodable:
        return None
