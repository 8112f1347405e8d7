"""Codes that a web page gives out once the second factor was right there: each good for one write.

A client sends one as its `npm-otp`, in the place of what an authenticator shows. Only its hash is
kept, as a web login that has been granted and waits to be taken; whoever takes it has used it.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from proxy.storage.identity import LoginSession, People, SessionState

AGE = timedelta(minutes=5)
_PREFIX = "phc_"
_RANDOM_BYTES = 24


def is_one(code: str) -> bool:
    """Whether this is meant to be such a code, and no number of an authenticator's."""
    return code.startswith(_PREFIX)


async def issue(people: People, user: str, at: datetime) -> str:
    """A new code, good for one write by `user` until five minutes after `at`."""
    code = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    await people.add_session(
        LoginSession(_hash(code), at + AGE, state=SessionState.GRANTED, user=user)
    )
    return code


async def spend(people: People, user: str, code: str, at: datetime) -> bool:
    """Use a code, once: False if it is none, not of `user`, too old, or was used before."""
    taken = await people.take_session(_hash(code), at)
    return taken is not None and taken.user == user


def _hash(code: str) -> str:
    # What it is stands in front, so that the id of a web login is never a code nor the reverse.
    return hashlib.sha256(b"confirmation " + code.encode("utf-8", "surrogatepass")).hexdigest()
