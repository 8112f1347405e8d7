"""Bodies that ask for a token, as npm 6 to 12 send them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from proxy.errors import InvalidRequest
from proxy.npm import token_requests
from proxy.npm.token_requests import TokenRequest

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
BOTH = {"packages": ["a"], "scopes": ["@b"]}


def read(**body: object) -> TokenRequest:
    return token_requests.read(body, NOON)


def test_the_old_body() -> None:
    """Up to npm 10 a client says whether a token is for reading, and from where it may be used."""
    assert read(password="p", readonly=False, cidr_whitelist=["10.0.0.0/8"]) == TokenRequest(
        password="p", cidrs=("10.0.0.0/8",)
    )
    assert read(password="p", readonly=True, cidr_whitelist=[]).is_readonly


def test_the_new_body() -> None:
    """From npm 11 on a client says what a token may do, to what, and for how many days."""
    asked = read(
        name="ci",
        password="p",
        description="builds",
        packages=["a"],
        scopes=["@b"],
        packages_and_scopes_permission="read-write",
        orgs_permission="no-access",
        expires=30,
        bypass_2fa=True,
        cidr_whitelist=["10.0.0.0/8"],
    )
    assert asked == TokenRequest(
        password="p",
        name="ci",
        description="builds",
        is_otp_exempt=True,
        packages=("a",),
        scopes=("@b",),
        cidrs=("10.0.0.0/8",),
        expires_at=NOON + timedelta(days=30),
    )


@pytest.mark.parametrize(
    ("body", "is_readonly"),
    [
        ({}, True),
        (BOTH, True),
        ({"packages_all": True}, True),
        ({"packages_and_scopes_permission": "read-only", **BOTH}, True),
        ({"packages_and_scopes_permission": "read-write", **BOTH}, False),
        ({"packages_and_scopes_permission": "read-write", "packages_all": True}, False),
        ({"token_type": "granular"}, True),
        ({"token_type": "readonly"}, True),
        ({"token_type": "read-only"}, True),
        ({"token_type": "publish"}, False),
        ({"token_type": "automation"}, False),
        ({"readonly": False, "automation": True}, False),
        # what contradicts itself gives the less
        ({"readonly": True, "packages_and_scopes_permission": "read-write", **BOTH}, True),
        ({"readonly": False, "packages_and_scopes_permission": "read-only"}, True),
        ({"readonly": False, "token_type": "readonly"}, True),
    ],
)
def test_who_may_write(body: dict[str, object], is_readonly: bool) -> None:
    """A token writes only if that is said, and nothing that is said speaks against it."""
    assert read(**body).is_readonly is is_readonly


@pytest.mark.parametrize(
    "body", [{"bypass_2fa": True}, {"automation": True}, {"token_type": "automation"}]
)
def test_who_needs_no_second_factor(body: dict[str, object]) -> None:
    """A token for machines, however it is called, is one without a second factor."""
    assert read(**body).is_otp_exempt
    assert not read(readonly=False).is_otp_exempt


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"orgs": ["acme"]}, "not to organisations"),
        ({"orgs_permission": "read-write"}, "not offered"),
        ({"packages_and_scopes_permission": "no-access"}, "possible: read-only, read-write"),
        ({"packages_and_scopes_permission": "read-write-stage-only"}, "not offered"),
        ({"packages_and_scopes_permission": "read-write"}, "say what the token may write to"),
        ({"packages_all": True, **BOTH}, "contradicts"),
        ({"token_type": "magic"}, "there is no 'magic'"),
        ({"webhooks": True}, "know nothing of 'webhooks'"),
        ({"expires": 0}, "whole number of days"),
        ({"expires": 3651}, "whole number of days"),
        ({"expires": True}, "whole number of days"),
        ({"expires": "30"}, "whole number of days"),
        ({"expires": 1.5}, "whole number of days"),
        ({"password": 1}, "password: a text"),
        ({"readonly": "yes"}, "readonly: true or false"),
        ({"packages": "a"}, "packages: a list"),
        ({"packages": {"a": 1}}, "packages: a list"),
        ({"scopes": [1]}, "scopes: a list"),
    ],
)
def test_what_cannot_be_honoured(body: dict[str, object], why: str) -> None:
    """A restriction that we could not hold a token to is refused, and never passed over."""
    with pytest.raises(InvalidRequest, match=why):
        read(**body)


def test_nothing_is_nothing() -> None:
    """A null is as good as a key that is not there."""
    keys = ("password", "readonly", "cidr_whitelist", "expires", "packages", "orgs", "other")
    assert read(**dict.fromkeys(keys)) == TokenRequest(password=None, is_readonly=True)
