"""Bills of materials: CycloneDX and SPDX, as JSON.

What may come from a registry has a package URL, `pkg:npm/%40scope/name@1.2.3`. Hashes are those of
the tarball, and its address is the component's, as npm's own `npm sbom` writes them. A folder of
the project has a package URL like any other: it is told by having neither hash nor address in a
document where others have both.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from proxy.npm.lockfiles import sources
from proxy.npm.lockfiles.model import Gathering, Kind, Lockfile, Unfit, Wanted, place, table, text

_PREFIX = "pkg:npm/"
_ALGORITHMS = {"SHA512": "sha512", "SHA384": "sha384", "SHA256": "sha256", "SHA1": "sha1"}
_UNKNOWN = ("NOASSERTION", "NONE")  # SPDX's words for no address


@dataclass(frozen=True, slots=True)
class _Component:
    purl: str
    where: str
    integrity: str | None
    address: str | None
    is_optional: bool = False

    @property
    def is_located(self) -> bool:
        return self.integrity is not None and self.address is not None

    @property
    def is_bare(self) -> bool:
        return self.integrity is None and self.address is None


def cyclonedx(document: Mapping[str, Any]) -> Lockfile:
    """Read a CycloneDX document, components within components included. Raises Unfit."""
    found, waiting = [], deque(_listed(document, "components", ""))
    while waiting:
        entry, where = waiting.popleft()
        waiting.extend(_listed(entry, "components", where))
        if isinstance(purl := entry.get("purl"), str) and purl.startswith(_PREFIX):
            integrity = _integrity(_listed(entry, "hashes", where), "alg", "content")
            is_optional = entry.get("scope") == "optional"
            found.append(_Component(purl, where, integrity, _distribution(entry), is_optional))
    return _gathered(found, Kind.CYCLONEDX)


def spdx(document: Mapping[str, Any]) -> Lockfile:
    """Read an SPDX document, but for the package it describes. Raises Unfit."""
    described, found = document.get("documentDescribes"), []
    roots = described if isinstance(described, list) else []
    for entry, where in _listed(document, "packages", ""):
        if entry.get("SPDXID") in roots:
            continue
        sums = _listed(entry, "checksums", where)
        integrity = _integrity(sums, "algorithm", "checksumValue")
        for reference, at in _listed(entry, "externalRefs", where):
            purl = reference.get("referenceLocator")
            if isinstance(purl, str) and purl.startswith(_PREFIX):
                said = entry.get("downloadLocation")
                address = said if isinstance(said, str) and said not in _UNKNOWN else None
                found.append(_Component(purl, at, integrity, address))
    return _gathered(found, Kind.SPDX)


def _gathered(components: list[_Component], kind: Kind) -> Lockfile:
    gathering = Gathering()
    folders_show = any(each.is_located for each in components)
    for each in components:
        if folders_show and each.is_bare and "?" not in each.purl:
            gathering.leave_out(each.purl, sources.FROM_PROJECT)
        else:
            _take(each, gathering)
    return gathering.end(kind)


def _take(component: _Component, gathering: Gathering) -> None:
    path, _, qualifiers = component.purl.removeprefix(_PREFIX).partition("#")[0].partition("?")
    bare, _, version = path.rpartition("@") if path.rfind("@") > 0 else (path, "", "")
    given = parse_qs(qualifiers)
    address = next(iter(given.get("vcs_url", given.get("download_url", ()))), component.address)
    why = None if address is None else sources.refusal(address)
    if why is None and not version:
        why = "it has no version"
    if why is not None:
        gathering.leave_out(component.purl, why)
        return
    wanted = Wanted(
        name=unquote(bare),
        version=unquote(version),
        integrity=component.integrity,
        is_optional=component.is_optional,
        tarball=address,
    )
    gathering.want(wanted, component.where)


def _distribution(entry: Mapping[str, Any]) -> str | None:
    for reference, _ in _listed(entry, "externalReferences", ""):
        url = reference.get("url")
        if reference.get("type") == "distribution" and isinstance(url, str):
            return url
    return None


def _integrity(
    hashes: Iterator[tuple[Mapping[str, Any], str]], kind: str, digits: str
) -> str | None:
    """The hashes as an SRI string; ones of other algorithms are passed over."""
    found = []
    for each, at in hashes:
        algorithm = _ALGORITHMS.get(text(each.get(kind), place(at, kind)).replace("-", ""))
        if algorithm is not None:
            digest = _bytes(text(each.get(digits), place(at, digits)), place(at, digits))
            found.append(f"{algorithm}-{base64.b64encode(digest).decode('ascii')}")
    return " ".join(found) or None


def _bytes(digits: str, where: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise Unfit(where, "it should be hexadecimal digits") from None


def _listed(
    entry: Mapping[str, Any], key: str, where: str
) -> Iterator[tuple[Mapping[str, Any], str]]:
    at = f"{where}.{key}" if where else key
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise Unfit(at, "it should be a list")
    for number, each in enumerate(value):
        yield table(each, f"{at}[{number}]"), f"{at}[{number}]"
