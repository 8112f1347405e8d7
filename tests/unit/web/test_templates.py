"""Templates: what is put in is text, and what is missing is an error."""

from __future__ import annotations

import jinja2
import pytest

from proxy.web import templates


def test_facts_are_escaped() -> None:
    """Markup in a fact is shown as it was written, in text and in titles."""
    page = templates.render("ended.html", title="<b>&", sentence="\"'<script>")

    assert b"<title>&lt;b&gt;&amp; " in page
    assert b"<script" not in page


def test_lone_surrogates_are_written_out() -> None:
    """Text that no encoding can say does not break a page."""
    assert b"\\udcff" in templates.render("ended.html", title="a", sentence="\udcff")


def test_a_missing_fact_is_an_error() -> None:
    """A page is never sent with a hole in it."""
    with pytest.raises(jinja2.UndefinedError):
        templates.render("ended.html", title="a")
