"""The registry that npm on this machine asks, and how it signs in there.

npm's order is kept: the environment, the project's `.npmrc`, the user's, the global one. A value
may hold `${NAME}` (npm's config documentation); credentials stand under the registry's address
without its scheme, as in `//registry.example/:_authToken=...`, or under one further up its path.
Of npm's settings for certificates only `cafile` is taken.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config import values

RunNpm = Callable[[], str | None]
_TIMEOUT_SECONDS = 10.0
_OVERRIDDEN = frozenset({"npm_config_registry", "npm_config_userconfig"})
_VARIABLE = re.compile(r"(?<!\\)(\\*)\$\{([^${}?]+)(\?)?\}")


def _nothing() -> None:
    """What there is below npm's last place."""


@dataclass(frozen=True, slots=True)
class Found:
    """A registry, and which of npm's places named it.

    `instead` finds what npm would ask if that place and the stronger ones said nothing: whoever
    has pointed npm at us wants that one asked.
    """

    url: str
    where: str
    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    instead: Callable[[], Found | None] = field(default=_nothing, repr=False, compare=False)


def find_registry(
    *, environ: Mapping[str, str], home: Path, cwd: Path, run_npm: RunNpm
) -> Found | None:
    """What npm would ask if it ran here, or None if nothing on this machine says.

    `run_npm` is called only if neither the environment nor a file names a registry; it returns what
    `npm config get registry` prints, or None.
    """
    return _below(0, list(_layers(environ, home, cwd)), run_npm)


def _below(start: int, layers: Sequence[tuple[str, _Layer]], run_npm: RunNpm) -> Found | None:
    for index, (where, layer) in enumerate(layers[start:], start):
        if url := _url(layer.get("registry")):
            below = partial(_below, index + 1, layers, run_npm)
            return replace(_found(url, where, layers), instead=below)
    if url := _url(run_npm()):
        return _found(url, "npm config get registry", layers)
    return None


def find_here() -> Found | None:
    """What npm would ask in this process's environment and working folder."""
    return find_registry(
        environ=os.environ,
        home=Path.home(),
        cwd=Path.cwd(),
        run_npm=lambda: run_npm(os.environ),
    )


def run_npm(environ: Mapping[str, str], *, timeout_seconds: float = _TIMEOUT_SECONDS) -> str | None:
    """What `npm config get registry` prints; None if npm is not there, fails or hangs.

    The environment and the user's file are kept from it: they were looked at before, and it is
    asked for what it would do without them.
    """
    npm = shutil.which("npm", path=environ.get("PATH", ""))
    if npm is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  the arguments are constant
            [npm, "config", "get", "registry"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            env={**_without_registry(environ), "npm_config_userconfig": os.devnull},
            cwd="/",
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()


def _without_registry(environ: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key.lower() not in _OVERRIDDEN}


# --- where npm looks --------------------------------------------------------------------------

_Layer = Mapping[str, str]


def _layers(environ: Mapping[str, str], home: Path, cwd: Path) -> Iterator[tuple[str, _Layer]]:
    """Each place that is there with what it says, the strongest first."""
    variables = dict(_variables(environ))
    user_file = Path(variables.get("userconfig") or home / ".npmrc")
    user = _read(user_file, environ)
    yield "the environment", variables
    if cwd / ".npmrc" != user_file:
        yield str(cwd / ".npmrc"), _read(cwd / ".npmrc", environ)
    yield str(user_file), user
    if global_file := _global_file(environ, {**user, **variables}):
        yield str(global_file), _read(global_file, environ)


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The npm_config_ variables in any case, as npm's keys; npm itself passes over empty ones."""
    for variable, value in environ.items():
        prefix, key = variable[:11].lower(), variable[11:]
        if prefix == "npm_config_" and key and value:
            plain = (key[0] + key[1:].replace("_", "-")).lower()
            yield (key if key.startswith("//") else plain), _expand(value, environ)


def _global_file(environ: Mapping[str, str], settings: _Layer) -> Path | None:
    """`globalconfig`, else etc/npmrc below npm's prefix, which is where node is installed."""
    if settings.get("globalconfig"):
        return Path(settings["globalconfig"])
    if settings.get("prefix"):
        return Path(settings["prefix"]) / "etc" / "npmrc"
    node = shutil.which("node", path=environ.get("PATH", ""))
    return Path(node).resolve().parent.parent / "etc" / "npmrc" if node else None


def _read(file: Path, environ: Mapping[str, str]) -> _Layer:
    """The keys of one file; a file that cannot be read says nothing, as for npm."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return {}
    return parse(text, environ)


def parse(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """The keys and values of an `.npmrc` above its first section, with variables put in."""
    found = {}
    for line in text.splitlines():
        entry = line.strip()
        if entry.startswith("["):
            break
        if entry and entry[0] not in ";#":
            key, equals, value = entry.partition("=")
            expanded = _expand(_unquoted(value), environ) if equals else "true"
            found[_expand(_unquoted(key), environ)] = expanded
    return found


def _unquoted(raw: str) -> str:
    """A value without its quotes, or up to the first comment that no backslash hides."""
    value = raw.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    bare = re.match(r"(?:\\.|[^;#])*", value)
    return re.sub(r"\\([\\;#])", r"\1", bare[0] if bare else "").strip()


def _expand(text: str, environ: Mapping[str, str]) -> str:
    r"""`${NAME}` and `${NAME?}` replaced: unset, one stays and the other is empty."""

    def value(found: re.Match[str]) -> str:
        escapes, name, may_be_unset = found.groups()
        if len(escapes) % 2:
            return found[0][(len(escapes) + 1) // 2 :]
        unset = "" if may_be_unset else f"${{{name}}}"
        return escapes[len(escapes) // 2 :] + environ.get(name, unset)

    return _VARIABLE.sub(value, text)


# --- what npm says ----------------------------------------------------------------------------


def _url(text: str | None) -> str | None:
    """An http or https address without its last slash; anything else is none."""
    try:
        return values.read_url(text) if text else None
    except values.Unfit:
        return None


def _found(url: str, where: str, layers: Sequence[tuple[str, _Layer]]) -> Found:
    settings: dict[str, str] = {}
    for _, layer in reversed(layers):
        settings |= layer
    ca_file = settings.get("cafile") or None
    for address in _addresses(url):
        if token := settings.get(f"{address}:_authToken"):
            return Found(url=url, where=where, token=token, ca_file=ca_file)
        username, password = _user(address, settings)
        if username and password:
            return Found(
                url=url, where=where, username=username, password=password, ca_file=ca_file
            )
    return Found(url=url, where=where, ca_file=ca_file)


def _addresses(url: str) -> Iterator[str]:
    """Where npm looks for credentials: the registry's path, then up to its host."""
    parts = urlsplit(url)
    pieces = parts.path.strip("/").split("/") if parts.path.strip("/") else []
    for end in range(len(pieces), -1, -1):
        address = "/".join([f"//{parts.netloc}", *pieces[:end]])
        yield f"{address}/"
        yield address


def _user(address: str, settings: _Layer) -> tuple[str, str]:
    """User and password: `_auth` holds both in base64, else `_password` alone is in base64."""
    user, colon, password = _decoded(settings.get(f"{address}:_auth")).partition(":")
    if colon:
        return user, password
    return settings.get(f"{address}:username", ""), _decoded(settings.get(f"{address}:_password"))


def _decoded(text: str | None) -> str:
    try:
        return base64.b64decode(text or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
