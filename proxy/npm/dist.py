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


# Two steps, because every value fits Raw: a field that occurs twice, once with the wrong type, is
# still read as clients read it (the last one counts), where one step would refuse the manifest at
# the first.
_MANIFESTS = wire.Reader(_Manifest)
_DISTS = wire.Reader(_Fields)


def read(manifest: bytes | Raw, version: str) -> Dist | None:
    """Read the dist of a version's manifest; None if it has no tarball.

    A field of the wrong type counts as absent.
    """
    fields = _fields(manifest)
    tarball = None if fields is None else wire.text(fields.tarball)
    if fields is None or tarball is None:
        return None
    return Dist(version, tarball, wire.text(fields.integrity), wire.text(fields.shasum))


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
