"""Passwords: their hashes, made and checked in threads, a few at a time.

The door to argon2 (argon2id, by which every new hash is made) and to bcrypt, which is only checked:
hashes that were imported from an htpasswd file.
"""

from __future__ import annotations

import asyncio

import argon2
import bcrypt

from proxy.npm.users import LONGEST_PASSWORD

# OWASP's floor for argon2id, 18 ms on a slow core; the library's own choice takes 64 MiB a check.
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
AT_ONCE = 2
_LONGEST_BCRYPT_BYTES = 72  # what comes after is not looked at: refused rather than cut
_BCRYPT = ("$2a$", "$2b$", "$2y$")


class Passwords:
    """Makes and checks hashes; more than two at a time wait for one another."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)
        # Checked in the place of a user who does not exist, so that the time tells nothing.
        self._nobody = _HASHER.hash("")

    async def hash(self, password: str) -> str:
        """The hash to keep, as argon2 writes it."""
        async with self._room:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Whether this is the password of that hash; None is nobody's, and takes as long."""
        if len(password) > LONGEST_PASSWORD:
            return False
        async with self._room:
            right = await asyncio.to_thread(_is_right, password, password_hash or self._nobody)
        return right and password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether a new hash should be made when the password is next known."""
    return password_hash.startswith(_BCRYPT) or _HASHER.check_needs_rehash(password_hash)


def is_known(password_hash: str) -> bool:
    """Whether a hash of this kind can be checked here."""
    return password_hash.startswith((*_BCRYPT, "$argon2id$"))


def _is_right(password: str, password_hash: str) -> bool:
    if password_hash.startswith(_BCRYPT):
        data = password.encode("utf-8", "surrogatepass")
        if len(data) > _LONGEST_BCRYPT_BYTES or b"\0" in data:
            return False
        try:
            return bcrypt.checkpw(data, password_hash.encode())
        except ValueError:
            return False
    try:
        return _HASHER.verify(password_hash, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
