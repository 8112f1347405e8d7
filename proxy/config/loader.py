"""From what was given to one Config, or to all the reasons why it cannot be one.

Nothing stops at the first problem: what cannot be read is noted and left at its default, so that
the reader of the messages can mend everything at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from proxy.config import checks, names, rulebook, sources
from proxy.config.builder import build
from proxy.config.npmrc import Found
from proxy.config.settings import DEFAULT_UPLINK, UPLINKS, Config, Server
from proxy.config.sources import Given, Source
from proxy.errors import ConfigError

FindRegistry = Callable[[], Found | None]

NO_UPLINK = (
    "there is no registry to ask, and npm on this machine is not configured for one either; put"
    ' this line first in the configuration file: uplinks.npm.url = "https://registry.example"'
    " (or use --uplink URL, or set PACKHOUSE_UPLINKS_NPM_URL)"
)
_CREDENTIALS = (*names.WAYS["token"], *names.WAYS["password"], "username", "headers")


def load(
    *,
    file: Path | None,
    environ: Mapping[str, str],
    find_registry: FindRegistry,
    overrides: Mapping[str, object] | None = None,
    cwd: Path | None = None,
    needs_uplink: bool = True,
) -> Config:
    """The configuration; raises ConfigError with every problem of every source.

    Args:
        file: the TOML file, else the one that PACKHOUSE_CONFIG names, else none.
        environ: the environment's variables.
        find_registry: asked only if the usual uplink has no address and some name needs one.
        overrides: dotted name to value, from the command line (see `sources.read_overrides`).
        cwd: what paths outside the file count from.
        needs_uplink: False for work on the data folder alone, which asks nobody.
    """
    folder = cwd or Path.cwd()
    if file is None and environ.get(names.FILE_VARIABLE):
        file = folder / environ[names.FILE_VARIABLE]
    source, warnings = _gather(file, environ, overrides or {}, folder)
    if needs_uplink:
        server = build(source.given, environ=environ, file=file)[0].server
        source = _discover(source, find_registry, file, folder, server)
    config, unfit = build(source.given, environ=environ, file=file)
    found = checks.check(config, file)
    if every := [*source.problems, *unfit, *found.problems]:
        raise ConfigError(problems=sorted(every, key=_place_order))
    return replace(config, warnings=(*warnings, *found.warnings))


def problems(
    *,
    file: Path | None,
    environ: Mapping[str, str],
    find_registry: FindRegistry,
    overrides: Mapping[str, object] | None = None,
    cwd: Path | None = None,
) -> list[str]:
    """Why `load` would refuse the same arguments, a sentence for each reason."""
    try:
        load(file=file, environ=environ, find_registry=find_registry, overrides=overrides, cwd=cwd)
    except ConfigError as error:
        return list(error.problems)
    return []


def _place_order(problem: str) -> tuple[bool, bool, int]:
    """The file's lines from top to bottom, then variables, then options."""
    line = re.match(r"[^ ]*?:(\d+): ", problem)
    return problem.startswith("--"), problem.startswith(names.PREFIX), int(line[1]) if line else 0


# --- what was given ---------------------------------------------------------------------------


def _gather(
    file: Path | None, environ: Mapping[str, str], overrides: Mapping[str, object], folder: Path
) -> tuple[Source, list[str]]:
    """File, environment and command line over one another, and warnings about doing so."""
    source = sources.read_file(file) if file else Source()
    uplinks = names.uplinks_in(source.given)
    source = sources.lay(source, sources.read_environment(environ, folder, uplinks))
    stronger = sources.read_overrides(overrides, folder, names.uplinks_in(source.given))
    laid = sources.lay(source, stronger)
    return laid, _withhold_credentials(laid, stronger, source)


def _withhold_credentials(laid: Source, stronger: Source, weaker: Source) -> list[str]:
    """Take an uplink's credentials out where the command line sends it to another host.

    They were given for the host that stands beside them; a token must not follow a typed address.
    """
    warnings = []
    for uplink in names.uplinks_in(stronger.given):
        name = f"{UPLINKS}.{uplink}.url"
        old, new = weaker.given.get(name), stronger.given.get(name)
        secrets = [f"{UPLINKS}.{uplink}.{key}" for key in _CREDENTIALS]
        secrets = [secret for secret in secrets if secret in laid.given]
        if old and new and secrets and _origin(old.value) != _origin(new.value):
            for secret in secrets:
                del laid.given[secret]
            left = ", ".join(secrets)
            warnings.append(f"{new.place}: this is another host, so it is not sent {left}")
    return warnings


def _origin(url: object) -> str:
    return str(url).strip().lower().partition("://")[2].partition("/")[0]


def _discover(
    source: Source, find_registry: FindRegistry, file: Path | None, folder: Path, server: Server
) -> Source:
    """Give the usual uplink the registry that npm asks, if its address is all that is missing.

    Where npm has been pointed at us, it is the one that npm would ask otherwise.
    """
    name = f"{UPLINKS}.{DEFAULT_UPLINK}"
    is_alone = set(names.uplinks_in(source.given)) <= {DEFAULT_UPLINK}
    if f"{name}.url" in source.given or not is_alone or rulebook.is_hosted(source.given):
        return source
    found = _not_ourselves(find_registry(), server)
    if found is None:
        problem = f"{file}: {NO_UPLINK}" if file else NO_UPLINK
        return Source(source.given, [*source.problems, problem])
    values_ = {"url": found.url, "ca_file": found.ca_file}
    if not any(f"{name}.{key}" in source.given for key in _CREDENTIALS):
        values_ |= {"token": found.token, "username": found.username, "password": found.password}
    place = f"npm's configuration ({found.where})"
    npm = {f"{name}.{key}": Given(value, place, folder) for key, value in values_.items() if value}
    return sources.lay(Source(npm), source)


def _not_ourselves(found: Found | None, server: Server) -> Found | None:
    """The first that is not us; if there is none, the last, so that a check can say what it is."""
    while found is not None and checks.is_ourselves(found.url, server):
        below = found.instead()
        if below is None:
            return found
        found = below
    return found
