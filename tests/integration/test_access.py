"""Who may do what with a package, as `npm access` and others ask it (PROTOCOL 1.9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pyotp
import pytest

from proxy.npm.policy import EVERYBODY, EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.storage.hosting import Access, Deed
from proxy.storage.identity import AuditQuery, Permission
from tests.fakes.uplink import FakeUplink
from tests.town import Town, inhabited

UI = "/-/package/@acme%2fui"


@pytest.fixture
async def town(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Town]:
    """A registry where ann has published @acme/ui."""
    async with inhabited(tmp_path / "data", uplink.url) as running:
        await running.person("ann")
        await running.publish("@acme/ui", "ann")
        yield running


def a_deed() -> Deed:
    return Deed("ann", datetime.now(UTC))


async def test_visibility_is_what_the_owner_has_set(town: Town) -> None:
    """A package is public until its owner restricts it, in the words of npm and in pnpm's."""
    ann = await town.person("ann")
    before = [await ann.get(f"{UI}/visibility"), await ann.get(f"{UI}/access")]

    done = await ann.do("POST", f"{UI}/access", {"access": "restricted"})

    assert before == [{"public": True}, {"access": "public"}]
    assert done == {"ok": True, "access": "restricted"}
    assert await ann.get(f"{UI}/visibility") == {"public": False}
    assert await ann.get(f"{UI}/access") == {"access": "restricted"}


@pytest.mark.parametrize("spelling", ["@acme%2fui", "@acme/ui", "%40acme%2Fui"])
async def test_every_spelling_of_a_name_is_that_package(town: Town, spelling: str) -> None:
    """A scope's slash literal or encoded, and npm 6's encoded @, name the same package."""
    ann = await town.person("ann")

    await ann.do("POST", f"/-/package/{spelling}/access", {"access": "restricted"})

    assert await ann.get(f"/-/package/{spelling}/visibility") == {"public": False}


async def test_a_restricted_package_is_not_there_for_others(town: Town) -> None:
    """From the next request on who has no permission is told that it does not exist, anywhere."""
    ann, bob = await town.person("ann"), await town.person("bob")
    assert await bob.get(f"{UI}/collaborators") == {"ann": "write"}

    await ann.do("POST", f"{UI}/access", {"access": "restricted"})

    for path in ("/@acme%2fui", f"{UI}/visibility", f"{UI}/access", f"{UI}/collaborators"):
        assert await bob.refused("GET", path) == (404, "no such package: @acme/ui")
    assert await bob.refused("POST", f"{UI}/access", {"access": "public"}) == (
        404,
        "no such package: @acme/ui",
    )


async def test_who_may_not_publish_changes_no_access(town: Town) -> None:
    """Who reads a package, or has a token to read with, does not change who may read it."""
    bob, reader = await town.person("bob"), await town.person("ann", is_readonly=True)

    refusals = [
        await someone.refused("POST", f"{UI}/access", {"access": "restricted"})
        for someone in (bob, reader)
    ]

    assert refusals == [
        (403, "bob is no owner of @acme/ui"),
        (403, "this token is for reading only"),
    ]
    assert await bob.get(f"{UI}/visibility") == {"public": True}


async def test_nobody_unknown_learns_of_people(town: Town) -> None:
    """Without a login names of people are a 401, and a package that asks for one is a 404."""
    for path in (f"{UI}/collaborators", "/-/user/ann/package"):
        assert (await town.registry.get(path)).status == 401
    assert (await town.registry.get(f"{UI}/visibility")).status == 404


async def test_collaborators_are_owners_and_whom_grants_name(town: Town) -> None:
    """Owners write, whatever else they were granted; `?user=` leaves one of them."""
    ann = await town.person("ann")
    for user, permission in (("zoe", Permission.READ), ("ann", Permission.READ)):
        await town.people.set_collaborator("@acme/ui", user, permission, a_deed())

    assert await ann.get(f"{UI}/collaborators") == {"ann": "write", "zoe": "read"}
    assert await ann.get(f"{UI}/collaborators?format=cli&user=zoe") == {"zoe": "read"}
    assert await ann.get(f"{UI}/collaborators?user=eve") == {}


async def test_a_collaborator_who_writes_changes_the_access(town: Town) -> None:
    """Permission to write a package is permission to say who reads it; the log says who did."""
    zoe = await town.person("zoe")
    await town.people.set_collaborator("@acme/ui", "zoe", Permission.WRITE, a_deed())

    await zoe.do("POST", f"{UI}/access", {"access": "restricted"})

    (row,) = await town.people.audit(AuditQuery(user="zoe"))
    assert (row.subject, row.deed.client_ip, row.deed.token_key is not None) == (
        "@acme/ui",
        "127.0.0.1",
        True,
    )


async def test_a_body_that_asks_for_nothing_possible_is_refused(town: Town) -> None:
    """A second factor for one package is refused with what to do instead; so is any other word."""
    ann = await town.person("ann")

    factor = await ann.refused("POST", f"{UI}/access", {"publish_requires_tfa": True})
    word = await ann.refused("POST", f"{UI}/access", {"access": "secret"})
    lists = await ann.refused("POST", f"{UI}/access", ["restricted"])

    assert factor[0] == 400
    assert "npm profile enable-2fa auth-and-writes" in factor[1]
    assert word == (400, '"access" has to be one of public, restricted in the body')
    assert lists == (400, "the body is not a JSON object")


async def test_the_second_factor_is_asked_for(town: Town) -> None:
    """Whose account asks for it on writes needs a one-time password to change access."""
    secret = pyotp.random_base32()
    user = {"totp_secret": secret, "totp_mode": "auth-and-writes"}
    zoe = await town.person("zoe", user=user)
    await town.publish("tools", "zoe")
    path, body = "/-/package/tools/access", {"access": "restricted"}

    without = await zoe.ask("POST", path, body)
    done = await zoe.ask("POST", path, body, npm_otp=pyotp.TOTP(secret).now())

    assert (without.status, without.headers["www-authenticate"]) == (401, "OTP")
    assert done.status == 200


async def test_a_name_from_an_uplink_has_no_access_here(town: Town, uplink: FakeUplink) -> None:
    """What we only mirror is neither public nor restricted by us, and nobody is asked about it."""
    ann = await town.person("ann")
    asked = len(uplink.requests)

    told = await ann.refused("GET", "/-/package/lodash/visibility")
    write = await ann.refused("POST", "/-/package/lodash/access", {"access": "restricted"})

    assert told == (404, "who may use lodash is known to npm only")
    assert write[0] == 403
    assert "lodash comes from the uplink npm" in write[1]
    assert len(uplink.requests) == asked


async def test_what_was_never_published_has_no_access(town: Town) -> None:
    """A hosted name without a version is 404, before its first publish and after its last."""
    ann = await town.person("ann")
    await town.hosted.remove_package("@acme/ui", a_deed())

    for path in ("/-/package/@acme%2fnew", UI):
        assert (await ann.refused("GET", f"{path}/visibility"))[0] == 404
        assert (await ann.refused("POST", f"{path}/access", {"access": "public"}))[0] == 404


async def test_packages_of_somebody_are_those_the_caller_may_read(town: Town) -> None:
    """What a user owns or was granted is listed as far as whoever asks may read it."""
    ann, bob = await town.person("ann"), await town.person("bob")
    await town.publish("@acme/secret", "ann", access=Access.RESTRICTED)
    await town.publish("tools", "bob")
    await town.publish("@acme/gone", "ann")
    await town.hosted.remove_package("@acme/gone", a_deed())
    await town.people.set_collaborator("tools", "ann", Permission.READ, a_deed())

    assert await ann.get("/-/user/ann/package?format=cli") == {
        "@acme/secret": "write",
        "@acme/ui": "write",
        "tools": "read",
    }
    assert await bob.get("/-/user/ann/package") == {"@acme/ui": "write", "tools": "read"}
    assert await bob.refused("GET", "/-/user/eve/package") == (404, "there is no such user")


async def test_a_token_for_one_package_lists_that_one(town: Town) -> None:
    """A restricted token sees what it may read, of its own user's packages too."""
    await town.publish("tools", "ann")
    ann = await town.person("ann", packages=("tools",))

    assert await ann.get("/-/user/ann/package") == {"tools": "write"}


async def test_rules_stand_above_access(tmp_path: Path, uplink: FakeUplink) -> None:
    """A public package is still for those only whom its rule lets read."""
    rules = Rules(
        (
            Rule(("@acme/*",), HOSTED, read=("ann",)),
            Rule(("tools",), HOSTED, read=(EVERYBODY,)),
            Rule((EVERYTHING,), Origin("npm")),
        )
    )
    async with inhabited(tmp_path / "data", uplink.url, rules=rules) as town:
        for name in ("@acme/ui", "tools"):
            await town.publish(name, "ann")
        await town.person("ann")
        bob = await town.person("bob")

        assert (await bob.refused("GET", f"{UI}/visibility"))[0] == 404
        assert await bob.get("/-/user/ann/package") == {"tools": "write"}
        anybody = await town.registry.get("/-/package/tools/visibility")
        assert anybody.json() == {"public": True}
