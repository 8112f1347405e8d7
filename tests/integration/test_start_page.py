"""The page at the root: what it tells a browser, and what it keeps to itself."""

from __future__ import annotations

import html

from proxy.npm import clients
from tests.floor import ask

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_every_line_is_shown(port: int) -> None:
    """The page has each line of each client's guide, for the address the browser used."""
    page = html.unescape((await ask(port, "/", HTML)).body.decode())

    told = clients.guides(f"http://127.0.0.1:{port}", ["@acme/*"])
    lines = [line for each in told for step in each.steps for line in step.lines]
    assert [line for line in lines if line not in page] == []


async def test_single_names_are_not_told(port: int) -> None:
    """Scopes that live here stand in every lockfile and are shown; names of packages are not."""
    page = (await ask(port, "/", HTML)).body

    assert b"@acme/*" in page
    assert b"secret" not in page
    assert b"lonely" not in page


async def test_a_program_gets_json(port: int) -> None:
    """Whoever does not ask for HTML gets the name and the version, as ever."""
    reply = await ask(port, "/", {"Accept": "*/*"})

    assert reply.json() == {"name": "packhouse", "version": "1.2.3"}


async def test_head(port: int) -> None:
    """HEAD works as for every page, and says how long it would be."""
    page, head = await ask(port, "/", HTML), await ask(port, "/", HTML, method="HEAD")

    assert head.body == b""
    assert head.headers["Content-Length"] == str(len(page.body))
