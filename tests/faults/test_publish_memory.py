"""What a large publish costs the server: a few batches of memory, and no held-up loop.

Threat 26 of the threat model, and item 70 of the protocol's edge cases.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from tests.fakes.uplink import FakeUplink
from tests.process import PROC
from tests.publishing import UI, Publisher, a_publish, hosting

MIB = 1024 * 1024
TARBALL_BYTES = 190 * MIB
ALLOWED_MIB = 16
_PIECE = os.urandom(3 * MIB)


async def test_70_a_tarball_of_190_mib_costs_16(tmp_path: Path, uplink: FakeUplink) -> None:
    """A tarball of 190 MiB is published with less than 16 MiB of memory more, and comes back."""
    digest = hashlib.sha512()
    async with (
        hosting(tmp_path, uplink.url) as (process, tokens),
        Publisher(process, tokens["ann"]) as publisher,
    ):
        for number in range(3):
            await publisher.put(a_publish(f"0.{number}.0", files={"x": os.urandom(MIB)}).body)
        before_mib = _peak_mib(process.pid, is_reset=True)

        status, _ = await publisher.put(_body(digest))
        grown_mib = _peak_mib(process.pid) - before_mib
        versions = await publisher.versions()

    assert status == 201
    dist = versions["1.0.0"]["dist"]
    assert dist["integrity"] == f"sha512-{base64.b64encode(digest.digest()).decode()}"
    assert dist["unpackedSize"] > TARBALL_BYTES
    assert grown_mib < ALLOWED_MIB


async def _body(digest: hashlib._Hash) -> AsyncIterator[bytes]:
    """A publish as npm writes it, made as it is sent; `digest` is fed with the tarball."""
    manifest = {"name": UI, "version": "1.0.0"}
    document = {
        "_id": UI,
        "name": UI,
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": manifest},
        "_attachments": {f"{UI}-1.0.0.tgz": {"content_type": "application/octet-stream"}},
    }
    head = json.dumps(document).encode().removesuffix(b"}}}") + b',"data":"'
    yield head
    held = b""
    for piece in _tarball(manifest):
        digest.update(piece)
        held += piece
        whole = len(held) - len(held) % 3
        yield base64.b64encode(held[:whole])
        held = held[whole:]
    yield base64.b64encode(held) + b'"}}}'


def _tarball(package: dict[str, str]) -> Iterator[bytes]:
    """An archive of incompressible bytes, gzip without compression."""
    deflate = zlib.compressobj(0, wbits=31)
    inner = json.dumps(package).encode()
    yield deflate.compress(_header("package/package.json", len(inner)))
    yield deflate.compress(inner + b"\0" * (-len(inner) % 512))
    yield deflate.compress(_header("package/data", TARBALL_BYTES))
    left = TARBALL_BYTES
    while left:
        piece = _PIECE[:left]
        left -= len(piece)
        yield deflate.compress(piece)
    yield deflate.compress(b"\0" * (-TARBALL_BYTES % 512 + 1024)) + deflate.flush()


def _header(path: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(path)
    info.size = size_bytes
    buffer = io.BytesIO()
    buffer.write(info.tobuf(tarfile.USTAR_FORMAT))
    return buffer.getvalue()


def _peak_mib(pid: int, *, is_reset: bool = False) -> float:
    """The most memory a process has had, since it was reset if it was: it is then what it has."""
    if is_reset:
        (PROC / str(pid) / "clear_refs").write_text("5")
    status = (PROC / str(pid) / "status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
