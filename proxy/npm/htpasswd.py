"""Files of users and password hashes, as Apache's htpasswd and other registries write them.

A line is `name:hash`, or `name:hash:` and a remark that is passed over. Only bcrypt hashes are
taken: the other kinds are too fast to compute to be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from proxy.npm import principals

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
# A check takes 0.2 s at a cost of 12 and twice as long with every step: 16 would be 3 s.
_COSTS = range(4, 16)
_DES = re.compile(r"[./A-Za-z0-9]{13}")
_KINDS = {
    "{SHA}": "a SHA-1 without a salt",
    "{SSHA}": "a SHA-1",
    "$apr1$": "an MD5 (apr1)",
    "$1$": "an MD5",
    "$5$": "a SHA-256 (crypt)",
    "$6$": "a SHA-512 (crypt)",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody, with a hash that can be checked here. `line` counts from 1."""

    line: int
    name: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is not taken; `reason` holds nothing of a hash."""

    line: int
    reason: str


def parse(text: str) -> Iterator[Entry | Refused]:
    """Read the lines of a file; empty ones and comments are passed over."""
    seen: set[str] = set()
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        reason = _flaw(name, rest.partition(":")[0].strip(), seen)
        if reason is None:
            seen.add(name)
            yield Entry(number, name, rest.partition(":")[0].strip())
        else:
            yield Refused(number, reason)


def _flaw(name: str, password_hash: str, seen: set[str]) -> str | None:
    # A line that is no `name:hash` may be a password: nothing of it is repeated.
    if not password_hash or principals.flaw_of_user(name) is not None:
        return "this is no name and hash, or no rule could name the user"
    if name in seen:
        return f"{name} stands above already"
    flaw = _flaw_of_hash(password_hash)
    return None if flaw is None else f"{name}: {flaw}"


def _flaw_of_hash(password_hash: str) -> str | None:
    bcrypt = _BCRYPT.fullmatch(password_hash)
    if bcrypt is not None:
        is_fit = int(bcrypt[1]) in _COSTS
        return None if is_fit else f"a bcrypt cost of {bcrypt[1]} would take too long to check"
    kind = next((told for sign, told in _KINDS.items() if password_hash.startswith(sign)), None)
    if kind is None:
        is_des = _DES.fullmatch(password_hash) is not None
        kind = "a DES hash (crypt)" if is_des else "no hash that is known here"
    return f"{kind} instead of bcrypt; give them a new password: packhouse user add"
