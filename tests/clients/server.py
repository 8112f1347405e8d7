"""Packhouse as people run it: `packhouse serve` in a process of its own, on a port of loopback.

Nothing says where the uplink is, so that it asks the registry npm on this machine asks.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMAND = Path(sys.executable).with_name("packhouse")

START_SECONDS = 30
STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Server:
    """One that answers. `url` has no slash at its end."""

    url: str
    pid: int


@contextmanager
def serving(
    folder: Path, *options: str, settings: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[Server]:
    """Serve what is in `folder` until the block ends, on a free port or this one.

    `options` follow `packhouse serve`; `settings` are PACKHOUSE_... variables without that prefix.
    The log goes to a file beside `folder`. Fails unless it starts, and stops when it is told to.
    """
    url = f"http://127.0.0.1:{port or free_port()}"
    log = folder.with_suffix(".log")
    process = _start(folder, url.removeprefix("http://"), log, options, settings or {})
    try:
        _wait(process, url, log)
        yield Server(url, process.pid)
    finally:
        process.terminate()
        code = process.wait(STOP_SECONDS)
        process.kill()
    if code != 0:
        raise AssertionError(f"packhouse ended with {code}\n{_tail(log)}")


def free_port() -> int:
    """Find a port of loopback nobody listens on at the moment."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def _start(
    folder: Path, listen: str, log: Path, options: Sequence[str], settings: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start it where no configuration file lies around."""
    folder.mkdir(parents=True, exist_ok=True)
    argv = [str(COMMAND), "serve", "--listen", listen, "--data", str(folder), *options]
    inherited = {key: text for key, text in os.environ.items() if "PACKHOUSE_" not in key}
    given = {f"PACKHOUSE_{key}": text for key, text in settings.items()}
    with log.open("ab") as sink:
        return subprocess.Popen(
            argv, cwd=folder.parent, env=inherited | given, stdin=subprocess.DEVNULL,
            stdout=sink, stderr=sink,
        )  # fmt: skip


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return once it answers."""
    limit = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        try:
            with urllib.request.urlopen(f"{url}/-/ping", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
    raise AssertionError(f"packhouse did not start (exit code {process.poll()})\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-40:])
