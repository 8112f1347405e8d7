"""What a client asks for when it makes a token: the bodies of npm, old and new.

npm up to 10 sends `{password, readonly, cidr_whitelist}`. npm 11 and later name what the token may
do: `{name, password, description?, expires? (days), packages?, packages_all?, scopes?,
packages_and_scopes_permission?, orgs?, orgs_permission?, cidr_whitelist?, bypass_2fa?}`. There,
what is not asked for is not given: without a permission the token is for reading, and one that may
write says to what. What we could not hold a token to is refused, never passed over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from proxy.errors import InvalidRequest

_READ, _WRITE = "read-only", "read-write"
_WRITES = {_READ: False, "readonly": False, "publish": True, "automation": True}
_MOST_DAYS = 3650
_KNOWN = frozenset(
    {
        *("password", "readonly", "automation", "cidr_whitelist", "name", "description"),
        *("expires", "packages", "packages_all", "scopes", "packages_and_scopes_permission"),
        *("orgs", "orgs_permission", "bypass_2fa", "token_type"),
    }
)


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token that is asked for. `expires_at` is None where nothing was said."""

    password: str | None
    name: str | None = None
    description: str | None = None
    is_readonly: bool = False
    is_otp_exempt: bool = False
    packages: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    cidrs: tuple[str, ...] = ()
    expires_at: datetime | None = None


def read(body: Mapping[str, object], now: datetime) -> TokenRequest:
    """Understand a body. Raises InvalidRequest for what cannot be understood or honoured."""
    _refuse_unknown(body)
    packages, scopes = _texts(body, "packages"), _texts(body, "scopes")
    return TokenRequest(
        password=_text(body, "password"),
        name=_text(body, "name"),
        description=_text(body, "description"),
        is_readonly=not _may_write(body, is_aimed=bool(packages or scopes)),
        is_otp_exempt=_flag(body, "bypass_2fa") or _is_automation(body),
        packages=packages,
        scopes=scopes,
        cidrs=_texts(body, "cidr_whitelist"),
        expires_at=_end(body, now),
    )


def _refuse_unknown(body: Mapping[str, object]) -> None:
    unknown = [key for key in body if key not in _KNOWN and body[key] is not None]
    if unknown:
        raise InvalidRequest(reason=f"tokens here know nothing of {unknown[0][:80]!r}")
    if _texts(body, "orgs"):
        raise InvalidRequest(
            reason="orgs: a token here is restricted to packages and scopes, not to organisations"
        )
    orgs = _text(body, "orgs_permission")
    if orgs not in {None, "no-access"}:
        raise InvalidRequest(
            reason=f"orgs_permission: {orgs!r} is not offered here; an unrestricted token, made "
            "by a login, manages organisations"
        )


def _may_write(body: Mapping[str, object], *, is_aimed: bool) -> bool:
    """Whether the token is to write: if it is said, and nothing that is said speaks against it.

    `is_aimed` says that packages or scopes are named.
    """
    said = []
    if body.get("readonly") is not None:
        said.append(not _flag(body, "readonly"))
    kind = _text(body, "token_type")
    if kind not in {None, "granular"}:
        said.append(_of_type(str(kind)))
    permission = _text(body, "packages_and_scopes_permission")
    if permission is not None:
        said.append(_of_permission(permission))
    _check_aim(body, is_aimed=is_aimed, must_be=permission == _WRITE)
    return bool(said) and all(said)


def _of_permission(permission: str) -> bool:
    if permission not in {_READ, _WRITE}:
        raise InvalidRequest(
            reason=f"packages_and_scopes_permission: {permission[:80]!r} is not offered here; "
            f"possible: {_READ}, {_WRITE}"
        )
    return permission == _WRITE


def _check_aim(body: Mapping[str, object], *, is_aimed: bool, must_be: bool) -> None:
    is_for_all = _flag(body, "packages_all")
    if is_for_all and is_aimed:
        raise InvalidRequest(reason="packages_all: it contradicts the packages and scopes named")
    if must_be and not (is_for_all or is_aimed):
        raise InvalidRequest(
            reason="packages_and_scopes_permission: say what the token may write to: packages, "
            "scopes, or packages_all"
        )


def _of_type(kind: str) -> bool:
    if kind not in _WRITES:
        raise InvalidRequest(reason=f"token_type: there is no {kind[:80]!r}")
    return _WRITES[kind]


def _is_automation(body: Mapping[str, object]) -> bool:
    return _flag(body, "automation") or _text(body, "token_type") == "automation"


def _end(body: Mapping[str, object], now: datetime) -> datetime | None:
    days = body.get("expires")
    if days is None:
        return None
    if isinstance(days, bool) or not isinstance(days, int) or not 1 <= days <= _MOST_DAYS:
        raise InvalidRequest(reason=f"expires: a whole number of days, from 1 to {_MOST_DAYS}")
    return now + timedelta(days=days)


def _text(body: Mapping[str, object], key: str) -> str | None:
    value = body.get(key)
    if value is None or isinstance(value, str):
        return value
    raise InvalidRequest(reason=f"{key}: a text is expected")


def _flag(body: Mapping[str, object], key: str) -> bool:
    value = body.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise InvalidRequest(reason=f"{key}: true or false is expected")


def _texts(body: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = body.get(key)
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidRequest(reason=f"{key}: a list of texts is expected")
    if not all(isinstance(each, str) for each in value):
        raise InvalidRequest(reason=f"{key}: a list of texts is expected")
    return tuple(value)
