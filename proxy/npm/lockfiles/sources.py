"""Where a dependency comes from: what a registry has, and what none has.

A tarball's address is a registry's if its path is one of a registry, whatever the host: the file
may have been written with another registry, or through a mirror that has moved since.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from proxy.npm import ranges

FROM_GIT = "it comes from git"
FROM_PROJECT = "it is a file or folder of the project"
FROM_CATALOG = "its range stands in a workspace's catalog: give the lockfile instead"
FROM_ELSEWHERE = "its tarball is not a registry's"

_GIT = re.compile(r"(git(\+\w+)?|github|gitlab|bitbucket|gist|ssh)[:@]")
_FOLDER = re.compile(r"(file|link|portal|workspace|exec):|\.{0,2}/|~/|[A-Za-z]:[\\/]")
_SHORT_GIT = re.compile(r"[^@\s/:]+/[^\s/:]+(#.*)?")
# `/-/` is npm's; `/download/` stands in the addresses of GitHub's registry.
_TARBALL_PATHS = ("/-/", "/download/")


def refusal(address: str) -> str | None:
    """Why no registry has what is at this address; None for a registry's tarball."""
    if address.startswith(("http:", "https:")):
        return _refusal_of_url(address)
    if _GIT.match(address):
        return FROM_GIT
    return FROM_PROJECT


def asked(name: str, spec: str) -> tuple[str, str] | str:
    """What a dependency `name: spec` of a manifest asks a registry for: the real name and a range.

    Or why no registry is asked. Source: npm's npm-package-arg.
    """
    wanted = spec.strip()
    if wanted.startswith("npm:"):
        return split(wanted.removeprefix("npm:"))
    why = _refusal_of_spec(wanted)
    return (name, wanted or "latest") if why is None else why


def split(spec: str) -> tuple[str, str]:
    """`@scope/name@range` as name and range; `latest` where there is no range."""
    at = spec.find("@", 1)
    if at < 0:
        return spec, "latest"
    return spec[:at], spec[at + 1 :].strip() or "latest"


def _refusal_of_url(url: str) -> str | None:
    try:
        path = urlsplit(url).path
    except ValueError:
        return FROM_ELSEWHERE
    if path.endswith(".git"):
        return FROM_GIT
    return None if any(each in path for each in _TARBALL_PATHS) else FROM_ELSEWHERE


def _refusal_of_spec(spec: str) -> str | None:
    if spec.startswith("catalog:"):
        return FROM_CATALOG
    if spec.startswith(("http:", "https:")):
        return _refusal_of_url(spec) or FROM_ELSEWHERE
    if _FOLDER.match(spec):
        return FROM_PROJECT
    is_short_git = not ranges.is_range(spec) and _SHORT_GIT.fullmatch(spec) is not None
    return FROM_GIT if is_short_git or _GIT.match(spec) else None
