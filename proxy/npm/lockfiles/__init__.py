"""Lockfiles: what a project needs from a registry, whichever client wrote it down.

`read` takes any of them: npm's, pnpm's, Yarn's and bun's lockfiles, bills of materials (CycloneDX
and SPDX as JSON), a package.json, and a list of `name@range`. Pure; one module for each format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from proxy import errors
from proxy.npm import wire, yaml
from proxy.npm.lockfiles import (
    bills,
    bun_lock,
    npm_lock,
    pnpm_lock,
    requests,
    yarn_berry,
    yarn_classic,
)
from proxy.npm.lockfiles.model import Asked, Kind, LeftOut, Lockfile, Unfit, Wanted, united

__all__ = ["LARGEST_BYTES", "Asked", "Kind", "LeftOut", "Lockfile", "Wanted", "read", "united"]

LARGEST_BYTES = 64 * 1024 * 1024
"""Ten times what the largest known workspaces have."""

_BERRY = re.compile(r"^__metadata:", re.MULTILINE)
_CLASSIC = re.compile(r"^# yarn lockfile v1", re.MULTILINE)
_PNPM = re.compile(r"^lockfileVersion:", re.MULTILINE)
_BINARY_BUN = "this is bun's old binary format; `bun install --save-text-lockfile` writes bun.lock"


def read(file_name: str, data: bytes) -> Lockfile:
    """Read a file, whose content says what it is; the name decides where that says nothing.

    Raises InvalidRequest, which names the file and the place in it.
    """
    if len(data) > LARGEST_BYTES:
        raise _error(file_name, f"it is larger than {LARGEST_BYTES} bytes")
    if file_name.endswith("bun.lockb"):
        raise _error(file_name, _BINARY_BUN)
    try:
        return _read(file_name.replace("\\", "/").rpartition("/")[2], _decoded(data))
    except (Unfit, yaml.Undecodable, wire.Undecodable) as error:
        raise _error(file_name, str(error)) from error


def _read(name: str, text: str) -> Lockfile:
    if text.lstrip().startswith(("{", "//", "/*")):
        return _json(name, text)
    if name == "pnpm-lock.yaml" or _PNPM.search(text):
        return pnpm_lock.read(yaml.documents(text))
    if _BERRY.search(text):
        return _berry(yaml.documents(text))
    if name == "yarn.lock" or _CLASSIC.search(text):
        return yarn_classic.read(text)
    if text.lstrip().startswith("<"):
        raise Unfit("the file", "it is XML; bills of materials are read as JSON")
    if name.endswith((".json", ".lock")):
        raise Unfit("the file", "it should be a JSON object")
    return requests.listed(text)


def _json(name: str, text: str) -> Lockfile:
    document = _document(text)
    if name == "bun.lock" or ("workspaces" in document and "lockfileVersion" in document):
        return bun_lock.read(document)
    return _reader(document)(document)


def _document(text: str) -> dict[str, Any]:
    """The object a text begins. Only bun writes JSON with commas and comments too many."""
    try:
        found = wire.loads(text.encode())
    except wire.Undecodable:
        plain = bun_lock.plain(text)
        if plain == text:
            raise
        found = wire.loads(plain.encode())
    assert isinstance(found, dict)  # noqa: S101  # it begins with a brace
    return found


def _reader(document: dict[str, Any]) -> Callable[[dict[str, Any]], Lockfile]:
    if document.get("bomFormat") == "CycloneDX":
        return bills.cyclonedx
    if "spdxVersion" in document:
        return bills.spdx
    return npm_lock.read if "lockfileVersion" in document else requests.manifest


def _berry(documents: list[yaml.Value]) -> Lockfile:
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise Unfit("the file", "it should be one YAML mapping")
    return yarn_berry.read(documents[0])


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unfit(f"byte {error.start}", "the text is not UTF-8") from error


def _error(file_name: str, what: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(reason=f"{file_name[-200:]}: {what}", file=file_name)
