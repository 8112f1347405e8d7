"""The pages that people see: templates of `pages/`, filled in. The door to jinja2.

Whatever is put into a page is escaped, whoever wrote it. A page needs no script, no cookie and no
other address: its style stands in it, and the policy that goes with it allows that style alone.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import jinja2
from aiohttp import hdrs, web

from proxy.web import replies

_FOLDER = Path(__file__).with_name("pages")
_STYLE = "style.css"
_HEADERS: Mapping[str, str] = {
    "X-Frame-Options": "DENY",
    # "no-referrer" would make browsers send forms with "Origin: null", which could be anybody's.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def render(template: str, /, **facts: object) -> bytes:
    """The text of a template; a fact that is missing is an error."""
    return _environment().get_template(template).render(facts).encode("utf-8", "backslashreplace")


def page(body: bytes, *, status: int = 200) -> web.Response:
    """The reply with a page."""
    headers = {**_HEADERS, hdrs.CONTENT_SECURITY_POLICY: policy()}
    reply = replies.text(body, "text/html; charset=utf-8", **headers)
    reply.set_status(status)
    if status == 401:
        # Says that a browser is not to ask for a password in a window of its own.
        reply.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return reply


@lru_cache(maxsize=1)
def policy() -> str:
    """The Content-Security-Policy of every page."""
    style = _environment().get_template(_STYLE).render().encode()
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none';"
        " frame-ancestors 'none'"
    )


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=False,
    )
