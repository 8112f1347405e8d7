"""Which packages a search's text is for, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import ranking
from proxy.npm.ranking import Entry, Page

ENTRIES = (
    Entry(
        "@acme/button",
        "1.2.0",
        "A Button for forms",
        ("UI", "form"),
        ("Ann", "ann@a.example"),
        ("ann", "bob"),
    ),
    Entry("@acme/forms", "0.3.0", "Everything in a form", ("form", "legacy"), (), ("bob",)),
    Entry("button", "2.0.0", "", (), ("Eve",), ("eve",)),
    Entry("acme-colors", "1.0.0-beta", "Colours, not a button", ("ui", "css"), (), ("ann",)),
)


def found(text: str) -> list[str]:
    return [entry.name for entry in ranking.ranked(ENTRIES, ranking.read(text))]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["@acme/button", "@acme/forms", "acme-colors", "button"]),
        ("button", ["@acme/button", "button", "acme-colors"]),
        ("BUTTON", ["@acme/button", "button", "acme-colors"]),
        ("@acme/button", ["@acme/button"]),
        ("acme", ["acme-colors", "@acme/button", "@acme/forms"]),
        ("acme button", ["@acme/button", "acme-colors"]),
        ("form", ["@acme/forms", "@acme/button"]),
        ("css", ["acme-colors"]),
        ("nothing", []),
        ("button -form", ["button", "acme-colors"]),
        ("-", ["acme-colors"]),
        ('"@acme/button"', ["@acme/button"]),
        ('css ""', ["acme-colors"]),
    ],
)
def test_words(text: str, names: list[str]) -> None:
    """Every word is in the name, a keyword or the description; a name that is the word is first."""
    assert found(text) == names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("scope:acme", ["@acme/button", "@acme/forms"]),
        ("scope:@acme button", ["@acme/button"]),
        ("scope:unscoped", ["acme-colors", "button"]),
        ("scope:acme scope:unscoped button", ["@acme/button", "button", "acme-colors"]),
        ("author:ann", ["@acme/button"]),
        ("author:ANN@A.example", ["@acme/button"]),
        ('author:"eve"', ["button"]),
        ("maintainer:ann", ["@acme/button", "acme-colors"]),
        ("maintainer:an", []),
        ("keywords:form", ["@acme/button", "@acme/forms"]),
        ("keywords:form,css", ["@acme/button", "@acme/forms", "acme-colors"]),
        ("keywords:form+ui", ["@acme/button"]),
        ("keywords:css,form+ui", ["@acme/button", "acme-colors"]),
        ("keywords:form,-legacy", ["@acme/button"]),
        ("keywords:-legacy,-css", ["@acme/button", "button"]),
        ("keywords:form keywords:ui", ["@acme/button"]),
        ("is:unstable", ["@acme/forms"]),
        ("not:unstable", ["@acme/button", "acme-colors", "button"]),
        ("not:insecure boost-exact:false css", ["acme-colors"]),
        ("scope:", []),
    ],
)
def test_qualifiers(text: str, names: list[str]) -> None:
    """Qualifiers narrow a search as the public registry's do; others do nothing."""
    assert found(text) == names


@given(st.text(max_size=60))
def test_any_text_is_a_search(text: str) -> None:
    """Whatever the text, it finds a part of what there is, each once."""
    names = found(text)

    assert len(names) == len(set(names))
    assert set(names) <= {entry.name for entry in ENTRIES}


@pytest.mark.parametrize(
    ("start", "size", "page"),
    [
        (None, None, Page(0, 20)),
        ("40", "10", Page(40, 10)),
        ("0", "0", Page(0, 0)),
        ("-1", "-5", Page(0, 20)),
        ("x", "1e3", Page(0, 20)),
        ("٣", "٣", Page(0, 20)),
        ("9" * 5000, "9" * 5000, Page(1_000_000, 250)),
    ],
)
def test_pages(start: str | None, size: str | None, page: Page) -> None:
    """A page is at most 250 results; what is no number counts as not said."""
    assert ranking.page(start, size) == page
