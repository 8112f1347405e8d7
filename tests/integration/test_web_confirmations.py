"""Writes that are confirmed on a web page: item 88 of the protocol's edge cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.npm.policy import HOSTED, Rule, Rules
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Deed
from tests.hosting import a_version
from tests.logins import begin, login_of
from tests.people import PASSWORD, add_user, code_of
from tests.registry import Answer, Registry


@pytest.fixture
async def writer(registry: Registry) -> Registry:
    """A registry with @acme/ui of ann, whose writes need the second factor, and of bob."""
    await registry.stop()
    rules = Rules((Rule(("@acme/*",), HOSTED), *registry.config.rules.rules))
    registry.config = replace(registry.config, rules=rules)
    await registry.start()
    await add_user(registry, totp_mode="auth-and-writes")
    async with open_database(registry.config.storage.path / "hosted.sqlite") as database:
        hosted, deed = SqliteHosted(database), Deed("ann", registry.clock.now())
        await hosted.publish(a_version(), deed)
        await hosted.set_owners("@acme/ui", ["ann", "bob"], deed)
    return registry


async def web_token(registry: Registry) -> str:
    login = await begin(registry)
    await login.answer(code=code_of(registry))
    registry.clock.advance(seconds=60)
    token: str = (await login.poll()).json()["token"]
    return token


async def tag(registry: Registry, token: str, **headers: str) -> Answer:
    """A write that needs the second factor; without it, it gets no further."""
    sent = {"Authorization": f"Bearer {token}", **headers}
    return await registry.ask("PUT", "/-/package/@acme%2fui/dist-tags/beta", sent, b'"1.0.0"')


async def test_88_a_write_is_confirmed_on_the_web(writer: Registry) -> None:
    """The code on the page gives the client a word that is good as npm-otp for one write."""
    token = await web_token(writer)
    asked = await tag(writer, token, **{"npm-auth-type": "web"})
    login = login_of(writer, asked.json()["authUrl"], asked.json()["doneUrl"])
    waiting = await login.poll()
    page = await login.answer(name="", password="", code=code_of(writer))
    otp = (await login.poll()).json()["token"]

    first = await tag(writer, token, **{"npm-otp": otp})
    second = await tag(writer, token, **{"npm-otp": otp})

    assert asked.status == 401
    assert asked.headers["WWW-Authenticate"] == "OTP"
    assert waiting.status == 202
    assert page.status == 200
    assert first.status == 201, first.body
    assert second.status == 401


@pytest.mark.parametrize("kind", [{}, {"npm-auth-type": "legacy"}], ids=["none", "legacy"])
async def test_88_the_web_is_offered_to_who_takes_it(
    writer: Registry, kind: dict[str, str]
) -> None:
    """A client that does not say it opens pages is asked for the code as ever."""
    asked = await tag(writer, await web_token(writer), **kind)

    assert asked.status == 401
    assert "one-time pass" in asked.json()["error"]
    assert not {"authUrl", "doneUrl"} & asked.json().keys()


async def test_88_who_begins_too_many_is_asked_as_ever(writer: Registry) -> None:
    """Beyond the limit of pages for one address a write still gets the 401 that asks for a code."""
    token = await web_token(writer)
    asked = [await tag(writer, token, **{"npm-auth-type": "web"}) for _ in range(101)]

    assert {reply.status for reply in asked} == {401}
    assert "authUrl" in asked[0].json()
    assert "authUrl" not in asked[-1].json()


async def test_88_a_wrong_code_confirms_nothing(writer: Registry) -> None:
    """Neither an empty nor a wrong code, nor the password, confirms a write."""
    asked = await tag(writer, await web_token(writer), **{"npm-auth-type": "web"})
    login = login_of(writer, asked.json()["authUrl"], asked.json()["doneUrl"])

    tried = [await login.answer(code=code) for code in ("", "12345", PASSWORD)]

    assert [reply.status for reply in tried] == [401] * 3
    assert (await login.poll()).status == 202


async def test_88_a_confirmation_is_its_users_alone(writer: Registry) -> None:
    """The word one user got does not confirm another's write, and is used up by trying."""
    await add_user(writer, "bob", totp_mode="auth-and-writes")
    ann, bob = await web_token(writer), await begin(writer)
    await bob.answer(name="bob", code=code_of(writer))
    bobs = (await bob.poll()).json()["token"]
    asked = await tag(writer, ann, **{"npm-auth-type": "web"})
    login = login_of(writer, asked.json()["authUrl"], asked.json()["doneUrl"])
    await login.answer(code=code_of(writer))
    otp = (await login.poll()).json()["token"]

    tried = await tag(writer, bobs, **{"npm-otp": otp})

    assert tried.status == 401
    assert (await tag(writer, ann, **{"npm-otp": otp})).status == 401


async def test_88_a_confirmation_expires(writer: Registry) -> None:
    """Five minutes after it was given the word is good for nothing."""
    token = await web_token(writer)
    asked = await tag(writer, token, **{"npm-auth-type": "web"})
    login = login_of(writer, asked.json()["authUrl"], asked.json()["doneUrl"])
    await login.answer(code=code_of(writer))
    otp = (await login.poll()).json()["token"]
    writer.clock.advance(minutes=5, seconds=1)

    assert (await tag(writer, token, **{"npm-otp": otp})).status == 401
