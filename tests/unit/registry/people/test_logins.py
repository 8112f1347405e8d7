"""Web logins and confirmations over people in memory: what holds in whatever order one asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from proxy import errors
from proxy.registry.people import confirmations
from proxy.registry.people.callers import Caller
from proxy.registry.people.limits import Limits
from proxy.registry.people.logins import Asker, Logins, Proof
from proxy.registry.people.tokens import Lives, Tokens
from proxy.storage.identity import TokenKind, UserRecord
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import NOON, Deed

ASKER = Asker("192.0.2.7", "npm/12", "laptop")
GOOD = Proof("ann", "right", "", "192.0.2.8")


@dataclass
class House:
    """Logins over people in memory; "right" is everybody's password and code."""

    people: MemoryPeople = field(default_factory=MemoryPeople)
    now: datetime = NOON

    def clock(self) -> datetime:
        return self.now

    async def check(self, user: str, password: str, client_ip: str) -> UserRecord | None:
        return await self.people.user(user) if password == "right" else None

    async def is_good(self, user: UserRecord, code: str | None, caller: Caller) -> bool:
        return code == "right"

    def logins(self) -> Logins:
        lives = Lives(login=timedelta(days=30), token=timedelta(days=90))
        return Logins(
            people=self.people,
            passwords=self,
            second_factor=self,
            tokens=Tokens(people=self.people, lives=lives, clock=self.clock),
            accounts=None,
            limits=Limits(people=self.people, clock=self.clock),
            clock=self.clock,
        )


@pytest.fixture
async def house() -> House:
    made = House()
    for name in ("ann", "bob"):
        await made.people.add_user(UserRecord(name, NOON, NOON), Deed("root", NOON))
    return made


async def test_the_page_is_worked_out_from_the_secret_and_not_back(house: House) -> None:
    """The two ids differ, are as long as the secret needs, and no two logins share one."""
    begun = [await house.logins().begin(ASKER) for _ in range(20)]

    ids = {each.page for each in begun} | {each.done for each in begun}
    assert len(ids) == 40
    assert {len(each) for each in ids} == {43}


async def test_what_is_asked_is_what_was_said(house: House) -> None:
    """The page's question holds who asked and when, for a login and for a write of a user."""
    logins = house.logins()

    login = await logins.question((await logins.begin(ASKER)).page)
    write = await logins.question((await logins.begin(ASKER, "ann")).page)

    assert (login.asker, login.asked_at, login.user) == (ASKER, NOON, None)
    assert (write.user, write.form == login.form) == ("ann", False)


async def test_the_token_is_the_callers_and_of_the_web(house: House) -> None:
    """The token that is handed over is kept as one of the web, with where it was asked from."""
    logins = house.logins()
    begun = await logins.begin(ASKER)
    form = (await logins.question(begun.page)).form

    name = await logins.allow(begun.page, form, GOOD)
    token = await logins.poll(begun.done, ASKER.client_ip)

    (kept,) = await house.people.tokens("ann")
    assert (name, kept.kind, kept.description) == ("ann", TokenKind.WEB, "web login from laptop")
    assert token is not None
    assert token.startswith("phs_")


async def test_an_answer_is_the_last(house: House) -> None:
    """What was allowed cannot be refused any more, nor allowed for somebody else."""
    logins = house.logins()
    begun = await logins.begin(ASKER)
    form = (await logins.question(begun.page)).form
    await logins.allow(begun.page, form, GOOD)

    with pytest.raises(errors.NotFound):
        await logins.refuse(begun.page, form)
    with pytest.raises(errors.NotFound):
        await logins.allow(begun.page, form, Proof("bob", "right", "", ""))


async def test_a_login_hands_over_no_confirmation(house: House) -> None:
    """Ids of a login are no codes: neither of them confirms a write, also once it is allowed."""
    logins = house.logins()
    begun = await logins.begin(ASKER)
    form = (await logins.question(begun.page)).form
    await logins.allow(begun.page, form, GOOD)

    spent = [
        await confirmations.spend(house.people, "ann", code, NOON)
        for code in (begun.page, begun.done)
    ]

    assert spent == [False, False]
    assert await logins.poll(begun.done, "") is not None


async def test_a_confirmation_opens_no_page_and_gives_no_token(house: House) -> None:
    """A code for a write is no id of a login: nothing is shown, polled or handed over by it."""
    code = await confirmations.issue(house.people, "ann", NOON)

    with pytest.raises(errors.NotFound):
        await house.logins().question(code)
    with pytest.raises(errors.NotFound):
        await house.logins().poll(code, "")
    assert await confirmations.spend(house.people, "ann", code, NOON)


@pytest.mark.parametrize("proof", [GOOD, Proof("bob", "right", "", "")], ids=["own", "other"])
async def test_a_password_confirms_no_write(house: House, proof: Proof) -> None:
    """A write is confirmed by its user's code; name and password on the form mean nothing there."""
    logins = house.logins()
    begun = await logins.begin(ASKER, "ann")
    form = (await logins.question(begun.page)).form

    with pytest.raises(errors.OneTimePasswordRequired):
        await logins.allow(begun.page, form, proof)

    assert await logins.allow(begun.page, form, Proof("bob", "", "right", "")) == "ann"


async def test_nobody_signs_up_to_confirm_a_write(house: House) -> None:
    """The form of a write makes no account."""
    logins = house.logins()
    begun = await logins.begin(ASKER, "ann")
    form = (await logins.question(begun.page)).form

    with pytest.raises(errors.Forbidden):
        await logins.sign_up(begun.page, form, GOOD, None)


@pytest.mark.parametrize("id_", ["", "\0", "\udcff", "a" * 10_000])
async def test_any_text_may_be_asked_for(house: House, id_: str) -> None:
    """An id can be any text somebody puts into an address: it is not found, and that is all."""
    with pytest.raises(errors.NotFound):
        await house.logins().question(id_)
    with pytest.raises(errors.NotFound):
        await house.logins().poll(id_, "")
    assert not await confirmations.spend(house.people, "ann", id_, NOON)
