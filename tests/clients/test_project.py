"""The project the clients install is large enough, and its lockfiles are read in full."""

from __future__ import annotations

import json

import pytest

from tests.clients import project
from tests.clients.clients import CLIENTS, Client
from tests.clients.project import Package

PINNED = [Package("lodash", "4.18.1"), Package("@esbuild/linux-x64", "0.18.20")]


def lock_of(client: Client) -> str:
    """Read the lockfile that is kept for `client`."""
    return (project.APP / "locks" / client.lock / client.lockfile).read_text()


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_size(client: Client) -> None:
    """Each lockfile names between 600 and 700 packages, scoped and for one platform included."""
    packages = project.locked(client, lock_of(client))

    assert 600 <= len(packages) <= 700
    assert packages.issuperset(PINNED)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_names_agree(client: Client) -> None:
    """No lockfile names a package that npm's does not, nor the other way round."""
    names = {package.name for package in project.locked(client, lock_of(client))}
    npms = json.loads((project.APP / "locks" / "npm" / "package-lock.json").read_text())
    ours = {path.rpartition("node_modules/")[2] for path in npms["packages"] if path}

    assert names ^ ours <= {"packhouse-test-app"}


def test_missing(tmp_path) -> None:
    """An empty node_modules lacks every package but those for other machines."""
    client = CLIENTS[0]
    app = project.copy(tmp_path / "app", client, "http://127.0.0.1:1")

    missing = {package.name for package in project.missing(client, app)}

    assert "lodash" in missing
    assert "fsevents" not in missing
    assert len(missing) > 500
