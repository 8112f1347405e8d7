"""What every People keeps to, whatever it is made of."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.errors import Conflict, NotFound
from proxy.storage.hosting import Action, Deed
from proxy.storage.identity import (
    AuditQuery,
    LoginSession,
    People,
    Permission,
    Role,
    SessionState,
    TokenKind,
    TokenRecord,
    UserRecord,
)

NOON = datetime(2026, 5, 4, 12, 0, 30, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ROOT = Deed("root", NOON, "192.0.2.7", "k0")
LATER = replace(ROOT, at=NOON + MINUTE)
READ, WRITE = Permission.READ, Permission.WRITE


def a_user(name: str = "ann", **changes: object) -> UserRecord:
    return replace(UserRecord(name=name, created_at=NOON, updated_at=NOON), **changes)


def a_token(key: str = "k1", user: str = "ann", **changes: object) -> TokenRecord:
    made = TokenRecord(
        hash=key.encode().hex().ljust(64, "0"),
        key=key,
        user=user,
        kind=TokenKind.LOGIN,
        shown="pkh_...wxyz",
        created_at=NOON,
    )
    return replace(made, **changes)


async def known(people: People, *names: str) -> None:
    for name in names:
        await people.add_user(a_user(name), ROOT)


async def told(people: People, **query: object) -> list[tuple[Action, str, object]]:
    rows = await people.audit(AuditQuery(**query))
    return [(row.action, row.subject, json.loads(row.facts)) for row in rows]


# --- users ---


async def test_user_comes_back_whole(people: People) -> None:
    """A user is read as they were written."""
    user = a_user(
        email="ann@example.test",
        password_hash="$argon2id$...",
        is_disabled=True,
        totp_secret="SECRET",
        totp_mode="auth-only",
        recovery_hashes=("aa", "bb"),
        profile={"fullname": "Änn"},
        totp_asked="auth-and-writes",
    )

    await people.add_user(user, ROOT)

    assert await people.user("ann") == user
    assert await people.user("Ann") is None
    assert await people.users() == [user]


async def test_name_is_taken_in_any_case(people: People) -> None:
    """Nobody gets a name that differs from another's by its case."""
    await known(people, "ann")

    for name in ("ann", "Ann", "ANN"):
        with pytest.raises(Conflict, match=name):
            await people.add_user(a_user(name), ROOT)


async def test_another_password_ends_the_other_logins(people: People) -> None:
    """A new password ends every login but the one it is set from; made tokens stay."""
    await known(people, "ann", "bob")
    for number, kind in enumerate([TokenKind.LOGIN, TokenKind.WEB, TokenKind.GRANULAR]):
        await people.add_token(a_token(f"a{number}", kind=kind), ROOT)
    await people.add_token(a_token("b0", user="bob"), ROOT)

    others = await people.set_password("ann", "hash", replace(ROOT, user="ann", token_key="a0"))
    left = {token.key for token in await people.tokens("ann")}
    all_of_them = await people.set_password("ann", "other", ROOT)

    assert (others, left, all_of_them) == (1, {"a0", "a2"}, 1)
    assert [token.key for token in await people.tokens("ann")] == ["a2"]
    assert [token.key for token in await people.tokens("bob")] == ["b0"]
    rows = await people.audit(AuditQuery(action=Action.TOKEN, subject="ann"), 2)
    assert [json.loads(row.facts)["key"] for row in rows] == ["a0", "a1"]


async def test_user_is_changed_part_by_part(people: People) -> None:
    """Each change touches its own part of a user, and the time of the last change."""
    await known(people, "ann")

    await people.set_password("ann", "hash", LATER)
    await people.set_profile("ann", "a@example.test", {"github": "ann"}, LATER)
    await people.set_disabled("ann", True, LATER)
    await people.set_totp("ann", "SECRET", None, LATER, ["aa"], asked="auth-only")

    assert await people.user("ann") == a_user(
        totp_asked="auth-only",
        updated_at=NOON + MINUTE,
        email="a@example.test",
        password_hash="hash",
        is_disabled=True,
        totp_secret="SECRET",
        recovery_hashes=("aa",),
        profile={"github": "ann"},
    )


async def test_a_hash_is_renewed_where_it_is_still_there(people: People) -> None:
    """Another hash of the same password never undoes a change of password, and changes nothing."""
    await people.add_user(a_user(password_hash="old"), ROOT)

    await people.renew_hash("ann", "other", "wrong")
    await people.renew_hash("bob", "old", "wrong")
    await people.renew_hash("ann", "old", "new")

    assert await people.user("ann") == a_user(password_hash="new")
    assert len(await people.audit(AuditQuery())) == 1


async def test_unknown_user_is_not_changed(people: People) -> None:
    """A change of somebody unknown is refused, and so is a token for them."""
    with pytest.raises(NotFound, match="bob"):
        await people.set_password("bob", "hash", ROOT)
    with pytest.raises(NotFound):
        await people.set_disabled("bob", True, ROOT)
    with pytest.raises(NotFound):
        await people.add_token(a_token(user="bob"), ROOT)

    assert await people.audit(AuditQuery()) == []


async def test_code_is_used_once(people: People) -> None:
    """The code of a time step is good once, and an earlier one is not good after it."""
    await known(people, "ann")
    await people.set_totp("ann", "SECRET", "auth-only", ROOT)

    used = [await people.spend_totp("ann", step) for step in (100, 100, 99, 101)]

    assert used == [True, False, False, True]
    assert not await people.spend_totp("bob", 100)


async def test_another_secret_has_no_used_codes(people: People) -> None:
    """Used codes are remembered when the mode changes, and forgotten with their secret."""
    await known(people, "ann")
    await people.set_totp("ann", "SECRET", None, ROOT)
    await people.spend_totp("ann", 100)

    await people.set_totp("ann", "SECRET", "auth-only", ROOT)
    same = await people.spend_totp("ann", 100)
    await people.set_totp("ann", "OTHER", "auth-only", ROOT)

    assert (same, await people.spend_totp("ann", 100)) == (False, True)


async def test_recovery_code_is_used_once(people: People) -> None:
    """A recovery code is good once; what is none is not good."""
    await known(people, "ann")
    await people.set_totp("ann", "SECRET", "auth-only", ROOT, ["aa", "bb"])

    used = [await people.spend_recovery("ann", code, ROOT) for code in ("aa", "aa", "cc")]

    user = await people.user("ann")
    assert used == [True, False, False]
    assert user is not None
    assert user.recovery_hashes == ("bb",)
    assert not await people.spend_recovery("bob", "aa", ROOT)


# --- tokens ---


async def test_token_comes_back_with_its_user(people: People) -> None:
    """A token is found by its hash, whole and together with its user."""
    await known(people, "ann")
    token = a_token(
        kind=TokenKind.GRANULAR,
        name="ci",
        description="for the build",
        is_readonly=True,
        is_otp_exempt=True,
        packages=("@acme/ui",),
        scopes=("@acme",),
        cidrs=("192.0.2.0/24", "2001:db8::/32"),
        expires_at=NOON + timedelta(days=7),
    )

    await people.add_token(token, ROOT)

    assert await people.token(token.hash) == (token, a_user())
    assert await people.token("ff" * 32) is None


async def test_tokens_are_listed_newest_first(people: People) -> None:
    """Somebody's tokens are listed, and nobody else's."""
    await known(people, "ann", "bob")
    older, newer = a_token("k1"), a_token("k2", created_at=NOON + MINUTE)
    for token in (older, newer, a_token("k3", "bob")):
        await people.add_token(token, ROOT)

    assert await people.tokens("ann") == [newer, older]


async def test_revoked_token_is_gone(people: People) -> None:
    """A token is revoked by its key or its hash, by its own user, once."""
    await known(people, "ann", "bob")
    for key in ("k1", "k2", "k3"):
        await people.add_token(a_token(key), ROOT)

    assert not await people.revoke_token("bob", "k1", ROOT)
    assert await people.revoke_token("ann", "k1", ROOT)
    assert not await people.revoke_token("ann", "k1", ROOT)
    assert await people.revoke_token("ann", a_token("k2").hash, ROOT)

    found = [await people.token(a_token(key).hash) is not None for key in ("k1", "k2", "k3")]
    assert found == [False, False, True]


async def test_all_tokens_are_revoked(people: People) -> None:
    """Every token of a user goes at once, and is counted; others' stay."""
    await known(people, "ann", "bob")
    for token in (a_token("k1"), a_token("k2"), a_token("k3", "bob")):
        await people.add_token(token, ROOT)

    assert await people.revoke_tokens("ann", ROOT) == 2
    assert await people.tokens("ann") == []
    assert await people.token(a_token("k3").hash) is not None


async def test_use_is_noted_to_the_hour(people: People) -> None:
    """A token's last use is known to the hour, and a second use in it writes nothing."""
    await known(people, "ann")
    await people.add_token(a_token(), ROOT)
    await people.mark_token_used(a_token().hash, NOON)
    counted = people.revision()

    await people.mark_token_used(a_token().hash, NOON + 10 * MINUTE)
    await people.mark_token_used(a_token().hash, NOON - timedelta(days=1))
    await people.mark_token_used("ff" * 32, NOON)

    found = await people.token(a_token().hash)
    assert found is not None
    assert found[0].used_at == NOON.replace(minute=0, second=0, microsecond=0)
    assert people.revision() == counted


# --- web logins ---


async def test_login_hands_its_token_over_once(people: People) -> None:
    """A login that was granted gives its token to one caller, and is forgotten."""
    await people.add_session(LoginSession("ab", NOON + MINUTE, facts=b'{"host":"h"}'))
    assert await people.take_session("ab", NOON) is None

    assert await people.grant_session("ab", "ann", b"secret", ROOT)

    waiting = await people.session("ab", NOON)
    granted = LoginSession(
        *("ab", NOON + MINUTE, SessionState.GRANTED, "ann", b"secret", b'{"host":"h"}')
    )
    taken = [await people.take_session("ab", NOON) for _ in range(2)]
    assert (waiting, taken) == (granted, [granted, None])
    assert await people.session("ab", NOON) is None


async def test_another_password_ends_what_was_granted(people: People) -> None:
    """With a new password what waits to be taken by who knew the old one is gone."""
    await known(people, "ann", "bob")
    for user in ("ann", "bob"):
        await people.add_session(LoginSession(user, NOON + MINUTE))
        await people.grant_session(user, user, b"", ROOT)

    await people.set_password("ann", "hash", ROOT)
    left = [await people.session(user, NOON) is not None for user in ("ann", "bob")]
    assert left == [False, True]


async def test_login_is_decided_once(people: People) -> None:
    """A login that was refused is not granted, and one that was granted is not refused."""
    await people.add_session(LoginSession("ab", NOON + MINUTE))
    await people.add_session(LoginSession("cd", NOON + MINUTE))
    assert await people.refuse_session("ab", NOON)
    assert await people.grant_session("cd", "ann", b"x", ROOT)

    assert not await people.grant_session("ab", "ann", b"x", ROOT)
    assert not await people.grant_session("cd", "bob", b"y", ROOT)
    assert not await people.refuse_session("cd", NOON)
    assert not await people.grant_session("ef", "ann", b"x", ROOT)

    refused = await people.session("ab", NOON)
    assert refused is not None
    assert (refused.state, refused.handover) == (SessionState.REFUSED, None)
    assert await people.take_session("ab", NOON) is None


async def test_login_expires(people: People) -> None:
    """A login that has expired is not found, not granted and not handed over."""
    await people.add_session(LoginSession("ab", NOON + MINUTE))
    await people.add_session(LoginSession("cd", NOON + MINUTE))
    await people.grant_session("cd", "ann", b"x", ROOT)
    late = NOON + MINUTE

    assert await people.session("ab", late) is None
    assert not await people.grant_session("ab", "ann", b"x", replace(ROOT, at=late))
    assert await people.take_session("cd", late) is None


# --- failures ---


async def test_failures_are_counted_by_key_and_time(people: People) -> None:
    """Failures count for their own key, from the minute that is asked for."""
    for minutes in (0, 0, 3, 7):
        await people.add_failure("user ann", NOON + minutes * MINUTE)
    await people.add_failure("user bob", NOON)

    counts = [await people.failures("user ann", NOON + m * MINUTE) for m in (0, 1, 4, 8)]

    assert counts == [4, 2, 1, 0]
    assert await people.failures("user zoe", NOON) == 0


async def test_failures_are_forgotten(people: People) -> None:
    """Somebody's failures are forgotten without anybody else's."""
    for key in ("user ann", "user bob"):
        await people.add_failure(key, NOON)

    await people.forget_failures("user ann")

    assert await people.failures("user ann", NOON) == 0
    assert await people.failures("user bob", NOON) == 1


async def test_what_has_expired_is_dropped(people: People) -> None:
    """Expired tokens and logins and old failures go; what is still good stays."""
    await known(people, "ann")
    for key, expires_at in (("k1", NOON), ("k2", NOON + MINUTE), ("k3", None)):
        await people.add_token(a_token(key, expires_at=expires_at), ROOT)
    await people.add_session(LoginSession("ab", NOON))
    await people.add_session(LoginSession("cd", NOON + MINUTE))
    await people.add_failure("x", NOON - timedelta(days=2))
    await people.add_failure("x", NOON)

    assert await people.drop_expired(NOON) == 3

    assert {token.key for token in await people.tokens("ann")} == {"k2", "k3"}
    assert await people.session("cd", NOON) is not None
    assert await people.failures("x", NOON - timedelta(days=9)) == 1


# --- what was done ---


async def test_audit_row_tells_who_what_and_whence(people: People) -> None:
    """An audit row has the deed, what it was about, and its facts."""
    deed = Deed("ann", NOON, "2001:db8::1", "k9")

    await people.note(Action.LOGIN, "ann", deed, {"method": "password"})
    await people.note(Action.LOGIN, "bob", Deed("bob", NOON))

    bob, ann = await people.audit(AuditQuery())
    assert (ann.deed, ann.action, ann.subject) == (deed, Action.LOGIN, "ann")
    assert json.loads(ann.facts) == {"method": "password"}
    assert (bob.deed, bob.facts) == (Deed("bob", NOON), b"{}")
    assert bob.number > ann.number


async def test_changes_of_people_have_audit_rows(people: People) -> None:
    """Users, tokens, teams, permissions and logins leave rows, none of which holds a secret."""
    await people.add_user(a_user(password_hash="HIDDEN"), ROOT)
    await people.set_password("ann", "HIDDEN", ROOT)
    await people.set_totp("ann", "HIDDEN", "auth-only", ROOT, ["HIDDEN"])
    await people.spend_recovery("ann", "HIDDEN", ROOT)
    await people.add_token(a_token(), ROOT)
    await people.revoke_token("ann", "k1", ROOT)
    await people.set_member("acme", "ann", Role.ADMIN, ROOT)
    await people.set_collaborator("@acme/ui", "ann", READ, ROOT)
    await people.drop_collaborator("@acme/ui", "ann", ROOT)
    await people.add_session(LoginSession("ab", NOON + MINUTE))
    await people.grant_session("ab", "ann", b"HIDDEN", ROOT)

    rows = list(reversed(await told(people)))

    assert [(action.value, subject) for action, subject, _ in rows] == [
        *[("user", "ann")] * 4,
        *[("token", "ann")] * 2,
        ("team", "acme"),
        *[("permission", "@acme/ui")] * 2,
        ("login", "ann"),
    ]
    assert rows[4][2] == {"key": "k1", "change": "created", "kind": "login"}
    assert rows[8][2] == {"user": "ann", "permission": None}
    assert "HIDDEN" not in str(rows)
    assert a_token().hash not in str(rows)


async def test_audit_is_filtered(people: People) -> None:
    """Rows are found by user, action, subject and time, and by all of them together."""
    for hours, (user, action) in enumerate(
        [("ann", Action.LOGIN), ("bob", Action.LOGIN), ("ann", Action.TOKEN)]
    ):
        deed = Deed(user, NOON + timedelta(hours=hours))
        await people.note(action, user, deed, {"n": hours})

    async def numbers(**query: object) -> list[object]:
        return [facts["n"] for _, _, facts in await told(people, **query)]

    assert await numbers() == [2, 1, 0]
    assert await numbers(user="ann") == [2, 0]
    assert await numbers(action=Action.LOGIN) == [1, 0]
    assert await numbers(subject="bob") == [1]
    assert await numbers(since=NOON + timedelta(hours=1)) == [2, 1]
    assert await numbers(until=NOON + timedelta(hours=1)) == [0]
    assert await numbers(user="ann", action=Action.LOGIN) == [0]


async def test_audit_is_read_page_by_page(people: People) -> None:
    """Pages that begin before the last row of the one before tell every row once."""
    for number in range(7):
        await people.note(Action.LOGIN, f"u{number}", ROOT)

    seen: list[str] = []
    query = AuditQuery()
    while page := await people.audit(query, limit=3):
        assert len(page) <= 3
        seen += [row.subject for row in page]
        query = replace(query, before=page[-1].number)

    assert seen == [f"u{number}" for number in reversed(range(7))]
