"""Sources are laid over one another, and every mistake is told at once with its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.config import Config, Found, describe, load, problems
from proxy.config.values import Address
from proxy.errors import ConfigError
from proxy.npm.policy import HOSTED, Origin, Rule, Rules

NPM = Found("https://registry.example", "the test", token="t0ken")
UPLINK = '[uplinks.npm]\nurl = "https://registry.example"\n'


class Desk:
    """A folder with a configuration file, an environment, and what was typed."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.folder = folder
        self.searches = 0
        self.found: Found | None = NPM

    def find(self) -> Found | None:
        self.searches += 1
        return self.found

    def load(
        self,
        text: str | None = UPLINK,
        environ: Mapping[str, str] | None = None,
        needs_uplink: bool = True,
        **typed: object,
    ) -> Config:
        if text is not None:
            self.file.write_text(text, encoding="utf-8")
            self.file.chmod(0o600)
        return load(
            file=None if text is None else self.file,
            environ=environ or {"HOME": "/home/ann"},
            find_registry=self.find,
            overrides={name.replace("__", "."): value for name, value in typed.items()},
            cwd=self.folder,
            needs_uplink=needs_uplink,
        )

    def problems(self, *args: object, **kwargs: object) -> list[str]:
        """What `load` says, the file's folder cut off."""
        with pytest.raises(ConfigError) as caught:
            self.load(*args, **kwargs)  # type: ignore[arg-type]
        return [each.replace(f"{self.folder}/", "") for each in caught.value.problems]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


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


# --- mistakes ---------------------------------------------------------------------------------

MISTAKES = [
    ("[cache]\nmax_sise = 1", ":2: cache.max_sise is not a setting; did you mean cache.max_size?"),
    (
        "[server]\nmax_size = 1",
        ":2: server.max_size is not a setting; did you mean cache.max_size?",
    ),
    ('listen = "x"', ":1: listen is not a setting; did you mean server.listen?"),
    ("[sever]\nlisten = 1", ":1: sever is not a setting; did you mean server?"),
    ("[zzz]\na = 1", ":1: zzz is not a setting"),
    ("server = 1", ":1: server is not a table; write [server] and its settings below"),
    ('[cache]\n\nmax_age = "5x"', ':3: cache.max_age: "5x" is not a length of time'),
    ("[log]\nlevel = 3", ":2: log.level: 3 is not possible; write one of debug"),
    ('[uplinks]\nurl = "x"', ":2: uplinks.url belongs to no uplink; write [uplinks.NAME]"),
    ("uplinks = 3", ":1: uplinks is not a table"),
    ('[uplinks.NPM]\nurl = "x"', ":1: uplinks.NPM is not a name for an uplink"),
    ('[uplinks.hosted]\nurl = "x"', ":1: uplinks.hosted cannot be the name of an uplink"),
    ('[uplinks.a]\nurl = ""\nretries = 1', ":3: uplinks.a has no url"),
    ('[uplinks.a]\nurll = "x"', ":2: uplinks.a.urll is not a setting; did you mean uplinks.a.url?"),
    (UPLINK + 'token_env = "NO"', ":3: uplinks.npm.token_env: the environment variable NO is not"),
    (UPLINK + 'token_file = "no"', "token_file: {0}/no cannot be read: No such file"),
    (UPLINK + 'token_file = "config.toml"', "cannot be read: it is not one line of text"),
    (UPLINK + 'token = "a"\ntoken_env = "B"', "token and token_env are two ways to say one"),
    (UPLINK + 'token = "a"\nusername = "b"\npassword = "c"', "a token and a user cannot both"),
    (UPLINK + 'username = "b"', ":3: uplinks.npm.username: a username and a password are only"),
    (UPLINK + 'password = "b"', ":3: uplinks.npm.password: a username and a password are only"),
    (UPLINK + 'ca_file = "no.pem"', ":3: uplinks.npm.ca_file: there is no file {0}/no.pem"),
    (UPLINK + 'client_key = "config.toml"', "client_key: a key is of no use without a client_cert"),
    (
        '[uplinks.npm]\nurl = "http://localhost:4873"',
        ":2: uplinks.npm.url: http://localhost:4873 is",
    ),
    ("rules = 3", ":1: rules is not a list of tables; write [[rules]]"),
    ("[[rules]]", ":1: rules.0 is empty; say match and from"),
    ('[[rules]]\nmatch = "a"', ":2: rules.0: says no from: an uplink's name"),
    ('[[rules]]\nfrom = "npm"', ":2: rules.0: says no match: a pattern or a list"),
    ('[[rules]]\nmatch = 1\nfrom = "npm"', ":2: rules.0.match: is not a pattern; write"),
    ('[[rules]]\nmatch = ["a", 1]\nfrom = "npm"', ":2: rules.0.match: is not a pattern; write"),
    ('[[rules]]\nmatch = "a"\nfrom = 1', ":3: rules.0.from: is not an uplink's name"),
    (
        '[[rules]]\nmatch = "a"\nfrom = "npn"',
        ':3: rules.0.from: there is no uplink called "npn"; did',
    ),
    (
        '[[rules]]\nmacth = "a"\nfrom = "npm"',
        ":2: rules.0.macth is not a setting; did you mean rules.0",
    ),
    ('[[rules]]\nmatch = ""\nfrom = "npm"', ':2: rules.0.match: "" matches no package'),
    (
        "\na = 01",
        ":2: is not TOML: Expected newline or end of document after a statement (column 6)",
    ),
    ("\na = ", ":2: is not TOML: Invalid value (at end of document)"),
    ("[a]\nb = 1\nb = 2", ":3: is not TOML: Cannot overwrite a value"),
    ("[a", ": is not TOML: Expected"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place(desk: Desk, text: str, said: str) -> None:
    """Each mistake in the file is told with its line and, where there is one, the nearest name."""
    found = desk.problems(text)

    wanted = said.format(desk.folder).replace(f"{desk.folder}/", "")
    assert any(each.startswith("config.toml") and wanted in each for each in found), found


VARIABLES = [
    ("PACKHOUSE_LISTEN", "x", "is not a setting; did you mean PACKHOUSE_SERVER_LISTEN?"),
    ("PACKHOUSE_CACHE_MAXAGE", "x", "is not a setting; did you mean PACKHOUSE_CACHE_MAX_AGE?"),
    ("PACKHOUSE_UPLINKS_NPM_URI", "x", "did you mean PACKHOUSE_UPLINKS_NPM_URL?"),
    ("PACKHOUSE_CACHE_MAX_AGE", "soon", '"soon" is not a length of time'),
    ("PACKHOUSE_SERVER_OFFLINE", "perhaps", '"perhaps" is neither true nor false'),
    ("PACKHOUSE_UPLINKS_NPM_HEADERS", "x", "this is not JSON"),
    ("PACKHOUSE_RULES", "[", "this is not JSON"),
    ("PACKHOUSE_RULES", "{}", "write a JSON array of rules"),
    ("PACKHOUSE_RULES", "[{}]", "rules.0 is empty"),
    ("PACKHOUSE_RULES", '[{"match": "a", "form": "npm"}]', "did you mean rules.0.from?"),
    (
        "PACKHOUSE_RULES",
        '[{"match": "@a", "from": "npm"}]',
        'rules.0.match: "@a" matches no package',
    ),
]


@pytest.mark.parametrize(("variable", "text", "said"), VARIABLES)
def test_a_mistake_in_a_variable_is_told(desk: Desk, variable: str, text: str, said: str) -> None:
    """Each mistake in the environment is told with the variable's name."""
    found = desk.problems(UPLINK, {variable: text})

    assert any(each.startswith(f"{variable}: ") and said in each for each in found), found


@pytest.mark.parametrize(
    "variable",
    [
        "PACKHOUSE_SERVICE_HOST",
        "PACKHOUSE_SERVICE_PORT",
        "PACKHOUSE_SERVICE_PORT_HTTP",
        "PACKHOUSE_PORT",
        "PACKHOUSE_PORT_4873_TCP_ADDR",
    ],
)
def test_variables_of_the_platform_are_left_alone(desk: Desk, variable: str) -> None:
    """What Kubernetes sets for a service called packhouse is no mistake."""
    assert desk.load(UPLINK, {variable: "tcp://10.0.0.1:4873"}).uplinks


def test_a_mistake_on_the_command_line_is_told(desk: Desk) -> None:
    """An option is named as it was typed."""
    listen, workers = desk.problems(UPLINK, server__listen="here", server__workers=0)

    assert listen.startswith('--listen: "here" is not an address to listen on; write "127.0.0.1:')
    assert workers == "--workers: 0 is not a whole number from 1 to 256"


def test_uplink_is_ambiguous_with_several(desk: Desk) -> None:
    """--uplink cannot mean one of two, and the message names the variables that can."""
    text = UPLINK + '[uplinks.b]\nurl = "https://b.example"\n[[rules]]\nmatch = "*"\nfrom = "b"'

    (problem,) = desk.problems(text, uplink="https://c.example")

    assert problem.endswith("set PACKHOUSE_UPLINKS_B_URL or PACKHOUSE_UPLINKS_NPM_URL")


def test_all_mistakes_are_told_at_once(desk: Desk) -> None:
    """File, environment and options are all read before anything is said, in that order."""
    text = UPLINK + '[cache]\nmax_age = "x"\nmax_sise = 1\n[[rules]]\nmatch = "*"\nfrom = "nmp"'

    found = desk.problems(text, {"PACKHOUSE_LISTEN": "x"}, server__listen="x")

    assert [each.partition(": ")[0] for each in found] == [
        "config.toml:4",
        "config.toml:5",
        "config.toml:8",
        "PACKHOUSE_LISTEN",
        "--listen",
    ]


def test_no_rule_for_the_rest_is_told_beside_the_rules(desk: Desk) -> None:
    """With two uplinks the rest needs a rule; without any rule the file itself is named."""
    text = UPLINK + '[uplinks.b]\nurl = "https://b.example"\n'

    assert desk.problems(text)[0].startswith("config.toml: no rule says where all other names live")
    assert desk.problems(text + '[[rules]]\nmatch = "a"\nfrom = "b"')[0].startswith(
        "config.toml:6:"
    )


def test_a_missing_file_is_told(desk: Desk) -> None:
    """A file that is not there is an error, never an empty configuration."""
    found = problems(file=desk.file, environ={}, find_registry=desk.find)

    assert found == [f"{desk.file}: cannot be read: No such file or directory"]


def test_a_file_in_another_encoding_is_told(desk: Desk) -> None:
    """A file has to be UTF-8; the message says which byte is not."""
    desk.file.write_bytes(b"# caf\xe9\n")

    (problem,) = problems(file=desk.file, environ={}, find_registry=desk.find)

    assert "is not UTF-8 (byte 5)" in problem


def test_a_byte_order_mark_is_no_mistake(desk: Desk) -> None:
    """Editors on Windows put a mark in front of the text."""
    desk.file.write_bytes(b"\xef\xbb\xbf" + UPLINK.encode())

    assert problems(file=desk.file, environ={}, find_registry=desk.find) == []


def test_the_error_prints_a_line_for_each_problem(desk: Desk) -> None:
    """The error's text is what a person reads, its facts what a program does."""
    with pytest.raises(ConfigError) as caught:
        desk.load("[log]\na = 1\nb = 2")

    assert str(caught.value).splitlines() == caught.value.facts["problems"]
    assert len(caught.value.problems) == 2


# --- settings side by side --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:4873", "http://127.0.0.1:4873/"),
        ("127.0.0.1:4873", "http://localhost:4873"),
        ("localhost:4873", "http://[::1]:4873/npm"),
        ("0.0.0.0:4873", "http://127.0.0.1:4873"),
        ("[::]:4873", "http://localhost:4873"),
        ("10.0.0.7:4873", "http://10.0.0.7:4873"),
        ("10.0.0.7:443", "https://10.0.0.7"),
        ("127.0.0.1:1", "https://npm.acme.example/registry"),
    ],
)
def test_asking_ourselves_is_refused(desk: Desk, listen: str, url: str) -> None:
    """An uplink that is our own address, however it is written, would be a loop."""
    text = (
        f'[uplinks.npm]\nurl = "{url}"\n[server]\npublic_url = "https://npm.acme.example/registry"'
    )

    (problem,) = desk.problems(text, server__listen=listen)

    assert "where packhouse itself listens" in problem


def test_npm_may_not_be_configured_for_us(desk: Desk) -> None:
    """Where npm on this machine already asks us, its registry cannot be ours."""
    desk.found = Found("http://localhost:4873", "/home/ann/.npmrc")

    (problem,) = desk.problems(None)

    assert "/home/ann/.npmrc" in problem
    assert "give the address of another registry" in problem


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("127.0.0.1:4874", "http://127.0.0.1:4873"),
        ("127.0.0.1:4873", "http://10.0.0.7:4873"),
        ("127.0.0.1:0", "http://127.0.0.1"),
        ("0.0.0.0:4873", "https://registry.example:4873"),
    ],
)
def test_asking_others_is_fine(desk: Desk, listen: str, url: str) -> None:
    """Another port or another host is another registry."""
    assert desk.load(f'[uplinks.npm]\nurl = "{url}"', server__listen=listen).uplinks


WARNINGS = [
    ('timeout = "60s"', "uplinks.npm.timeout: is longer than the deadline"),
    ('connect_timeout = "60s"', "uplinks.npm.connect_timeout: is longer than the deadline"),
    ('token = "t"\nurl = "http://registry.example"', "credentials are sent unencrypted"),
    ('url = "https://x.example"\n[[rules]]\nmatch = "*"\nfrom = "hosted"', "never asked"),
]


@pytest.mark.parametrize(("text", "said"), WARNINGS)
def test_what_is_unwise_is_told(desk: Desk, text: str, said: str) -> None:
    """What works and is unwise is a warning with its place, not an error."""
    url = "" if "url =" in text else 'url = "https://registry.example"\n'

    (warning,) = desk.load(f"[uplinks.npm]\n{url}{text}").warnings

    assert warning.startswith(f"{desk.file}:")
    assert said in warning


def test_credentials_on_loopback_may_be_plain(desk: Desk) -> None:
    """No warning about a registry on this very machine."""
    text = '[uplinks.npm]\nurl = "http://127.0.0.1:9999"\ntoken = "t"'

    assert desk.load(text).warnings == ()


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
