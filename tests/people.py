"""Users of a registry that runs, made past its accounts."""

from __future__ import annotations

import pyotp

from proxy.npm import totp
from proxy.storage.hosting import Deed
from proxy.storage.identity import People, UserRecord
from proxy.storage.passwords import Passwords
from proxy.web import keys
from tests.registry import Registry

PASSWORD = "correct horse battery"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def people_of(registry: Registry) -> People:
    """What the registry keeps of people."""
    assert registry.app is not None
    people: People = registry.app[keys.LOGINS]._people
    return people


async def add_user(registry: Registry, name: str = "ann", *, totp_mode: str | None = None) -> None:
    """Make a user with PASSWORD and, with a mode, a second factor of SECRET."""
    people, now = people_of(registry), registry.clock.now()
    hashed = await Passwords().hash(PASSWORD)
    deed = Deed("root", now)
    await people.add_user(UserRecord(name, now, now, password_hash=hashed), deed)
    if totp_mode is not None:
        await people.set_totp(name, SECRET, totp_mode, deed)


def code_of(registry: Registry, *, steps: int = 0) -> str:
    """What an authenticator shows at this moment of the registry's clock, or some steps later."""
    at = registry.clock.now() + steps * totp.STEP
    return pyotp.TOTP(SECRET).at(at)
