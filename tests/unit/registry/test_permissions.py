"""Who may do what: every clause of the one place that says so, over packages and people in dicts.

In the tables a row is a package and a column somebody:

    nobody   not logged in           bob   reads two packages as a collaborator
    ann      owns what there is      cat   writes to them by the team acme:core
    dan      another of acme         root  administers the registry

    yes   they may            who   401, they have to log in        up   403, it is an uplink's
    -     404, as of nothing  no    403
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from proxy import errors
from proxy.npm import names
from proxy.npm.policy import HOSTED, Action, Origin, Rule, Rules
from proxy.registry.callers import Caller, Proof
from proxy.registry.permissions import Permissions
from proxy.registry.routing import Routing
from proxy.storage.hosting import Access
from proxy.storage.identity import Permission, Role, TeamRecord, TokenKind, TokenRecord
from tests.fakes.memory_hosting import MemoryHosted, MemoryStore
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON, a_version

NPM, FORK = Origin("npm"), Origin("npm", is_merged=True)
RULES = Rules(
    (
        Rule(("@acme/*",), HOSTED),
        Rule(("open", "open-*"), HOSTED, ("$all",), ("@acme",), ("ann",)),
        Rule(("staff",), HOSTED, ("@acme",), ("$authenticated",)),
        Rule(("locked",), HOSTED, (), (), ()),
        Rule(("fork",), FORK),
        Rule(("corp",), NPM, ("@acme",)),
        Rule(("*",), NPM),
    )
)
PEOPLE = {
    "nobody": Caller(),
    "ann": Caller(user="ann", groups=frozenset({"acme"})),
    "bob": Caller(user="bob"),
    "cat": Caller(user="cat", groups=frozenset({"acme", "acme:core"})),
    "dan": Caller(user="dan", groups=frozenset({"acme"})),
    "root": Caller(user="root", is_admin=True),
}
ANN_, BOB, CAT, DAN, ROOT = (PEOPLE[who] for who in ("ann", "bob", "cat", "dan", "root"))
AWAY = errors.StorageAway(reason="the database of people is away")
UNKNOWN = Caller(fault=AWAY)
REJECTED = Caller(is_rejected=True)
TOKEN = TokenRecord("00" * 32, "k1", "ann", TokenKind.GRANULAR, "phs_...", NOON)
WORDS = {
    errors.PackageNotFound: "-",
    errors.NotFound: "-",
    errors.Unauthenticated: "who",
    errors.Forbidden: "no",
    errors.NotHosted: "up",
    errors.OneTimePasswordRequired: "otp",
    errors.StorageAway: "away",
}


@dataclass
class Codes:
    """The second factor: `good` is the right code; remembers who was asked."""

    good: str = "123456"
    asked: list[str | None] = field(default_factory=list)

    async def require(self, caller: Caller) -> None:
        self.asked.append(caller.user)
        if caller.otp != self.good:
            raise errors.OneTimePasswordRequired

    async def require_if_set(self, caller: Caller) -> None:
        await self.require(caller)


@dataclass(frozen=True)
class House:
    """Permissions, and what they are judged by."""

    hosted: MemoryHosted
    people: MemoryPeople
    codes: Codes
    permissions: Permissions

    async def read(self, caller: Caller, name: str) -> str:
        return await outcome(self.permissions.require_read(caller, names.parse(name)))

    async def write(self, caller: Caller, name: str, action: Action = Action.PUBLISH) -> str:
        return await outcome(self.permissions.require(caller, action, names.parse(name)))


async def outcome(judgement: Awaitable[Any]) -> str:
    try:
        await judgement
    except errors.RegistryError as refusal:
        return WORDS[type(refusal)]
    return "yes"


@pytest.fixture
async def house() -> House:
    """What ann has published, and whom she has given something."""
    store = MemoryStore()
    hosted, people, codes = MemoryHosted(store), MemoryPeople(store), Codes()
    for name in ("@acme/ui", "@acme/secret", "@acme/gone", "open", "open-secret", "kept"):
        access = Access.RESTRICTED if name.endswith(("secret", "gone")) else Access.PUBLIC
        await hosted.publish(a_version(name=name, access=access), ANN)
    await hosted.remove_package("@acme/gone", ANN)
    await people.set_team(TeamRecord("acme", "core", ""), ANN)
    await people.set_member("acme", "cat", Role.DEVELOPER, ANN)
    await people.set_team_member("acme", "core", "cat", ANN)
    for name in ("@acme/ui", "@acme/secret"):
        await people.set_collaborator(name, "bob", Permission.READ, ANN)
        await people.set_grant("acme", "core", name, Permission.WRITE, ANN)
    routing = Routing(rules=RULES, mirrors={}, published=hosted)
    permissions = Permissions(routing=routing, hosted=hosted, people=people, second_factor=codes)
    return House(hosted, people, codes, permissions)


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
open-secret   who     yes  -    -    -    yes
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
open-new      who     yes  no   no   no   yes
locked        who     -    -    -    -    yes
lodash        who     up   up   up   up   up
"""


def rows(table: str) -> list[tuple[str, list[str]]]:
    head, *lines = (line.split() for line in table.strip("\n").splitlines())
    assert head == list(PEOPLE)
    return [(name, cells) for name, *cells in lines]


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


@pytest.mark.parametrize(
    ("name", "expected"), [row for row in rows(READS) if row[0] not in {"corp", "lodash"}]
)
async def test_a_list_shows_what_may_be_read(house: House, name: str, expected: list[str]) -> None:
    """Search and lists are told the same of a package that lives here as who asks for it."""
    may = [await house.permissions.may_read(caller, name) for caller in PEOPLE.values()]

    assert may == [cell == "yes" for cell in expected]


async def test_what_may_not_be_read_looks_like_nothing(house: House) -> None:
    """The error of a package that is hidden is the one of a package that does not exist."""
    hidden = names.parse("@acme/secret")

    with pytest.raises(errors.PackageNotFound) as caught:
        await house.permissions.require_read(DAN, hidden)

    assert str(caught.value) == str(errors.PackageNotFound(name="@acme/secret"))


async def test_a_reader_learns_where_a_name_lives(house: House) -> None:
    """Who may read is told the origin, also of a name that stayed when its rule had changed."""
    found = [await house.permissions.require_read(ANN_, names.parse(name))
             for name in ("@acme/ui", "fork", "kept", "lodash")]  # fmt: skip

    assert found == [HOSTED, FORK, HOSTED, NPM]


async def test_a_writer_is_named(house: House) -> None:
    """Who may write is returned, for the audit log and the owners."""
    name = names.parse("@acme/ui")

    assert await house.permissions.require(CAT, Action.PUBLISH, name) == "cat"


# --- tokens -----------------------------------------------------------------------------------


def carrying(caller: Caller, **changes: Any) -> Caller:
    return replace(caller, token=replace(TOKEN, **changes))


async def test_a_token_to_read_with_writes_nothing(house: House) -> None:
    """A token for reading reads what its user may, and writes nothing, an administrator's too."""
    ann, root = (carrying(caller, is_readonly=True) for caller in (ANN_, ROOT))

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
    ann = carrying(ANN_, **limits)

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
    assert await house.read(carrying(ANN_, packages=("@acme/ui",)), "lodash") == "yes"


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
    await house.read(ANN_, "open")

    house.hosted.store.is_away = True

    assert await house.read(PEOPLE[who], "open") == "away"
    assert await house.read(PEOPLE[who], "lodash") == "yes"


# --- the second factor ------------------------------------------------------------------------


def careful(caller: Caller, otp: str | None = None) -> Caller:
    return replace(caller, needs_otp=True, otp=otp, proof=Proof())


async def test_a_write_takes_a_second_factor_where_one_is_set(house: House) -> None:
    """Without the code, or with another one, the write is refused; with it, it is done."""
    found = [
        await house.write(careful(ANN_, otp), "@acme/ui") for otp in (None, "000000", "123456")
    ]

    assert found == ["otp", "otp", "yes"]


async def test_an_administrator_needs_the_second_factor_too(house: House) -> None:
    """Administrators pass lists and owners, not the second factor of their own account."""
    assert await house.write(careful(ROOT), "@acme/ui") == "otp"


async def test_a_read_takes_no_second_factor(house: House) -> None:
    """Reading asks for no code, whatever the account asks for."""
    assert await house.read(careful(ANN_), "@acme/secret") == "yes"
    assert house.codes.asked == []


@pytest.mark.parametrize("name", ["@acme/ui", "@acme/secret", "locked", "lodash"])
async def test_a_code_is_not_spent_on_what_is_refused(house: House, name: str) -> None:
    """The code, good once, is asked for when everything else says yes."""
    assert await house.write(careful(DAN, "123456"), name) != "yes"
    assert house.codes.asked == []


async def test_a_code_is_asked_for_once_in_a_request(house: House) -> None:
    """A request that writes twice has shown its code the first time."""
    ann = careful(ANN_, "123456")

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
    limited = [carrying(DAN, is_readonly=True), carrying(DAN, packages=("open",))]

    assert [await readers_write(house, each, "@acme/ui") for each in limited] == ["no", "no"]
    assert await readers_write(house, careful(DAN), "@acme/ui") == "otp"


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        (Caller(), "who"),
        (REJECTED, "who"),
        (UNKNOWN, "away"),
        (BOB, "yes"),
        (carrying(BOB), "yes"),
        (carrying(BOB, is_readonly=True), "no"),
        (carrying(BOB, packages=("open",)), "no"),
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
    found = [await outcome(house.permissions.require_second_factor(careful(BOB, otp)))
             for otp in (None, "123456")]  # fmt: skip

    assert found == ["otp", "yes"]
