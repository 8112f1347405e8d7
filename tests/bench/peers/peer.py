"""A server that is measured, and how it is waited for."""

from __future__ import annotations

import http.client
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit

START_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Peer:
    """One that answers. `url` has no slash at its end; `pid` is its first process."""

    name: str
    url: str
    pid: int


def wait(process: Popen[bytes], url: str, log: Path, path: str = "/-/ping") -> None:
    """Return once it answers at all, or end with what it said."""
    address = urlsplit(url)
    limit = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < limit:
        connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=5)
        try:
            connection.request("GET", path)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    said = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise SystemExit(f"{url} did not start (exit code {process.poll()})\n{said}")
