"""The file of hosted packages when it is hurt, and what is on disk when a publish is acknowledged.

Rows 46, 57, 58 and 62 of the fault matrix.
"""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import proxy
from proxy.errors import RegistryError, StorageAway, StorageCorrupt
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import HostedPackage
from proxy.storage.identity import TokenKind, TokenRecord, UserRecord
from proxy.storage.people import SqlitePeople
from tests.hosting import ANN, NOON, a_version

ROOT = Path(proxy.__file__).parent.parent
FILE = "hosted.sqlite"

PUBLISH_ONCE = """
import asyncio, hashlib, os, sys
from pathlib import Path
from proxy.errors import StorageAway
from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from tests.hosting import ANN, a_version

folder, way = Path(sys.argv[1]), sys.argv[2]
data = b"x" * 100_000
digest = hashlib.sha512(data).hexdigest()

async def store(blobs):
    if way == "put":
        return await blobs.put(data, digest, is_durable=True)
    incoming = await blobs.create("key", is_durable=True)
    await incoming.write(data)
    await incoming.commit(digest)
    await incoming.discard()

async def main():
    async with open_database(folder / "hosted.sqlite") as database, FileBlobs(folder) as blobs:
        os.write(1, b"opened\\n")
        try:
            await store(blobs)
            await SqliteHosted(database).publish(a_version("1.0.0", digest=digest), ANN)
            os.write(1, b"acknowledged\\n")
        except StorageAway as error:
            os.write(1, b"refused\\n")

asyncio.run(main())
"""


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[SqliteHosted]:
    async with open_database(folder / FILE) as database:
        yield SqliteHosted(database)


async def published(folder: Path, count: int = 20) -> HostedPackage:
    """A package of some hundred pages, in a file that is closed."""
    async with opened(folder) as hosted:
        for number in range(count):
            manifest = b'{"x":"' + os.urandom(10_000).hex().encode() + b'"}'
            await hosted.publish(a_version(f"{number}.0.0", manifest=manifest), ANN)
        package = await hosted.package("@acme/ui")
    assert package is not None
    return package


async def is_opened(folder: Path) -> bool:
    try:
        async with opened(folder):
            return True
    except StorageCorrupt:
        return False


def hurt(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


# --- damage ---


@pytest.mark.parametrize(
    "damage",
    [
        hurt,
        lambda path: path.write_bytes(b"this is no database" * 1000),
        lambda path: os.truncate(path, path.stat().st_size // 2),
        lambda path: os.truncate(path, 0),
        lambda path: path.unlink(),
    ],
    ids=["overwritten", "something else", "cut in half", "empty", "missing"],
)
async def test_damaged_file_is_refused(tmp_path: Path, damage) -> None:
    """A file that was damaged, emptied or removed is refused with advice, and left as it is."""
    await published(tmp_path)
    damage(tmp_path / FILE)
    before = (tmp_path / FILE).read_bytes() if (tmp_path / FILE).exists() else None

    with pytest.raises(StorageCorrupt, match=r"restore it from your latest backup"):
        async with opened(tmp_path):
            pass

    assert ((tmp_path / FILE).read_bytes() if (tmp_path / FILE).exists() else None) == before
    assert not [name for name in names(tmp_path) if "corrupt" in name]


async def test_restored_file_is_opened(tmp_path: Path) -> None:
    """Once the file is restored from a backup, what it held is there."""
    package = await published(tmp_path)
    backup = (tmp_path / FILE).read_bytes()
    hurt(tmp_path / FILE)
    assert not await is_opened(tmp_path)

    (tmp_path / FILE).write_bytes(backup)

    async with opened(tmp_path) as hosted:
        assert await hosted.package("@acme/ui") == package


async def test_beginning_anew_is_possible(tmp_path: Path) -> None:
    """Who removes the file and its lock file begins with nothing published."""
    await published(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / f"{FILE}.lock").unlink()

    async with opened(tmp_path) as hosted:
        assert await hosted.names() == []
        await hosted.publish(a_version(), ANN)


async def test_interrupted_first_start_is_no_loss(tmp_path: Path) -> None:
    """A file that was never made whole is made at the next start."""
    (tmp_path / f"{FILE}.lock").touch()
    (tmp_path / FILE).touch()

    assert await is_opened(tmp_path)


async def test_file_that_vanishes_is_not_made_again(tmp_path: Path) -> None:
    """With the file gone nothing is written and none is made; when it is back, all goes on."""
    away = tmp_path / "elsewhere"
    async with opened(tmp_path) as hosted:
        await hosted.publish(a_version("1.0.0"), ANN)
        (tmp_path / FILE).rename(away)

        refused = []
        for number in range(3):
            with pytest.raises(RegistryError) as raised:
                await hosted.publish(a_version(f"2.0.{number}"), ANN)
            refused.append(type(raised.value))
        exists = (tmp_path / FILE).exists()
        away.rename(tmp_path / FILE)
        await hosted.publish(a_version("3.0.0"), ANN)
        package = await hosted.package("@acme/ui")

    assert (refused, exists) == ([StorageCorrupt] * 3, False)
    assert package is not None
    assert [version.version for version in package.versions] == ["1.0.0", "3.0.0"]


async def test_damage_while_running_refuses_writes(tmp_path: Path) -> None:
    """Damage that a read meets stops the writing; the file stays, and a restored one is used."""
    package = await published(tmp_path)
    backup = (tmp_path / FILE).read_bytes()
    async with opened(tmp_path) as hosted:
        with (tmp_path / FILE).open("r+b") as file:  # all but the first page, which is read
            file.seek(4096)
            file.write(b"\xff" * (len(backup) - 4096))

        with pytest.raises(StorageCorrupt):
            await hosted.package("@acme/ui")
        for _ in range(2):
            with pytest.raises(StorageCorrupt):
                await hosted.publish(a_version("99.0.0"), ANN)

        restored = tmp_path / "restored"
        restored.write_bytes(backup)
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"{FILE}{suffix}").unlink(missing_ok=True)
        restored.rename(tmp_path / FILE)
        await hosted.publish(a_version("100.0.0"), ANN)
        after = await hosted.package("@acme/ui")

    assert after is not None
    assert after.versions[:-1] == package.versions
    assert not [name for name in names(tmp_path) if "corrupt" in name]


async def test_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """A file of a newer packhouse is refused with what to do, and not touched."""
    await published(tmp_path, 1)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")

    with pytest.raises(StorageAway, match="upgrade packhouse"):
        async with opened(tmp_path):
            pass


# --- durability ---


def run(folder: Path, way: str, *options: str) -> list[str]:
    """What a publisher that strace looks at with these options says."""
    command = ("strace", "-f", "-y", "-qq", "-e", "signal=none", "-o", str(folder / "trace"))
    publisher = (sys.executable, "-c", PUBLISH_ONCE, str(folder), way)
    done = subprocess.run(
        [*command, *options, *publisher],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return done.stdout.split()


def synced(folder: Path, way: str) -> list[str]:
    """What is synced or renamed between the opening and the acknowledgement, in order."""
    assert run(folder, way, "-e", "trace=fsync,fdatasync,rename,write") == SAID
    trace = (folder / "trace").read_text()
    between = trace.partition('"opened')[2].partition('"acknowledged')[0]
    calls = re.findall(r"^\d+ +(fsync|fdatasync|rename)\((.*?)\) += 0$", between, re.MULTILINE)
    return [f"{call} {_called(folder, path)}" for call, path in calls]


def _called(folder: Path, text: str) -> str:
    """A path in a trace as a word: its ending, or where in the folder it is."""
    path = Path(re.findall(rf"{re.escape(str(folder))}[^\">]*", text)[-1]).relative_to(folder)
    if path.suffix == ".part":
        return "part"
    return re.sub(r"/[0-9a-f]{128}$", "/*", re.sub(r"^blobs/[0-9a-f]{2}", "blobs/**", str(path)))


SAID = ["opened", "acknowledged"]
NAMES = ["fsync blobs/**", "fsync blobs", "fsync ."]


@pytest.mark.parametrize("way", ["create", "put"])
async def test_acknowledged_means_on_disk(tmp_path: Path, way: str) -> None:
    """Blob, its name in three folders, and the commit are synced before a publish is told."""
    await published(tmp_path, 1)

    calls = synced(tmp_path, way)

    blob = ["fsync part", "rename blobs/**/*", *NAMES]
    assert calls[: len(blob)] == blob
    assert calls[-1] == f"fdatasync {FILE}-wal"
    assert set(calls[len(blob) :]) <= {f"fdatasync {FILE}-wal", "fdatasync ."}


async def test_a_blob_that_is_there_is_made_durable(tmp_path: Path) -> None:
    """A durable put of bytes that are there already syncs the folders of their name."""
    await published(tmp_path, 1)
    run(tmp_path, "put", "-e", "trace=none")

    assert synced(tmp_path, "put") == NAMES


@pytest.mark.parametrize(
    ("call", "path"),
    [("fsync", None), ("fsync", "blobs"), ("fdatasync", f"{FILE}-wal")],
    ids=["the blob", "its name", "the commit"],
)
async def test_failed_sync_publishes_nothing(tmp_path: Path, call: str, path: str | None) -> None:
    """Where a sync fails the publish is refused and not seen; the same publish then succeeds."""
    await published(tmp_path, 1)
    where = () if path is None else ("-P", str(tmp_path / path))

    said = run(tmp_path, "create", *where, "-e", f"inject={call}:error=EIO")

    async with opened(tmp_path) as hosted:
        is_taken = await hosted.is_taken("@acme/ui", "1.0.0")
    again = run(tmp_path, "create", "-e", "trace=none")
    assert (said, is_taken, again) == (["opened", "refused"], False, SAID)


# --- between workers ---


async def test_revoked_token_is_gone_in_every_worker(tmp_path: Path) -> None:
    """What one worker revokes, disables or grants, another sees with its next look."""
    token = TokenRecord("ab" * 32, "k1", "ann", TokenKind.LOGIN, "pkh_...", NOON)
    async with open_database(tmp_path / FILE) as one, open_database(tmp_path / FILE) as two:
        here, there = SqlitePeople(one), SqlitePeople(two)
        await here.add_user(UserRecord("ann", NOON, NOON), ANN)
        await here.add_token(token, ANN)
        before, counted = await there.token(token.hash), there.revision()

        await here.set_disabled("ann", True, ANN)
        disabled, counted_again = await there.token(token.hash), there.revision()
        await here.revoke_token("ann", "k1", ANN)

        assert before is not None
        assert disabled is not None
        assert (before[1].is_disabled, disabled[1].is_disabled) == (False, True)
        assert counted != counted_again
        assert await there.token(token.hash) is None


async def test_a_password_changes_with_its_logins(tmp_path: Path) -> None:
    """Where the logins cannot be ended the password stays as well: it is one transaction."""
    token = TokenRecord("ab" * 32, "k1", "ann", TokenKind.LOGIN, "pkh_...", NOON)
    async with open_database(tmp_path / FILE) as database:
        people = SqlitePeople(database)
        await people.add_user(UserRecord("ann", NOON, NOON, password_hash="old"), ANN)
        await people.add_token(token, ANN)
        refuse = "CREATE TRIGGER t BEFORE DELETE ON tokens BEGIN SELECT RAISE(ABORT, 'no'); END"
        await database.write(lambda db: db.execute(refuse))

        with pytest.raises(RegistryError):
            await people.set_password("ann", "new", replace(ANN, token_key=None))
        user, tokens = await people.user("ann"), await people.tokens("ann")

    assert user is not None
    assert (user.password_hash, len(tokens)) == ("old", 1)


async def test_audit_rows_are_only_appended(tmp_path: Path) -> None:
    """Whoever opens the file with SQLite itself can neither change nor remove an audit row."""
    await published(tmp_path, 2)

    with sqlite3.connect(tmp_path / FILE) as db:
        for statement in ("UPDATE audit SET user = 'eve'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="only appended"):
                db.execute(statement)
        count = db.execute("SELECT count(*) FROM audit").fetchone()
    assert count == (2,)
