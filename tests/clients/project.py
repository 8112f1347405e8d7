"""The project that clients install: its lockfiles, and whether all that they name was installed."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.clients.clients import Client

APP = Path(__file__).parent / "projects" / "app"

PLACEHOLDER = "http://registry.example"
"""Stands in yarn.lock for the registry's address: yarn classic asks whatever host is in there."""

_CPU = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]

# What one package looks like in each lockfile; the groups are its name and its version.
_PNPM = re.compile(r"^  '?(@?[^@'\s]+)@([^':(]+)'?:$", re.MULTILINE)
_YARN1 = re.compile(
    r'^"?(@?[^@"\s]+)@(?:npm:(@?[^@"\s]+)@)?[^\n]*:\n  version "([^"]+)"$', re.MULTILINE
)
_BERRY = re.compile(
    r'^"(?P<keys>[^\n]+@(?:npm|workspace):[^\n]+)":\n  version: (?P<version>\S+)\n'
    r'  resolution: "(?P<name>@?[^@"]+)@(?P<body>.*?)(?:\n\n|\Z)',
    re.MULTILINE | re.DOTALL,
)
_BERRY_DEPENDENCY = re.compile(r'^    "?([^":\s]+)"?: "(npm:[^"]+)"$', re.MULTILINE)
_BUN = re.compile(r'^    "[^"]+": \["(@?[^@"]+)@([^"]+)", "', re.MULTILINE)


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One version of one package."""

    name: str
    version: str


def copy(project: Path, client: Client, registry: str, *, locked: bool = True) -> Path:
    """Make `project` a copy of the app, with the lockfile of `client` or with none. Returns it."""
    project.mkdir(parents=True)
    shutil.copy(APP / "package.json", project)
    if locked:
        lock = (APP / "locks" / client.lock / client.lockfile).read_text()
        (project / client.lockfile).write_text(lock.replace(PLACEHOLDER, registry))
    return project


def locked(client: Client, text: str) -> set[Package]:
    """Return every package the lockfile of `client` names, those for other machines included."""
    match client.lock:
        case "npm":
            return {package for package, _ in _npm(text)}
        case "pnpm":
            packages, _, _ = text.partition("\npackages:\n")[2].partition("\nsnapshots:\n")
            return {Package(*match.groups()) for match in _PNPM.finditer(packages)}
        case "yarn1":
            rows = (match.groups() for match in _YARN1.finditer(text))
            return {Package(alias or name, version) for name, alias, version in rows}
        case "berry":
            return _berry(text)
        case _:
            return {Package(*match.groups()) for match in _BUN.finditer(text)}


def missing(client: Client, project: Path) -> Sequence[Package]:
    """Return what the lockfile in `project` names, this machine needs and node_modules lacks."""
    wanted = locked(client, (project / client.lockfile).read_text())
    others = {package.name for package in foreign()}
    needed = {package for package in wanted if package.name not in others}
    return sorted(needed - set(installed(project / "node_modules")))


def foreign() -> Sequence[Package]:
    """Return the packages that are for other machines only; npm's lockfile says which they are."""
    lock = (APP / "locks" / "npm" / "package-lock.json").read_text()
    return sorted(package for package, is_ours in _npm(lock) if not is_ours)


def installed(modules: Path) -> Iterator[Package]:
    """Find every package under a node_modules folder, nested ones and pnpm's store included."""
    for folder in ("*", "@*/*"):
        for manifest in modules.rglob(f"node_modules/{folder}/package.json"):
            yield from _read(manifest)
        for manifest in modules.glob(f"{folder}/package.json"):
            yield from _read(manifest)


def _read(manifest: Path) -> Iterator[Package]:
    """Yield the package whose package.json this is; folders with fixtures have nameless ones."""
    document = json.loads(manifest.read_text(encoding="utf-8-sig"))
    if document.get("name") and document.get("version"):
        yield Package(document["name"], document["version"])


def _npm(text: str) -> Iterator[tuple[Package, bool]]:
    """Yield the packages of a package-lock.json, and whether each is for this machine."""
    for path, entry in json.loads(text)["packages"].items():
        if path:
            name = entry.get("name") or path.rpartition("node_modules/")[2]
            yield Package(name, entry["version"]), _is_ours(entry)


def _berry(text: str) -> set[Package]:
    """Walk a berry lockfile from the project down.

    Berry adds node-gyp to fsevents, which is for macOS alone, and so names packages that are
    needed on no other machine without saying so.
    """
    blocks = {key: block for block in _BERRY.finditer(text) for key in block["keys"].split(", ")}
    waiting = [key for key in blocks if "@workspace:" in key]
    found, seen = set[Package](), set[str]()
    while waiting:
        block = blocks[key := waiting.pop()]
        seen.add(key)
        found.add(Package(block["name"], block["version"]))
        if block["name"] != "fsevents":
            asked = {f"{name}@{reach}" for name, reach in _BERRY_DEPENDENCY.findall(block["body"])}
            waiting.extend(asked - seen)
    return {package for package in found if package.version != "0.0.0-use.local"}


def _is_ours(entry: dict[str, list[str]]) -> bool:
    return "linux" in entry.get("os", ["linux"]) and _CPU in entry.get("cpu", [_CPU])
