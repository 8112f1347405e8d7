"""What a tarball's bytes must be: SRI strings and shasum, verified as the bytes go by.

Source: W3C Subresource Integrity as npm's ssri reads it: several hashes separated by white space,
unknown or malformed ones passed over, the strongest algorithm decides, and any of its hashes may
match. Old packages (before 2017) have a shasum only.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

STRONGEST_FIRST = ("sha512", "sha384", "sha256", "sha1")

_HASH = re.compile(r"(sha512|sha384|sha256|sha1)-([A-Za-z0-9+/]+={0,2})(?:\?\S*)?")
_SHASUM = re.compile(r"[0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class Expected:
    """What was promised: an algorithm, and the digests (raw bytes) of which any may match."""

    algorithm: str
    digests: tuple[bytes, ...]

    @property
    def sri(self) -> str:
        """The promise as an SRI string, hashes separated by spaces."""
        return " ".join(_sri(self.algorithm, digest) for digest in self.digests)

    @property
    def sha512_hex(self) -> str | None:
        """The SHA-512 that the bytes must have, in hex; None if that is not known yet."""
        is_known = self.algorithm == "sha512" and len(self.digests) == 1
        return self.digests[0].hex() if is_known else None

    @property
    def sha1_hex(self) -> str | None:
        """The SHA-1 in hex, if nothing better vouches for the bytes."""
        is_all = self.algorithm == "sha1" and len(self.digests) == 1
        return self.digests[0].hex() if is_all else None


class Verifier:
    """Hashes bytes as they go by and says whether they are what was promised.

    The SHA-512 is always computed, because it is the name under which the bytes are stored.
    """

    __slots__ = ("_expected", "_judge", "_sha512")

    def __init__(self, expected: Expected | None) -> None:
        self._expected = expected
        self._sha512 = hashlib.sha512(usedforsecurity=False)
        self._judge = self._sha512
        if expected is not None and expected.algorithm != "sha512":
            self._judge = hashlib.new(expected.algorithm, usedforsecurity=False)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sha512.update(chunk)
        if self._judge is not self._sha512:
            self._judge.update(chunk)

    @property
    def digest(self) -> str:
        """The SHA-512 of all bytes so far, in hex."""
        return self._sha512.hexdigest()

    @property
    def sri(self) -> str:
        """The same as an SRI string, `sha512-<base64>`."""
        return _sri("sha512", self._sha512.digest())

    def problem(self) -> str | None:
        """Why the bytes are not what was promised; None if they are, or if nothing was."""
        got = self._judge.digest()
        if self._expected is None or got in self._expected.digests:
            return None
        return f"expected {self._expected.sri} got {_sri(self._expected.algorithm, got)}"


def parse(integrity: str | None, shasum: str | None) -> Expected | None:
    """Read what a manifest promises; the shasum counts where the integrity says nothing usable."""
    found = _hashes(integrity or "")
    for algorithm in STRONGEST_FIRST:
        if algorithm in found:
            return Expected(algorithm, tuple(dict.fromkeys(found[algorithm])))
    if shasum is not None and _SHASUM.fullmatch(shasum.strip()):
        return Expected("sha1", (bytes.fromhex(shasum.strip()),))
    return None


def _hashes(integrity: str) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for part in integrity.split():
        match = _HASH.fullmatch(part)
        digest = None if match is None else _decoded(*match.group(1, 2))
        if match is not None and digest is not None:
            found.setdefault(match[1], []).append(digest)
    return found


def _decoded(algorithm: str, text: str) -> bytes | None:
    """The digest in base64; None if it cannot be one of that algorithm."""
    try:
        digest = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    size = hashlib.new(algorithm, usedforsecurity=False).digest_size
    return digest if len(digest) == size else None


def _sri(algorithm: str, digest: bytes) -> str:
    return f"{algorithm}-{base64.b64encode(digest).decode('ascii')}"
