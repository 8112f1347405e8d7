"""The programs that are measured against, and the one that asks: found, or installed, here.

Verdaccio comes from npm into .bench/verdaccio and runs on the Node.js that tests/clients runs npm
on, which comes from npm as well. nginx and wrk are Debian's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.clients.clients import NODE

VERDACCIO = "6.10.4"
# One of its dependencies asks for a tag of node-fetch that is gone from the registry.
MANIFEST = {
    "private": True,
    "dependencies": {"verdaccio": VERDACCIO},
    "overrides": {"node-fetch": "^2.7.0"},
}
PACKAGES = {"nginx": "nginx", "wrk": "wrk"}
"""Program to Debian package."""


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are; `versions` is what a report says of them."""

    nginx: Path
    wrk: Path
    verdaccio: Path
    versions: dict[str, str]


def ready(kept: Path, say: Callable[[str], None]) -> Tools:
    """Find all programs; install what is missing, or end with how to."""
    _debian(say)
    entry = _verdaccio(kept / "verdaccio", say)
    nginx, wrk = Path(_found("nginx")), Path(_found("wrk"))
    versions = {
        "Verdaccio": VERDACCIO,
        "Node.js": _version([str(NODE), "--version"]),
        "nginx": _version([str(nginx), "-v"]),
        "wrk": _version([str(wrk), "-v"]),
    }
    return Tools(nginx, wrk, entry, versions)


def _found(program: str) -> str:
    """Debian keeps servers where an ordinary user's PATH does not lead."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or ""


def _debian(say: Callable[[str], None]) -> None:
    """Install Debian's packages if this is root's; nginx is not started by that."""
    missing = [package for program, package in PACKAGES.items() if not _found(program)]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise SystemExit(f"scripts/bench needs {' and '.join(missing)}; install it as root (apt)")
    say(f"installing {', '.join(missing)}")
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends"]):
        packages = missing if "install" in arguments else []
        subprocess.run(
            ["apt-get", *arguments, *packages], check=True, env=os.environ | quiet,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip


def _verdaccio(folder: Path, say: Callable[[str], None]) -> Path:
    """Install Verdaccio with this machine's npm, once; returns what Node.js starts."""
    entry = folder / "node_modules" / "verdaccio" / "bin" / "verdaccio"
    manifest = folder / "package.json"
    wanted = json.dumps(MANIFEST)
    if entry.exists() and manifest.read_text() == wanted:
        return entry
    say(f"installing Verdaccio {VERDACCIO}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest.write_text(wanted)
    switches = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "install", *switches], cwd=folder, check=True)
    manifest.write_text(wanted)
    return entry


def _version(argv: list[str]) -> str:
    """The first version in what a program says of itself."""
    said = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", said.stdout + said.stderr)
    return found[0] if found else "?"
