"""Web logins over HTTP: items 84 and 86 of the protocol's edge cases."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.storage.hosting import Action
from proxy.storage.identity import AuditQuery
from proxy.storage.passwords import Passwords
from tests.logins import begin
from tests.people import PASSWORD, add_user, code_of, people_of
from tests.registry import Registry


async def token_of(registry: Registry, user: str = "ann") -> str:
    """A token of a user without a second factor at the login, got on the web."""
    login = await begin(registry)
    await login.answer(name=user)
    token: str = (await login.poll()).json()["token"]
    return token


# --- a login that is allowed ----------------------------------------------------------------------


async def test_86_polling_is_told_to_wait(registry: Registry) -> None:
    """Until somebody has answered, polling gets 202 with a whole number of seconds to wait."""
    login = await begin(registry)

    waiting = await login.poll()

    assert (waiting.status, waiting.json()) == (202, {})
    assert int(waiting.headers["Retry-After"]) == 1
    assert waiting.headers["Cache-Control"] == "no-store"


async def test_a_login_gives_a_token_once(registry: Registry) -> None:
    """Name and password on the page give the client a token, which is good and is given once."""
    await add_user(registry)
    login = await begin(registry)

    page = await login.answer()
    first, second = await login.poll(), await login.poll()

    assert page.status == 200
    assert b"You can close this window" in page.body
    assert [token.shown[:4] for token in await people_of(registry).tokens("ann")] == ["phs_"]
    assert first.json()["token"].startswith("phs_")
    assert second.status == 404


async def test_of_two_who_poll_at_once_one_gets_the_token(registry: Registry) -> None:
    """However many poll with the right address at once, one token is made, for one of them."""
    await add_user(registry)
    login = await begin(registry)
    await login.answer()

    polled = await asyncio.gather(*(login.poll() for _ in range(8)))

    assert sorted(reply.status for reply in polled) == [200] + [404] * 7
    assert len(await people_of(registry).tokens("ann")) == 1


async def test_the_token_lives_as_long_as_logins_do(registry: Registry) -> None:
    """The token of a web login ends after auth.login_age."""
    await add_user(registry)
    await token_of(registry)

    (token,) = await people_of(registry).tokens("ann")

    assert token.expires_at == token.created_at + registry.config.auth.login_age


async def test_no_token_is_kept_or_made_for_nobody(registry: Registry) -> None:
    """A login that was allowed and is never fetched has made no token, and keeps none."""
    await add_user(registry)
    login = await begin(registry)

    await login.answer()

    assert await people_of(registry).tokens("ann") == []
    stored = b"".join(
        file.read_bytes() for file in registry.config.storage.path.glob("hosted.sqlite*")
    )
    assert b"phs_" not in stored
    assert login.page.rpartition("/")[2].encode() not in stored
    assert login.done.rpartition("/")[2].encode() not in stored


async def test_the_page_does_not_lead_to_the_token(registry: Registry) -> None:
    """Who has seen the page cannot poll with its id, and the page does not hold the other one."""
    await add_user(registry)
    login = await begin(registry)
    page = await login.shown()
    await login.answer()

    tried = await registry.get(f"/-/v1/done/{login.page.rpartition('/')[2]}")

    assert tried.status == 404
    assert login.done.rpartition("/")[2].encode() not in page.body
    assert (await login.poll()).status == 200


async def test_84_an_old_token_does_not_hinder_a_login(registry: Registry) -> None:
    """A stale bearer token on both requests of a login is passed over."""
    await add_user(registry)
    stale = {"Authorization": "Bearer phs_" + "a" * 36}
    login = await begin(registry, **stale)
    await login.answer()

    polled = await registry.get(login.done, **stale)

    assert polled.status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"create":true}', b"not JSON", b"[1]", b'"a"'])
async def test_any_body_begins_a_login(registry: Registry, body: bytes) -> None:
    """Whatever a client says at the beginning, it gets two addresses."""
    login = await begin(registry, body)

    assert (await login.shown()).status == 200


async def test_two_logins_have_nothing_in_common(registry: Registry) -> None:
    """Each login has ids and a form of its own; the form of one does not answer another."""
    await add_user(registry)
    one, other = await begin(registry), await begin(registry)

    reply = await one.answer(form=await other.form())

    assert len({one.page, one.done, other.page, other.done}) == 4
    assert reply.status == 403
    assert (await one.poll()).status == 202


async def test_what_was_allowed_is_written_down(registry: Registry) -> None:
    """The audit log says who logged in on the web, and which token was made."""
    await add_user(registry)
    await token_of(registry)

    rows = await people_of(registry).audit(AuditQuery(user="ann"))

    assert [row.action for row in rows] == [Action.TOKEN, Action.LOGIN]
    assert json.loads(rows[1].facts) == {"change": "granted on the web"}


# --- a login that is not --------------------------------------------------------------------------


async def test_a_refused_login_ends(registry: Registry) -> None:
    """The second button needs nothing typed; the client is told that it was refused."""
    login = await begin(registry)

    page = await login.answer("refuse", name="", password="")
    polled = await login.poll()

    assert page.status == 200
    assert polled.status == 404
    assert "refused" in polled.json()["error"]
    assert (await login.shown()).status == 404


async def test_a_login_expires(registry: Registry) -> None:
    """Ten minutes after it began a login can be neither seen, answered nor polled."""
    await add_user(registry)
    login = await begin(registry)
    form = await login.form()
    registry.clock.advance(minutes=10, seconds=1)

    answered = await login.post(
        {"form": form, "deed": "allow", "name": "ann", "password": PASSWORD}
    )

    assert answered.status == 404
    assert ((await login.shown()).status, (await login.poll()).status) == (404, 404)


async def test_what_was_allowed_expires_too(registry: Registry) -> None:
    """A login that was allowed and is fetched too late gives nothing."""
    await add_user(registry)
    login = await begin(registry)
    await login.answer()
    registry.clock.advance(minutes=10, seconds=1)

    assert (await login.poll()).status == 404


@pytest.mark.parametrize(
    "path", ["/-/login/nothing", "/-/v1/done/nothing", "/-/login/%00", "/-/v1/done/%F0%9F%92%A9"]
)
async def test_an_unknown_login_is_404(registry: Registry, path: str) -> None:
    """An id that nobody was given leads nowhere."""
    assert (await registry.get(path)).status == 404


@pytest.mark.parametrize(
    "typed", [{"password": "wrong"}, {"name": "nobody"}, {"name": "", "password": ""}]
)
async def test_a_wrong_password_is_told_on_the_page(
    registry: Registry, typed: dict[str, str]
) -> None:
    """Wrong name and wrong password look the same; the page may be sent again and then works."""
    await add_user(registry)
    login = await begin(registry)

    wrong = await login.answer(**typed)
    pending = await login.poll()
    right = await login.answer()

    assert wrong.status == 401
    assert b"The user name or the password is wrong." in wrong.body
    assert PASSWORD.encode() not in wrong.body
    assert (pending.status, right.status) == (202, 200)


async def test_wrong_passwords_are_limited(registry: Registry) -> None:
    """After ten wrong passwords the right one is not looked at for a while, and it says so."""
    await add_user(registry)
    login = await begin(registry)
    for _ in range(10):
        await login.answer(password="wrong")

    refused = await login.answer()
    registry.clock.advance(minutes=6)
    later = await login.answer()

    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert b"too many failed attempts" in refused.body.lower()
    assert later.status == 200


async def test_beginnings_are_limited(registry: Registry) -> None:
    """One address can begin a hundred logins in five minutes and no more: each is a row."""
    begun = [await registry.ask("POST", "/-/v1/login", {}, b"{}") for _ in range(101)]

    assert [reply.status for reply in begun] == [200] * 100 + [429]


async def test_somebody_who_was_disabled_gets_no_token(registry: Registry) -> None:
    """A user who is shut out between the page and the poll is shut out."""
    await add_user(registry)
    login = await begin(registry)
    await login.answer()
    (row,) = await people_of(registry).audit(AuditQuery(user="ann"))
    await people_of(registry).set_disabled("ann", True, row.deed)

    assert (await login.poll()).status == 404


async def test_another_password_ends_what_the_old_one_allowed(registry: Registry) -> None:
    """Who knew the old password has no token coming; who waits for an answer still waits."""
    await add_user(registry)
    allowed, waiting = await begin(registry), await begin(registry)
    await allowed.answer()
    people = people_of(registry)
    (row,) = await people.audit(AuditQuery(user="ann"))

    await people.set_password("ann", await Passwords().hash("another horse entirely"), row.deed)

    assert (await allowed.poll()).status == 404
    assert (await waiting.poll()).status == 202


# --- the second factor ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auth-only", "auth-and-writes"])
async def test_a_second_factor_is_asked_for_at_the_login(registry: Registry, mode: str) -> None:
    """Who has a second factor gets in with its code, not without it, nor with a used one."""
    await add_user(registry, totp_mode=mode)
    code = code_of(registry)
    login, again = await begin(registry), await begin(registry)

    without = await login.answer()
    wrong = await login.answer(code="000000" if code != "000000" else "111111")
    spaced = await login.answer(code=f"{code[:3]} {code[3:]}")
    reused = await again.answer(code=code)

    assert [reply.status for reply in (without, wrong, spaced, reused)] == [401, 401, 200, 401]
    assert b"one-time password is missing" in without.body


# --- signing up -----------------------------------------------------------------------------------


@pytest.fixture
async def open_house(registry: Registry) -> Registry:
    """A registry where anybody may make an account."""
    await registry.stop()
    registry.set("auth", signup=True)
    await registry.start()
    return registry


async def test_somebody_new_signs_up_on_the_page(open_house: Registry) -> None:
    """Where sign-up is on, the page makes an account and the client is logged in with it."""
    login = await begin(open_house, b'{"create":true}')
    page = await login.shown()

    reply = await login.answer("signup", name="newcomer", email="new@registry.example")

    token = (await login.poll()).json()["token"]
    who = await open_house.get("/-/whoami", Authorization=f"Bearer {token}")
    assert b"Create an account" in page.body
    assert reply.status == 200
    assert who.json() == {"username": "newcomer"}


@pytest.mark.parametrize(
    ("typed", "status", "said"),
    [
        ({"name": "ann"}, 409, b"taken"),
        ({"name": "An Other"}, 422, b"user name is"),
        ({"name": "bob", "password": "short"}, 422, b"10 characters"),
        ({"name": "bob", "email": "nowhere"}, 422, b"e-mail"),
    ],
    ids=["taken", "bad-name", "short-password", "bad-email"],
)
async def test_what_no_account_can_be_is_told(
    open_house: Registry, typed: dict[str, str], status: int, said: bytes
) -> None:
    """A name that is taken or impossible, or a weak password, comes back with the reason."""
    await add_user(open_house)
    login = await begin(open_house)

    reply = await login.answer("signup", **typed)

    assert reply.status == status
    assert said in reply.body
    assert (await login.poll()).status == 202


async def test_nobody_signs_up_where_that_is_off(registry: Registry) -> None:
    """Without auth.signup the page offers no account, and a form that asks for one is refused."""
    login = await begin(registry, b'{"create":true}')
    page = await login.shown()

    reply = await login.answer("signup", name="newcomer")

    assert b"Create an account" not in page.body
    assert reply.status == 403
    assert b"ask an administrator" in reply.body
    assert await people_of(registry).users() == []
