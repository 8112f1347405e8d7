"""Addresses in manifests: `dist.tarball` rewritten to ours, and hardly anything else.

The string that has to go is known by its exact bytes. If they occur in the manifest once, that is
the place. If they occur again (in `_resolved`, in a readme, as somebody's homepage), the manifest
is taken apart as far as the place and put together again, every other value untouched.

What is published here with provenance has the address of its attestations without a host
(provenance.py); it gets ours. No other registry writes that.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from proxy.npm import dist, names, provenance, wire
from proxy.npm.names import PackageName
from proxy.npm.wire import Raw

# "+" stays: in a path it means itself (RFC 3986 section 3.3), so a client that sends it as it is
# and one that escapes it ("%2B") both reach us after one decoding; "%2B" in our answer would break
# those that escape again.
_FILE_SAFE = "-_.!~*'()+"
_ATTESTATIONS = b'"attestations":{"url":'
_HOSTLESS = _ATTESTATIONS + b'"/'


def tarball_url(base_url: str, name: PackageName, version: str) -> str:
    """The canonical address `{base}/{name}/-/{bare}-{version}.tgz`, the scope's slash literal."""
    file = quote(names.tarball_file(name, version), safe=_FILE_SAFE)
    return f"{base_url.rstrip('/')}/{name.path}/-/{file}"


def rewrite(manifest: bytes | Raw, *, base_url: str, name: PackageName, version: str) -> bytes:
    """The manifest with our address as its `dist.tarball`; unchanged if it has none."""
    token = dist.tarball_token(manifest)
    text = bytes(manifest)
    if token is None:
        return text
    if _HOSTLESS in text:
        text = _hosted(text, base_url, name, version)
    ours = wire.dumps(tarball_url(base_url, name, version))
    place = text.find(token)
    if place == text.rfind(token):
        return b"".join((text[:place], ours, text[place + len(token) :]))
    return _rebuilt(text, ours)


def _hosted(manifest: bytes, base_url: str, name: PackageName, version: str) -> bytes:
    """The manifest with our host before the address of its attestations.

    Without the path we are mounted under: npm takes this address's path and puts it behind the
    address it knows of the registry, which has that path already.
    """
    path, base = provenance.address(name, version), urlsplit(base_url)
    absolute = f"{base.scheme}://{base.netloc}{path}"
    return manifest.replace(
        _ATTESTATIONS + wire.dumps(path), _ATTESTATIONS + wire.dumps(absolute), 1
    )


def _rebuilt(manifest: bytes, ours: bytes) -> bytes:
    fields: dict[str, bytes | Raw] = {**wire.envelope(manifest)}
    inner: dict[str, bytes | Raw] = {**wire.envelope(fields["dist"])}
    inner["tarball"] = ours
    fields["dist"] = wire.join(inner.items())
    return wire.join(fields.items())
