"""Users: what a new one may be called, what a password has to be, what they say of themselves.

Those who came from another system may be called otherwise; they are asked for nothing of this.
"""

from __future__ import annotations

import re

from proxy.errors import Unprocessable

PREFIX = "org.couchdb.user:"
"""What stands before a user's name where clients log in."""

SHORTEST_PASSWORD, LONGEST_PASSWORD = 10, 1024
PROFILE = ("fullname", "homepage", "freenode", "twitter", "github")
"""What npm lets people say of themselves, besides their e-mail address."""

_LONGEST_NAME = 214
_LONGEST_TEXT = 255
_NAME = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")
_EMAIL = re.compile(r"[^\s@<>(),:;\"\\\[\]]+@[^\s@<>(),:;\"\\\[\]]+")


def check_new(name: str) -> None:
    """Raise Unprocessable unless a new user may be called so."""
    if _NAME.fullmatch(name) is None:
        raise Unprocessable(
            field="name",
            reason=f"a user name is 1 to {_LONGEST_NAME} of a-z, 0-9, '.', '_' and '-', "
            "and begins with a letter or a digit",
        )


def check_password(password: str, name: str) -> None:
    """Raise Unprocessable unless this may become the password of `name`."""
    if len(password) < SHORTEST_PASSWORD:
        reason = f"a password has {SHORTEST_PASSWORD} characters or more here"
    elif len(password) > LONGEST_PASSWORD:
        reason = f"a password has {LONGEST_PASSWORD} characters at most"
    elif name and password.casefold() in {name.casefold(), name[::-1].casefold()}:
        reason = "a password is not the user's own name"
    elif len(set(password)) == 1:
        reason = "a password is more than one character over and over"
    else:
        return
    raise Unprocessable(field="password", reason=reason)


def check_email(email: str) -> None:
    """Raise Unprocessable unless this could be an e-mail address. Nothing is ever sent to it."""
    is_fit = len(email) < _LONGEST_TEXT and email.isprintable()
    if not is_fit or _EMAIL.fullmatch(email) is None:
        raise Unprocessable(field="email", reason="that is no e-mail address")


def check_said(field: str, text: str) -> None:
    """Raise Unprocessable unless this may stand in a profile."""
    if len(text) > _LONGEST_TEXT or not text.isprintable():
        raise Unprocessable(
            field=field, reason=f"it has to be one line of at most {_LONGEST_TEXT} characters"
        )
