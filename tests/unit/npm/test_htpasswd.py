"""Files of users and hashes: what is taken, and why the rest is not."""

from __future__ import annotations

import pytest

from proxy.npm.htpasswd import Entry, Refused, parse

BCRYPT = "$2y$10$" + "a" * 53


@pytest.mark.parametrize("sign", ["$2a$", "$2b$", "$2y$"])
def test_bcrypt_is_taken_as_it_is(sign: str) -> None:
    """A bcrypt hash of either prefix comes out as it went in."""
    line = f"ann:{sign}05${'Z' * 53}"

    assert list(parse(line)) == [Entry(1, "ann", line.removeprefix("ann:"))]


def test_what_is_no_line_is_passed_over() -> None:
    """Empty lines, comments, a byte order mark, other line ends and remarks do no harm."""
    text = f"\ufeff# users\r\n\r\nann:{BCRYPT}\r\nBob:{BCRYPT}:autocreated 2020-01-01\n  \n"

    assert list(parse(text)) == [Entry(3, "ann", BCRYPT), Entry(4, "Bob", BCRYPT)]


@pytest.mark.parametrize(
    ("password_hash", "kind"),
    [
        ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "a SHA-1 without a salt"),
        ("{SSHA}VjYFbQ8zXsqSHKQ0k3MPdmzqfEpJrUjK", "a SHA-1"),
        ("$apr1$oG3dTqT1$Z3Zzk7v8VqYw0Y3nLr9bT/", "an MD5 (apr1)"),
        ("$1$abcdefgh$ZHSbxv9NQ1p1bYcR5kZ8b.", "an MD5"),
        ("$5$salt$hash", "a SHA-256 (crypt)"),
        ("$6$salt$hash", "a SHA-512 (crypt)"),
        ("rqXexS6ZhobKA", "a DES hash (crypt)"),
        ("secret", "no hash that is known here"),
        ("$2y$10$tooshort", "no hash that is known here"),
        ("$argon2id$v=19$m=1,t=1,p=1$YWFhYWFhYWE$YQ", "no hash that is known here"),
    ],
)
def test_weak_hashes_are_refused(password_hash: str, kind: str) -> None:
    """Every other kind is told by its name, with what to do, and without the hash."""
    (refused,) = parse(f"ann:{password_hash}")

    assert isinstance(refused, Refused)
    assert refused.reason.startswith(f"ann: {kind} instead of bcrypt; give them a new password")
    assert password_hash not in refused.reason


@pytest.mark.parametrize("cost", ["03", "16", "31"])
def test_a_cost_that_would_hold_a_login_is_refused(cost: str) -> None:
    """A hash that takes seconds or days to check is no way to log in."""
    (refused,) = parse(f"ann:$2y${cost}${'a' * 53}")

    assert refused == Refused(1, f"ann: a bcrypt cost of {cost} would take too long to check")


@pytest.mark.parametrize(
    "line", ["hunter2hunter2", f":{BCRYPT}", "ann:", f"@acme:{BCRYPT}", f"a b:{BCRYPT}"]
)
def test_a_line_without_a_name_and_a_hash_is_not_repeated(line: str) -> None:
    """What is no line of such a file may be somebody's password: the reason holds none of it."""
    (refused,) = parse(line)

    assert refused == Refused(1, "this is no name and hash, or no rule could name the user")


def test_of_two_lines_of_a_name_the_first_counts() -> None:
    """As Apache reads it; the second is told."""
    text = f"ann:{BCRYPT}\nann:$2y$11${'b' * 53}"

    assert list(parse(text)) == [Entry(1, "ann", BCRYPT), Refused(2, "ann stands above already")]
