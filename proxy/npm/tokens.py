"""Tokens: `phs_`, 30 random characters, and 6 of a checksum, as npm's own are built.

The prefix is ours, so that a leaked one is not taken for the public registry's; the checksum tells
a mistyped or truncated one, and whatever else is no token, before anything is looked up.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib

PREFIX = "phs_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_CHARACTERS = 30  # 178 bits
_CHECK_CHARACTERS = 6  # a CRC-32
_SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM_CHARACTERS + _CHECK_CHARACTERS}}}")
_SHOWN_CHARACTERS = 4
# Ours and npm's own, and the codes of confirmations.py: what may stand in a log shows no more.
_SECRETS = re.compile(r"(npm_|phs_)[A-Za-z0-9]{16,}|(phc_)[A-Za-z0-9_-]{16,}")


def new() -> str:
    """A new token, 40 characters long."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
    return body + _checksum(body)


def is_sound(token: str) -> bool:
    """Whether this is a token of ours, by its shape and checksum."""
    body, check = token[:-_CHECK_CHARACTERS], token[-_CHECK_CHARACTERS:]
    return _SHAPE.fullmatch(token) is not None and _checksum(body) == check


def hash_of(token: str) -> str:
    """What is kept of a token: its sha256, hex. The token is random, so that is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def shown(token: str) -> str:
    """What is displayed of a token: its beginning and its end."""
    return f"{token[: len(PREFIX) + _SHOWN_CHARACTERS]}…{token[-_SHOWN_CHARACTERS:]}"


def masked(text: str) -> str:
    """Text as it may be logged: whatever looks like a token is only its prefix."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2]}***", text) if "_" in text else text


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_CHARACTERS):
        number, digit = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
