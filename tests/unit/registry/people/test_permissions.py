"""Who may read and write a package: every clause of the one place that says so."""

from __future__ import annotations

from typing import Any

import pytest

from proxy import errors
from proxy.npm import names
from proxy.npm.policy import HOSTED, Action
from tests.judging import (
    FORK,
    MEMBER,
    NPM,
    OWNER,
    PEOPLE,
    REJECTED,
    ROOT,
    UNKNOWN,
    WRITER,
    House,
    carrying,
    rows,
)

READS = """
              nobody  ann  bob  cat  dan  root
@acme/ui      -       yes  yes  yes  yes  yes
@acme/secret  -       yes  yes  yes  -    yes
@acme/gone    -       yes  -    -    -    yes
@acme/new     -       yes  yes  yes  yes  yes
open          yes     yes  yes  yes  yes  yes
open-secret   -       yes  -    -    -    yes
open-new      yes     yes  yes  yes  yes  yes
staff         -       yes  -    yes  yes  yes
locked        -       -    -    -    -    yes
fork          -       yes  yes  yes  yes  yes
kept          -       yes  yes  yes  yes  yes
corp          -       yes  -    yes  yes  yes
lodash        yes     yes  yes  yes  yes  yes
"""
PUBLISHES = """
              nobody  ann  bob  cat  dan  root
@acme/ui      who     yes  no   yes  no   yes
@acme/secret  who     yes  no   yes  -    yes
@acme/gone    who     yes  -    -    -    yes
@acme/new     who     yes  yes  yes  yes  yes
open          who     yes  no   no   no   yes
open-secret   who     yes  no   -    -    yes
open-new      who     yes  no   yes  yes  yes
staff         who     yes  -    yes  yes  yes
locked        who     -    -    -    -    yes
fork          who     yes  yes  yes  yes  yes
kept          who     yes  no   no   no   yes
corp          who     up   -    up   up   up
lodash        who     up   up   up   up   up
"""
UNPUBLISHES = """
              nobody  ann  bob  cat  dan  root
@acme/ui      who     yes  no   yes  no   yes
@acme/secret  who     yes  no   yes  -    yes
open          who     yes  no   no   no   yes
open-secret   who     yes  no   no   no   yes
open-new      who     yes  no   no   no   yes
locked        who     -    -    -    -    yes
lodash        who     up   up   up   up   up
"""


@pytest.mark.parametrize(("name", "expected"), rows(READS))
async def test_who_may_read(house: House, name: str, expected: list[str]) -> None:
    """A package is read by whom its rule lists, a restricted one of them by whom it names."""
    assert [await house.read(caller, name) for caller in PEOPLE.values()] == expected


@pytest.mark.parametrize(("name", "expected"), rows(PUBLISHES))
async def test_who_may_publish(house: House, name: str, expected: list[str]) -> None:
    """A package is published by whom rule and owners allow; who may not read sees nothing."""
    assert [await house.write(caller, name) for caller in PEOPLE.values()] == expected


@pytest.mark.parametrize(("name", "expected"), rows(UNPUBLISHES))
async def test_who_may_unpublish(house: House, name: str, expected: list[str]) -> None:
    """Versions are taken away by whom the rule lists for that, and the owners."""
    callers = PEOPLE.values()

    found = [await house.write(caller, name, Action.UNPUBLISH) for caller in callers]

    assert found == expected


CHANGES = """
              nobody  ann  bob  cat  dan  root
@acme/ui      who     yes  no   yes  no   yes
@acme/secret  who     yes  no   yes  -    yes
@acme/gone    who     -    -    -    -    -
@acme/new     who     -    -    -    -    -
open-secret   who     yes  no   -    -    yes
open-new      who     -    no   -    -    -
lodash        who     up   up   up   up   up
"""


@pytest.mark.parametrize(("name", "expected"), rows(CHANGES))
async def test_who_may_change_what_is_there(house: House, name: str, expected: list[str]) -> None:
    """A hidden package is changed by nobody in the words that a name without one is."""
    changed = [await house.change(caller, name) for caller in PEOPLE.values()]

    assert changed == expected


@pytest.mark.parametrize(
    ("name", "expected"), [row for row in rows(READS) if row[0] not in {"corp", "lodash"}]
)
async def test_a_list_shows_what_may_be_read(house: House, name: str, expected: list[str]) -> None:
    """Search and lists are told the same of a package that lives here as who asks for it."""
    may = [await house.permissions.may_read(caller, name) for caller in PEOPLE.values()]

    assert may == [cell == "yes" for cell in expected]


ASKING = {
    **PEOPLE,
    "rejected": REJECTED,
    "ann for reading": carrying(OWNER, is_readonly=True),
    "ann for one": carrying(OWNER, packages=("open",)),
    "root for a scope": carrying(ROOT, scopes=("@acme",)),
}


@pytest.mark.parametrize("who", ASKING)
async def test_many_packages_are_judged_as_one_is(house: House, who: str) -> None:
    """What a list shows of many packages at once is what may be read of each."""
    caller = ASKING[who]
    kept = [head for name in await house.hosted.owned() if (head := await house.hosted.head(name))]

    found = await house.permissions.readable(caller, kept * 100)

    assert len(kept) == 6
    assert found == {
        head.name for head in kept if await house.permissions.may_read(caller, head.name)
    }


async def test_whom_we_could_not_look_up_is_shown_what_everybody_may_read(house: House) -> None:
    """While people cannot be read, a list leaves out what is not for everybody, and is no error."""
    kept = [head for name in await house.hosted.owned() if (head := await house.hosted.head(name))]

    assert await house.permissions.readable(UNKNOWN, kept) == {"open"}


async def test_what_may_not_be_read_looks_like_nothing(house: House) -> None:
    """The error of a package that is hidden is the one of a package that does not exist."""
    hidden = names.parse("@acme/secret")

    with pytest.raises(errors.PackageNotFound) as caught:
        await house.permissions.require_read(MEMBER, hidden)

    assert str(caught.value) == str(errors.PackageNotFound(name="@acme/secret"))


async def test_a_reader_learns_where_a_name_lives(house: House) -> None:
    """Who may read is told the origin, also of a name that stayed when its rule had changed."""
    found = [await house.permissions.require_read(OWNER, names.parse(name))
             for name in ("@acme/ui", "fork", "kept", "lodash")]  # fmt: skip

    assert found == [HOSTED, FORK, HOSTED, NPM]


async def test_a_writer_is_named(house: House) -> None:
    """Who may write is returned, for the audit log and the owners."""
    name = names.parse("@acme/ui")

    assert await house.permissions.require(WRITER, Action.PUBLISH, name) == "cat"


# --- tokens -----------------------------------------------------------------------------------


async def test_a_token_to_read_with_writes_nothing(house: House) -> None:
    """A token for reading reads what its user may, and writes nothing, an administrator's too."""
    ann, root = (carrying(caller, is_readonly=True) for caller in (OWNER, ROOT))

    assert await house.read(ann, "@acme/secret") == "yes"
    assert [await house.write(each, "@acme/ui") for each in (ann, root)] == ["no", "no"]


@pytest.mark.parametrize(
    "limits",
    [
        {"packages": ("@acme/ui",)},
        {"scopes": ("@acme",)},
        {"packages": ("open",), "scopes": ("@acme",)},
    ],
)
async def test_a_token_for_some_packages_reaches_those(
    house: House, limits: dict[str, Any]
) -> None:
    """What the token's packages or scopes name is read and written as its user may."""
    ann = carrying(OWNER, **limits)

    assert (await house.read(ann, "@acme/ui"), await house.write(ann, "@acme/ui")) == ("yes", "yes")


@pytest.mark.parametrize("limits", [{"packages": ("@acme/ui-kit",)}, {"scopes": ("@ac",)}])
@pytest.mark.parametrize("name", ["@acme/ui", "open", "@acme/new"])
@pytest.mark.parametrize("who", ["ann", "root"])
async def test_a_token_for_some_packages_reaches_no_others(
    house: House, who: str, name: str, limits: dict[str, Any]
) -> None:
    """Other packages do not exist for it, and a write to them is told that it is not for them."""
    caller = carrying(PEOPLE[who], **limits)

    assert (await house.read(caller, name), await house.write(caller, name)) == ("-", "no")
    with pytest.raises(errors.Forbidden, match=f"this token is not for {name}"):
        await house.permissions.require(caller, Action.PUBLISH, names.parse(name))


async def test_a_token_for_some_packages_reads_what_comes_from_uplinks(house: House) -> None:
    """A restricted token still installs public dependencies."""
    assert await house.read(carrying(OWNER, packages=("@acme/ui",)), "lodash") == "yes"


# --- those we do not know ---------------------------------------------------------------------


async def test_rejected_credentials_are_nobodys(house: House) -> None:
    """Who sent bad credentials reads what everybody may, and is told to log in for a write."""
    found = [await house.read(REJECTED, name) for name in ("open", "lodash", "@acme/ui")]

    assert found == ["yes", "yes", "-"]
    assert await house.write(REJECTED, "@acme/ui") == "who"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("open", "yes"),
        ("lodash", "yes"),
        ("open-secret", "away"),
        ("@acme/ui", "away"),
        ("@acme/none", "away"),
        ("corp", "away"),
        ("locked", "away"),
    ],
)
async def test_whom_we_could_not_look_up_is_not_told_that_there_is_nothing(
    house: House, name: str, expected: str
) -> None:
    """While people cannot be read, what is not for everybody is an outage and never a 404."""
    assert await house.read(UNKNOWN, name) == expected


async def test_whom_we_could_not_look_up_writes_nothing(house: House) -> None:
    """A write by somebody we could not look up fails with the fault, and is not a 401."""
    found = [await house.write(UNKNOWN, name) for name in ("open", "@acme/ui", "lodash")]

    assert found == ["away"] * 3


@pytest.mark.parametrize("who", PEOPLE)
async def test_without_the_database_nothing_hosted_is_said_to_be_absent(
    house: House, who: str
) -> None:
    """While hosted packages cannot be read, a name that may be there is an outage."""
    await house.read(OWNER, "open")

    house.hosted.store.is_away = True

    assert await house.read(PEOPLE[who], "open") == "away"
    assert await house.read(PEOPLE[who], "lodash") == "yes"
