"""Who may do what is about no package, or takes more than permission: codes, stars, accounts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.npm import names
from proxy.registry.people.callers import Caller, Proof
from proxy.storage.identity import Role
from tests.hosting import ANN
from tests.judging import (
    MEMBER,
    OWNER,
    PEOPLE,
    READER,
    REJECTED,
    ROOT,
    UNKNOWN,
    House,
    careful,
    carrying,
    outcome,
    rows,
)

# --- the second factor ------------------------------------------------------------------------


async def test_a_write_takes_a_second_factor_where_one_is_set(house: House) -> None:
    """Without the code, or with another one, the write is refused; with it, it is done."""
    found = [
        await house.write(careful(OWNER, otp), "@acme/ui") for otp in (None, "000000", "123456")
    ]

    assert found == ["otp", "otp", "yes"]


async def test_an_administrator_needs_the_second_factor_too(house: House) -> None:
    """Administrators pass lists and owners, not the second factor of their own account."""
    assert await house.write(careful(ROOT), "@acme/ui") == "otp"


async def test_a_read_takes_no_second_factor(house: House) -> None:
    """Reading asks for no code, whatever the account asks for."""
    assert await house.read(careful(OWNER), "@acme/secret") == "yes"
    assert house.codes.asked == []


@pytest.mark.parametrize("name", ["@acme/ui", "@acme/secret", "locked", "lodash"])
async def test_a_code_is_not_spent_on_what_is_refused(house: House, name: str) -> None:
    """The code, good once, is asked for when everything else says yes."""
    assert await house.write(careful(MEMBER, "123456"), name) != "yes"
    assert house.codes.asked == []


async def test_a_code_is_asked_for_once_in_a_request(house: House) -> None:
    """A request that writes twice has shown its code the first time."""
    ann = careful(OWNER, "123456")

    assert [await house.write(ann, name) for name in ("@acme/ui", "open")] == ["yes", "yes"]
    assert house.codes.asked == ["ann"]


# --- organisations ----------------------------------------------------------------------------


ROLES = """
           nobody  ann  bob  cat  dan  root
developer  who     yes  -    yes  yes  yes
admin      who     yes  -    no   yes  yes
owner      who     yes  -    no   no   yes
"""


@pytest.mark.parametrize(("least", "expected"), rows(ROLES))
async def test_what_one_may_do_in_an_organisation(
    house: House, least: str, expected: list[str]
) -> None:
    """Who is not in an organisation is told of none; who is has the rights of their role."""
    await house.people.set_member("acme", "ann", Role.OWNER, ANN)
    await house.people.set_member("acme", "dan", Role.ADMIN, ANN)

    found = [await outcome(house.permissions.require_role(caller, "acme", Role(least)))
             for caller in PEOPLE.values()]  # fmt: skip

    assert found == expected


async def test_administrators_own_every_organisation(house: House) -> None:
    """An organisation that has no members yet is started by an administrator, and nobody else."""
    roles = [await house.permissions.role_in(caller, "new") for caller in PEOPLE.values()]

    assert roles == [None, None, None, None, None, Role.OWNER]


@pytest.mark.parametrize("limits", [{"is_readonly": True}, {"packages": ("open",)}])
async def test_a_restricted_token_reads_an_organisation_only(
    house: House, limits: dict[str, Any]
) -> None:
    """A token for reading, or for some packages, lists members and changes none."""
    root = carrying(ROOT, **limits)
    leasts = (Role.DEVELOPER, Role.ADMIN)

    found = [await outcome(house.permissions.require_role(root, "acme", role)) for role in leasts]

    assert found == ["yes", "no"]


# --- writes that are about no package of one's own --------------------------------------------


async def readers_write(house: House, caller: Caller, name: str) -> str:
    return await outcome(house.permissions.require_reader(caller, names.parse(name)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("@acme/ui", ["who", "yes", "yes", "yes", "yes", "yes"]),
        ("@acme/secret", ["who", "yes", "yes", "yes", "-", "yes"]),
        ("locked", ["who", "-", "-", "-", "-", "yes"]),
        ("lodash", ["who", "up", "up", "up", "up", "up"]),
    ],
)
async def test_who_may_star(house: House, name: str, expected: list[str]) -> None:
    """Every reader who is logged in may star what lives here."""
    assert [await readers_write(house, caller, name) for caller in PEOPLE.values()] == expected


async def test_a_star_is_a_write_to_tokens_and_codes(house: House) -> None:
    """A token for reading or for other packages sets no star, and a second factor is asked for."""
    limited = [carrying(MEMBER, is_readonly=True), carrying(MEMBER, packages=("open",))]

    assert [await readers_write(house, each, "@acme/ui") for each in limited] == ["no", "no"]
    assert await readers_write(house, careful(MEMBER), "@acme/ui") == "otp"


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller(), "who"),
        (REJECTED, "who"),
        (UNKNOWN, "away"),
        (READER, "yes"),
        (carrying(READER), "yes"),
        (carrying(READER, is_readonly=True), "no"),
        (carrying(READER, packages=("open",)), "no"),
        (carrying(ROOT, scopes=("@acme",)), "no"),
    ],
)
async def test_who_may_write_what_is_about_no_package(
    house: House, caller: Caller, expected: str
) -> None:
    """Teams and organisations take somebody we know, whose token is for writing anything."""
    assert await outcome(house.permissions.require_second_factor(caller)) == expected


async def test_what_is_about_no_package_takes_the_second_factor(house: House) -> None:
    """A change of a team asks for the code as a publish does."""
    found = [await outcome(house.permissions.require_second_factor(careful(READER, otp)))
             for otp in (None, "123456")]  # fmt: skip

    assert found == ["otp", "yes"]


# --- one's own account ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller(), "who"),
        (REJECTED, "who"),
        (UNKNOWN, "away"),
        (carrying(READER, is_readonly=True), "no"),
        (carrying(READER, packages=("open",)), "no"),
        (carrying(READER, scopes=("@acme",)), "no"),
        (carrying(READER, cidrs=("192.0.2.0/24",)), "no"),
    ],
)
async def test_a_restricted_token_changes_no_account(
    house: House, caller: Caller, expected: str
) -> None:
    """Whoever changes an account could lift every restriction: a restricted token may not."""
    assert await outcome(house.permissions.require_account(caller)) == expected
    assert house.codes.asked == []


async def test_a_change_of_an_account_takes_its_second_factor_once(house: House) -> None:
    """Whoever has a second factor shows it, also where publishing asks for none."""
    ones = [replace(READER, otp=otp, proof=Proof()) for otp in (None, "123456", "123456")]
    found = [await outcome(house.permissions.require_account(each)) for each in (*ones, ones[1])]

    assert found == ["otp", "yes", "yes", "yes"]
    assert house.codes.asked == ["bob"] * 3
