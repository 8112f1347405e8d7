"""A full manifest to an abbreviated one: what an installer needs, chosen by key and never by value.

Old manifests hold every sort of value (`deprecated: false`, `dependencies: null`, `os` as a
string); clients have learned to live with them, so they pass as they are.
"""

from __future__ import annotations

from proxy.npm import wire
from proxy.npm.wire import Raw

# npm's package-metadata document, and what clients read beyond it: libc (pnpm, bun), _npmUser
# (pnpm's trust policy), bundledDependencies (the other spelling), acceptDependencies (npm).
KEYS = frozenset({
    "name", "version", "dist", "deprecated", "bin", "directories", "engines", "os", "cpu", "libc",
    "funding", "dependencies", "devDependencies", "optionalDependencies", "peerDependencies",
    "peerDependenciesMeta", "acceptDependencies", "bundleDependencies", "bundledDependencies",
    "hasInstallScript", "_hasShrinkwrap", "_npmUser",
})  # fmt: skip
INSTALL_SCRIPTS = ("preinstall", "install", "postinstall")

_EMPTY = b'""'


def manifest(full: bytes | Raw) -> bytes:
    """The fields of `KEYS` in their order, untouched; what is not an object comes back as it is.

    Two facts that full manifests may lack are added at the end: `hasInstallScript: true` if
    `scripts` say so, and `_hasShrinkwrap: false`, without which npm looks for a shrinkwrap inside
    the tarball.
    """
    try:
        fields = wire.envelope(full)
    except wire.Undecodable:
        return bytes(full)
    kept: dict[str, bytes | Raw] = {key: value for key, value in fields.items() if key in KEYS}
    if "hasInstallScript" not in kept and _has_install_script(fields.get("scripts", wire.NULL)):
        kept["hasInstallScript"] = b"true"
    kept.setdefault("_hasShrinkwrap", b"false")
    return wire.join(kept.items())


def _has_install_script(scripts: Raw) -> bool:
    try:
        commands = wire.envelope(scripts)
    except wire.Undecodable:
        return False
    return any(_is_command(bytes(commands.get(name, wire.NULL))) for name in INSTALL_SCRIPTS)


def _is_command(value: bytes) -> bool:
    return value.startswith(wire.QUOTE) and value != _EMPTY
