"""`packhouse token` and `packhouse audit`, on a data folder without a server."""

from __future__ import annotations

import json
from pathlib import Path

import bcrypt
import pytest

from proxy.npm import tokens
from proxy.storage.hosted import open_database
from tests.commands import OTHER, PASSWORD, add, done, empty, refused, rows, run

BCRYPT = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return empty(tmp_path)


# --- tokens ---------------------------------------------------------------------------------------


async def test_a_token_stands_alone_on_standard_output(data: Path) -> None:
    """What a script reads is the token and nothing else; the rest is on standard error."""
    await add(data, "ann")

    result = await run(data, "token", "create", "--user", "ann", "--expires", "30d")

    assert tokens.is_sound(result.stdout.removesuffix("\n"))
    assert result.stderr.startswith("shown this once; its key is ")


async def test_tokens_are_listed_with_what_they_may_do(data: Path) -> None:
    """Restrictions, name and end are told, of one user or of all; the token itself is not."""
    for name in ("ann", "bob"):
        await add(data, name)
    restrictions = ("--package", "ui", "--scope", "acme", "--scope", "@x", "--cidr", "10.1.2.3/8")
    token = await done(
        data, "token", "create", "--user", "ann", "--read-only", *restrictions, "--name", "ci"
    )
    await done(data, "token", "create", "--user", "bob")

    everybody = (await done(data, "token", "list")).splitlines()
    (_, bobs) = (await done(data, "token", "list", "--user", "bob")).splitlines()

    assert len(everybody) == 3
    assert everybody[1].endswith("no end            read:ui,@acme,@x,10.0.0.0/8  ci")
    assert (bobs.split()[1], bobs.split()[-2]) == ("bob", "write")
    assert token.strip() not in "\n".join(everybody)


async def test_a_token_is_revoked_by_its_key(data: Path) -> None:
    """A key of the list revokes that token only; one that is not there is an error."""
    await add(data, "ann")
    for _ in range(2):
        await done(data, "token", "create", "--user", "ann")
    key, other = [line.split()[0] for line in (await done(data, "token", "list")).splitlines()[1:]]

    said = await done(data, "token", "revoke", key)
    again = await refused(data, "token", "revoke", key)

    assert said == "revoked a token of ann\n"
    assert "there is no such token" in again
    left = (await done(data, "token", "list")).splitlines()
    assert [line.split()[0] for line in left] == ["key", other]


async def test_tokens_keep_to_the_limits_of_the_registry(data: Path) -> None:
    """One that may write lives no longer than it may, and nobody who is shut out gets any."""
    await add(data, "ann")

    said = [
        await refused(data, "token", "create", "--user", "ann", "--expires", "91d"),
        await refused(data, "token", "create", "--user", "ann", "--scope", "a/b"),
        await refused(data, "token", "create", "--user", "ann", "--cidr", "everywhere"),
    ]
    await done(data, "user", "disable", "ann")
    said.append(await refused(data, "token", "create", "--user", "ann"))

    assert "good for 90 days at most" in said[0]
    assert "is no scope" in said[1]
    assert "is no network" in said[2]
    assert "ann is shut out" in said[3]
    assert (await done(data, "token", "list")).count("\n") == 1


async def test_a_time_that_is_none_is_explained(data: Path) -> None:
    """A slip in --expires or --since ends with what to write instead."""
    wrong = [
        await run(data, "token", "create", "--user", "ann", "--expires", "30 moons"),
        await run(data, "audit", "--since", "yesterday"),
    ]

    assert [result.exit_code for result in wrong] == [2, 2]
    assert 'as in "5m"' in wrong[0].stderr
    assert 'neither a time such as "7d" nor a date' in wrong[1].stderr


# --- the audit log --------------------------------------------------------------------------------


async def test_every_command_leaves_its_row(data: Path, tmp_path: Path) -> None:
    """What a command changes is in the log under who ran it, and a secret never is."""
    file = tmp_path / "htpasswd"
    file.write_text(f"zoe:{BCRYPT}\n")
    await add(data, "ann")
    await done(data, "user", "import", str(file))
    token = (await done(data, "token", "create", "--user", "ann")).strip()
    await done(data, "token", "revoke", token)
    await done(data, "user", "disable", "ann")
    await done(data, "user", "enable", "ann")
    await done(data, "user", "password", "ann", "--password-stdin", given=OTHER)

    found = await rows(data)

    assert [(row["subject"], row["facts"]["change"]) for row in found] == [
        ("ann", "added"),
        ("zoe", "added"),
        ("ann", "created"),
        ("ann", "revoked"),
        ("ann", "disabled"),
        ("ann", "enabled"),
        ("ann", "password"),
    ]
    assert {row["user"][:4] for row in found} == {"cli:"}
    assert {row["client_ip"] for row in found} == {None}
    told = json.dumps(found)
    assert all(secret not in told for secret in (PASSWORD, OTHER, BCRYPT, token))


async def test_the_log_is_asked_for_a_part(data: Path) -> None:
    """By whom, what, about what, since when, and how many: alone or together, newest first."""
    for name in ("ann", "bob"):
        await add(data, name)
    await done(data, "token", "create", "--user", "ann")
    (by,) = {row["user"] for row in await rows(data)}

    assert [row["subject"] for row in await rows(data, "--package", "bob")] == ["bob"]
    assert [row["action"] for row in await rows(data, "--action", "token")] == ["token"]
    assert len(await rows(data, "--user", by, "--since", "1h")) == 3
    assert await rows(data, "--user", "ann") == []
    assert await rows(data, "--since", "2999-01-01") == []
    assert len(await rows(data, "--since", "2020-01-01T00:00+02:00", "--action", "user")) == 2
    (newest,) = (await done(data, "audit", "--limit", "1")).splitlines()
    assert newest.split("  ")[2:4] == ["token", "ann"]


async def test_a_long_log_is_exported_whole(data: Path) -> None:
    """A hundred thousand rows are printed in order, each once; a few of them cost no more."""
    await add(data, "ann")
    sql = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999)
    INSERT INTO audit (at, user, action, subject, facts)
    SELECT i, 'bob', 'publish', 'p' || (i % 10), '{"i": ' || i || '}' FROM n
    """
    async with open_database(data / "hosted.sqlite") as database:
        await database.write(lambda db: db.execute(sql).fetchall())

    whole = await rows(data, "--limit", "0")
    part = await rows(data, "--limit", "2500", "--package", "p3")

    assert [row["number"] for row in whole] == list(range(1, 100_001))
    assert len(part) == 2500
    assert part[-1]["facts"] == {"i": 99_993}
    assert len((await done(data, "audit")).splitlines()) == 100


async def test_facts_are_shown_as_json(data: Path) -> None:
    """What somebody wrote into a fact reaches no terminal as a command; what is taken is null."""
    await add(data, "ann")
    sql = """
    INSERT INTO audit (at, user, action, subject, facts)
    VALUES (1, 'eve', 'publish', 'p',
        CAST('{"tag": "\\u001b[2J\\u009b", "permission": null}' AS BLOB))
    """
    async with open_database(data / "hosted.sqlite") as database:
        await database.write(lambda db: db.execute(sql))

    said = await done(data, "audit", "--user", "eve")

    assert 'tag="\\u001b[2J\\u009b"  permission=null' in said
    assert said.isascii()
