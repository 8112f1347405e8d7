"""Platforms a package is for: `linux/x64/musl`, and what manifests say of `os`, `cpu` and `libc`.

Source: npm's npm-install-checks. A list names what is fit, or with `!` what is not; `any` is fit
for all. `libc` counts on Linux only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.errors import InvalidRequest

_OF = "as in linux/x64/glibc, linux/x64/musl, darwin/arm64 or win32/x64"
_LIBCS = ("glibc", "musl")


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform in Node.js's words (`process.platform`, `process.arch`).

    `libc` None is any of Linux's.
    """

    os: str
    cpu: str
    libc: str | None = None

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.cpu, self.libc)))


def parse(text: str) -> Platform:
    """Read `os/cpu` or `os/cpu/libc`. Raises InvalidRequest."""
    parts = text.strip().split("/")
    if len(parts) not in {2, 3} or not all(part.isalnum() for part in parts):
        raise InvalidRequest(reason=f"{text[:50]!r} is not a platform, {_OF}")
    if len(parts) == 3 and parts[2] not in _LIBCS:
        raise InvalidRequest(reason=f"{text[:50]!r}: libc is glibc or musl, {_OF}")
    return Platform(*parts)


def fits(
    os: Sequence[str], cpu: Sequence[str], libc: Sequence[str], platforms: Sequence[Platform]
) -> bool:
    """Whether what is for these is for any of the platforms."""
    return any(
        _admits(os, each.os) and _admits(cpu, each.cpu) and _admits_libc(libc, each)
        for each in platforms
    )


def _admits(listed: Sequence[str], one: str) -> bool:
    if f"!{one}" in listed:
        return False
    named = [each for each in listed if not each.startswith("!")]
    return not named or one in named or "any" in named


def _admits_libc(listed: Sequence[str], platform: Platform) -> bool:
    if platform.os != "linux":
        return True
    return platform.libc is None or _admits(listed, platform.libc)
