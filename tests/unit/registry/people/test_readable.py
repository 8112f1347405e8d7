"""Many packages judged at once: the same as each by itself, one after the other."""

from __future__ import annotations

import pytest

from proxy import errors
from tests.judging import OWNER, PEOPLE, REJECTED, ROOT, UNKNOWN, House, carrying

NAMES = ("@acme/ui", "@acme/secret", "open", "open-secret", "staff", "locked", "fork", "kept")
ASKING = {
    **PEOPLE,
    "rejected": REJECTED,
    "ann for reading": carrying(OWNER, is_readonly=True),
    "ann for one": carrying(OWNER, packages=("open",)),
    "root for a scope": carrying(ROOT, scopes=("@acme",)),
}


@pytest.mark.parametrize("asking", ASKING)
async def test_as_one_by_one(house: House, asking: str) -> None:
    """What may be shown of many packages is what `may_read` says of each."""
    caller = ASKING[asking]
    heads = [head for name in NAMES if (head := await house.hosted.head(name)) is not None]

    shown = await house.permissions.readable(caller, heads)
    each = {head.name for head in heads if await house.permissions.may_read(caller, head.name)}

    assert heads
    assert set(shown) == each


async def test_whom_we_could_not_look_up(house: House) -> None:
    """Whoever's credentials could not be looked up is shown what everybody may read, no more."""
    heads = [head for name in NAMES if (head := await house.hosted.head(name)) is not None]

    shown = await house.permissions.readable(UNKNOWN, heads)

    for head in heads:
        try:
            may = await house.permissions.may_read(UNKNOWN, head.name)
        except errors.RegistryError:
            may = False
        assert (head.name in shown) == may
