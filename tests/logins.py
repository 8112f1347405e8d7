"""Web logins as a client begins and polls them, and as a browser answers them."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from urllib.parse import urlencode

from tests.people import PASSWORD
from tests.registry import Answer, Registry

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Login:
    """A login that a client has begun, and how to answer it as a browser."""

    registry: Registry
    page: str
    done: str

    async def shown(self) -> Answer:
        return await self.registry.get(self.page, accept="text/html")

    async def form(self) -> str:
        found = re.search(rb'name="form" value="([^"]+)"', (await self.shown()).body)
        assert found is not None
        return html.unescape(found[1].decode())

    async def answer(self, deed: str = "allow", **fields: str) -> Answer:
        """Fill in the form as it was shown, and send it as a browser does."""
        given = {"form": await self.form(), "name": "ann", "password": PASSWORD, "code": ""}
        return await self.post({**given, "deed": deed, **fields})

    async def post(self, fields: dict[str, str], **headers: str) -> Answer:
        sent = {"Content-Type": FORM, "Origin": self.registry.url, **headers}
        return await self.registry.ask("POST", self.page, sent, urlencode(fields).encode())

    async def poll(self) -> Answer:
        return await self.registry.get(self.done)


async def begin(registry: Registry, body: bytes = b"{}", **headers: str) -> Login:
    reply = await registry.ask("POST", "/-/v1/login", headers, body)
    assert reply.status == 200, reply.body
    return login_of(registry, reply.json()["loginUrl"], reply.json()["doneUrl"])


def login_of(registry: Registry, page: str, done: str) -> Login:
    assert page.startswith(f"{registry.url}/-/login/")
    assert done.startswith(f"{registry.url}/-/v1/done/")
    return Login(registry, page.removeprefix(registry.url), done.removeprefix(registry.url))
