"""`packhouse user`: beside a running server, and without one."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import bcrypt
import pytest

from proxy.storage.hosted import open_database
from tests.commands import OTHER, PASSWORD, add, done, empty, refused, run
from tests.fakes.uplink import FakeUplink
from tests.process import ROOT, Process, command

BCRYPT = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return empty(tmp_path)


@pytest.fixture
async def process(tmp_path: Path, uplink: FakeUplink) -> AsyncIterator[Process]:
    """A server of two workers."""
    async with Process(tmp_path, uplink.url, workers=2) as running:
        yield running


async def whoami(process: Process, *header: str) -> set[int]:
    """The statuses of so many requests that both workers are asked."""
    return {(await process.get("/-/whoami", *header)).status for _ in range(10)}


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def basic(name: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


# --- beside a server ------------------------------------------------------------------------------


async def test_a_running_server_follows_at_the_next_request(process: Process) -> None:
    """Who is made, shut out, let in, and whose token is revoked, is so at once in every worker."""
    await add(process.data, "ann")
    token = (await done(process.data, "token", "create", "--user", "ann")).strip()
    seen = [await whoami(process, bearer(token))]

    await done(process.data, "user", "disable", "ann")
    seen.append(await whoami(process, bearer(token)))
    with_password = await process.get("/-/whoami", basic("ann", PASSWORD))
    await done(process.data, "user", "enable", "ann")
    seen.append(await whoami(process, bearer(token)))
    await done(process.data, "token", "revoke", token)
    seen.append(await whoami(process, bearer(token)))

    assert seen == [{200}, {401}, {200}, {401}]
    assert with_password.status == 401


async def test_another_password_ends_logins_and_leaves_other_tokens(process: Process) -> None:
    """After `user password` the old one and the logins made with it are good for nothing."""
    await add(process.data, "ann")
    kept = (await done(process.data, "token", "create", "--user", "ann", "--read-only")).strip()
    body = json.dumps({"name": "ann", "password": PASSWORD}).encode()
    reply = await _put(process, "/-/user/org.couchdb.user:ann", body)
    login = json.loads(reply)["token"]
    before = await whoami(process, bearer(login))

    said = await done(
        process.data, "user", "password", "ann", "--password-stdin", given=f"{OTHER}\r\n"
    )

    assert before == {200}
    assert said == "ann has another password; logins ended: 1\n"
    assert await whoami(process, bearer(login)) == {401}
    assert await whoami(process, bearer(kept)) == {200}
    assert await whoami(process, basic("ann", OTHER)) == {200}
    assert (await process.get("/-/whoami", basic("ann", PASSWORD))).status == 401


async def _put(process: Process, path: str, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\nContent-Type: application/json\r\n\r\n".encode() + body)
    reply = await reader.read()
    writer.close()
    assert reply.startswith(b"HTTP/1.1 201"), reply
    return reply.partition(b"\r\n\r\n")[2]


async def test_users_of_an_htpasswd_file_log_in_as_ever(process: Process, tmp_path: Path) -> None:
    """A bcrypt hash is taken as it is; the password that it is of is good here."""
    file = tmp_path / "htpasswd"
    file.write_text(f"ann:{BCRYPT}\nBob:{BCRYPT}\n")

    said = await done(process.data, "user", "import", str(file))

    assert said == "users added: 2, lines skipped: 0\n"
    for name in ("ann", "Bob"):
        reply = await process.get("/-/whoami", basic(name, PASSWORD))
        assert (reply.status, json.loads(reply.body)) == (200, {"username": name})


# --- users ----------------------------------------------------------------------------------------


async def test_the_password_comes_from_standard_input(tmp_path: Path, data: Path) -> None:
    """The real command, in a process of its own, reads one line, and shows nothing of it."""
    status, printed, told = await _packhouse(
        data, "user", "add", "ann", "--password-stdin", given=f"{PASSWORD}\nnot this\n".encode()
    )
    listed, lines = await command("user", "list", "--data", str(data), folder=tmp_path)

    assert (status, printed, told) == (0, "ann can log in\n", "")
    assert listed == 0
    assert [line.split()[:2] for line in lines.splitlines()] == [
        ["name", "state"],
        ["ann", "active"],
    ]


async def test_a_terminal_is_asked_twice_without_an_echo(data: Path) -> None:
    """Without --password-stdin the password is typed twice, and what is typed is not shown."""
    ours, theirs = pty.openpty()
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "user", "add", "ann", "--data", str(data)),
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(data)},
        cwd=data,
        start_new_session=True,  # no controlling terminal: it reads the one it was given
    )
    os.close(theirs)
    assert started.stderr is not None
    async with asyncio.timeout(40):
        for question in (b"Password", b"Repeat for confirmation"):
            asked = b""
            while question not in asked:
                asked += await started.stderr.read(1)
            await started.stderr.readuntil(b": ")
            os.write(ours, f"{PASSWORD}\n".encode())
        printed, told = await started.communicate()
    os.close(ours)

    assert started.returncode == 0, told
    assert printed == b"ann can log in\n"
    assert PASSWORD.encode() not in told


async def _packhouse(data: Path, *arguments: str, given: bytes) -> tuple[int | None, str, str]:
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", *arguments, "--data", str(data)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(data)},
        cwd=data,
    )
    async with asyncio.timeout(40):
        printed, told = await started.communicate(given)
    return started.returncode, printed.decode(), told.decode()


async def test_what_the_registry_would_refuse_is_refused(data: Path) -> None:
    """Names, weak passwords and addresses are judged as for people who sign up; nothing is made."""
    said = [
        await refused(data, "user", "add", "Ann", "--password-stdin", given=PASSWORD),
        await refused(data, "user", "add", "ann", "--password-stdin", given="short"),
        await refused(data, "user", "add", "ann", "--email", "x", "--password-stdin", given="x"),
    ]
    listed = json.loads(await done(data, "user", "list", "--json"))

    assert [line.partition(": ")[2].partition(":")[0] for line in said] == [
        "name",
        "password",
        "email",
    ]
    assert listed == []


async def test_without_a_terminal_a_password_has_to_be_piped(data: Path) -> None:
    """A script that forgets --password-stdin is told so, and nothing waits for anybody."""
    result = await run(data, "user", "add", "ann", given=PASSWORD)

    assert result.exit_code == 2
    assert "use --password-stdin" in result.stderr


async def test_a_name_is_nobody_elses(data: Path) -> None:
    """A name that is taken is refused; one that is not there is neither shut out nor changed."""
    await add(data, "ann")

    taken = await refused(data, "user", "add", "ann", "--password-stdin", given=PASSWORD)
    unknown = [
        await refused(data, "user", "disable", "bob"),
        await refused(data, "user", "enable", "bob"),
        await refused(data, "user", "password", "bob", "--password-stdin", given=PASSWORD),
        await refused(data, "token", "create", "--user", "bob"),
        await refused(data, "token", "list", "--user", "bob"),
    ]

    assert taken == "Error: the user name ann is taken\n"
    assert {line.split(" user", maxsplit=1)[1].strip(": \n") for line in unknown} == {"bob"}


async def test_users_are_listed_without_their_secrets(data: Path) -> None:
    """The list says who there is and in what state; no hash is in it."""
    await add(data, "zoe", "--email", "zoe@example.com")
    await add(data, "ann")
    await done(data, "user", "disable", "zoe")

    table = await done(data, "user", "list")
    facts = json.loads(await done(data, "user", "list", "--json"))

    assert [line.split()[0] for line in table.splitlines()] == ["name", "ann", "zoe"]
    assert "shut out" in table.splitlines()[2]
    assert [(each["name"], each["email"], each["is_disabled"]) for each in facts] == [
        ("ann", None, False),
        ("zoe", "zoe@example.com", True),
    ]
    assert "argon2" not in table + json.dumps(facts)


async def test_a_lost_second_factor_is_dropped(data: Path) -> None:
    """Who has lost device and codes gets in again by a new password alone."""
    await add(data, "ann")
    async with open_database(data / "hosted.sqlite") as database:
        sql = "UPDATE users SET totp_secret = 'JBSWY3DPEHPK3PXP', totp_mode = 'auth-only'"
        await database.write(lambda db: db.execute(sql))
    before = json.loads(await done(data, "user", "list", "--json"))

    options = ("--password-stdin", "--drop-second-factor")
    await done(data, "user", "password", "ann", *options, given=OTHER)

    after = json.loads(await done(data, "user", "list", "--json"))
    assert (before[0]["second_factor"], after[0]["second_factor"]) == ("auth-only", None)


async def test_an_import_tells_what_it_skips(data: Path, tmp_path: Path) -> None:
    """Weak hashes and taken names are told by line and skipped, the rest is added; status 1."""
    await add(data, "ann")
    file = tmp_path / "htpasswd"
    file.write_text(f"zoe:{BCRYPT}\nann:{BCRYPT}\n# no\nold:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")

    result = await run(data, "user", "import", str(file))
    listed = json.loads(await done(data, "user", "list", "--json"))

    weak = "a SHA-1 without a salt instead of bcrypt; give them a new password: packhouse user add"
    assert result.exit_code == 1
    assert result.stdout == "users added: 1, lines skipped: 2\n"
    assert result.stderr.splitlines() == [
        "line 2 skipped: the user name ann is taken",
        f"line 4 skipped: old: {weak}",
    ]
    assert [each["name"] for each in listed] == ["ann", "zoe"]


async def test_very_many_users_are_imported_and_listed(data: Path, tmp_path: Path) -> None:
    """Ten thousand users are one file, one command and one list."""
    file = tmp_path / "htpasswd"
    file.write_text("".join(f"user{number:05}:{BCRYPT}\n" for number in range(10_000)))

    said = await done(data, "user", "import", str(file))
    table = (await done(data, "user", "list")).splitlines()

    assert said == "users added: 10000, lines skipped: 0\n"
    assert len(table) == 10_001
    assert table[-1].startswith("user09999  active")


# --- elsewhere ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("user", "list"), ("token", "list"), ("audit",), ("user", "disable", "ann")]
)
async def test_a_folder_that_is_not_ours_is_left_alone(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """On a folder without anything of ours every command says so, and creates nothing there."""
    said = await refused(tmp_path, *arguments)

    assert said.startswith(f"Error: there is nothing of packhouse in {tmp_path}; see --data")
    assert list(tmp_path.iterdir()) == []
