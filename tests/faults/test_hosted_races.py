"""Many who publish at once, and publishers that are killed: one wins, none is lost.

Threats 34 and 35; row 51 of the fault matrix.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import proxy
from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.identity import LoginSession, UserRecord
from proxy.storage.people import SqlitePeople
from tests.hosting import ANN, NOON, a_version

ROOT = Path(proxy.__file__).parent.parent
SAME_ROUNDS, OTHER_ROUNDS, KILLS = 200, 100, 100
PROCESSES, WRITERS = 2, 4

# Each line of input is a round: every writer, on connections of its own, publishes one version.
PUBLISH_IN_ROUNDS = """
import asyncio, sys
from contextlib import AsyncExitStack
from pathlib import Path
from proxy.errors import VersionExists
from proxy.storage.hosted import SqliteHosted, open_database
from proxy.storage.hosting import Deed
from tests.hosting import NOON, a_version

folder, process, writers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

async def publish(hosted, writer, version, is_same):
    me = f"{process}-{writer}"
    digest = me.encode().hex().ljust(128, "0")
    wanted = version if is_same else f"{version}-{process}.{writer}"
    new = a_version(wanted, "race", digest=digest, file=f"race-{wanted}.tgz")
    try:
        return me, wanted, await hosted.publish(new, Deed(me, NOON))
    except VersionExists:
        return None

async def main():
    async with AsyncExitStack() as stack:
        open_all = [stack.enter_async_context(open_database(folder / "hosted.sqlite"))
            for _ in range(writers)]
        hosted = [SqliteHosted(await database) for database in open_all]
        print(flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            version, is_same = line.split()
            done = await asyncio.gather(*(
                publish(each, number, version, is_same == "same")
                for number, each in enumerate(hosted)))
            print(*(":".join(each) for each in done if each), flush=True)

asyncio.run(main())
"""

# Publishers that are killed: each in a process of its own, forked so that none has to import.
PUBLISH_UNTIL_KILLED = """
import asyncio, hashlib, os, random, signal, sys, time
from datetime import timedelta
from pathlib import Path
from proxy.storage.files import FileBlobs
from proxy.storage.hosted import SqliteHosted, open_database
from tests.hosting import ANN, a_version

folder, kills = Path(sys.argv[1]), int(sys.argv[2])

async def publish(hosted, blobs, name, number):
    data = os.urandom(1000 + number * 997 % 50_000)
    digest = hashlib.sha512(data).hexdigest()
    incoming = await blobs.create(f"{name} {number}", len(data), is_durable=True)
    await incoming.write(data)
    await incoming.commit(digest)
    await incoming.discard()
    version = f"{number}.0.0"
    await hosted.publish(a_version(version, name, digest=digest, size_bytes=len(data)), ANN)
    return f"{name} {version} {digest}\\n"

async def publisher(name, out):
    async with open_database(folder / "hosted.sqlite") as database, FileBlobs(folder) as blobs:
        hosted = SqliteHosted(database)
        for first in range(0, 100_000, 3):
            for told in asyncio.as_completed(
                [publish(hosted, blobs, name, first + n) for n in range(3)]
            ):
                os.write(out, (await told).encode())

def killed(cycle):
    pipe, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(pipe)
        try:
            asyncio.run(publisher(f"p{cycle}", out))
        finally:
            os._exit(1)
    os.close(out)
    seen = os.read(pipe, 65536)
    time.sleep(random.random() * 0.03)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(pipe, 65536):
        seen += more
    os.close(pipe)
    return seen.decode()

for cycle in range(kills):
    print(killed(cycle), end="", flush=True)
"""


@asynccontextmanager
async def running(script: str, *arguments: object) -> AsyncIterator[Process]:
    command = (sys.executable, "-c", script, *map(str, arguments))
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, env=env)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def line_of(process: Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(60):
        line = await process.stdout.readline()
    assert line, "the process has ended"
    return line.decode()


async def rounds(folder: Path, count: int, kind: str) -> list[list[list[str]]]:
    """What was acknowledged in each round, as [writer, version, revision]."""
    async with AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(running(PUBLISH_IN_ROUNDS, folder, number, WRITERS))
            for number in range(PROCESSES)
        ]
        await asyncio.gather(*map(line_of, started))
        acknowledged = []
        for number in range(count):
            for process in started:
                assert process.stdin is not None
                process.stdin.write(f"{number}.0.0 {kind}\n".encode())
            lines = await asyncio.gather(*map(line_of, started))
            acknowledged.append([done.split(":") for line in lines for done in line.split()])
        return acknowledged


async def test_one_of_many_publishes_a_version(tmp_path: Path) -> None:
    """Of eight writers in two processes exactly one publishes each version, and it is theirs."""
    acknowledged = await rounds(tmp_path, SAME_ROUNDS, "same")

    assert [len(each) for each in acknowledged] == [1] * SAME_ROUNDS
    async with open_database(tmp_path / "hosted.sqlite") as database:
        package = await SqliteHosted(database).package("race")
    assert package is not None
    winners = [(version, writer) for ((writer, version, _),) in acknowledged]
    assert [(each.version, each.published_by) for each in package.versions] == winners
    assert package.revision == acknowledged[-1][0][2]


async def test_different_versions_are_all_kept(tmp_path: Path) -> None:
    """Of versions that eight writers in two processes publish at once none is lost."""
    acknowledged = await rounds(tmp_path, OTHER_ROUNDS, "other")

    assert [len(each) for each in acknowledged] == [PROCESSES * WRITERS] * OTHER_ROUNDS
    async with open_database(tmp_path / "hosted.sqlite") as database:
        package = await SqliteHosted(database).package("race")
    assert package is not None
    told = {version for each in acknowledged for _, version, _ in each}
    revisions = {revision for each in acknowledged for _, _, revision in each}
    assert {each.version for each in package.versions} == told
    assert len(told) == len(revisions) == OTHER_ROUNDS * PROCESSES * WRITERS


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    """Of a hundred killed publishers every version that was told of, or is seen, is whole."""
    async with running(PUBLISH_UNTIL_KILLED, tmp_path, KILLS) as process:
        async with asyncio.timeout(90):
            out, _ = await process.communicate()
    told = [line.split() for line in out.decode().splitlines()]

    async with open_database(tmp_path / "hosted.sqlite") as database, FileBlobs(tmp_path) as blobs:
        hosted = SqliteHosted(database)
        packages = [await hosted.package(name) for name in await hosted.names()]
        seen = {
            (package.name, each.version): each
            for package in packages
            if package is not None
            for each in package.versions
        }
        digests = {key: await _digest(blobs, each.digest) for key, each in seen.items()}

    assert {name for name, _, _ in told} == {f"p{cycle}" for cycle in range(KILLS)}
    assert all(digests[name, version] == digest for name, version, digest in told)
    assert digests == {key: each.digest for key, each in seen.items()}
    assert all(json.loads(each.manifest)["version"] == each.version for each in seen.values())
    with sqlite3.connect(tmp_path / "hosted.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


async def _digest(blobs: FileBlobs, digest: str) -> str | None:
    blob = await blobs.open(digest)
    if blob is None:
        return None
    data = await blob.read(0, blob.size_bytes)
    await blob.close()
    return hashlib.sha512(data).hexdigest()


# --- what is used once, between workers ---


@asynccontextmanager
async def workers(folder: Path, count: int) -> AsyncIterator[Sequence[SqlitePeople]]:
    async with AsyncExitStack() as stack:
        yield [
            SqlitePeople(await stack.enter_async_context(open_database(folder / "hosted.sqlite")))
            for _ in range(count)
        ]


async def winners(tries: Sequence[Awaitable[object]]) -> int:
    return sum(bool(each) for each in await asyncio.gather(*tries))


async def test_what_may_be_used_once_is_used_once(tmp_path: Path) -> None:
    """Of workers that try at once, one uses a code, a recovery code, and a login's token."""
    async with workers(tmp_path, 4) as people:
        await people[0].add_user(UserRecord("ann", NOON, NOON), ANN)
        await people[0].set_totp("ann", "SECRET", "auth-only", ANN, ["aa"])
        await people[0].add_session(LoginSession("ab", NOON + timedelta(minutes=1)))
        await people[0].grant_session("ab", "ann", b"token", ANN)

        tries: list[Callable[[SqlitePeople], Awaitable[object]]] = [
            lambda each: each.spend_totp("ann", 100),
            lambda each: each.spend_recovery("ann", "aa", ANN),
            lambda each: each.take_session("ab", NOON),
        ]
        won = [await winners([try_(each) for each in people]) for try_ in tries]

    assert won == [1, 1, 1]


async def test_one_of_many_takes_a_name(tmp_path: Path) -> None:
    """Of workers that add the same user at once, one adds it; the others hear of a conflict."""
    async with workers(tmp_path, 4) as people:
        names = ["ann", "Ann", "ANN", "ann"]
        adding = [
            each.add_user(UserRecord(name, NOON, NOON), replace(ANN, user=name))
            for each, name in zip(people, names, strict=True)
        ]
        outcomes = await asyncio.gather(*adding, return_exceptions=True)
        users = await people[0].users()

    assert [type(each).__name__ for each in outcomes if each] == ["Conflict"] * 3
    assert len(users) == 1


async def test_owner_race_makes_one_package(tmp_path: Path) -> None:
    """Of workers that publish the first version at once one owns the package; all are kept."""
    async with AsyncExitStack() as stack:
        hosted = [
            SqliteHosted(await stack.enter_async_context(open_database(tmp_path / "hosted.sqlite")))
            for _ in range(4)
        ]
        await asyncio.gather(
            *(
                each.publish(a_version(f"{number}.0.0"), replace(ANN, user=f"u{number}"))
                for number, each in enumerate(hosted)
            )
        )
        package = await hosted[0].package("@acme/ui")

    assert package is not None
    assert package.owners == (package.versions[0].published_by,)
    assert package.tags["latest"] == package.versions[-1].version
    assert len(package.versions) == 4
