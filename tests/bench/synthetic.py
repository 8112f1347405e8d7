"""Packages of a size that no install has, made once, in a folder of the corpus's layout.

bench-50mb      a packument of 50 MB, which is a new one each time the uplink is asked
bench-100mb     a packument of 100 MB
bench-tarball   one version, whose tarball has 50 MB
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import random
from pathlib import Path

from tests.bench import trace
from tests.bench.corpus import MEGABYTE, UPLINK, keep, place

CHANGING, HUGE, HEAVY = "bench-50mb", "bench-100mb", "bench-tarball"
TARBALL = trace.tarball(f"/{HEAVY}/-/{HEAVY}-1.0.0.tgz")
TARBALL_BYTES = 50 * MEGABYTE
COMPRESSION = 1


def made(folder: Path) -> Path:
    """Return the folder, with everything in it."""
    done = folder / "done"
    if not done.exists():
        changing = place(folder, trace.packument(CHANGING))
        keep(folder, trace.packument(CHANGING), _zipped(CHANGING, 50 * MEGABYTE, "one"))
        changing.with_name(f"{changing.name}.1").write_bytes(
            _zipped(CHANGING, 50 * MEGABYTE, "two")
        )
        keep(folder, trace.packument(HUGE), _zipped(HUGE, 100 * MEGABYTE, "one"))
        tarball = random.Random(1).randbytes(TARBALL_BYTES)
        keep(folder, TARBALL, tarball)
        keep(folder, trace.packument(HEAVY), gzip.compress(_document(HEAVY, [_of(tarball)])))
        done.touch()
    return folder


def _zipped(name: str, size_bytes: int, edition: str) -> bytes:
    """A packument of about that many bytes, with as many versions as that takes."""
    one = len(json.dumps(_manifest(name, "1.0.0", _digest("", 0))))
    dists = [_digest(edition, number) for number in range(size_bytes // one)]
    return gzip.compress(_document(name, dists), COMPRESSION)


def _document(name: str, digests: list[bytes]) -> bytes:
    versions = {
        f"1.0.{number}": _manifest(name, f"1.0.{number}", digest)
        for number, digest in enumerate(digests)
    }
    tags = {"latest": f"1.0.{len(digests) - 1}"}
    whole = {"_id": name, "name": name, "dist-tags": tags, "versions": versions}
    return json.dumps(whole, separators=(",", ":")).encode()


def _manifest(name: str, version: str, sha512: bytes) -> dict[str, object]:
    """A manifest of ordinary size: a kilobyte, much of which no install needs."""
    return {
        "name": name,
        "version": version,
        "description": "made by the bench " * 12,
        "license": "MIT",
        "scripts": {f"task-{number}": f"node tasks/{number}.js" for number in range(8)},
        "dependencies": {f"{name}-part-{number}": f"^{number}.0.0" for number in range(8)},
        "dist": {
            "tarball": f"{UPLINK}/{name}/-/{name}-{version}.tgz",
            "integrity": f"sha512-{base64.b64encode(sha512).decode()}",
        },
    }


def _digest(edition: str, number: int) -> bytes:
    return hashlib.sha512(f"{edition} {number}".encode()).digest()


def _of(tarball: bytes) -> bytes:
    return hashlib.sha512(tarball).digest()
