"""A project crosses a gap: prefetched and bundled outside, installed where there is no network.

Outside are the registry that npm on this machine asks, and a Packhouse by which each client makes
its lockfile. Inside is a network namespace without any route, with a Packhouse at the same address,
as yarn 1 and bun go to the address that is in their lockfiles. Nothing tells it to be offline.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import gap, project
from tests.clients.clients import Berry, Bun, Client, Npm, Outcome, Pnpm, Yarn1
from tests.clients.gap import Gap
from tests.clients.project import Package
from tests.clients.seats import Seat, each
from tests.clients.server import COMMAND, Server, free_port, serving

pytestmark = [pytest.mark.network, pytest.mark.timeout(400)]

NEWEST: Sequence[Client] = (Npm("11"), Pnpm("11"), Yarn1(), Berry(), Bun())
WANTED = {
    "@sindresorhus/is": "^4.0.0",
    "chokidar": "^3.5.0",
    "commander": "<12",
    "debug": "^4.3.0",
    "escape-string-regexp": "^4.0.0",
    "is-odd": "latest",
    "left-pad": "1.3.0",
    "nanoid": "^3.3.0",
    "pad": "npm:left-pad@^1.1.0",
    "picocolors": "*",
    "semver": "~7.6.0",
    "yallist": "5",
}
WANTED_IN_PART = {"ms": "2.0.0"}
PLATFORMS = ("linux/x64/glibc", "linux/x64/musl", "darwin/arm64", "win32/x64")
NATIVE = {"esbuild": "0.25.12", "rollup": "4.53.3"}


@dataclass(frozen=True, slots=True)
class Outside:
    """What is made where there is a network. `held` are the versions in the bundle, by name."""

    folder: Path
    port: int
    held: Mapping[str, Sequence[str]]

    def app(self, client: Client) -> Path:
        """The project that `client` has installed there, with the lockfile it made."""
        return self.folder / client.name / "app"


@dataclass(frozen=True, slots=True)
class Inside:
    """A server beyond the gap, and the gap."""

    gap: Gap
    server: Server


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    """Projects with lockfiles, and the bundle of what a prefetch of all those lockfiles brings."""
    folder, port = tmp_path_factory.mktemp("crossing"), free_port()
    # At once, as most of it is waiting for the uplink.
    with serving(folder / "nearby", port=port) as server, ThreadPoolExecutor() as threads:
        list(threads.map(lambda client: lock(client, folder, server.url), NEWEST))
    locks = [folder / client.name / "app" / client.lockfile for client in NEWEST]
    packhouse(folder, "prefetch", "--data", "outside", *locks)
    (folder / "outside.key").write_text(packhouse(folder, "keys", "bundle", "--data", "outside"))
    packhouse(folder, "bundle", "create", "-o", "app.bundle", "--all", "--data", "outside")
    return Outside(folder, port, carried(folder, "app.bundle"))


@pytest.fixture(scope="module")
def inside(outside: Outside) -> Iterator[Inside]:
    """What serves the bundle where there is no network."""
    with gap.opened() as namespace, namespace.across():
        trust = ("--trust", "outside.key", "app.bundle", "--data", "inside")
        packhouse(outside.folder, "bundle", "verify", *trust)
        packhouse(outside.folder, "bundle", "import", *trust)
    with beyond(outside, "inside") as opened:
        yield opened


@contextmanager
def beyond(outside: Outside, data: str, *options: str) -> Iterator[Inside]:
    """Serve a data folder in a namespace of its own, at the address that lockfiles name."""
    with gap.opened() as namespace, ExitStack() as stack:
        with namespace.across():
            started = serving(outside.folder / data, *options, port=outside.port)
            server = stack.enter_context(started)
        yield Inside(namespace, server)


def test_there_is_no_network(inside: Inside) -> None:
    """The server is in the namespace, there is no way out of it, and we are not in it."""
    with inside.gap.across():
        routes = Path("/proc/thread-self/net/route").read_text().splitlines()
        with pytest.raises(OSError) as refused:
            socket.create_connection(("192.0.2.1", 443), timeout=5)

    assert routes[1:] == []
    assert refused.value.errno == errno.ENETUNREACH
    here, server = gap.HERE, Path(f"/proc/{inside.server.pid}/ns/net")
    assert server.samefile(inside.gap.namespace)
    assert not here.samefile(inside.gap.namespace)


@each(*NEWEST)
def test_a_lockfile_installs(client: Client, outside: Outside, inside: Inside) -> None:
    """The lockfile that was made outside installs just what it did there."""
    assert installed(client, outside, inside, "locked") == packages(outside.app(client))


@each(*NEWEST)
def test_ranges_install(client: Client, outside: Outside, inside: Inside) -> None:
    """From package.json alone the same is chosen as outside, of what was carried."""
    assert installed(client, outside, inside, "resolved") == packages(outside.app(client))


@each(Npm("11"), Bun())
def test_an_offline_server_installs(client: Client, outside: Outside, inside: Inside) -> None:
    """A server that is told to be offline serves the same as one that finds nobody."""
    shutil.copytree(outside.folder / "inside", outside.folder / f"offline-{client.name}")
    with beyond(outside, f"offline-{client.name}", "--offline") as offline:
        found = installed(client, outside, offline, "offline")

    assert found == packages(outside.app(client))


def test_npm_view(outside: Outside, inside: Inside) -> None:
    """`npm view` tells of the versions that were carried, and of no other."""
    names = ("@sindresorhus/is", "ms")
    assert len(outside.held["ms"]) > 1

    told = {name: npm(outside, inside, "view", name, "versions", "--json") for name in names}
    latest = npm(outside, inside, "view", "@sindresorhus/is", "dist-tags.latest", "--json")

    assert told == {name: list(outside.held[name]) for name in names}
    assert latest == outside.held["@sindresorhus/is"][-1]


def test_npm_outdated(outside: Outside, inside: Inside) -> None:
    """`npm outdated` finds nothing newer than what was carried: outside there is."""
    rows = npm(outside, inside, "outdated", "--json", at=outside.app(Npm("11")))

    assert rows["ms"]["latest"] == outside.held["ms"][-1]
    assert {row["latest"] in outside.held[name] for name, row in rows.items()} == {True}
    assert "@sindresorhus/is" not in rows


@pytest.mark.usefixtures("inside")
def test_nothing_was_asked_for_in_vain(outside: Outside) -> None:
    """Of all that the clients above have asked for, nothing is listed as missing."""
    assert packhouse(outside.folder, "missing", "--data", "inside") == ""


def test_the_platforms_that_were_asked_for(tmp_path: Path) -> None:
    """A prefetch for four platforms and this one brings their packages, and no others."""
    with serving(tmp_path / "nearby") as server:
        seat = Seat.new(Npm("11"), tmp_path / "seat", server.url)
        app = seat.app("app", **NATIVE)
        seat.done("install", "--package-lock-only", "--no-audit", at=app)
    file = app / "package-lock.json"
    wanted = [word for platform in PLATFORMS for word in ("--platform", platform)]

    packhouse(tmp_path, "prefetch", *wanted, file, "--data", "data")
    packhouse(tmp_path, "bundle", "create", "-o", "a", "--lockfile", file, "--data", "data")
    found = {name for name, versions in carried(tmp_path, "a").items() if versions}

    arch = "arm64" if os.uname().machine == "aarch64" else "x64"
    assert {name for name in found if name.startswith("@")} - {"@types/estree"} == {
        "@esbuild/darwin-arm64",
        "@esbuild/linux-x64",
        "@esbuild/win32-x64",
        "@rollup/rollup-darwin-arm64",
        "@rollup/rollup-linux-x64-gnu",
        "@rollup/rollup-linux-x64-musl",
        "@rollup/rollup-win32-x64-gnu",
        "@rollup/rollup-win32-x64-msvc",
        f"@esbuild/linux-{arch}",
        f"@rollup/rollup-linux-{arch}-gnu",
    }
    assert found >= {*NATIVE, "fsevents"}


# --- parts ----------------------------------------------------------------------------------------


def begun(app: Path, client: Client) -> Path:
    """A project with a workspace, which pnpm takes no note of, and no lockfile."""
    part = app / "packages" / "part"
    part.mkdir(parents=True)
    fields = {"version": "1.0.0", "private": True}
    root = {"name": "app", **fields, "workspaces": ["packages/*"], "dependencies": WANTED}
    leaf = {"name": "part", **fields, "dependencies": WANTED_IN_PART}
    (app / "package.json").write_text(json.dumps(root, indent=2))
    (part / "package.json").write_text(json.dumps(leaf, indent=2))
    client.prepare(app)
    return app


def lock(client: Client, folder: Path, registry: str) -> None:
    """Install from package.json where there is a network."""
    app = begun(folder / client.name / "app", client)
    succeed(client.install(app, registry, folder / client.name / "cache", frozen=False))


def installed(client: Client, outside: Outside, inside: Inside, how: str) -> set[Package]:
    """What is in node_modules after an install inside, with empty caches."""
    place = outside.folder / client.name / how
    app = begun(place / "app", client)
    if how == "locked":
        shutil.copy(outside.app(client) / client.lockfile, app)
    with inside.gap.across():
        frozen = how == "locked"
        succeed(client.install(app, inside.server.url, place / "cache", frozen=frozen))
    return packages(app)


def packages(app: Path) -> set[Package]:
    """Every package below the project, the workspace's own included."""
    return set(project.installed(app))


def succeed(outcome: Outcome) -> None:
    assert outcome.exit_code == 0, str(outcome)


def npm(outside: Outside, inside: Inside, *arguments: str, at: Path | None = None) -> Any:
    """What npm answers inside, in JSON; `npm outdated` ends with 1 where it finds something."""
    number = sum(1 for _ in outside.folder.glob("seat*"))
    seat = Seat.new(Npm("11"), outside.folder / f"seat{number}", inside.server.url)
    with inside.gap.across():
        return json.loads(seat.run(*arguments, at=at).output)


def carried(folder: Path, bundle: str) -> Mapping[str, Sequence[str]]:
    """The versions in a bundle, by name, in their order; none of what is only known."""
    shown = packhouse(folder, "bundle", "show", bundle).partition("\nbundle ")[0]
    rows = (line.split() for line in shown.splitlines())
    return {name: versions for name, *versions in rows}


def packhouse(folder: Path, *words: str | Path) -> str:
    """Run a command of ours in `folder`, where no configuration lies; what it printed."""
    environ = {key: text for key, text in os.environ.items() if "PACKHOUSE_" not in key}
    argv = [str(COMMAND), *map(str, words)]
    ended = subprocess.run(
        argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=200, check=False
    )
    assert ended.returncode == 0, f"{argv}\n{ended.stdout}{ended.stderr}"
    return ended.stdout
