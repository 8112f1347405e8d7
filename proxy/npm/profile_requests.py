"""What a client asks for when it writes to a profile: the bodies of `npm profile`.

    {fullname?, homepage?, email?, ...}        what somebody says of themselves; null takes it away
    {password: {old, new}}                     another password
    {tfa: {password, mode}}                    a second factor: "auth-only", "auth-and-writes", or
                                               "disable"
    {tfa: ["123456"]}                          the first code of it, which confirms it

npm sends back what it has read, and changes one field of it: what nobody can change is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.errors import InvalidRequest
from proxy.npm import users

DISABLE = "disable"
MODES = ("auth-only", "auth-and-writes")
_EMAIL = "email"
_FIXED = frozenset({"name", "email_verified", "created", "updated", "cidr_whitelist"})


@dataclass(frozen=True, slots=True)
class ProfileChange:
    """What is to be said from now on (None: nothing), and the old and the new password."""

    said: Mapping[str, str | None]
    password: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class FactorChange:
    """Another mode of the second factor, or `DISABLE`."""

    password: str
    mode: str


@dataclass(frozen=True, slots=True)
class FactorCode:
    """The code that confirms a second factor."""

    code: str


def read(body: Mapping[str, object]) -> ProfileChange | FactorChange | FactorCode:
    """Understand a body. Raises InvalidRequest, and Unprocessable for what cannot be said."""
    asked = {key: value for key, value in body.items() if key not in _FIXED}
    factor = asked.pop("tfa", None)
    if not factor:
        return _profile(asked)
    if any(value is not None for value in asked.values()):
        raise InvalidRequest(reason="tfa: change the second factor by itself")
    if isinstance(factor, list):
        return FactorCode(_code(factor))
    if isinstance(factor, dict):
        return _factor(factor)
    raise InvalidRequest(reason="tfa: {password, mode} is expected, or a list of one code")


def _code(codes: list[object]) -> str:
    if len(codes) != 1 or not isinstance(codes[0], str):
        raise InvalidRequest(reason="tfa: a list of one code is expected")
    return "".join(codes[0].split())


def _factor(factor: Mapping[str, object]) -> FactorChange:
    password, mode = factor.get("password"), factor.get("mode")
    if not isinstance(password, str) or not password:
        raise InvalidRequest(reason="tfa: it is changed with your password: send it along")
    if mode not in (*MODES, DISABLE):
        raise InvalidRequest(reason=f"tfa: the mode is one of {', '.join(MODES)}, {DISABLE}")
    return FactorChange(password, str(mode))


def _profile(asked: Mapping[str, object]) -> ProfileChange:
    said = {key: value for key, value in asked.items() if key != "password"}
    for key in said:
        if key not in (_EMAIL, *users.PROFILE):
            raise InvalidRequest(reason=f"there is no {key[:80]!r} in a profile here")
    told = {key: _text(key, value) for key, value in said.items()}
    for key, text in told.items():
        if text is not None:
            users.check_email(text) if key == _EMAIL else users.check_said(key, text)
    return ProfileChange(told, _password(asked.get("password")))


def _text(key: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise InvalidRequest(reason=f"{key}: a text is expected")


def _password(value: object) -> tuple[str, str] | None:
    if value is None:
        return None
    old, new = (value.get("old"), value.get("new")) if isinstance(value, dict) else (None, None)
    if not isinstance(old, str) or not isinstance(new, str):
        raise InvalidRequest(reason="password: {old, new} is expected")
    return old, new
