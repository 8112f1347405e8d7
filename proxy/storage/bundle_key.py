"""The key that signs bundles, as a file beside those that sign what is published here.

    <keys>/bundle.pem     PKCS #8, PEM; made when it is first needed, and never replaced

Who has it can sign what other registries import: it is readable by its owner only, and belongs in
the backup. To begin with a new one, move the file away, and have the new public key trusted.
"""

from __future__ import annotations

import os
from pathlib import Path

from proxy.errors import StorageCorrupt
from proxy.npm import signing
from proxy.storage import disk
from proxy.storage.disk import ours

_NAME = "bundle.pem"
_LARGEST_BYTES = 16 * 1024


def read(folder: Path) -> bytes | None:
    """The key as PEM; None if there is none yet. Raises StorageCorrupt if it is damaged."""
    path = folder / _NAME
    with ours():
        fd = disk.open_plain(path)
        if fd is None:
            return None
        try:
            pem = os.pread(fd, _LARGEST_BYTES, 0)
        finally:
            os.close(fd)
    try:
        signing.bundle_key(pem)
    except signing.BadKey as error:
        raise StorageCorrupt(
            reason=f"{path}: {error}. Restore it from your latest backup, or move it away for a "
            "new one"
        ) from error
    return pem


def made(folder: Path) -> bytes:
    """The same; a new one is made if there is none."""
    held = read(folder)
    if held is not None:
        return held
    with ours():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        disk.put_first(folder / _NAME, signing.new_bundle_key())
    pem = read(folder)
    if pem is None:
        raise StorageCorrupt(reason=f"{folder / _NAME} is no plain file: move it away")
    return pem
