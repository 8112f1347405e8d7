"""One-time passwords by the clock (RFC 6238), as every authenticator makes them.

The door to pyotp.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import pyotp

STEP = timedelta(seconds=30)
_ISSUER = "Packhouse"
# A code of the step before or after is good, too: clocks differ, and people type slowly.
_LEEWAY_STEPS = 1


def new_secret() -> str:
    """A new secret, base32 (160 bits)."""
    return pyotp.random_base32()


def address(secret: str, user: str) -> str:
    """The `otpauth://` address an authenticator reads, as a QR code mostly."""
    return pyotp.TOTP(secret).provisioning_uri(name=user, issuer_name=_ISSUER)


def step_of(secret: str, code: str, at: datetime) -> int | None:
    """The time step whose code this is, if it is one of now; None if the code is wrong.

    Whoever accepts a code notes its step, so that it is accepted once.
    """
    if not (code.isascii() and code.isdigit()):  # a header may hold any bytes
        return None
    generator = pyotp.TOTP(secret)
    now = int(at.timestamp()) // int(STEP.total_seconds())
    for step in range(now - _LEEWAY_STEPS, now + _LEEWAY_STEPS + 1):
        if pyotp.utils.strings_equal(code, generator.generate_otp(step)):
            return step
    return None
