"""Every mistake in a configuration is told at once, with its place and the nearest valid name."""

from __future__ import annotations

import pytest

from proxy.config import Found, problems
from proxy.errors import ConfigError
from tests.fakes.desk import UPLINK, Desk

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
