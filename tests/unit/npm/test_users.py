"""What users may be called, choose and say."""

from __future__ import annotations

import pytest

from proxy.errors import Unprocessable
from proxy.npm import users


@pytest.mark.parametrize("name", ["a", "0", "ann", "ann-lee", "a.b_c-1", "x" * 214])
def test_names_that_are_fit(name: str) -> None:
    """A name of lower-case letters, digits, dots, dashes and underscores is taken."""
    users.check_new(name)


@pytest.mark.parametrize(
    "name",
    ["", "Ann", "ännchen", "-ann", ".ann", "_ann", "a b", "a/b", "a:b", "@a", "a\n", "x" * 215],
)
def test_names_that_are_not(name: str) -> None:
    """Every other name is refused with what a name has to be."""
    with pytest.raises(Unprocessable, match="a user name is 1 to 214"):
        users.check_new(name)


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "10 characters or more"),
        ("short-one", "10 characters or more"),
        ("x" * 1025, "1024 characters at most"),
        ("Ann-Margret", "the user's own name"),
        ("tergraM-nnA", "the user's own name"),
        ("xxxxxxxxxxxx", "over and over"),
    ],
)
def test_passwords_that_are_not_taken(password: str, why: str) -> None:
    """What is guessed first, or too long to hash, is refused with the reason."""
    with pytest.raises(Unprocessable, match=why):
        users.check_password(password, "ann-margret")


@pytest.mark.parametrize("password", ["correct horse", "päßwörter!!", "ab" * 512])
def test_passwords_that_are_taken(password: str) -> None:
    """Length is what counts, and any character may be in it."""
    users.check_password(password, "ann")


@pytest.mark.parametrize("email", ["ann@example.test", "a+b@c", "ä@ö.example"])
def test_addresses_that_are_fit(email: str) -> None:
    """What has something on both sides of one at-sign may be an address."""
    users.check_email(email)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ann",
        "@",
        "a@",
        "@b",
        "a@b@c",
        "a b@c",
        "<a@b>",
        "a@b\n",
        "a@b,c@d",
        "\u202ea@b",
        "a" * 254 + "@b",
    ],
)
def test_addresses_that_are_not(email: str) -> None:
    """What could break a header, or a line, is no address."""
    with pytest.raises(Unprocessable, match="no e-mail address"):
        users.check_email(email)


@pytest.mark.parametrize("text", ["x" * 256, "two\nlines", "\x1b[31m"])
def test_what_is_not_said(text: str) -> None:
    """A profile holds single lines that a terminal can show."""
    with pytest.raises(Unprocessable, match=r"fullname: .*one line"):
        users.check_said("fullname", text)


def test_what_is_said() -> None:
    """A line of text is taken as it is."""
    users.check_said("fullname", "Änn O'Neill <3")
