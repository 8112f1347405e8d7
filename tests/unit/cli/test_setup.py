"""`packhouse setup`: what it prints, by the configuration and its options."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.npm import clients

CONFIG = """
{server}
[uplinks.npm]
url = "https://registry.example"
[[rules]]
match = ["@acme/*", "tool"]
from = "hosted"
"""


def run(folder: Path, *options: str, server: str = "") -> Result:
    file = folder / "config.toml"
    file.write_text(CONFIG.format(server=server))
    return CliRunner().invoke(main, ["setup", "--config", str(file), *options])


def test_it_prints_what_the_start_page_shows(tmp_path: Path) -> None:
    """Every line of every guide is printed, for the address and the claims of the configuration."""
    result = run(tmp_path, server='[server]\npublic_url = "https://npm.example.com"')

    told = clients.guides("https://npm.example.com", ["@acme/*", "tool"])
    lines = [line for each in told for step in each.steps for line in step.lines]
    assert result.exit_code == 0
    assert [line for line in lines if f"  {line}\n" not in result.output] == []


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:4999", "http://127.0.0.1:4999/"),
        ("0.0.0.0:4873", "http://127.0.0.1:4873/"),
        ("[::]:4873", "http://[::1]:4873/"),
    ],
)
def test_the_address_is_one_to_connect_to(tmp_path: Path, listen: str, url: str) -> None:
    """Without a public address it is where we listen, as somebody on this machine reaches it."""
    result = run(tmp_path, "--client", "npm", server=f'[server]\nlisten = "{listen}"')

    assert f"npm config set registry {url}\n" in result.output


def test_one_client_may_be_chosen(tmp_path: Path) -> None:
    """With --client only that client is told; "yarn" means both."""
    one = run(tmp_path, "--client", "bun").output
    both = run(tmp_path, "--client", "yarn").output

    assert ("bunfig.toml" in one, "pnpm" in one) == (True, False)
    assert ("yarn 1\n" in both, "yarn berry\n" in both) == (True, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--client", "nix"), "possible: npm, pnpm, yarn 1, yarn berry, bun, deno"),
        (("--url", "npm.example.com"), "not an http or https address"),
        (("--url", "https://a.example/?b'; rm -rf x"), "--url"),
    ],
)
def test_what_it_cannot_do_is_told(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    """A client nobody knows and an address that is none end with status 2 and the reason."""
    result = run(tmp_path, *options)

    assert result.exit_code == 2
    assert said in result.output


def test_an_address_may_be_given(tmp_path: Path) -> None:
    """--url takes the place of what the configuration says."""
    result = run(tmp_path, "--url", "https://other.example/npm/", "--client", "npm")

    assert "npm config set registry https://other.example/npm/\n" in result.output
