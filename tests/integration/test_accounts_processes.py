"""People at the real command: what every worker knows, and what nobody writes down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp

from tests.fakes.uplink import FakeUplink
from tests.process import Process

PASSWORD = "canary-in-a-coal-mine"
SETTINGS = {"AUTH_SIGNUP": "true", "LOG_LEVEL": "debug", "LOG_FORMAT": "json"}


async def asked(
    process: Process, method: str, path: str, token: str | None = None, body: Any = None
) -> tuple[int, Any]:
    """One request on a connection of its own, so that any worker may answer."""
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
        session.request(method, process.url + path, headers=headers, json=body) as reply,
    ):
        text = await reply.text()
        return reply.status, json.loads(text) if text else None


async def signed_up(process: Process) -> str:
    body = {"name": "ann", "password": PASSWORD}
    status, answer = await asked(process, "PUT", "/-/user/org.couchdb.user:ann", body=body)
    assert status == 201
    return str(answer["token"])


async def test_a_token_is_over_on_every_worker(tmp_path: Path, uplink: FakeUplink) -> None:
    """Whoever logs out is nobody at the next request, whichever worker that comes to."""
    async with Process(tmp_path, uplink.url, workers=2, settings=SETTINGS) as process:
        token = await signed_up(process)
        before = {(await asked(process, "GET", "/-/whoami", token))[0] for _ in range(20)}
        status, _ = await asked(process, "DELETE", f"/-/user/token/{token}", token)
        after = {(await asked(process, "GET", "/-/whoami", token))[0] for _ in range(20)}
        await process.stop()
    assert (before, status, after) == ({200}, 200, {401})


async def test_87_and_89_no_secret_is_written_anywhere(tmp_path: Path, uplink: FakeUplink) -> None:
    """No token, password or secret of a second factor is in a log, or in clear on the disk.

    They go through every route that takes them, right and wrong, with the log at its finest. The
    secret of a second factor alone has to be kept, to check codes by.
    """
    async with Process(tmp_path, uplink.url, settings=SETTINGS) as process:
        token = await signed_up(process)
        _, made = await asked(
            process, "POST", "/-/npm/v1/tokens", token, {"password": PASSWORD, "readonly": True}
        )
        factor = {"tfa": {"password": PASSWORD, "mode": "auth-only"}}
        _, profile = await asked(process, "POST", "/-/npm/v1/user", token, factor)
        await asked(process, "POST", "/-/npm/v1/user", token, {"tfa": ["canary-code"]})
        await asked(process, "DELETE", f"/-/npm/v1/tokens/token/{made['token']}", token)
        await asked(process, "DELETE", f"//-/user/token/{made['token']}", token)
        await asked(process, "GET", f"/{token}?token={token}")
        await asked(process, "DELETE", f"/-/user/token/{token}/", token)
        await asked(process, "DELETE", f"/-/user/token/{token}", token)
        assert await process.stop() == 0
    logs = process.out.read_text() + process.err.read_text()
    kept = b"".join(path.read_bytes() for path in process.data.rglob("*") if path.is_file())
    secret = profile["tfa"].partition("secret=")[2].partition("&")[0]

    assert "/-/user/token/***" in logs
    for canary in (token, made["token"], PASSWORD, "canary-code", secret):
        assert canary not in logs
    for canary in (token, made["token"], PASSWORD):
        assert canary.encode() not in kept
