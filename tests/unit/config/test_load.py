"""Sources are laid over one another, the strongest last, and make one configuration."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from proxy.config import Found, describe, load
from proxy.config.values import Address
from proxy.npm.policy import HOSTED, Origin, Rule, Rules
from tests.fakes.desk import NPM, UPLINK, Desk

# --- without any configuration ----------------------------------------------------------------


def test_nothing_has_to_be_configured(desk: Desk) -> None:
    """Without a file it listens on loopback and asks npm's registry, in npm's name."""
    config = desk.load(None)

    assert config.server.listen == Address("127.0.0.1", 4873)
    assert [(each.name, each.url, each.token) for each in config.uplinks] == [
        ("npm", "https://registry.example", "t0ken")
    ]
    assert config.rules.origin_of("lodash") == Origin("npm")
    assert config.warnings == ()


def test_without_a_registry_the_one_line_is_told(desk: Desk) -> None:
    """Where npm says nothing either, the message holds the line to add."""
    desk.found = None

    (problem,) = desk.problems(None)

    assert 'uplinks.npm.url = "https://registry.example"' in problem


def test_that_one_line_is_enough(desk: Desk) -> None:
    """A file with the line that the message names works, and npm is not asked."""
    config = desk.load('uplinks.npm.url = "https://registry.example"')

    assert config.uplinks[0].url == "https://registry.example"
    assert desk.searches == 0


def test_the_usual_uplink_may_be_tuned_without_an_address(desk: Desk) -> None:
    """Settings of the uplink called npm apply to the registry that npm asks."""
    (uplink,) = desk.load('[uplinks.npm]\ntimeout = "4s"').uplinks

    assert (uplink.timeout, uplink.url) == (timedelta(seconds=4), NPM.url)
    assert uplink.token == "t0ken"


def test_credentials_that_are_configured_replace_npm_s(desk: Desk) -> None:
    """A token of our own is not mixed with npm's."""
    (uplink,) = desk.load('[uplinks.npm]\nusername = "ann"\npassword = "x"').uplinks

    assert (uplink.username, uplink.token) == ("ann", None)


@pytest.mark.parametrize("match", ['"*"', '["@acme/*", "*"]'])
def test_only_hosted_names_need_no_registry(desk: Desk, match: str) -> None:
    """Where every name is hosted, no registry is looked for."""
    config = desk.load(f'[[rules]]\nmatch = {match}\nfrom = "hosted"')

    assert (config.uplinks, desk.searches) == ((), 0)


def test_work_on_the_folder_needs_no_registry(desk: Desk) -> None:
    """A command that asks nobody loads without looking for a registry."""
    config = desk.load(None, needs_uplink=False)

    assert (config.uplinks, desk.searches) == ((), 0)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"HOME": "/home/ann"}, "/home/ann/.local/share/packhouse"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, "/data/packhouse"),
        ({"HOME": "/home/ann", "XDG_DATA_HOME": "data"}, "/home/ann/.local/share/packhouse"),
        ({"XDG_DATA_HOME": ""}, str(Path.home() / ".local/share/packhouse")),
    ],
)
def test_data_is_kept_where_the_desktop_says(
    desk: Desk, environ: dict[str, str], folder: str
) -> None:
    """Without a file, data goes to the user's data folder."""
    assert desk.load(None, environ).storage.path == Path(folder)


# --- one source over another ------------------------------------------------------------------


def test_the_environment_counts_more_than_the_file(desk: Desk) -> None:
    """A variable replaces what the file says, and leaves the rest."""
    text = UPLINK + '[cache]\nmax_age = "1m"\nmin_free = "2GiB"'

    config = desk.load(text, {"PACKHOUSE_CACHE_MAX_AGE": "9m"})

    assert config.cache.max_age == timedelta(minutes=9)
    assert config.cache.min_free_bytes == 2 * 2**30


def test_the_command_line_counts_most(desk: Desk) -> None:
    """An option replaces a variable; one that was not given replaces nothing."""
    environ = {"PACKHOUSE_SERVER_LISTEN": "0.0.0.0:1", "PACKHOUSE_SERVER_WORKERS": "2"}

    config = desk.load(UPLINK, environ, server__listen="[::1]:2", server__workers=None)

    assert config.server.listen == Address("::1", 2)
    assert config.server.workers == 2


def test_an_empty_variable_changes_nothing(desk: Desk) -> None:
    """A variable without a value counts as not set, as composed environments have them."""
    config = desk.load(UPLINK + "[server]\nworkers = 3", {"PACKHOUSE_SERVER_WORKERS": " "})

    assert config.server.workers == 3


def test_a_variable_names_the_file(desk: Desk) -> None:
    """PACKHOUSE_CONFIG is the file if the command line names none."""
    desk.file.write_text('log.level = "debug"', encoding="utf-8")

    config = desk.load(None, {"PACKHOUSE_CONFIG": "config.toml"})

    assert config.log.level.value == "debug"


def test_paths_count_from_where_they_are_written(desk: Desk) -> None:
    """A path in the file counts from the file's folder, a typed one from where it was typed."""
    desk.file.write_text(UPLINK + '[storage]\npath = "here"', encoding="utf-8")
    elsewhere = desk.folder / "elsewhere"

    def path(typed: str | None) -> Path:
        config = load(
            file=desk.file,
            environ={},
            find_registry=desk.find,
            overrides={"storage.path": typed},
            cwd=elsewhere,
        )
        return config.storage.path

    assert path(None) == desk.folder / "here"
    assert path("here") == elsewhere / "here"


def test_rules_are_replaced_as_a_whole(desk: Desk) -> None:
    """Rules of the environment leave none of the file's."""
    text = UPLINK + '[[rules]]\nmatch = "a"\nfrom = "hosted"\n[[rules]]\nmatch = "b"\nfrom = "npm"'
    environ = {"PACKHOUSE_RULES": '[{"match": ["@acme/*", "c"], "from": "hosted"}]'}

    rules = desk.load(text, environ).rules

    assert rules == Rules((Rule(("@acme/*", "c"), HOSTED), Rule(("*",), Origin("npm"))))


def test_an_uplink_may_come_from_the_environment(desk: Desk) -> None:
    """Variables alone make an uplink, hyphens and all, and tune one that the file names."""
    environ = {
        "PACKHOUSE_UPLINKS_NPM_MAX_AGE": "1h",
        "PACKHOUSE_UPLINKS_MY_OTHER_URL": "https://other.example",
        "PACKHOUSE_UPLINKS_MY_OTHER_HEADERS": '{"x-team": "web"}',
        "PACKHOUSE_RULES": '[{"match": "@x/*", "from": "my-other"}, {"match": "*", "from": "npm"}]',
    }

    npm, other = desk.load(UPLINK, environ).uplinks

    assert npm.max_age == timedelta(hours=1)
    assert (other.name, other.url) == ("my-other", "https://other.example")
    assert other.headers == {"x-team": "web"}


def test_a_variable_belongs_to_the_uplink_there_is(desk: Desk) -> None:
    """Where an underscore may belong to either, the uplink that exists decides."""
    text = '[uplinks.my_max]\nurl = "https://registry.example"'

    (uplink,) = desk.load(text, {"PACKHOUSE_UPLINKS_MY_MAX_MAX_AGE": "1h"}).uplinks

    assert (uplink.name, uplink.max_age) == ("my_max", timedelta(hours=1))


@pytest.mark.parametrize("name", ["", "corp"])
def test_uplink_names_the_one_there_is(desk: Desk, name: str) -> None:
    """--uplink changes the address of the only uplink, or makes one called npm."""
    text = f'[uplinks.{name}]\nurl = "https://corp.example"' if name else None

    (uplink,) = desk.load(text, uplink="http://127.0.0.1:9/").uplinks

    assert (uplink.name, uplink.url) == (name or "npm", "http://127.0.0.1:9")


def test_a_token_does_not_follow_a_typed_address(desk: Desk) -> None:
    """Where --uplink names another host, the file's credentials stay behind, and this is told."""
    text = UPLINK + 'token = "t0ken"\nheaders = { x-key = "t0ken" }\nretries = 2'

    config = desk.load(text, uplink="https://other.example")

    (uplink,) = config.uplinks
    assert (uplink.token, dict(uplink.headers), uplink.retries) == (None, {}, 2)
    (warning,) = config.warnings
    assert warning.startswith("--uplink: ")
    assert "uplinks.npm.token, uplinks.npm.headers" in warning


def test_a_token_stays_with_its_host(desk: Desk) -> None:
    """Another path on the same host is sent the same token."""
    config = desk.load(UPLINK + 'token = "t0ken"', uplink="https://REGISTRY.example/npm")

    assert (config.uplinks[0].token, config.warnings) == ("t0ken", ())


# --- secrets ----------------------------------------------------------------------------------


def test_a_token_may_stand_in_a_variable(desk: Desk) -> None:
    """token_env names the variable that holds the token."""
    config = desk.load(UPLINK + 'token_env = "THE_TOKEN"', {"THE_TOKEN": "s3cret\n"})

    assert config.uplinks[0].token == "s3cret"


def test_a_token_may_stand_in_a_file(desk: Desk) -> None:
    """token_file names the file that holds the token, from the configuration's folder."""
    (desk.folder / "secret").write_text("s3cret\n", encoding="utf-8")

    config = desk.load(UPLINK + 'token_file = "secret"')

    assert config.uplinks[0].token == "s3cret"


def test_a_password_may_stand_elsewhere_too(desk: Desk) -> None:
    """password_env is to a password what token_env is to a token."""
    text = UPLINK + 'username = "ann"\npassword_env = "WORD"'

    (uplink,) = desk.load(text, {"WORD": "s3cret"}).uplinks

    assert (uplink.username, uplink.password) == ("ann", "s3cret")


def test_the_stronger_way_to_say_a_secret_counts(desk: Desk) -> None:
    """A token in the environment replaces the file's token_file."""
    text = UPLINK + 'token_file = "missing"'

    config = desk.load(text, {"PACKHOUSE_UPLINKS_NPM_TOKEN": "s3cret"})

    assert config.uplinks[0].token == "s3cret"


def test_secrets_are_shown_nowhere(desk: Desk) -> None:
    """Neither a repr nor the summary holds a token, a header's value or a proxy's password."""
    text = UPLINK + (
        'token = "s3cret"\nheaders = { x-key = "s3cret" }\nproxy = "http://a:s3cret@p.example"'
    )

    config = desk.load(text)

    assert "s3cret" not in repr(config)
    assert "s3cret" not in str(describe(config))


def test_a_secret_that_anybody_can_read_is_told(desk: Desk) -> None:
    """A world-readable file with a token in it works, with a warning that says how to close it."""
    desk.load(UPLINK + 'token = "s3cret"')
    desk.file.chmod(0o644)

    (warning,) = load(file=desk.file, environ={}, find_registry=desk.find).warnings

    assert "uplinks.npm.token" in warning
    assert "chmod o-r" in warning


def test_a_world_readable_file_without_secrets_is_fine(desk: Desk) -> None:
    """Only secrets are worth a warning."""
    desk.load(UPLINK)
    desk.file.chmod(0o644)

    assert load(file=desk.file, environ={}, find_registry=desk.find).warnings == ()


# --- the summary ------------------------------------------------------------------------------


def test_the_summary_says_where_a_value_comes_from(desk: Desk) -> None:
    """Every setting is listed as it would be written, with the place it comes from."""
    text = UPLINK + 'token = "t"\n[[rules]]\nmatch = ["a", "b"]\nfrom = "hosted"'

    rows = describe(desk.load(text, {"PACKHOUSE_CACHE_MAX_AGE": "60s"}, server__listen="[::1]:1"))

    assert ("server.listen", "[::1]:1", "--listen") in rows
    assert ("server.public_url", "", "default") in rows
    assert ("cache.max_age", "1m", "PACKHOUSE_CACHE_MAX_AGE") in rows
    assert ("cache.stale_if_error", "forever", "default") in rows
    assert ("uplinks.npm.token", "********", f"{desk.file}:3") in rows
    assert ("rules.0", "a, b from hosted", f"{desk.file}:5") in rows
    assert ("rules.1", "* from npm", "default") in rows


# --- npm pointed at us ------------------------------------------------------------------------


def test_a_machine_whose_npm_asks_us(desk: Desk) -> None:
    """Once npm has been pointed here, the registry it would ask otherwise is the uplink."""
    other = Found("https://registry.example", "the global file")
    desk.found = Found("http://127.0.0.1:4873", "~/.npmrc", instead=lambda: other)

    config = desk.load("")

    assert [uplink.url for uplink in config.uplinks] == ["https://registry.example"]


def test_a_machine_whose_npm_asks_nobody_else(desk: Desk) -> None:
    """If no other place names one, the mistake is told as it is."""
    desk.found = Found("http://localhost:4873", "~/.npmrc")

    (problem,) = desk.problems("")

    assert "where packhouse itself listens" in problem
