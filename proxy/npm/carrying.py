"""Packuments on their way from one registry to another: trimmed, and united with what is there.

Two copies of one packument, each with some of the versions, become one document: the versions of
both, each as the newer document has it. What else there is comes from the newer one; so do the
dist-tags, if it has all the versions of the other. If not, they may have been led to what was
carried, so that `latest` is the higher of both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from proxy.npm import abbreviate, integrity, merge, offline, render, wire
from proxy.npm import dist as dists
from proxy.npm.forms import Form
from proxy.npm.packument import Packument
from proxy.npm.wire import NULL, Raw

Fields = dict[str, bytes | Raw]


class _List(wire.Struct):
    keys: list[Raw]


_LISTS = wire.Reader(_List)


def trimmed(packument: Packument, versions: Collection[str]) -> bytes:
    """The document with these versions only, its dist-tags leading to them.

    What was trimmed to these versions before comes back the same.
    """
    return wire.join(offline.narrowed(packument, versions).packument.envelope.items())


def united(held: Packument, carried: Packument) -> bytes | None:
    """The document of both, in the form of the one that is held; None if that needs no change."""
    if held.form is Form.ABBREVIATED and carried.form is Form.FULL:
        carried = _abbreviated(carried)
    is_newer = carried.modified_at > held.modified_at
    if not is_newer and carried.versions.keys() <= held.versions.keys():
        return None
    newer, older = (carried, held) if is_newer else (held, carried)
    fields: Fields = dict((newer if newer.form is held.form else held).envelope)
    versions = {**newer.versions, **_others(older.versions, newer.versions)}
    fields["versions"] = wire.join(versions.items())
    fields["dist-tags"] = wire.dumps(_tags(newer, older))
    if "time" in fields:
        fields["time"] = _times(newer, older)
    if held.form is Form.ABBREVIATED:
        fields["modified"] = wire.dumps(render.iso(newer.modified_at))
    return wire.join(fields.items())


def disagreement(held: Packument, carried: Packument) -> tuple[str, str, str] | None:
    """The first version of which the two promise other bytes, with both promises; else None."""
    for version in sorted(carried.versions.keys() & held.versions.keys()):
        one, other = _promise(held.versions[version]), _promise(carried.versions[version])
        shared = one.keys() & other.keys()
        for algorithm in sorted(shared, reverse=True):
            if not one[algorithm] & other[algorithm]:
                return version, _shown(algorithm, one), _shown(algorithm, other)
    return None


def united_keys(held: bytes | None, carried: bytes) -> bytes | None:
    """The signing keys of both documents, each key once; None if that is what is held.

    An older document never takes a key away, nor the end of one: what was signed with any of them
    is still to be verified.
    """
    if held is None:
        return carried
    ours, theirs = _keys(held), _keys(carried)
    united = {**theirs, **ours}
    for name in ours.keys() & theirs.keys():
        if not _expires(ours[name]):
            united[name] = theirs[name]
    if all(bytes(united[name]) == bytes(ours.get(name, b"")) for name in united):
        return None
    if united == theirs:
        return carried
    return wire.join([("keys", b"[" + b",".join(map(bytes, united.values())) + b"]")])


def _keys(document: bytes) -> dict[str, Raw]:
    """The keys of a document by their names; what has no name has its text. None of an odd one."""
    try:
        listed = _LISTS.read(document).keys
    except wire.Undecodable:
        return {}
    return {wire.text(_object(key).get("keyid", NULL)) or repr(bytes(key)): key for key in listed}


def _expires(key: Raw) -> bool:
    return bytes(_object(key).get("expires", NULL)) != bytes(NULL)


def is_attested(manifest: bytes | Raw) -> bool:
    """Whether the registry it came from has attestations of this version."""
    dist = _object(_object(Raw(bytes(manifest))).get("dist", NULL))
    return bytes(dist.get("attestations", NULL)) != bytes(NULL)


def _abbreviated(full: Packument) -> Packument:
    """What is carried in the abbreviated form; its `modified` and `time` are set by `united`."""
    versions = {version: Raw(abbreviate.manifest(raw)) for version, raw in full.versions.items()}
    return replace(full, versions=versions)


def _others(all_: Mapping[str, Raw], without: Mapping[str, Raw]) -> dict[str, Raw]:
    return {key: raw for key, raw in all_.items() if key not in without}


def _tags(newer: Packument, older: Packument) -> dict[str, str]:
    if newer.versions.keys() >= older.versions.keys():
        return newer.dist_tags
    tags = {**older.dist_tags, **newer.dist_tags}
    latest = merge.latest_of(older.dist_tags, newer.dist_tags)
    return tags if latest is None else {**tags, merge.LATEST: latest}


def _times(newer: Packument, older: Packument) -> bytes:
    theirs, ours = (
        _object(newer.envelope.get("time", NULL)),
        _object(older.envelope.get("time", NULL)),
    )
    return wire.join({**theirs, **_others(ours, theirs)}.items())


def _promise(manifest: Raw) -> dict[str, set[str]]:
    """What a manifest says of its tarball: digests (hex) by algorithm."""
    found = dists.read(manifest, "")
    if found is None:
        return {}
    stated = (integrity.parse(found.integrity, None), integrity.parse(None, found.shasum))
    return {
        each.algorithm: {digest.hex() for digest in each.digests}
        for each in stated
        if each is not None
    }


def _shown(algorithm: str, promise: Mapping[str, set[str]]) -> str:
    return f"{algorithm} {' or '.join(sorted(promise[algorithm]))}"


def _object(raw: Raw) -> dict[str, Raw]:
    try:
        return wire.envelope(raw)
    except wire.Undecodable:
        return {}
