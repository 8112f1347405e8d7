"""The provenance of a version: a Sigstore bundle that says how its tarball was built.

It is kept and sent as it came. Whoever installs verifies it against trust roots of their own; all
that is looked at here is what it is about.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from proxy.npm import wire
from proxy.npm.documents import BadPublish
from proxy.npm.names import PackageName

ADDRESS = "/-/npm/v1/attestations/"

_FIELD = "_attachments"


class OtherTarball(BadPublish):
    """The bundle is sound, and about another tarball."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is kept of a bundle.

    `document` is what clients get at its address: `{"attestations": [{predicateType, bundle}]}`.
    """

    predicate_type: str
    document: bytes


def read(bundle: str, sha512: bytes) -> Provenance:
    """Read the bundle that was attached to the tarball with this digest.

    Raises BadPublish if it is no bundle that states something, OtherTarball if it is about another.
    """
    raw = bundle.encode()
    statement = _statement(raw)
    kind = statement.get("predicateType")
    if not isinstance(kind, str) or not kind:
        raise BadPublish("the provenance bundle does not say what it states", _FIELD)
    if sha512.hex() not in _digests(statement.get("subject")):
        raise OtherTarball("the provenance bundle is about another tarball", _FIELD)
    entry = wire.join([("predicateType", wire.dumps(kind)), ("bundle", raw)])
    return Provenance(kind, wire.join([("attestations", b"[" + entry + b"]")]))


def attestations(name: PackageName, version: str, predicate_type: str) -> dict[str, Any]:
    """What stands at `dist.attestations` as it is stored: `url` is a path (`links.rewrite`)."""
    return {"url": address(name, version), "provenance": {"predicateType": predicate_type}}


def address(name: PackageName, version: str) -> str:
    """Where the attestations of a version are, without the host."""
    return f"{ADDRESS}{name.escaped}@{quote(version, safe='')}"


def _statement(bundle: bytes) -> Mapping[str, Any]:
    """The in-toto statement in the bundle's DSSE envelope."""
    try:
        envelope = wire.envelope(wire.envelope(bundle).get("dsseEnvelope", wire.NULL))
        payload = wire.text(envelope.get("payload", wire.NULL)) or ""
        found = wire.loads(base64.b64decode(payload, validate=True))
    except (wire.Undecodable, binascii.Error, ValueError) as error:
        raise BadPublish("the provenance is no Sigstore bundle with a statement", _FIELD) from error
    if not isinstance(found, dict):
        raise BadPublish("the provenance is no Sigstore bundle with a statement", _FIELD)
    return found


def _digests(subjects: Any) -> set[str]:
    listed = subjects if isinstance(subjects, list) else []
    digests = [each.get("digest") for each in listed if isinstance(each, dict)]
    found = [each.get("sha512") for each in digests if isinstance(each, dict)]
    return {each.lower() for each in found if isinstance(each, str)}
