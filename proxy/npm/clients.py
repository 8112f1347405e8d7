"""What to tell a package manager so that it uses this registry: one guide for each client.

The start page and `packhouse setup` show the same lines. Each was tried with the client it is for.
Names that live here are exempted from release-age gates, which pass over versions that are younger
than a day or so: what a colleague has just published is meant to be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from proxy.npm import wire

_EXEMPT = "Take what is published here at once, past the release-age gate"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: commands for a shell, or lines for `file`. `about` says what they do."""

    about: str
    lines: tuple[str, ...]
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Guide:
    """What one client is told, in order."""

    client: str
    steps: tuple[Step, ...]


def guides(base_url: str, claimed: Sequence[str] = ()) -> tuple[Guide, ...]:
    """The guide of every client.

    `base_url` has no slash at its end; `claimed` are the patterns of names that live here.
    """
    # Where every name lives here there is nothing to exempt a part of.
    patterns = () if "*" in claimed else tuple(claimed)
    return tuple(
        Guide(client, tuple(step for step in steps(base_url, patterns) if step.lines))
        for client, steps in _CLIENTS.items()
    )


def _npm(url: str, patterns: Sequence[str]) -> Sequence[Step]:
    return (
        Step("Point npm here", (f"npm config set registry {url}/",)),
        Step("Log in", ("npm login",)),
        Step(
            f"{_EXEMPT} (min-release-age, if you have set it)",
            tuple(f"min-release-age-exclude[]={pattern}" for pattern in patterns),
            ".npmrc",
        ),
    )


def _pnpm(url: str, patterns: Sequence[str]) -> Sequence[Step]:
    exempt = ("minimumReleaseAgeExclude:", *(f'  - "{pattern}"' for pattern in patterns))
    return (
        Step("Point pnpm here", (f"pnpm config set registry {url}/",)),
        Step("Log in", ("pnpm login",)),
        Step(_EXEMPT, exempt if patterns else (), "pnpm-workspace.yaml"),
    )


def _yarn1(url: str, _patterns: Sequence[str]) -> Sequence[Step]:
    return (
        Step("Point yarn 1 here", (f"yarn config set registry {url}/",)),
        Step("Log in: yarn 1 sends the token that npm has got", (f"npm login --registry {url}/",)),
        Step("Have it sent for names without a scope, too", ("always-auth=true",), "~/.npmrc"),
    )


def _berry(url: str, patterns: Sequence[str]) -> Sequence[Step]:
    host = urlsplit(url).hostname or ""
    hosts = wire.dumps([host]).decode()
    plain = f"yarn config set --home unsafeHttpWhitelist --json '{hosts}'"
    exempt = ("npmPreapprovedPackages:", *(f'  - "{pattern}"' for pattern in patterns))
    return (
        Step("Point yarn here", (f"yarn config set --home npmRegistryServer {url}",)),
        Step("Allow plain http", (plain,) if url.startswith("http:") else ()),
        Step("Log in", ("yarn npm login --web-login --always-auth",)),
        Step(
            "Publish for all who may read that name: yarn makes scoped packages private otherwise",
            ("yarn config set --home npmPublishAccess public",),
        ),
        Step(_EXEMPT, exempt if patterns else (), ".yarnrc.yml"),
    )


def _bun(url: str, patterns: Sequence[str]) -> Sequence[Step]:
    # bun compares whole names.
    names = wire.dumps([pattern.replace("*", "NAME") for pattern in patterns]).decode()
    return (
        Step("Point bun here", ("[install]", f'registry = "{url}/"'), "bunfig.toml"),
        Step("Log in: bun sends the token that npm has got", (f"npm login --registry {url}/",)),
        Step(
            f"{_EXEMPT} (minimumReleaseAge, if you have set it); bun wants whole names; put it"
            " below [install]",
            (f"minimumReleaseAgeExcludes = {names}",) if patterns else (),
            "bunfig.toml",
        ),
    )


def _deno(url: str, patterns: Sequence[str]) -> Sequence[Step]:
    names = wire.dumps([f"npm:{pattern}" for pattern in patterns]).decode()
    exempt = (f'"minimumDependencyAge": {{ "age": "P1D", "exclude": {names} }}',)
    return (
        Step("Point deno here", (f"registry={url}/",), ".npmrc"),
        Step("Log in: deno sends the token that npm has got", (f"npm login --registry {url}/",)),
        Step(_EXEMPT, exempt if patterns else (), "deno.json"),
    )


_CLIENTS: Mapping[str, Callable[[str, Sequence[str]], Sequence[Step]]] = {
    "npm": _npm,
    "pnpm": _pnpm,
    "yarn 1": _yarn1,
    "yarn berry": _berry,
    "bun": _bun,
    "deno": _deno,
}
