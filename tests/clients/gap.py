"""The gap: a network namespace with a loopback of its own and no route, entered by this thread.

Linux keeps the namespace by thread and hands it to what a thread starts, so that servers and
clients within `across` have no network whatever they do: the kernel has none for them.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
HERE = Path("/proc/thread-self/ns/net")
# The namespace is there while somebody is in it: a shell that ends when its input does.
_HOLDER = ("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat")


@dataclass(frozen=True, slots=True)
class Gap:
    """One namespace, known by a process in it."""

    pid: int

    @property
    def namespace(self) -> Path:
        return Path(f"/proc/{self.pid}/ns/net")

    @contextmanager
    def across(self) -> Iterator[None]:
        """Be inside until the block ends, and with us whatever is started meanwhile."""
        home = os.open(HERE, os.O_RDONLY)
        try:
            _enter(self.namespace)
            yield
        finally:
            _set(home)
            os.close(home)


@contextmanager
def opened() -> Iterator[Gap]:
    """Make a namespace that lasts until the block ends, or until this process does."""
    holder = subprocess.Popen(_HOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n", "no network namespace: is this run as root?"
        yield Gap(holder.pid)


def _enter(namespace: Path) -> None:
    at = os.open(namespace, os.O_RDONLY)
    try:
        _set(at)
    finally:
        os.close(at)


def _set(namespace: int) -> None:
    """setns(2), which Python has from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
