"""The pages that people see: templates of `pages/`, filled in. The door to jinja2.

Whatever is put into a page is escaped, whoever wrote it. A page needs no script, no cookie and no
other address: its style stands in it, and the policy that goes with it allows that style alone.
"""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from pathlib import Path

import jinja2

_FOLDER = Path(__file__).with_name("pages")
_STYLE = "style.css"


def render(template: str, /, **facts: object) -> bytes:
    """The page of a template; a fact that is missing is an error."""
    return _environment().get_template(template).render(facts).encode("utf-8", "backslashreplace")


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
