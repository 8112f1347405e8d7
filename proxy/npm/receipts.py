"""Receipts of bundles: what a registry holds, told to the one that makes bundles for it.

A receipt is not signed, because it is only believed in what it leaves out: a bundle that is made
with a wrong one lacks something, and its import says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.npm import bundles, wire
from proxy.npm.bundles import BadBundle

FORMAT = "packhouse-receipt/1"


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of one package: version to sha512 (hex) of its tarball.

    `modified` is when its packument says it was changed last, as npm writes instants.
    """

    modified: str
    versions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """All that is held, by package, once `bundle` had been imported."""

    bundle: str
    packages: Mapping[str, Held]


class _Held(wire.Struct):
    modified: str
    versions: dict[str, str]


class _Receipt(wire.Struct):
    format: str
    bundle: str
    packages: dict[str, _Held]


_RECEIPTS = wire.Reader(_Receipt)


def written(receipt: Receipt) -> bytes:
    """The receipt as JSON, its names and versions sorted."""
    packages = {
        name: {"modified": held.modified, "versions": dict(sorted(held.versions.items()))}
        for name, held in sorted(receipt.packages.items())
    }
    return wire.dumps({"bundle": receipt.bundle, "format": FORMAT, "packages": packages}) + b"\n"


def read(data: bytes) -> Receipt:
    """Undo `written`. Raises BadBundle for what is no receipt."""
    try:
        said = _RECEIPTS.read(data)
    except wire.Undecodable as error:
        raise BadBundle(reason=f"this is no receipt of an import: {error}") from error
    if said.format != FORMAT or not bundles.is_digest(said.bundle):
        raise BadBundle(reason=f"this is no receipt that this packhouse reads ({FORMAT})")
    packages = {name: Held(each.modified, each.versions) for name, each in said.packages.items()}
    return Receipt(said.bundle, packages)
