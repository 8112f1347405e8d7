"""Real clients log in, and have writes confirmed, by a real browser on our pages."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from proxy.npm.policy import HOSTED, Rule, Rules
from tests.clients.browser import Browser, browsing
from tests.clients.clients import Bun, Client, Npm, Pnpm, _environment
from tests.logins import begin
from tests.people import PASSWORD, add_user, code_of, people_of
from tests.registry import Registry

PAGE = re.compile(rb"http://127\.0\.0\.1:\d+/-/login/[\w-]{43}")
PATIENCE_SECONDS = 60
PAYLOADS = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\"><svg/onload=alert(1)>",
    "<iframe srcdoc='<script>parent.document.title=1</script>'>",
    "<style>*{display:none}</style>",
    "<a href=javascript:alert(1)>refuse</a>",
]


class Running:
    """A client at work in a terminal of its own. `output` grows until it ends."""

    def __init__(self, argv: Sequence[str], folder: Path, env: dict[str, str]) -> None:
        ours, theirs = pty.openpty()
        with os.fdopen(theirs, "rb", buffering=0) as terminal:
            self._process = subprocess.Popen(
                argv, cwd=folder, env=env, start_new_session=True,
                stdin=terminal, stdout=terminal, stderr=terminal,
            )  # fmt: skip
        self.output = b""
        self._reader = Thread(target=self._read, args=(ours,), daemon=True)
        self._reader.start()

    async def page(self) -> str:
        """Wait until it prints the address of a page of ours."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (found := PAGE.search(self.output)) is None:
                assert self._process.poll() is None, self.output.decode(errors="replace")
                await asyncio.sleep(0.05)
        return found[0].decode()

    async def end(self) -> int:
        """Wait until it ends; its exit code."""
        code = await asyncio.to_thread(self._process.wait, PATIENCE_SECONDS)
        await asyncio.to_thread(self._reader.join, PATIENCE_SECONDS)
        return code

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self, ours: int) -> None:
        # A terminal nobody writes to any more says so with an error.
        try:
            while data := os.read(ours, 65_536):
                self.output += data
        except OSError:
            pass
        finally:
            os.close(ours)


@dataclass(frozen=True)
class Desk:
    """Where somebody works: a home and a project that use a registry."""

    registry: Registry
    home: Path

    @property
    def project(self) -> Path:
        return self.home / "project"

    def prepare(self, token: str | None = None) -> None:
        host = urlsplit(self.registry.url).netloc
        lines = [f"registry={self.registry.url}/", "update-notifier=false"]
        if token is not None:
            lines.append(f"//{host}/:_authToken={token}")
        self.project.mkdir(parents=True)
        (self.home / ".npmrc").write_text("\n".join(lines) + "\n")
        (self.project / "bunfig.toml").write_text(f'[install]\nregistry = "{self.registry.url}/"\n')
        (self.project / "package.json").write_text('{"name":"@acme/ui","version":"1.0.0"}')

    @asynccontextmanager
    async def run(self, client: Client, *words: str) -> AsyncIterator[Running]:
        running = Running(
            [*client.program(), *words], self.project, {**_environment(self.home), "TERM": "dumb"}
        )
        try:
            yield running
        finally:
            await asyncio.to_thread(running.kill)

    async def whoami(self, client: Client) -> str:
        async with self.run(client, "whoami") as running:
            await running.end()
            return running.output.decode(errors="replace")


def named(client: Client) -> str:
    return client.name


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser as people have it."""
    with browsing(tmp_path_factory.mktemp("browser") / "profile") as opened:
        yield opened


@pytest.fixture
async def desk(registry: Registry, tmp_path: Path) -> Desk:
    """Somebody's desk; ann has an account."""
    await add_user(registry)
    at = Desk(registry, tmp_path / "home")
    at.prepare()
    return at


def answer(browser: Browser, page: str, deed: str = "allow", **typed: str) -> str:
    """Open a page, fill in the form, press a button; what is shown then."""
    browser.open(page)
    browser.fill(**typed)
    browser.press(deed)
    return browser.text


async def answered(browser: Browser, page: str, deed: str = "allow", **typed: str) -> str:
    return await asyncio.to_thread(answer, browser, page, deed, **typed)


# --- logging in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", [Npm("10"), Npm("12"), Pnpm("12")], ids=named)
async def test_login(client: Client, desk: Desk, browser: Browser) -> None:
    """The client prints an address, the browser logs in there, and the client is somebody."""
    async with desk.run(client, "login") as login:
        shown = await answered(browser, await login.page(), name="ann", password=PASSWORD)
        code = await login.end()

    assert code == 0, login.output.decode(errors="replace")
    assert "You can close this window" in shown
    assert "ann" in (await desk.whoami(client)).split()


async def test_a_wrong_password_first(desk: Desk, browser: Browser) -> None:
    """After a wrong password the page is still there, with the name, and the client waits on."""
    async with desk.run(Npm("12"), "login") as login:
        page = await login.page()
        wrong = await answered(browser, page, name="ann", password="not this one")
        right = await answered(browser, page, name="ann", password=PASSWORD)
        code = await login.end()

    assert "The user name or the password is wrong." in wrong
    assert "Done, ann" in right
    assert code == 0


async def test_refusing(desk: Desk, browser: Browser) -> None:
    """Refused in the browser, the client gets nothing: nobody is logged in and no token is made."""
    async with desk.run(Npm("12"), "login") as login:
        shown = await answered(browser, await login.page(), "refuse")
        async with asyncio.timeout(PATIENCE_SECONDS):
            # npm takes any 404 for a registry without such pages, and asks in the terminal.
            while b"Username" not in login.output:
                await asyncio.sleep(0.05)

    assert "Nobody was logged in" in shown
    assert "_authToken" not in (desk.home / ".npmrc").read_text()
    assert await people_of(desk.registry).tokens("ann") == []


async def test_too_late(registry: Registry, browser: Browser) -> None:
    """A page that was left open for longer than the login lasts says what to do."""
    await add_user(registry)
    page = registry.url + (await begin(registry)).page
    await asyncio.to_thread(browser.open, page)
    registry.clock.advance(minutes=11)

    await asyncio.to_thread(browser.fill, name="ann", password=PASSWORD)
    await asyncio.to_thread(browser.press, "allow")

    assert "This login has ended" in browser.text
    assert "begin again in the terminal" in browser.text


async def test_without_scripts(registry: Registry, tmp_path: Path) -> None:
    """A browser that runs no scripts logs in as any other."""
    await add_user(registry)
    login = await begin(registry)

    def visit() -> str:
        with browsing(tmp_path / "profile", has_scripts=False) as browser:
            return answer(browser, registry.url + login.page, name="ann", password=PASSWORD)

    assert "Done, ann" in await asyncio.to_thread(visit)
    assert (await login.poll()).status == 200


# --- the second factor ----------------------------------------------------------------------------


@pytest.mark.parametrize("client", [Npm("10"), Npm("12"), Pnpm("12"), Bun()], ids=named)
async def test_88_publish(
    client: Client, registry: Registry, tmp_path: Path, browser: Browser
) -> None:
    """A publish that needs the second factor goes on once the code is typed on the page."""
    await registry.stop()
    rules = Rules((Rule(("@acme/*",), HOSTED), *registry.config.rules.rules))
    registry.config = replace(registry.config, rules=rules)
    await registry.start()
    await add_user(registry, totp_mode="auth-and-writes")
    login = await begin(registry)
    await login.answer(code=code_of(registry))
    token = (await login.poll()).json()["token"]
    registry.clock.advance(minutes=2)  # the next code
    desk = Desk(registry, tmp_path / "home")
    desk.prepare(token)
    extra = ["--no-git-checks"] if isinstance(client, Pnpm) else []

    async with desk.run(client, "publish", *extra) as publish:
        shown = await answered(browser, await publish.page(), code=code_of(registry))
        code = await publish.end()

    found = await registry.get("/@acme%2fui", Authorization=f"Bearer {token}")
    assert "Done, ann" in shown
    assert code == 0, publish.output.decode(errors="replace")
    assert found.json()["dist-tags"] == {"latest": "1.0.0"}


# --- what somebody else may try -------------------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_client_cannot_write_on_the_page(
    registry: Registry, browser: Browser, payload: str
) -> None:
    """What a client says of itself is read by people and run by nothing."""
    said = json.dumps({"hostname": payload}).encode()
    login = await begin(registry, said, **{"User-Agent": payload})

    await asyncio.to_thread(browser.open, registry.url + login.page)

    assert browser.title == "Log in · Packhouse"
    assert not browser.has_alert
    assert browser.text.count(payload) == 2
    assert browser.count("script, img, svg, iframe, a, body style") == 0


async def test_the_page_is_as_it_was_made(registry: Registry, browser: Browser) -> None:
    """The policy lets the page's own style through; a screen reader has a word for each field."""
    await asyncio.to_thread(browser.open, registry.url + (await begin(registry)).page)

    assert browser.style("button[value=allow]", "background-color") == "rgba(31, 95, 174, 1)"
    assert browser.label("#name") == "User name"
    assert browser.label("#password") == "Password"
    assert browser.label("#code").startswith("One-time password")


async def test_a_form_of_another_site(registry: Registry, browser: Browser) -> None:
    """A form on another site, with all that is right in it, logs nobody in."""
    await add_user(registry)
    login = await begin(registry)
    fields = {"form": await login.form(), "name": "ann", "password": PASSWORD, "deed": "allow"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in fields.items())
    target = registry.url + login.page

    async def lure(_: web.Request) -> web.Response:
        body = (
            f'<form method="post" action="{target}">{inputs}<button value="go">go</button></form>'
        )
        return web.Response(text=body, content_type="text/html")

    site = web.Application()
    site.router.add_get("/", lure)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    # Another name of this machine is another site to a browser.
    await asyncio.to_thread(browser.open, f"http://localhost:{runner.addresses[0][1]}/")
    await asyncio.to_thread(browser.press, "go")
    await runner.cleanup()

    assert "it was sent by another site" in browser.text.lower()
    assert (await login.poll()).status == 202
