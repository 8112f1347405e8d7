"""The manifest we store of a version published here: the client's own, with our facts in it.

Every field the client wrote stays as it was written and where it stood, except those that are ours
to say (`dist`, `maintainers`, `_npmUser` …), that are kept elsewhere (`readme`, `deprecated`), and
underscored ones nobody reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.npm import confusion, links, wire
from proxy.npm.archive import Contents
from proxy.npm.publish import NewVersion
from proxy.npm.updates import Person
from proxy.npm.wire import Raw

_KEPT = frozenset({"_nodeVersion", "_npmVersion"})
_OURS = frozenset({
    "dist", "maintainers", "readme", "readmeFilename", "access", "deprecated", "hasInstallScript",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    """What we know of a version beyond what the client says.

    `signature` is `{keyid, sig}`, `attestations` the object clients find at `dist.attestations`.
    """

    contents: Contents
    package_json: Mapping[str, Any]
    user: Person
    maintainers: Sequence[Person]
    signature: Mapping[str, str] | None = None
    attestations: Mapping[str, Any] | None = None


def stored(new: NewVersion, facts: Facts) -> bytes:
    """The manifest to keep. Its `dist.tarball` is a path: the host is put in when it is rendered.

    The same version and facts give the same bytes.
    """
    theirs = {key: raw for key, raw in wire.envelope(new.manifest).items() if _is_theirs(key)}
    ours = {key: wire.dumps(value) for key, value in _ours(new, facts).items()}
    return wire.join({**theirs, **ours}.items())


def person(who: Person) -> dict[str, str]:
    """A person as npm writes one."""
    return {"name": who.name, "email": who.email}


def deprecate(manifest: bytes, text: str | None) -> bytes:
    """The manifest with this deprecation, or with none ("" or None).

    Added to one that has none, it goes to the end and no other byte changes; otherwise the other
    fields keep their order and their exact values. Raises wire.Undecodable for no JSON object.
    """
    fields: dict[str, bytes | Raw] = {**wire.envelope(manifest)}
    if "deprecated" not in fields:
        return _with(manifest, text, is_alone=not fields) if text else manifest
    if text:
        fields["deprecated"] = wire.dumps(text)
    else:
        del fields["deprecated"]
    return wire.join(fields.items())


def _with(manifest: bytes, text: str, *, is_alone: bool) -> bytes:
    end = manifest.rindex(b"}")
    comma = b"" if is_alone else b","
    return b"".join((manifest[:end], comma, b'"deprecated":', wire.dumps(text), manifest[end:]))


def _is_theirs(key: str) -> bool:
    return key not in _OURS and (key in _KEPT or not key.startswith("_"))


def _ours(new: NewVersion, facts: Facts) -> dict[str, Any]:
    contents = facts.contents
    fields: dict[str, Any] = {
        "_id": f"{new.name.full}@{new.version}",
        "_npmUser": person(facts.user),
        "maintainers": [person(each) for each in facts.maintainers],
        "_hasShrinkwrap": contents.has_shrinkwrap,
        "dist": _dist(new, facts),
    }
    if confusion.has_install_script(facts.package_json, has_binding_gyp=contents.has_binding_gyp):
        fields["hasInstallScript"] = True
    return fields


def _dist(new: NewVersion, facts: Facts) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "integrity": new.tarball.integrity,
        "shasum": new.tarball.sha1.hex(),
        "tarball": links.tarball_url("", new.name, new.version),
        "fileCount": facts.contents.file_count,
        "unpackedSize": facts.contents.unpacked_bytes,
    }
    if facts.attestations is not None:
        fields["attestations"] = facts.attestations
    if facts.signature is not None:
        fields["signatures"] = [facts.signature]
    return fields
