"""What each client is told; that it does what it says is for tests/clients."""

from __future__ import annotations

import json
import tomllib

import pytest

from proxy.npm import clients
from proxy.npm.clients import Step

URL = "https://npm.example.com"
CLIENTS = ["npm", "pnpm", "yarn 1", "yarn berry", "bun", "deno"]


def steps(client: str, *claimed: str, url: str = URL) -> list[Step]:
    (found,) = [each for each in clients.guides(url, claimed) if each.client == client]
    return list(found.steps)


def test_every_client_has_a_guide() -> None:
    """There is one guide for each client, in the order of the documents."""
    assert [each.client for each in clients.guides(URL)] == CLIENTS


@pytest.mark.parametrize("client", CLIENTS)
def test_a_guide_points_here_and_logs_in(client: str) -> None:
    """Each client is first pointed at this address, then logged in; no step is empty."""
    first, second, *_ = steps(client)

    assert any(URL in line for line in first.lines)
    assert "Log in" in second.about
    assert all(line for step in (first, second) for line in step.lines)


@pytest.mark.parametrize("client", [each for each in CLIENTS if each != "yarn 1"])
def test_what_lives_here_is_exempted(client: str) -> None:
    """A client with a release-age gate is told to exempt each claimed name, in its own file."""
    last = steps(client, "@acme/*", "tool")[-1]

    assert last.file is not None
    assert "@acme/" in "".join(last.lines)
    assert "tool" in "".join(last.lines)


@pytest.mark.parametrize("client", CLIENTS)
def test_without_claims_nothing_is_exempted(client: str) -> None:
    """Where nothing, or everything, lives here, there is nothing to tell apart."""
    told = [*steps(client), *steps(client, "*")]

    assert [step for step in told if "release-age gate" in step.about] == []


def test_yarn_has_to_be_told_of_plain_http() -> None:
    """Over http yarn berry is told to allow that, by the host's name alone."""
    plain = steps("yarn berry", url="http://[::1]:4873")[1]

    assert plain.lines == ("yarn config set --home unsafeHttpWhitelist --json '[\"::1\"]'",)


def test_bun_wants_whole_names() -> None:
    """Bun compares whole names, so a pattern becomes an example of one; its lines are TOML."""
    first, _, last = steps("bun", "@acme/*")

    read = tomllib.loads("\n".join([*first.lines, *last.lines]))["install"]
    assert read == {"registry": f"{URL}/", "minimumReleaseAgeExcludes": ["@acme/NAME"]}


def test_deno_reads_json() -> None:
    """Deno's line is a member of deno.json."""
    (line,) = steps("deno", "@acme/*")[-1].lines

    read = json.loads(f"{{{line}}}")
    assert read == {"minimumDependencyAge": {"age": "P1D", "exclude": ["npm:@acme/*"]}}
