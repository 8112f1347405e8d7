"""`packhouse token`: tokens of users, for machines above all. Safe while the server runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from proxy import app
from proxy.cli import options
from proxy.cli.people import Desk, columns, read_length, run, shown
from proxy.errors import Forbidden, NotFound
from proxy.npm import tokens as form
from proxy.registry.people.tokens import Lives, Tokens
from proxy.storage.identity import TokenKind, TokenRecord


@click.group()
def token() -> None:
    """Tokens of users: make them, list them, revoke them."""


@token.command()
@click.option("--user", required=True, metavar="NAME", help="Whose token it is.")
@click.option("--name", metavar="TEXT", help="What it is for.")
@click.option("--read-only", is_flag=True, help="It publishes nothing.")
@click.option("--package", "packages", multiple=True, metavar="NAME", help="For this package only.")
@click.option("--scope", "scopes", multiple=True, metavar="@SCOPE", help="For this scope only.")
@click.option("--cidr", "cidrs", multiple=True, metavar="NET", help="From this network only.")
@click.option("--expires", callback=read_length, metavar="TIME", help="As in 30d, 12h.")
@options.common
def create(
    user: str,
    name: str | None,
    read_only: bool,
    packages: Sequence[str],
    scopes: Sequence[str],
    cidrs: Sequence[str],
    expires: timedelta | None,
    config: Path | None,
    **given: object,
) -> None:
    """Make a token and print it, this once.

    --package, --scope and --cidr may be given several times. Without --expires one that may write
    is good for a week, one to read with for ever; one that may write never lives longer than
    auth.token_age.
    """

    async def work(desk: Desk) -> tuple[str, TokenRecord]:
        known, deed = await desk.people.user(user), desk.deed()
        if known is None:
            raise NotFound(reason=f"there is no user {user}")
        if known.is_disabled:
            raise Forbidden(reason=f"{user} is shut out; see packhouse user enable")
        return await _tokens(desk).issue(
            user,
            deed,
            kind=TokenKind.GRANULAR,
            name=name,
            is_readonly=read_only,
            packages=packages,
            scopes=[scope if scope.startswith("@") else f"@{scope}" for scope in scopes],
            cidrs=cidrs,
            expires_at=None if expires is None else deed.at + expires,
        )

    text, record = run(config, given, work)
    click.echo(text)
    until = shown(record.expires_at, "it is revoked")
    click.echo(f"shown this once; its key is {record.key}, good until {until}", err=True)


@token.command(name="list")
@click.option("--user", metavar="NAME", help="Of one user.")
@options.common
def list_(user: str | None, config: Path | None, **given: object) -> None:
    """Every token that is good, newest first for each user."""

    async def work(desk: Desk) -> list[TokenRecord]:
        names = [user] if user else [each.name for each in await desk.people.users()]
        if user and await desk.people.user(user) is None:
            raise NotFound(reason=f"there is no user {user}")
        return [each for name in names for each in await _tokens(desk).list(name)]

    for line in columns([_HEADINGS, *map(_row, run(config, given, work))]):
        click.echo(line)


@token.command()
@click.argument("key")
@options.common
def revoke(key: str, config: Path | None, **given: object) -> None:
    """Revoke the token of this KEY (see token list), or a whole token that has leaked."""

    async def work(desk: Desk) -> str:
        owner = await _owner(desk, key)
        if owner is None or not await _tokens(desk).revoke(owner, key, desk.deed()):
            raise NotFound(reason="there is no such token; see packhouse token list")
        return owner

    click.echo(f"revoked a token of {run(config, given, work)}")


async def _owner(desk: Desk, key: str) -> str | None:
    if form.is_sound(key):
        found = await desk.people.token(form.hash_of(key))
        return found[1].name if found else None
    for user in await desk.people.users():
        if key in {token.key for token in await desk.people.tokens(user.name)}:
            return user.name
    return None


def _tokens(desk: Desk) -> Tokens:
    auth = desk.config.auth
    lives = Lives(login=auth.login_age, token=auth.token_age)
    return Tokens(people=desk.people, lives=lives, clock=app.utcnow)


_HEADINGS = ("key", "user", "token", "kind", "made (UTC)", "used", "until", "may", "name")


def _row(token: TokenRecord) -> tuple[str, ...]:
    return (
        *(token.key, token.user, token.shown, token.kind.value, shown(token.created_at)),
        *(shown(token.used_at, "never"), shown(token.expires_at, "no end")),
        *(_rights(token), token.name or "-"),
    )


def _rights(token: TokenRecord) -> str:
    """What it may do, in one word without spaces: `read:@acme,10.0.0.0/8`."""
    only = ",".join((*token.packages, *token.scopes, *token.cidrs))
    return ("read" if token.is_readonly else "write") + (f":{only}" if only else "")
