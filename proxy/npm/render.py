"""A packument, a form and a base URL to the bytes and the ETag we send.

The answer is put together from the bytes the uplink sent: nothing is decoded that is not changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime

from proxy.npm import abbreviate, links, wire
from proxy.npm.forms import Form
from proxy.npm.names import PackageName
from proxy.npm.packument import Packument
from proxy.npm.wire import NULL, Pairs, Raw

RENDERER = 1
"""Part of every key of a rendered reply: raise it when the same input gives other bytes."""

_ETAG_BYTES = 16
_LENGTH_BYTES = 8


def render(packument: Packument, form: Form, base_url: str) -> bytes:
    """The document in the form asked for, as JSON, its tarballs at our address.

    An abbreviated document cannot be made full: asked for that, it is rendered as it is.
    """
    return b"".join(pieces(packument, form, base_url))


def pieces(packument: Packument, form: Form, base_url: str) -> Iterator[bytes | Raw]:
    """What `render` gives, piece by piece: a large document need not be in memory twice."""
    is_cut = form is Form.ABBREVIATED and packument.form is Form.FULL
    return wire.pieces((_abbreviated if is_cut else _copied)(packument, base_url))


def manifest(packument: Packument, version: str, base_url: str) -> bytes:
    """One version's manifest, whole, its tarball at our address. Raises KeyError for no version."""
    name = PackageName(packument.name)
    return links.rewrite(packument.versions[version], base_url=base_url, name=name, version=version)


def dist_tags(packument: Packument) -> bytes:
    """The dist-tags alone: `{"latest": "1.0.0", …}`."""
    return wire.dumps(packument.dist_tags)


def etag(*parts: str) -> str:
    """A tag for what is made of these parts, 36 characters long.

    Other parts, or parts divided otherwise, give another. It is weak because one tag stands for
    the gzip and the identity coding of a reply (RFC 9110 section 8.8.1).
    """
    digest = hashlib.blake2b(digest_size=_ETAG_BYTES)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
    return f'W/"{digest.hexdigest()}"'


def _copied(packument: Packument, base_url: str) -> Pairs:
    for key, value in packument.envelope.items():
        yield key, _versions(packument, base_url) if key == "versions" else value


def _abbreviated(packument: Packument, base_url: str) -> Pairs:
    yield "name", wire.dumps(packument.name)
    yield "dist-tags", packument.envelope.get("dist-tags", b"{}")
    yield "modified", wire.dumps(iso(packument.modified_at))
    time = packument.envelope.get("time", NULL)
    if _is_complete(time, packument):
        yield "time", time
    yield "versions", _abbreviated_versions(packument, base_url)


def _versions(packument: Packument, base_url: str) -> Pairs:
    name = PackageName(packument.name)
    for version, raw in packument.versions.items():
        yield version, links.rewrite(raw, base_url=base_url, name=name, version=version)


def _abbreviated_versions(packument: Packument, base_url: str) -> Pairs:
    name = PackageName(packument.name)
    for version, raw in packument.versions.items():
        short = abbreviate.manifest(raw)
        yield version, links.rewrite(short, base_url=base_url, name=name, version=version)


def iso(at: datetime) -> str:
    """An instant in UTC as npm writes it: milliseconds and a Z."""
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_complete(time: Raw, packument: Packument) -> bool:
    """Whether every version has its instant: pnpm asks again if one is missing."""
    try:
        times = wire.envelope(time)
    except wire.Undecodable:
        return False
    return all(
        bytes(times.get(version, NULL)).startswith(wire.QUOTE) for version in packument.versions
    )
