"""A registry of one's own as people run it, with users, for the clients that publish to it.

`@acme/*` and `acme-*` live there, for whoever is logged in; `@acme/secret-*` is for ann alone. The
rest comes from an uplink on loopback that writes down what it is asked: our names never. `fork-*`
is published beside what the uplink has.
"""

from __future__ import annotations

import asyncio
import gzip
import html
import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlencode, urlsplit

from proxy.npm import names, signing
from proxy.storage.hosted import open_database
from proxy.storage.passwords import Passwords
from proxy.storage.people import SqlitePeople
from tests.clients.clients import Client
from tests.clients.seats import Seat
from tests.clients.server import COMMAND, serving
from tests.fakes.uplink import FakeUplink
from tests.publishing import a_publish, add_user, address

UPSTREAM = "upstream-thing"
"""The one package of the uplink, at 1.0.0."""

NOT_HOSTED = f"{UPSTREAM} comes from the uplink npm and cannot be written to here"
TAKEN = "You cannot publish over the previously published versions"

RULES = [
    {"match": "@acme/secret-*", "from": "hosted", "read": "ann", "publish": "ann"},
    {"match": ["@acme/*", "acme-*"], "from": "hosted"},
    {"match": "fork-*", "from": "npm", "merge": True},
    {"match": "*", "from": "npm"},
]
PEOPLE = ("ann", "bob", "root")
"""Its users; root is an administrator."""


def password(user: str) -> str:
    return f"correct horse {user}"


@dataclass(frozen=True, slots=True)
class House:
    """The registry; `tokens` are those of its users."""

    url: str
    folder: Path
    uplink: FakeUplink
    tokens: Mapping[str, str]
    seats: dict[tuple[str, str], Seat] = field(default_factory=dict)

    def seat(self, client: Client, user: str) -> Seat:
        """Where `user` sits with this client, with a token; one place for all tests."""
        key = (client.name, user)
        if key not in self.seats:
            self.seats[key] = self._new(client, user, self.tokens[user])
        return self.seats[key]

    def stranger(self, client: Client) -> Seat:
        """A new place where nobody is logged in."""
        return self._new(client, "stranger", "")

    def newcomer(self, client: Client, user: str) -> Seat:
        """Where somebody sits who has just become a user, with a password and a token."""
        (token,) = asyncio.run(_join(self.folder / "data", user)).values()
        return self._new(client, user, token)

    def packhouse(self, *words: str) -> str:
        """Run a command of ours on the data while it is served; what it printed."""
        argv = [str(COMMAND), *words, "--data", str(self.folder / "data")]
        ended = subprocess.run(
            argv, capture_output=True, text=True, timeout=60, check=False, cwd=self.folder
        )
        assert ended.returncode == 0, f"{argv}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def publish(self, name: str, *versions: str, user: str = "ann", **fields: Any) -> str:
        """Publish a package by no client, where a test is about what comes after; its name."""
        for version in versions or ("1.0.0",):
            self.put(address(name), a_publish(version, name, **fields).document, user)
        return name

    def start(self, org: str, *members: str) -> None:
        """Make an organisation that all of these own."""
        for member in members:
            self.put(f"/-/org/{org}/user", {"user": member, "role": "owner"})

    def put(self, path: str, body: Mapping[str, object], user: str = "root") -> None:
        """One PUT that has to succeed, by no client."""
        status, told = self.ask("PUT", path, body, user=user)
        assert 200 <= status < 300, told

    def ask(
        self, method: str, path: str, body: object = None, *, user: str = "ann"
    ) -> tuple[int, Any]:
        """One request by no client; its status and its JSON."""
        headers = {
            "Authorization": f"Bearer {self.tokens[user]}", "Content-Type": "application/json",
        }  # fmt: skip
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, sent, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def heard(self, word: str) -> Sequence[str]:
        """What the uplink was asked with this word: method, path and readable body of each."""
        lines = [
            f"{each.method} {each.decoded_path} {_readable(each.body)}"
            for each in self.uplink.requests
        ]
        return [line for line in lines if word in line]

    def _new(self, client: Client, user: str, token: str) -> Seat:
        at = self.folder / f"{client.name}-{user}"
        number = sum(1 for _ in self.folder.glob(f"{at.name}*"))
        return Seat.new(client, at.with_name(f"{at.name}{number}"), self.url, token)


@contextmanager
def open_house(folder: Path) -> Iterator[House]:
    """Serve in `folder` until the block ends."""
    settings = {
        "RULES": json.dumps(RULES),
        "AUTH_ADMINS": "root",
        "CACHE_MIN_FREE": "0B",
        "HOSTING_UNPUBLISH": "always",
    }
    tokens = asyncio.run(_join(folder / "data", *PEOPLE))
    with _uplink() as uplink:
        _publish(uplink)
        with serving(folder / "data", "--uplink", uplink.url, settings=settings) as server:
            yield House(server.url, folder, uplink, tokens)


def allow(printed: str, **fields: str) -> None:
    """Fill in the form of the last page that a client has printed the address of, and allow it.

    `fields` are `name` and `password`, or `code`. In the terminal nothing is typed meanwhile.
    """
    page = re.findall(r"http://\S+/-/login/[\w-]+", printed)[-1]
    with urllib.request.urlopen(page, timeout=30) as shown:
        form = re.search(r'name="form" value="([^"]+)"', shown.read().decode())
    assert form is not None, f"there is no form at {page}"
    filled = {"form": html.unescape(form[1]), "deed": "allow", **fields}
    parts = urlsplit(page)
    origin = {"Origin": f"{parts.scheme}://{parts.netloc}"}
    request = urllib.request.Request(page, urlencode(filled).encode(), origin)
    with urllib.request.urlopen(request, timeout=30) as answer:
        answer.read()


def _publish(uplink: FakeUplink) -> None:
    """Have the uplink offer its package, signed."""
    key = signing.new_key()
    uplink.keys = [dict(signing.key_document(key))]
    uplink.publish(UPSTREAM, "1.0.0", files={"index.js": b"module.exports = 7\n"})
    dist = uplink.packages[UPSTREAM]["versions"]["1.0.0"]["dist"]
    name = names.parse(UPSTREAM)
    dist["signatures"] = [signing.sign(key, name, "1.0.0", dist["integrity"])]


async def _join(data: Path, *users: str) -> Mapping[str, str]:
    """Make users of a data folder, served or not; their tokens."""
    data.mkdir(parents=True, exist_ok=True)
    passwords = Passwords()
    async with open_database(data / "hosted.sqlite") as database:
        people = SqlitePeople(database)
        hashes = {user: await passwords.hash(password(user)) for user in users}
        return {
            user: await add_user(people, user, password_hash=hashed)
            for user, hashed in hashes.items()
        }


def _readable(body: bytes) -> str:
    return (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body).decode(errors="replace")


@contextmanager
def _uplink() -> Iterator[FakeUplink]:
    """An uplink with a thread of its own, so that tests may wait for a client."""
    loop, uplink = asyncio.new_event_loop(), FakeUplink()
    thread = Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(uplink.start(), loop).result(30)
        yield uplink
        asyncio.run_coroutine_threadsafe(uplink.stop(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
