"""What teams are granted, and who grants it (PROTOCOL 1.9)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pyotp
import pytest

from proxy.npm.policy import EVERYTHING, HOSTED, Origin, Rule, Rules
from proxy.storage.hosting import Access, Action
from proxy.storage.identity import AuditQuery
from tests.acme import CORE, MEMBERS, TEAMS, Acme
from tests.fakes.uplink import FakeUplink
from tests.town import Person, Town, inhabited


@pytest.fixture
async def town(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Town]:
    async with inhabited(tmp_path / "data", uplink.url) as running:
        yield running


@pytest.fixture
async def acme(town: Town) -> Acme:
    return await Acme.of(town)


# --- grants ---------------------------------------------------------------------------------------


async def test_a_grant_is_to_read_or_to_write(acme: Acme) -> None:
    """A read-only grant lets a team read, a read-write one lets it change the package, too."""
    await acme.town.publish("@acme/ui", "ann", access=Access.RESTRICTED)
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    await acme.ann.do("PUT", f"{CORE}/user", {"user": "dora"})
    grant = {"package": "@acme/ui", "permissions": "read-only"}
    access = ("POST", "/-/package/@acme%2fui/access", {"access": "public"})

    await acme.ann.do("PUT", f"{CORE}/package", grant)
    reads = await acme.dora.get("/-/package/@acme%2fui/collaborators")
    refused = await acme.dora.refused(*access)
    await acme.ann.do("PUT", f"{CORE}/package", grant | {"permissions": "read-write"})
    await acme.dora.do(*access)

    assert reads == {"ann": "write", "dora": "read"}
    assert refused == (403, "dora is no owner of @acme/ui")
    assert await acme.dora.get(f"{CORE}/package?format=cli") == {"@acme/ui": "write"}
    assert await acme.dora.get("/-/org/acme/package") == {"@acme/ui": "write"}


async def test_a_grant_takes_both_rights(acme: Acme) -> None:
    """An admin of the organisation grants no package of others; nor an owner to others' teams."""
    await acme.town.publish("@acme/ui", "dora")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    grant = {"package": "@acme/ui", "permissions": "read-write"}

    admin = await acme.adam.refused("PUT", f"{CORE}/package", grant)
    owner = await acme.dora.refused("PUT", f"{CORE}/package", grant)

    assert admin == (403, "adam is no owner of @acme/ui")
    assert owner == (403, "only an owner or admin of acme may do this")
    assert await acme.ann.get(f"{CORE}/package") == {}


async def test_nothing_is_granted_ahead(acme: Acme) -> None:
    """A name that is not published yet is granted to nobody: its first publisher would not know."""
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    grant = {"package": "@acme/later", "permissions": "read-write"}

    reply = await acme.ann.refused("PUT", f"{CORE}/package", grant)

    assert reply == (404, "no such package: @acme/later")


async def test_what_an_uplink_has_is_granted_to_nobody(acme: Acme) -> None:
    """A grant of a mirrored package is refused as every write to it is, and says what to do."""
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    grant = {"package": "lodash", "permissions": "read-write"}

    status, said = await acme.ann.refused("PUT", f"{CORE}/package", grant)

    assert (status, "lodash comes from the uplink npm" in said) == (403, True)


async def test_either_right_takes_a_grant_back(acme: Acme) -> None:
    """A package's owner revokes without being in the organisation, and so does an admin of it."""
    await acme.town.publish("@acme/ui", "eve")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    grant = {"package": "@acme/ui", "permissions": "read-write"}
    for revoker in (acme.eve, acme.adam):
        await acme.root.do("PUT", f"{CORE}/package", grant)

        await revoker.do("DELETE", f"{CORE}/package", {"package": "@acme/ui"})

        assert await acme.ann.get(f"{CORE}/package") == {}


async def test_packages_that_a_member_may_not_read_are_not_listed(acme: Acme) -> None:
    """A grant to one team does not tell the others that there is such a package."""
    await acme.town.publish("@acme/secret", "ann", access=Access.RESTRICTED)
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    grant = {"package": "@acme/secret", "permissions": "read-only"}
    await acme.ann.do("PUT", f"{CORE}/package", grant)

    assert await acme.dora.get("/-/org/acme/package") == {}
    assert await acme.dora.get(f"{CORE}/package") == {}
    assert await acme.ann.get(f"{CORE}/package") == {"@acme/secret": "read"}


async def test_npm_falls_back_from_organisation_to_user(acme: Acme) -> None:
    """A user's name asked as an organisation is 404, so that npm asks for the user then."""
    await acme.town.publish("tools", "eve")

    assert (await acme.eve.refused("GET", "/-/org/eve/package"))[0] == 404
    assert await acme.eve.get("/-/user/eve/package") == {"tools": "write"}


async def test_groups_of_rules_are_organisations_and_teams(
    tmp_path: Path, uplink: FakeUplink
) -> None:
    """In a rule `@acme` is the organisation and `@acme:core` its team, from the next request on."""
    rules = Rules(
        (
            Rule(("core-*",), HOSTED, read=("@acme:core",)),
            Rule(("acme-*",), HOSTED, read=("@acme",)),
            Rule((EVERYTHING,), Origin("npm")),
        )
    )
    async with inhabited(tmp_path / "data", uplink.url, rules=rules) as town:
        root, dora = await town.person("root"), await town.person("dora")
        for name in ("core-a", "acme-a"):
            await town.publish(name, "root")
        seen = [await _statuses(dora)]

        await root.do("PUT", MEMBERS, {"user": "root", "role": "owner"})
        await root.do("PUT", MEMBERS, {"user": "dora"})
        seen.append(await _statuses(dora))
        await root.do("PUT", TEAMS, {"name": "core"})
        await root.do("PUT", f"{CORE}/user", {"user": "dora"})
        seen.append(await _statuses(dora))
        await root.do("DELETE", MEMBERS, {"user": "dora"})
        seen.append(await _statuses(dora))

    assert seen == [(404, 404), (200, 404), (200, 200), (404, 404)]


async def _statuses(person: Person) -> tuple[int, int]:
    replies = [await person.ask("GET", path) for path in ("/acme-a", "/core-a")]
    return replies[0].status, replies[1].status


# --- tokens, second factors, the log --------------------------------------------------------------


async def test_a_token_with_less_rights_changes_no_team(acme: Acme) -> None:
    """A token to read with, or for some packages, leaves organisations as they are."""
    await acme.town.publish("@acme/ui", "ann")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    reader = await acme.town.person("ann", is_readonly=True)
    narrow = await acme.town.person("ann", packages=("@acme/ui",))
    grant = {"package": "@acme/ui", "permissions": "read-write"}

    assert await reader.refused("PUT", TEAMS, {"name": "more"}) == (
        403,
        "this token is for reading only",
    )
    for method, path, body in (
        ("PUT", TEAMS, {"name": "more"}),
        ("PUT", MEMBERS, {"user": "eve"}),
        ("DELETE", MEMBERS, {"user": "ann"}),
        ("PUT", f"{CORE}/package", grant),
    ):
        assert await narrow.refused(method, path, body) == (
            403,
            "this token is for certain packages only",
        )


async def test_a_second_factor_is_used_once_and_last(acme: Acme) -> None:
    """A write that is refused for other reasons does not use the one-time password up."""
    secret = pyotp.random_base32()
    user = {"totp_secret": secret, "totp_mode": "auth-and-writes"}
    zoe = await acme.town.person("zoe", user=user)
    await acme.root.do("PUT", MEMBERS, {"user": "zoe", "role": "owner"})
    await acme.town.publish("@acme/ui", "zoe")
    await acme.ann.do("PUT", TEAMS, {"name": "core"})
    otp = pyotp.TOTP(secret).now()
    grant = {"package": "@acme/ui", "permissions": "read-write"}

    without = await zoe.ask("PUT", f"{CORE}/package", grant)
    wrong = await zoe.ask("PUT", f"{CORE}/package", grant | {"package": "@acme/no"}, npm_otp=otp)
    done = await zoe.ask("PUT", f"{CORE}/package", grant, npm_otp=otp)
    again = await zoe.ask("PUT", f"{CORE}/package", grant, npm_otp=otp)

    assert [reply.status for reply in (without, wrong, done, again)] == [401, 404, 201, 401]
    assert without.headers["www-authenticate"] == "OTP"


async def test_every_change_is_in_the_audit_log(acme: Acme) -> None:
    """Each write says who did it, from where, about what; a refused one leaves no row."""
    await acme.town.publish("@acme/ui", "ann")
    grant = {"package": "@acme/ui", "permissions": "read-only"}
    await acme.dora.refused("PUT", TEAMS, {"name": "core"})

    for method, path, body in (
        ("PUT", MEMBERS, {"user": "eve"}),
        ("PUT", TEAMS, {"name": "core"}),
        ("PUT", f"{CORE}/user", {"user": "eve"}),
        ("PUT", f"{CORE}/package", grant),
        ("DELETE", f"{CORE}/package", grant),
        ("DELETE", f"{CORE}/user", {"user": "eve"}),
        ("DELETE", CORE, None),
        ("DELETE", MEMBERS, {"user": "eve"}),
    ):
        await acme.ann.do(method, path, body)

    rows = await acme.town.people.audit(AuditQuery(user="ann"))
    assert [(row.action, row.subject) for row in reversed(rows)][1:] == [
        (Action.TEAM, "acme"),
        (Action.TEAM, "acme:core"),
        (Action.TEAM, "acme:core"),
        (Action.PERMISSION, "@acme/ui"),
        (Action.PERMISSION, "@acme/ui"),
        (Action.TEAM, "acme:core"),
        (Action.TEAM, "acme:core"),
        (Action.TEAM, "acme"),
    ]
    assert {row.deed.client_ip for row in rows[:-1]} == {"127.0.0.1"}
    assert await acme.town.people.audit(AuditQuery(user="dora")) == []
