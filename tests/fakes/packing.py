"""Real tarballs, and packuments as the public registry writes them."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
from datetime import datetime
from typing import Any

Document = dict[str, Any]


def tarball(package_json: Document, files: dict[str, bytes]) -> bytes:
    """What `npm pack` would make: package.json first, then the files; the same at each call."""
    buffer = io.BytesIO()
    members = {"package.json": json.dumps(package_json, indent=2).encode(), **files}
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in members.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size, info.mode, info.mtime = len(data), 0o644, 499_162_500
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


def sri(data: bytes, algorithm: str = "sha512") -> str:
    """`sha512-<base64>`, as npm writes an integrity."""
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"


def manifest(fields: Document, data: bytes, tarball_url: str) -> Document:
    """The entry of one version. A `dist` among the fields is laid over the true one."""
    dist = {
        "integrity": sri(data),
        "shasum": hashlib.sha1(data, usedforsecurity=False).hexdigest(),
        "tarball": tarball_url,
        "fileCount": 1,
        "unpackedSize": len(data),
        **fields.get("dist", {}),
    }
    identity = f"{fields['name']}@{fields['version']}"
    return {**fields, "_id": identity, "dist": dist, "_npmVersion": "10.9.0"}


def add(
    packages: dict[str, Document], entry: Document, *, tag: str | None, published_at: datetime
) -> None:
    """Put a version into its packument, and make the packument if it is the first."""
    name, version, stamp = entry["name"], entry["version"], isoformat(published_at)
    document = packages.setdefault(name, _empty(name, stamp))
    document["versions"][version] = entry
    document["time"] |= {"modified": stamp, version: stamp}
    document["_rev"] = f"{len(document['versions'])}-{hashlib.md5(stamp.encode()).hexdigest()}"
    if tag is not None:
        document["dist-tags"][tag] = version


def _empty(name: str, stamp: str) -> Document:
    return {
        "_id": name,
        "_rev": "",
        "name": name,
        "dist-tags": {},
        "versions": {},
        "time": {"created": stamp, "modified": stamp},
        "maintainers": [{"name": "author", "email": "author@registry.example"}],
        "description": f"The package {name}",
        "readme": f"# {name}\n",
        "readmeFilename": "README.md",
    }


def isoformat(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03}Z"


ABBREVIATED_KEYS = [
    "name",
    "version",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "peerDependencies",
    "peerDependenciesMeta",
    "acceptDependencies",
    "bundleDependencies",
    "bundledDependencies",
    "bin",
    "directories",
    "engines",
    "os",
    "cpu",
    "hasInstallScript",
    "_hasShrinkwrap",
    "deprecated",
    "funding",
    "dist",
]


def abbreviated(document: Document) -> Document:
    """The abbreviated form, as the public registry derives it from the full one."""
    return {
        "name": document["name"],
        "dist-tags": document.get("dist-tags", {}),
        "versions": {key: _installer_view(entry) for key, entry in document["versions"].items()},
        "modified": document.get("time", {}).get("modified", "2020-01-01T00:00:00.000Z"),
    }


def _installer_view(entry: Document) -> Document:
    view = {key: value for key, value in entry.items() if key in ABBREVIATED_KEYS}
    scripts = entry.get("scripts") or {}
    if any(scripts.get(key) for key in ("preinstall", "install", "postinstall")):
        view["hasInstallScript"] = True
    return view
