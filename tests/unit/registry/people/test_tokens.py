"""Tokens: what is made, what is kept of it, and how long it is good."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from proxy import errors
from proxy.npm import tokens as form
from proxy.registry.people.tokens import Lives, Tokens
from proxy.storage.identity import AuditQuery, TokenKind, UserRecord
from tests.fakes.memory_people import MemoryPeople
from tests.hosting import ANN, NOON

DAY = timedelta(days=1)
LIVES = Lives(login=30 * DAY, token=90 * DAY)


@pytest.fixture
async def people() -> MemoryPeople:
    made = MemoryPeople()
    await made.add_user(UserRecord(name="ann", created_at=NOON, updated_at=NOON), ANN)
    return made


@pytest.fixture
def tokens(people: MemoryPeople) -> Tokens:
    return Tokens(people=people, lives=LIVES, clock=lambda: NOON)


async def test_what_is_kept_is_the_hash(tokens: Tokens, people: MemoryPeople) -> None:
    """A token is found by its sha256, and no record or audit row holds the token itself."""
    token, record = await tokens.issue("ann", ANN, kind=TokenKind.LOGIN)
    found = await people.token(form.hash_of(token))
    assert found is not None
    assert found[0] == record
    rows = await people.audit(AuditQuery(user="ann"))
    assert token not in repr(record)
    assert token not in repr(rows)
    assert json.loads(rows[0].facts)["key"] == record.key


@pytest.mark.parametrize(
    ("kind", "is_readonly", "asked", "lives"),
    [
        (TokenKind.LOGIN, False, None, 30 * DAY),
        (TokenKind.WEB, False, None, 30 * DAY),
        (TokenKind.WEB, False, DAY, DAY),
        (TokenKind.GRANULAR, False, None, 7 * DAY),
        (TokenKind.GRANULAR, False, 90 * DAY, 90 * DAY),
        (TokenKind.GRANULAR, True, None, None),
        (TokenKind.GRANULAR, True, 900 * DAY, 900 * DAY),
    ],
)
async def test_how_long_it_is_good(
    tokens: Tokens,
    kind: TokenKind,
    is_readonly: bool,
    asked: timedelta | None,
    lives: timedelta | None,
) -> None:
    """A token ends after what its kind allows, or when it was asked to."""
    expires_at = None if asked is None else NOON + asked
    _, record = await tokens.issue(
        "ann", ANN, kind=kind, is_readonly=is_readonly, expires_at=expires_at
    )
    assert record.expires_at == (None if lives is None else NOON + lives)


async def test_a_short_token_age_is_also_the_default(people: MemoryPeople) -> None:
    """Without a word about it no token that may write outlives auth.token_age."""
    short = Tokens(people=people, lives=Lives(30 * DAY, 2 * DAY), clock=lambda: NOON)
    _, record = await short.issue("ann", ANN, kind=TokenKind.GRANULAR)
    assert record.expires_at == NOON + 2 * DAY


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"expires_at": NOON + 91 * DAY}, "90 days at most"),
        ({"expires_at": NOON}, "expired already"),
        ({"packages": ["@acme"]}, "a scope must be followed"),
        ({"packages": ["a"] * 101}, "100 packages at most"),
        ({"scopes": ["acme"]}, "write it like @acme"),
        ({"scopes": ["@acme/ui"]}, "write it like @acme"),
        ({"scopes": ["@"]}, "write it like @acme"),
        ({"cidrs": ["home"]}, "is no network"),
        ({"name": "two\nlines"}, "one line"),
        ({"description": "x" * 256}, "at most 255 characters"),
    ],
)
async def test_what_no_token_can_be_is_refused(
    tokens: Tokens, people: MemoryPeople, wrong: dict[str, object], why: str
) -> None:
    """A restriction that means nothing, or too long a life, is refused, and nothing is kept."""
    with pytest.raises(errors.InvalidRequest, match=why):
        await tokens.issue("ann", ANN, kind=TokenKind.GRANULAR, **wrong)
    assert not await people.tokens("ann")


async def test_restrictions_are_kept_once(tokens: Tokens) -> None:
    """Packages, scopes and networks are kept as they were meant, each once."""
    _, record = await tokens.issue(
        "ann",
        ANN,
        kind=TokenKind.GRANULAR,
        packages=["@acme/ui", "@acme/ui"],
        scopes=["@acme"],
        cidrs=["192.0.2.7/24", "2001:db8::/32"],
    )
    assert record.packages == ("@acme/ui",)
    assert record.scopes == ("@acme",)
    assert record.cidrs == ("192.0.2.0/24", "2001:db8::/32")


async def test_what_expired_is_not_listed(tokens: Tokens, people: MemoryPeople) -> None:
    """The list has the tokens that are good at the moment, the newest first."""
    await tokens.issue("ann", ANN, kind=TokenKind.GRANULAR)
    _, login = await tokens.issue("ann", ANN, kind=TokenKind.LOGIN)
    later = Tokens(people=people, lives=LIVES, clock=lambda: NOON + 8 * DAY)
    assert list(await later.list("ann")) == [login]


@pytest.mark.parametrize("by", ["token", "hash", "key"])
async def test_a_token_is_revoked_by_any_of_its_names(
    tokens: Tokens, people: MemoryPeople, by: str
) -> None:
    """The key, the hash and the token itself each name it, to its own user only."""
    token, record = await tokens.issue("ann", ANN, kind=TokenKind.LOGIN)
    which = {"token": token, "hash": record.hash, "key": record.key}[by]
    assert not await tokens.revoke("bob", which, ANN)
    assert await tokens.revoke("ann", which, ANN)
    assert await people.token(record.hash) is None
    assert not await tokens.revoke("ann", which, ANN)
