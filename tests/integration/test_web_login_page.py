"""The page of a web login, whoever sends what: threats 14, 15 and 16."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest

from tests.logins import FORM, begin
from tests.people import PASSWORD, add_user
from tests.registry import Registry

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</title></dd></section><form action=//evil.example>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "\u202egnp.exe",
]


# --- the page itself ------------------------------------------------------------------------------


class Seen(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_what_the_client_says_is_only_text(registry: Registry, payload: str) -> None:
    """A host or an agent that looks like markup is shown as it is, and makes no element."""
    plain = Seen((await (await begin(registry, b'{"hostname":"box"}')).shown()).body)
    agent = payload.encode("ascii", "replace").decode()
    said = json.dumps({"hostname": payload}).encode()
    login = await begin(registry, said, **{"User-Agent": agent})

    seen = Seen((await login.shown()).body)

    assert seen.tags == plain.tags
    assert "".join(c if c.isprintable() else " " for c in payload).strip() in seen.text
    assert agent in seen.text
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name == "action"]


async def test_what_is_typed_is_only_text(registry: Registry) -> None:
    """A user name that looks like markup comes back as the value of its field and nothing else."""
    login = await begin(registry)

    seen = Seen((await login.answer(name=PAYLOADS[1], password="x")).body)

    assert ("value", PAYLOADS[1]) in seen.attributes
    assert "img" not in seen.tags


async def test_the_page_says_who_asks(registry: Registry) -> None:
    """The page names the registry, the address that asks, the computer and the client."""
    login = await begin(registry, b'{"hostname":"build-7"}', **{"User-Agent": "npm/12.2.0"})

    text = Seen((await login.shown()).body).text

    assert f"Log in to {registry.url.removeprefix('http://')}" in text
    for said in ("127.0.0.1", "build-7", "npm/12.2.0"):
        assert said in text


@pytest.mark.parametrize("path", ["page", "ended", "start"])
async def test_pages_are_shut_in(registry: Registry, path: str) -> None:
    """Every page may load nothing, be framed by nobody, and has no script; its style is allowed."""
    login = await begin(registry)
    where = {"page": login.page, "ended": "/-/login/nothing", "start": "/"}[path]

    page = await registry.get(where, accept="text/html")
    style = re.search(rb"<style>(.*?)</style>", page.body, re.DOTALL)
    policy = page.headers["Content-Security-Policy"]

    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1]).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert part in policy
    assert "script" not in Seen(page.body).tags
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["X-Frame-Options"] == "DENY"


async def test_no_page_sets_a_cookie(registry: Registry) -> None:
    """A whole login sets no cookie: nothing that a browser sends by itself means anything."""
    await add_user(registry)
    login = await begin(registry)

    seen = [await login.shown(), await login.answer(), await login.poll()]

    assert [reply for reply in seen if "Set-Cookie" in reply.headers] == []


async def test_fields_are_labelled(registry: Registry) -> None:
    """Every field that is shown has a label, and the page says in which language it is."""
    seen = Seen((await (await begin(registry)).shown()).body)
    labels = {value for name, value in seen.attributes if name == "for"}

    assert labels == {value for name, value in seen.attributes if name == "id"}
    assert ("lang", "en") in seen.attributes


# --- forms of others ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=str,
)
async def test_a_form_of_another_site_does_not_count(
    registry: Registry, headers: dict[str, str]
) -> None:
    """A form that the browser says comes from elsewhere is refused, even if all in it is right."""
    await add_user(registry)
    login = await begin(registry)
    fields = {"form": await login.form(), "deed": "allow", "name": "ann", "password": PASSWORD}

    reply = await login.post(fields, **headers)

    assert reply.status == 403
    assert (await login.poll()).status == 202


@pytest.mark.parametrize("form", ["", "guess", "\u00e9"])
async def test_a_form_without_its_word_does_not_count(registry: Registry, form: str) -> None:
    """Neither allowing nor refusing works without the word that only the page holds."""
    await add_user(registry)
    login = await begin(registry)

    allowed = await login.answer(form=form)
    refused = await login.answer("refuse", form=form)

    assert (allowed.status, refused.status) == (403, 403)
    assert (await login.poll()).status == 202


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"deed":"allow"}'),
        ("text/plain", b"deed=allow"),
        (FORM, b"deed=%FF"),
        (FORM, b"&".join(b"a=%d" % n for n in range(100))),
        (FORM, b""),
        (FORM, b"deed=burn"),
    ],
    ids=["json", "text", "not-utf-8", "many-fields", "empty", "unknown-deed"],
)
async def test_what_is_no_form_of_ours_is_refused(
    registry: Registry, kind: str, body: bytes
) -> None:
    """A body that our page cannot have sent is answered with 400 or 403 and changes nothing."""
    login = await begin(registry)

    reply = await registry.ask("POST", login.page, {"Content-Type": kind}, body)

    assert reply.status in {400, 403}
    assert (await login.poll()).status == 202


async def test_a_huge_form_is_refused(registry: Registry) -> None:
    """A form is short: more than 64 KiB is 413."""
    login = await begin(registry)

    reply = await login.post({"name": "a" * 70_000})

    assert reply.status == 413


@pytest.mark.parametrize("target", ["//evil.example", "/\\evil.example", "https:evil.example"])
async def test_nothing_leads_elsewhere(registry: Registry, target: str) -> None:
    """A login never redirects, whatever its address or its form name as a place to go on to."""
    await add_user(registry)
    login = await begin(registry)
    form = await login.form()
    sent = {"form": form, "deed": "allow", "name": "ann", "password": PASSWORD}
    query = urlencode({"next": target, "return_to": target, "redirect": target})

    shown = await registry.get(f"{login.page}?{query}", accept="text/html")
    reply = await login.post({**sent, "next": target, "return_to": target})

    assert reply.status == 200
    for page in (shown, reply):
        assert "Location" not in page.headers
        assert b"evil.example" not in page.body
