"""`packhouse user`: who may log in. Safe while the server runs."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from proxy.cli import options
from proxy.cli.people import Desk, columns, run, shown, told
from proxy.errors import Conflict
from proxy.npm import htpasswd, users
from proxy.storage.identity import UserRecord
from proxy.storage.passwords import Passwords

_AT_ONCE = 200  # of an import, so that they share a few commits


@click.group()
def user() -> None:
    """Who may log in: make users, shut them out, give them passwords."""


_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)


@user.command()
@click.argument("name")
@click.option("--email", metavar="ADDRESS", help="Shown to whoever sees the user as an owner.")
@_password_stdin
@options.common
def add(
    name: str, email: str | None, password_stdin: bool, config: Path | None, **given: object
) -> None:
    """Make a user who can log in with a password."""
    with told():
        users.check_new(name)
        if email is not None:
            users.check_email(email)
    password = _password(name, is_piped=password_stdin)

    async def work(desk: Desk) -> None:
        deed, hashed = desk.deed(), await Passwords().hash(password)
        record = UserRecord(name, deed.at, deed.at, email=email, password_hash=hashed)
        await desk.people.add_user(record, deed)

    run(config, given, work)
    click.echo(f"{name} can log in")


@user.command(name="list")
@click.option("--json", "is_json", is_flag=True, help="As a JSON array.")
@options.common
def list_(is_json: bool, config: Path | None, **given: object) -> None:
    """Everybody, by name."""

    async def work(desk: Desk) -> Sequence[UserRecord]:
        return await desk.people.users()

    found = run(config, given, work)
    if is_json:
        click.echo(json.dumps([_facts(each) for each in found], indent=2))
        return
    for line in columns([_HEADINGS, *map(_row, found)]):
        click.echo(line)


@user.command()
@click.argument("name")
@options.common
def disable(name: str, config: Path | None, **given: object) -> None:
    """Shut somebody out: password and tokens are good for nothing from the next request on."""
    _set_disabled(name, config, given, is_disabled=True)
    click.echo(f"{name} is shut out")


@user.command()
@click.argument("name")
@options.common
def enable(name: str, config: Path | None, **given: object) -> None:
    """Let somebody in again, with the password and the tokens they had."""
    _set_disabled(name, config, given, is_disabled=False)
    click.echo(f"{name} can log in")


@user.command(name="password")
@click.argument("name")
@_password_stdin
@click.option(
    "--drop-second-factor", is_flag=True, help="For who has lost it, recovery codes as well."
)
@options.common
def set_password(
    name: str,
    password_stdin: bool,
    drop_second_factor: bool,
    config: Path | None,
    **given: object,
) -> None:
    """Give somebody another password, which ends their logins; other tokens stay good."""
    new = _password(name, is_piped=password_stdin)

    async def work(desk: Desk) -> int:
        deed, hashed = desk.deed(), await Passwords().hash(new)
        ended = await desk.people.set_password(name, hashed, deed)
        if drop_second_factor:
            await desk.people.set_totp(name, None, None, deed)
        return ended

    ended = run(config, given, work)
    click.echo(f"{name} has another password; logins ended: {ended}")


@user.command(name="import")
@click.argument("file", type=click.Path(dir_okay=False, exists=True, path_type=Path))
@options.common
def import_(file: Path, config: Path | None, **given: object) -> None:
    """Take over the users of an htpasswd FILE whose hashes are bcrypt.

    Others, and names that are taken, are skipped and told; then it ends with status 1.
    """
    try:
        lines = list(htpasswd.parse(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} cannot be read: {error}") from error

    entries = [line for line in lines if isinstance(line, htpasswd.Entry)]
    skipped = {line.line: line.reason for line in lines if isinstance(line, htpasswd.Refused)}

    async def work(desk: Desk) -> None:
        for start in range(0, len(entries), _AT_ONCE):
            skipped.update(await _take(desk, entries[start : start + _AT_ONCE]))

    run(config, given, work)
    for number, reason in sorted(skipped.items()):
        click.echo(f"line {number} skipped: {reason}", err=True)
    click.echo(f"users added: {len(lines) - len(skipped)}, lines skipped: {len(skipped)}")
    if skipped:
        sys.exit(1)


async def _take(desk: Desk, entries: Sequence[htpasswd.Entry]) -> dict[int, str]:
    """Add users, all at once; returns why some were not, by line."""
    deed = desk.deed()
    outcomes = await asyncio.gather(
        *(
            desk.people.add_user(
                UserRecord(entry.name, deed.at, deed.at, password_hash=entry.password_hash), deed
            )
            for entry in entries
        ),
        return_exceptions=True,
    )
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, Conflict):
            raise outcome
    pairs = zip(entries, outcomes, strict=True)
    return {entry.line: str(outcome) for entry, outcome in pairs if outcome is not None}


def _set_disabled(
    name: str, config: Path | None, given: dict[str, object], *, is_disabled: bool
) -> None:
    async def work(desk: Desk) -> None:
        await desk.people.set_disabled(name, is_disabled, desk.deed())

    run(config, given, work)


def _password(name: str, *, is_piped: bool) -> str:
    password: str
    if is_piped:
        password = _line(sys.stdin.buffer.readline())
    elif sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        raise click.UsageError("there is no terminal to ask for a password; use --password-stdin")
    with told():
        users.check_password(password, name)
    return password


def _line(piped: bytes) -> str:
    try:
        return piped.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.UsageError("the password on standard input is not UTF-8") from None


_HEADINGS = ("name", "state", "second factor", "since (UTC)", "e-mail")


def _row(user: UserRecord) -> tuple[str, ...]:
    state = "shut out" if user.is_disabled else "active"
    return (user.name, state, user.totp_mode or "-", shown(user.created_at), user.email or "-")


def _facts(user: UserRecord) -> dict[str, object]:
    return {
        "name": user.name,
        "email": user.email,
        "is_disabled": user.is_disabled,
        "second_factor": user.totp_mode,
        "created_at": user.created_at.isoformat(),
        "updated_at": user.updated_at.isoformat(),
    }
