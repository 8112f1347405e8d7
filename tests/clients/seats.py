"""A seat: one person with one client at a machine of their own, and what they type there.

The home of a seat holds what that client keeps for a user: the registry's address, the token after
a login, caches. Nothing else of this machine is seen (clients.py). What is typed is the client's
own command line; where it asks questions, the answers are given on a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients import terminal
from tests.clients.clients import NODE, Client, Npm, Outcome


def each(*clients: Client) -> pytest.MarkDecorator:
    """Run a test once with each of these, under its name."""
    return pytest.mark.parametrize("client", clients, ids=[client.name for client in clients])


@dataclass(frozen=True, slots=True)
class Seat:
    """One person's place. `folder` is theirs alone; `registry` has no slash at its end."""

    client: Client
    folder: Path
    registry: str

    @classmethod
    def new(cls, client: Client, folder: Path, registry: str, token: str = "") -> Seat:
        """Prepare a machine that knows the registry and, with a token, who sits there."""
        seat = cls(client, folder, registry)
        seat.home.mkdir(parents=True)
        client.settle(seat.home, registry, token)
        _put_npm(seat.home / "bin")
        return seat

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def token(self) -> str:
        """What the client keeps as its token, or nothing."""
        return self.client.kept_token(self.home, self.registry)

    def run(
        self,
        *arguments: str,
        at: Path | None = None,
        answers: terminal.Answers | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Outcome:
        """Run one command to its end; with `answers`, or none of them, on a terminal."""
        folder = at or self.project("idle", {"name": "idle", "version": "1.0.0", "private": True})
        return self.client.run(arguments, at=folder, home=self.home, env=env or {}, answers=answers)

    def done(self, *arguments: str, **how: Any) -> str:
        """Run one command that has to succeed; what it printed."""
        outcome = self.run(*arguments, **how)
        assert outcome.exit_code == 0, str(outcome)
        return outcome.output

    def refused(self, *arguments: str, **how: Any) -> str:
        """Run one command that has to fail; what it printed, in one line."""
        outcome = self.run(*arguments, **how)
        assert outcome.exit_code not in {0, -9}, str(outcome)
        return " ".join(outcome.output.replace("│", " ").split())

    def package(self, name: str, version: str = "1.0.0", **fields: Any) -> Path:
        """A package to be published: its folder holds package.json, README.md and index.js."""
        manifest = {"name": name, "version": version, "license": "MIT", **fields}
        at = self.project(name.replace("/", "+"), manifest)
        (at / "README.md").write_text(f"# {name}\n")
        (at / "index.js").write_text(f'module.exports = "{name} {version}";\n')
        return at

    def app(self, folder: str, **dependencies: str) -> Path:
        """A project that wants other packages, by name and range."""
        manifest = {"name": "app", "version": "1.0.0", "dependencies": dependencies}
        return self.project(folder, {**manifest, "private": True})

    def project(self, folder: str, manifest: Mapping[str, Any]) -> Path:
        """A folder with this package.json; what lies there already stays."""
        at = self.folder / folder
        at.mkdir(exist_ok=True, parents=True)
        (at / "package.json").write_text(json.dumps(manifest, indent=2) + "\n")
        self.client.prepare(at)
        return at


def _put_npm(folder: Path) -> None:
    """Put npm 10 where pnpm 10 looks for it, which has no login or dist-tag of its own."""
    folder.mkdir()
    program = " ".join(f'"{word}"' for word in Npm("10").program())
    (folder / "npm").write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    (folder / "npm").chmod(0o755)
    (folder / "node").symlink_to(NODE)
