"""The registry npm asks is found where npm looks, with npm's own credentials for it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from proxy.config import npmrc
from proxy.config.npmrc import Found

URL = "https://registry.example"


@dataclass
class Machine:
    """A home, a project and what npm would print, all made up."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    printed: str | None = None
    times_asked: int = 0

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def project(self) -> Path:
        return self.folder / "project"

    def write(self, place: str, text: str) -> Path:
        file = self.folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def run_npm(self) -> str | None:
        self.times_asked += 1
        return self.printed

    def find(self) -> Found | None:
        return npmrc.find_registry(
            environ=self.environ, home=self.home, cwd=self.project, run_npm=self.run_npm
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def url(machine: Machine) -> str | None:
    found = machine.find()
    return found.url if found else None


def test_nothing_is_found_where_nothing_is(machine: Machine) -> None:
    """A machine without npm and without its files has no registry, and none is made up."""
    assert machine.find() is None


@pytest.mark.parametrize("variable", ["npm_config_registry", "NPM_CONFIG_REGISTRY"])
def test_the_environment_counts_most(machine: Machine, variable: str) -> None:
    """A variable, in either case, counts more than any file, and npm itself is not started."""
    machine.environ = {variable: f"{URL}/a/"}
    machine.write("project/.npmrc", f"registry={URL}/b/")
    machine.write("home/.npmrc", f"registry={URL}/c/")

    assert machine.find() == Found(f"{URL}/a", "the environment")
    assert machine.times_asked == 0


def test_the_project_counts_more_than_the_user(machine: Machine) -> None:
    """The project's file comes before the user's."""
    file = machine.write("project/.npmrc", f"registry = {URL}/b/\n")
    machine.write("home/.npmrc", f"registry={URL}/c/")

    assert machine.find() == Found(f"{URL}/b", str(file))


def test_the_user_s_file_may_be_elsewhere(machine: Machine) -> None:
    """NPM_CONFIG_USERCONFIG names the user's file in place of the one at home."""
    file = machine.write("elsewhere/rc", f"registry={URL}/d/")
    machine.write("home/.npmrc", f"registry={URL}/c/")
    machine.environ = {"NPM_CONFIG_USERCONFIG": str(file)}

    assert url(machine) == f"{URL}/d"


@pytest.mark.parametrize("setting", ["globalconfig={0}/global/etc/npmrc", "prefix={0}/global"])
def test_the_global_file_comes_last(machine: Machine, setting: str) -> None:
    """The global file is found by its own setting, or below npm's prefix."""
    machine.write("global/etc/npmrc", f"registry={URL}/g/")
    machine.write("home/.npmrc", setting.format(machine.folder))

    assert url(machine) == f"{URL}/g"


def test_the_global_file_stands_beside_node(machine: Machine) -> None:
    """Without a setting, the global file is that of the node on the path."""
    node = machine.write("node/bin/node", "#!/bin/sh\n")
    node.chmod(0o755)
    machine.write("node/etc/npmrc", f"registry={URL}/n/")
    machine.environ = {"PATH": str(node.parent)}

    assert url(machine) == f"{URL}/n"


def test_npm_is_asked_last(machine: Machine) -> None:
    """What npm prints counts if no file names a registry."""
    machine.write("home/.npmrc", "fund=false")
    machine.printed = f"{URL}/\n"

    assert machine.find() == Found(URL, "npm config get registry")


@pytest.mark.parametrize(
    "printed", ["undefined", "npm ERR! code E404", "ftp://registry.example", ""]
)
def test_what_npm_prints_has_to_be_an_address(machine: Machine, printed: str) -> None:
    """Anything but an http or https address is not a registry."""
    machine.printed = printed

    assert machine.find() is None


def test_an_unusable_address_is_passed_over(machine: Machine) -> None:
    """A registry that is no address leaves the next place to say."""
    machine.environ = {"npm_config_registry": "${UNSET}"}
    machine.write("home/.npmrc", f"registry={URL}")

    assert url(machine) == URL


def test_an_empty_variable_says_nothing(machine: Machine) -> None:
    """Empty variables are passed over, as npm does."""
    machine.environ = {"npm_config_registry": "", "npm_config_": "x"}
    machine.write("home/.npmrc", f"registry={URL}")

    assert url(machine) == URL


def test_a_file_that_cannot_be_read_says_nothing(machine: Machine) -> None:
    """A damaged file is passed over."""
    machine.write("project/.npmrc", "").write_bytes(b"registry=\xff\xfe")
    machine.write("home/.npmrc", f"registry={URL}")

    assert url(machine) == URL


def test_home_may_be_the_project(machine: Machine) -> None:
    """In the home folder, the user's file is read once, as the user's."""
    file = machine.write("project/.npmrc", f"registry={URL}")
    machine.environ = {"npm_config_userconfig": str(file)}

    assert machine.find() == Found(URL, str(file))


# --- credentials ------------------------------------------------------------------------------


def base64_of(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_token_comes_from_any_of_the_places(machine: Machine) -> None:
    """The registry of one place is signed in to with the token of another."""
    machine.environ = {"npm_config_registry": URL, "THE_TOKEN": "s3cret"}
    machine.write("home/.npmrc", "//registry.example/:_authToken=${THE_TOKEN}\ncafile=/ca.pem")

    assert machine.find() == Found(URL, "the environment", token="s3cret", ca_file="/ca.pem")


def test_a_token_may_stand_in_the_environment(machine: Machine) -> None:
    """A variable may be named after the registry's address, whose case then stays."""
    machine.environ = {
        "npm_config_registry": URL,
        "npm_config_//registry.example/:_authToken": "s3cret",
    }

    assert machine.find() == Found(URL, "the environment", token="s3cret")


@pytest.mark.parametrize(
    "line",
    [
        f"//registry.example/npm/:_auth={base64_of('ann:pa:ss')}",
        f"//registry.example/npm/:username=ann\n//registry.example/npm/:_password={base64_of('pa:ss')}",
    ],
)
def test_a_user_and_a_password_are_decoded(machine: Machine, line: str) -> None:
    """Both ways in which npm writes a user and a password are understood."""
    machine.write("home/.npmrc", f"registry={URL}/npm/\n{line}")

    found = machine.find()

    assert found is not None
    assert (found.username, found.password, found.token) == ("ann", "pa:ss", None)


@pytest.mark.parametrize(
    "address", ["//registry.example/a/b", "//registry.example/a/", "//registry.example"]
)
def test_credentials_may_stand_further_up(machine: Machine, address: str) -> None:
    """A token for the registry's host, or for a part of its path, is its token."""
    machine.write("home/.npmrc", f"registry={URL}/a/b/\n{address}:_authToken=t")

    found = machine.find()

    assert found is not None
    assert found.token == "t"


@pytest.mark.parametrize(
    "key",
    [
        "_authToken",
        "//other.example/:_authToken",
        "//registry.example:8443/:_authToken",
        "//registry.example/npm-other/:_authToken",
    ],
)
def test_credentials_of_others_are_left_alone(machine: Machine, key: str) -> None:
    """A token for another host, port or path is never sent."""
    machine.write("home/.npmrc", f"registry={URL}/npm/\n{key}=s3cret")

    found = machine.find()

    assert found is not None
    assert found.token is None


def test_a_damaged_password_is_none(machine: Machine) -> None:
    """What is not base64 is no password."""
    machine.write("home/.npmrc", f"registry={URL}\n//registry.example/:_auth=%%%")

    assert machine.find() == Found(URL, str(machine.home / ".npmrc"))


def test_secrets_are_not_shown() -> None:
    """What was found prints without its token and its password."""
    assert "s3cret" not in repr(Found(URL, "here", token="s3cret", password="s3cret"))


# --- the file's form --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": "1"}),
        ("  a = 1  ", {"a": "1"}),
        ("a=b=c", {"a": "b=c"}),
        ("a", {"a": "true"}),
        ("; a=1\n# b=2\n\nc=3", {"c": "3"}),
        ("a=1 ; said # so", {"a": "1"}),
        (r"a=1\;2\#3", {"a": "1;2#3"}),
        ('a="1 ; 2"', {"a": "1 ; 2"}),
        ("a='1 # 2'", {"a": "1 # 2"}),
        ("a=1\n[section]\nb=2", {"a": "1"}),
        ("\ufeffa=1".lstrip("\ufeff"), {"a": "1"}),
        ("a=1\r\nb=2\r\n", {"a": "1", "b": "2"}),
        ("a=${SET}/x", {"a": "value/x"}),
        ("${SET}=1", {"value": "1"}),
        ("a=${UNSET}", {"a": "${UNSET}"}),
        ("a=${UNSET?}x", {"a": "x"}),
        ("a=${SET?}", {"a": "value"}),
        ("a='\\${SET}'", {"a": "${SET}"}),
        ("a='\\\\${SET}'", {"a": "\\value"}),
    ],
)
def test_a_file_is_read_as_npm_reads_it(text: str, expected: dict[str, str]) -> None:
    """Comments, quotes, sections and variables mean what they mean to npm."""
    assert npmrc.parse(text, {"SET": "value"}) == expected


def test_what_npm_would_ask_instead(machine: Machine) -> None:
    """Below each place is the next one, and npm itself at the end."""
    machine.environ = {"npm_config_registry": f"{URL}/a/"}
    machine.write("home/.npmrc", f"registry={URL}/b/")
    machine.printed = f"{URL}/c/"

    first = machine.find()
    second = first.instead() if first else None
    third = second.instead() if second else None

    assert [found and found.url for found in (first, second, third)] == [
        f"{URL}/a",
        f"{URL}/b",
        f"{URL}/c",
    ]
    assert third is not None and third.instead() is None


# --- npm itself -------------------------------------------------------------------------------


def npm_that(folder: Path, *lines: str) -> dict[str, str]:
    """An environment in which `npm` is this script."""
    script = folder / "npm"
    script.write_text("\n".join(["#!/bin/sh", *lines]), encoding="utf-8")
    script.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    ("line", "printed"),
    [
        ('echo "https://registry.example/ $*"', "https://registry.example/ config get registry"),
        ("echo https://registry.example/; exit 1", None),
        ("printf '\\377'", None),
    ],
)
def test_npm_is_run(tmp_path: Path, line: str, printed: str | None) -> None:
    """What npm prints is taken if it ends well and is text."""
    assert npmrc.run_npm(npm_that(tmp_path, line)) == printed


def test_npm_that_hangs_is_given_up(tmp_path: Path) -> None:
    """A start does not wait for ever for npm."""
    environ = npm_that(tmp_path, "exec sleep 60")

    assert npmrc.run_npm(environ, timeout_seconds=0.1) is None


def test_no_npm_is_no_error(tmp_path: Path) -> None:
    """On a machine without npm nothing is asked."""
    assert npmrc.run_npm({"PATH": str(tmp_path)}) is None


def test_npm_is_asked_what_it_would_do_without_the_user(tmp_path: Path) -> None:
    """The variable and the user's file, which may point at us, are kept from npm."""
    environ = npm_that(
        tmp_path,
        'echo "https://registry.example/${npm_config_registry:-none}$npm_config_userconfig"',
    )
    environ |= {"npm_config_registry": "http://127.0.0.1:4873", "npm_config_userconfig": "/mine"}

    assert npmrc.run_npm(environ) == "https://registry.example/none/dev/null"
