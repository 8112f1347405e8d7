"""No secret is written down: canaries go through everything, and are then looked for everywhere.

Threats 17 and 19 and the rules of RELIABILITY 6: passwords, tokens, one-time passwords, the ids of
web logins, and the token for an uplink; two workers, the log at its finest, refusals and failures
included.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pyotp
import pytest
from yarl import URL

from proxy.npm import tokens
from tests.fakes.uplink import FakeUplink
from tests.process import Process
from tests.publishing import HOSTED_RULES, UI, a_publish, address

UPLINK_TOKEN = "uplink-canary-0d9f1c7a5b"
ANN = "/-/user/org.couchdb.user:ann"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass
class Mine:
    """A registry, the canaries that were let loose in it, and what it said besides handing over."""

    process: Process
    canaries: dict[str, str] = field(default_factory=dict)
    said: list[bytes] = field(default_factory=list)

    def canary(self, kind: str, text: str | None = None) -> str:
        """Note a secret, made up if none is given."""
        found = text or f"canary-{secrets.token_hex(10)}"
        self.canaries[f"{kind} {len(self.canaries)}"] = found
        return found

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        gives: bool = False,
    ) -> tuple[int, Any]:
        """One request on a connection of its own; a reply that `gives` a secret may hold it."""
        sent = dict(headers or {})
        is_form = sent.get("content-type") == FORM["content-type"]
        data = body.encode() if is_form else None if body is None else json.dumps(body).encode()
        connector = aiohttp.TCPConnector(force_close=True)
        url = URL(self.process.url + path, encoded=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, url, headers=sent, data=data) as reply,
        ):
            text = await reply.read()
            if not gives:
                self.said += [text, repr(dict(reply.headers)).encode()]
            is_json = text and reply.content_type == "application/json"
            return reply.status, json.loads(text) if is_json else text

    def found_in(self, text: bytes) -> list[str]:
        """The canaries that are in it."""
        return [key for key, canary in self.canaries.items() if canary.encode() in text]


@pytest.mark.parametrize("shape", ["json", "text"])
async def test_canaries(tmp_path: Path, uplink: FakeUplink, shape: str) -> None:
    """Nothing that is secret is in a log, a reply, the audit log or, in clear, in the database."""
    uplink.publish("small", "1.0.0")
    uplink.token = UPLINK_TOKEN
    config = tmp_path / "config.toml"
    config.write_text(f'[uplinks.npm]\nurl = "{uplink.url}"\ntoken = "{UPLINK_TOKEN}"\n')
    config.chmod(0o600)
    settings = {
        "AUTH_SIGNUP": "true",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": shape,
        "LOG_ACCESS": "true",
        "RULES": HOSTED_RULES,
    }
    process = Process(
        tmp_path, None, workers=2, settings=settings, options=("--config", str(config))
    )
    async with process:
        mine = Mine(process)
        mine.canary("uplink", UPLINK_TOKEN)
        statuses = await _everything(mine)
        statuses |= await _failures(mine)
        await process.stop()
        kept = b"".join(path.read_bytes() for path in _files(process.data))
        await process.start()
        statuses |= await _breakage(mine)
        await process.stop()

    assert {200, 201, 400, 401, 403, 404, 500} <= statuses
    assert {seen.headers.get("authorization") for seen in uplink.requests} == {
        f"Bearer {UPLINK_TOKEN}"
    }
    # What has to be kept: the secret of a second factor, to check codes by; and the word of a form,
    # which is of use only with the page's address, which is not kept.
    unkept = {key for key in mine.canaries if not key.startswith(("factor", "form"))}
    assert unkept & set(mine.found_in(kept)) == set()
    assert b"Traceback" in process.err.read_bytes()
    assert len(process.out.read_text().splitlines()) > 20
    assert mine.found_in(process.err.read_bytes()) == []
    assert mine.found_in(process.out.read_bytes()) == []
    assert mine.found_in(b"\n".join(mine.said)) == []


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


async def _everything(mine: Mine) -> set[int]:
    """Use every secret as it is meant to be used; the statuses that came."""
    password = mine.canary("password")
    login = {"name": "ann", "password": password, "email": "ann@registry.example"}
    _, answer = await mine.ask("PUT", ANN, login, gives=True)
    token = mine.canary("token", answer["token"])
    mine.canary("basic", base64.b64encode(f"ann:{password}".encode()).decode())
    bearer = {"authorization": f"Bearer {token}"}
    basic = {"authorization": f"Basic {base64.b64encode(f'ann:{password}'.encode()).decode()}"}
    body = {"password": password, "readonly": True, "name": "ci"}
    _, made = await mine.ask("POST", "/-/npm/v1/tokens", body, gives=True, headers=bearer)
    mine.canary("token", made["token"])
    found = {
        (await mine.ask("PUT", address(UI), a_publish().document, headers=bearer))[0],
        (await mine.ask("GET", address(UI), headers=basic))[0],
        (await mine.ask("GET", "/small", headers=bearer))[0],
        (await mine.ask("GET", f"/small?token={token}&password={password}"))[0],
        (await mine.ask("GET", "/-/npm/v1/tokens", headers=bearer))[0],
        (
            await mine.ask(
                "PUT", address(UI), {}, headers={"authorization": f"Bearer {made['token']}"}
            )
        )[0],
        (await mine.ask("DELETE", f"/-/npm/v1/tokens/token/{made['token']}", headers=bearer))[0],
    }
    found |= await _on_the_web(mine, password)
    return found | await _second_factor(mine, bearer, password)


async def _on_the_web(mine: Mine, password: str) -> set[int]:
    status, begun = await mine.ask("POST", "/-/v1/login", {}, gives=True)
    page, done = (begun[key].removeprefix(mine.process.url) for key in ("loginUrl", "doneUrl"))
    mine.canary("login", page.rpartition("/")[2])
    mine.canary("login", done.rpartition("/")[2])
    _, shown = await mine.ask("GET", page, gives=True)
    word = mine.canary("form", shown.decode().partition('name="form" value="')[2].partition('"')[0])
    answers = {"name": "ann", "password": password, "code": "", "form": word, "deed": "allow"}
    allowed, _ = await mine.ask("POST", page, urlencode(answers), headers=FORM)
    _, given = await mine.ask("GET", done, gives=True)
    mine.canary("token", given["token"])
    return {status, allowed}


async def _second_factor(mine: Mine, bearer: dict[str, str], password: str) -> set[int]:
    begin = {"tfa": {"password": password, "mode": "auth-and-writes"}}
    status, begun = await mine.ask("POST", "/-/npm/v1/user", begin, gives=True, headers=bearer)
    secret = mine.canary("factor", begun["tfa"].partition("secret=")[2].partition("&")[0])
    code = {"tfa": [pyotp.TOTP(secret).now()]}
    _, confirmed = await mine.ask("POST", "/-/npm/v1/user", code, gives=True, headers=bearer)
    for each in confirmed["tfa"]:
        mine.canary("recovery", each)
    tag = f"/-/package/{UI.replace('/', '%2f')}/dist-tags/beta"
    wrong = await mine.ask("PUT", tag, "1.0.0", headers={**bearer, "npm-otp": mine.canary("otp")})
    right = await mine.ask("PUT", tag, "1.0.0", headers={**bearer, "npm-otp": confirmed["tfa"][0]})
    other = mine.canary("password")
    change = {"password": {"old": password, "new": other}}
    changed = await mine.ask(
        "POST", "/-/npm/v1/user", change, headers={**bearer, "npm-otp": confirmed["tfa"][1]}
    )
    assert (wrong[0], right[0], changed[0]) == (401, 201, 200)
    return {status, wrong[0], right[0], changed[0]}


async def _failures(mine: Mine) -> set[int]:
    """Send secrets where they are wrong, misplaced, or met by something that breaks."""
    ours, foreign = mine.canary("token", tokens.new()), mine.canary("token", f"npm_{'c' * 36}")
    wrong = mine.canary("password")
    found = {
        (await mine.ask("PUT", ANN, {"name": "ann", "password": wrong}))[0],
        (await mine.ask("PUT", ANN, {"name": "ann", "password": [wrong]}))[0],
        (await mine.ask("PUT", ANN, {"name": "bob", "password": wrong}))[0],
        (await mine.ask("DELETE", f"/-/user/token/{ours}"))[0],
        (await mine.ask("GET", f"/{ours}"))[0],
        (await mine.ask("GET", f"/-/nothing/{ours}"))[0],
        (await mine.ask("GET", "/-/whoami", headers={"user-agent": f"npm/11 {ours}"}))[0],
    }
    for token in (ours, foreign):
        bearer = {"authorization": f"Bearer {token}"}
        found |= {
            (await mine.ask("GET", path, headers=bearer))[0] for path in (f"/{UI}", "/-/whoami")
        }
    weak = {"name": "new", "password": "new"}
    found |= {(await mine.ask("PUT", "/-/user/org.couchdb.user:new", weak))[0]}
    return found


async def _breakage(mine: Mine) -> set[int]:
    """A log-in while the database cannot be read: a failure with a traceback in the log."""
    file = mine.process.data / "hosted.sqlite"
    with file.open("r+b") as damaged:
        damaged.seek(4096)
        damaged.write(b"\xff" * (file.stat().st_size - 4096))
    login = {"name": "ann", "password": mine.canary("password")}
    bearer = {"authorization": f"Bearer {mine.canary('token', tokens.new())}"}
    found = set()
    for _ in range(4):
        found |= {(await mine.ask("PUT", ANN, login))[0]}
        found |= {(await mine.ask("GET", f"/{UI}/1.0.0", headers=bearer))[0]}
    return found
