"""Every client installs a real project through us: cold, warm, and with the uplink switched off.

Most of them share one filled mirror, which is why scripts/test gives each file to one worker.
"""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.clients import project
from tests.clients.clients import Berry, Bun, Client, Npm, Outcome, Pnpm, Yarn1
from tests.clients.project import Package
from tests.clients.server import Server, free_port, serving

# Several hundred packages take their time.
pytestmark = [pytest.mark.network, pytest.mark.timeout(400)]

NEWEST = [Npm("12"), Pnpm("12"), Yarn1(), Berry(), Bun()]
OLDER = [Npm("10"), Npm("11"), Pnpm("10"), Pnpm("11")]
RESOLVERS = [Npm("12"), Pnpm("12"), Bun()]


def named(client: Client) -> str:
    """Name a test after the client it runs."""
    return client.name


def roomy() -> Path | None:
    """Return a folder in memory if there is room: installs write some hundred megabytes each."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30 else None


@pytest.fixture
def place() -> Iterator[Path]:
    """Yield a folder that goes with all that is in it when the test ends."""
    with TemporaryDirectory(prefix="packhouse-clients-", dir=roomy()) as at:
        yield Path(at)


@pytest.fixture(scope="session")
def filled() -> Iterator[Path]:
    """Yield a data folder that was filled with a lockfile and without.

    npm asks for full packuments when it chooses versions, and for abbreviated ones when it has a
    lockfile; bun for abbreviated ones always. Yarn classic wants the tarballs of all platforms, and
    berry what it adds to them (project.py).
    """
    with TemporaryDirectory(prefix="packhouse-filled-", dir=roomy()) as at:
        data = Path(at) / "data"
        with serving(data) as server:
            succeed(Npm("12"), Path(at) / "new", server.url, locked=False)
            succeed(Npm("12"), Path(at) / "locked", server.url, locked=True)
            succeed(Bun(), Path(at) / "bun", server.url, locked=False)
            succeed(Berry(), Path(at) / "berry", server.url, locked=True)
            for package in project.foreign():
                fetch(server.url, package)
        yield data


@pytest.mark.parametrize("client", NEWEST, ids=named)
def test_cold(client: Client, place: Path) -> None:
    """A lockfile installs completely through a server that has never seen any of it."""
    with serving(place / "data") as server:
        succeed(client, place / "app", server.url, locked=True)


@pytest.mark.parametrize("client", OLDER, ids=named)
def test_warm(client: Client, place: Path, filled: Path) -> None:
    """A lockfile installs completely for a client with empty caches from what another one left.

    The newest clients show the same in `test_away`, where there is nothing else to install from.
    """
    with serving(filled) as server:
        succeed(client, place / "app", server.url, locked=True)


@pytest.mark.parametrize("client", NEWEST, ids=named)
def test_away(client: Client, place: Path, filled: Path) -> None:
    """A lockfile installs completely from stale copies while the uplink cannot be reached."""
    with away(filled) as server:
        succeed(client, place / "app", server.url, locked=True)


@pytest.mark.parametrize("client", RESOLVERS, ids=named)
def test_resolve_away(client: Client, place: Path, filled: Path) -> None:
    """Versions are chosen without a lockfile from stale copies while the uplink is away."""
    with away(filled) as server:
        succeed(client, place / "app", server.url, locked=False)


def away(data: Path) -> AbstractContextManager[Server]:
    """Serve `data` with nobody at the uplink's address; every copy is stale after a second."""
    uplink = f"http://127.0.0.1:{free_port()}/"
    return serving(data, "--uplink", uplink, settings={"CACHE_MAX_AGE": "1s"})


def succeed(client: Client, place: Path, registry: str, *, locked: bool) -> None:
    """Install the app with empty caches, and check that nothing is missing from node_modules."""
    app = project.copy(place / "app", client, registry, locked=locked)
    outcome = client.install(app, registry, place / "cache", frozen=locked)
    assert outcome.exit_code == 0, str(outcome)
    assert project.missing(client, app) == []
    check(client, app, place / "cache")


def fetch(registry: str, package: Package) -> None:
    """Have the mirror take in one tarball; whoever gets a wrong status fails."""
    bare = package.name.rpartition("/")[2]
    address = f"{registry}/{package.name}/-/{bare}-{package.version}.tgz"
    with urllib.request.urlopen(address, timeout=60) as answer:
        answer.read()


def check(client: Client, app: Path, cache: Path) -> None:
    """Have npm itself say whether its node_modules is whole."""
    if isinstance(client, Npm):
        outcome: Outcome = client.ls(app, cache)
        assert outcome.exit_code == 0, str(outcome)
