"""Many packages judged at once: the same as each by itself, one after the other."""

from __future__ import annotations

import asyncio

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


async def test_names_are_those_of_packages_that_are_seen(house: House) -> None:
    """Of many names those are told, in their order, under which there is a package to be read."""
    names = ["open", "@acme/gone", "@acme/new", "@acme/secret", "@acme/ui"]

    seen = {
        who: await house.permissions.readable_names(caller, names) for who, caller in PEOPLE.items()
    }

    assert seen["nobody"] == ["open"]
    assert seen["dan"] == ["open", "@acme/ui"]
    assert seen["ann"] == seen["root"] == ["open", "@acme/secret", "@acme/ui"]


async def test_others_have_their_turn(house: House) -> None:
    """Who has starred or owns very many packages holds nobody else up while they are judged."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    waiting = asyncio.create_task(other())
    await house.permissions.readable_names(OWNER, ["@acme/ui"] * 2000)
    waiting.cancel()

    assert turns >= 9


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
