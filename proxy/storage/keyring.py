"""The keys that sign what is published here, as files beside the database.

    <folder>/0001.pem     the first key; each rotation adds the next number, and the highest signs

Theory. A file holds when its key was made, then the key (PKCS #8, PEM). It is written aside, synced
and linked to its number, which fails if another process was first: whoever loses takes the winner's
key. No file is ever changed or removed, because versions that were signed with an old key are
verified with it for ever. A key that was followed by another expires when that one was made, and a
moment later, so that what is being published meanwhile is not signed with an expired one.

Whoever has these files signs as this registry: they are readable by their owner only, and belong in
the backup.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Self

from proxy.errors import StorageCorrupt
from proxy.npm import signing
from proxy.storage import disk
from proxy.storage.disk import ours

_NAME = re.compile(r"[0-9]{4,9}\.pem\Z")
_MADE = re.compile(rb"Made: ([0-9A-Z:.+-]+)\r?\n")
_LARGEST_BYTES = 16 * 1024
# Signing comes right before the commit, which waits for the database up to five seconds.
_OVERLAP = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key. `expires_at` is None for the one in use; `pem` is secret."""

    number: int
    pem: bytes = field(repr=False)
    made_at: datetime
    expires_at: datetime | None = None


class FileKeyring:
    """The keys in `folder`. An async context manager, which makes the first one if need be."""

    def __init__(self, folder: Path, *, clock: Callable[[], datetime]) -> None:
        self._folder = folder
        self._clock = clock
        self._names: tuple[str, ...] = ()
        self._keys: tuple[SigningKey, ...] = ()

    async def __aenter__(self) -> Self:
        """Raises StorageCorrupt if a key is damaged."""
        await asyncio.to_thread(self._begin)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._names, self._keys = (), ()

    def listed(self) -> Sequence[SigningKey]:
        """All keys, the oldest first; the last one signs. Looks for new ones each time (10 µs).

        Raises StorageCorrupt if one is damaged or none is there, StorageAway if the disk is.
        """
        names = tuple(sorted(filter(_NAME.match, disk.names(self._folder)), key=_number))
        if names != self._names:
            self._keys = _dated([self._read(name) for name in names])
            self._names = names
        if not self._keys:
            raise StorageCorrupt(reason=f"the signing keys in {self._folder} are gone. {_ADVICE}")
        return self._keys

    async def rotate(self) -> SigningKey:
        """Make a new key, which signs from now on, in every process. Returns it."""
        return await asyncio.to_thread(self._rotate)

    def _begin(self) -> None:
        with ours():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            if not any(map(_NAME.match, disk.names(self._folder))):
                self._make(1)
        self.listed()

    def _rotate(self) -> SigningKey:
        with ours():
            while not self._make(self.listed()[-1].number + 1):
                self._names = ()
        return self.listed()[-1]

    def _make(self, number: int) -> bool:
        """Store a new key under this number; False if there is one already."""
        made = f"Made: {self._clock().isoformat()}\n".encode()
        return disk.put_first(self._folder / f"{number:04}.pem", made + signing.new_key())

    def _read(self, name: str) -> SigningKey:
        path = self._folder / name
        fd = disk.open_plain(path)
        if fd is None:
            raise StorageCorrupt(reason=f"the signing key {path} is no plain file. {_ADVICE}")
        try:
            with ours():
                text = os.pread(fd, _LARGEST_BYTES, 0)
        finally:
            os.close(fd)
        try:
            return _parsed(_number(name), text)
        except ValueError as error:
            raise StorageCorrupt(
                reason=f"the signing key {path} is damaged: {error}. {_ADVICE}"
            ) from error


_ADVICE = (
    "Restore the folder of keys from your latest backup: without it, what was published here cannot"
    " be verified any more"
)


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def _parsed(number: int, text: bytes) -> SigningKey:
    """Raises ValueError (BadKey among it) for what is not one of our files."""
    made = _MADE.match(text)
    if made is None:
        raise ValueError("it does not begin with the time when it was made")
    pem = text[made.end() :]
    signing.key_document(pem)
    made_at = datetime.fromisoformat(made[1].decode())
    if made_at.tzinfo is None:
        raise ValueError("the time when it was made has no zone")
    return SigningKey(number, pem, made_at)


def _dated(keys: Sequence[SigningKey]) -> tuple[SigningKey, ...]:
    ended = [replace(old, expires_at=new.made_at + _OVERLAP) for old, new in pairwise(keys)]
    return (*ended, *keys[-1:])
