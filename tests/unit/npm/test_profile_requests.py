"""Bodies that change a profile, as `npm profile` sends them."""

from __future__ import annotations

import pytest

from proxy.errors import InvalidRequest
from proxy.npm import profile_requests
from proxy.npm.profile_requests import FactorChange, FactorCode, ProfileChange


def read(**body: object) -> ProfileChange | FactorChange | FactorCode:
    return profile_requests.read(body)


def test_npm_sends_back_what_it_has_read() -> None:
    """What nobody can change is passed over, and an empty text takes away what was said."""
    change = read(
        name="ann",
        email="ann@example.test",
        email_verified=False,
        tfa=False,
        created="then",
        updated="now",
        cidr_whitelist=None,
        fullname="Ann",
        github="",
        homepage=None,
    )
    said = {"email": "ann@example.test", "fullname": "Ann", "github": None, "homepage": None}
    assert change == ProfileChange(said)


def test_a_password_and_what_is_said_with_it() -> None:
    """Another password comes with the old one."""
    change = read(email=None, password={"old": "a", "new": "b"})
    assert change == ProfileChange({"email": None}, ("a", "b"))


@pytest.mark.parametrize("mode", ["auth-only", "auth-and-writes", "disable"])
def test_a_second_factor(mode: str) -> None:
    """A mode of the second factor comes with the password."""
    assert read(tfa={"password": "p", "mode": mode}) == FactorChange("p", mode)


def test_a_code() -> None:
    """A list of one code confirms; people type spaces into it."""
    assert read(tfa=["123 456"]) == FactorCode("123456")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"shoe_size": "44"}, "no 'shoe_size' in a profile"),
        ({"fullname": 1}, "fullname: a text"),
        ({"fullname": "x" * 256}, "fullname: it has to be one line"),
        ({"email": "nobody"}, "no e-mail address"),
        ({"password": "new"}, "old, new"),
        ({"password": {"new": "x"}}, "old, new"),
        ({"password": {"old": 1, "new": "x"}}, "old, new"),
        ({"tfa": "on"}, "password, mode"),
        ({"tfa": {"mode": "auth-only"}}, "send it along"),
        ({"tfa": {"password": "", "mode": "auth-only"}}, "send it along"),
        ({"tfa": {"password": "p", "mode": "sms"}}, "the mode is one of"),
        ({"tfa": {"password": "p"}}, "the mode is one of"),
        ({"tfa": ["1", "2"]}, "a list of one code"),
        ({"tfa": [1]}, "a list of one code"),
        ({"tfa": ["1"], "fullname": "Ann"}, "by itself"),
    ],
)
def test_what_is_not_understood(body: dict[str, object], why: str) -> None:
    """Everything else is refused in words."""
    with pytest.raises(InvalidRequest, match=why):
        read(**body)
