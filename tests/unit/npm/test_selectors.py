"""What a mirror rule names."""

from __future__ import annotations

import pytest

from proxy.npm import selectors
from proxy.npm.selectors import Selector, Unfit

SELECTORS = [
    ("react", Selector("react")),
    ("lodash@^4", Selector("lodash", "^4")),
    ("react@next", Selector("react", "next")),
    ("@types/*", Selector("@types/*")),
    ("@types/node@>=18 <20", Selector("@types/node", ">=18 <20")),
    ("*", Selector("*")),
]


@pytest.mark.parametrize(("text", "meant"), SELECTORS)
def test_what_is_written_is_read(text: str, meant: Selector) -> None:
    """A name or a pattern, with a range or a tag behind it; it is shown as it was written."""
    assert selectors.parse(text) == meant
    assert str(meant) == text


@pytest.mark.parametrize("text", ["", "@", "@types", "lodash@", "a/b", "a?", "**", "a b", "@a/b@ "])
def test_what_names_no_package(text: str) -> None:
    """What cannot name a package is refused with a reason."""
    with pytest.raises(Unfit, match=r"\w+ \w+"):
        selectors.parse(text)


def test_names_count_and_patterns_mean_what_is_held() -> None:
    """A name is meant whether it is held or not; ranges of several selectors come together."""
    chosen = [selectors.parse(text) for text in ("new", "a@^1", "a@^2", "@s/*@next", "a*")]

    assert selectors.select(chosen, ["a", "ab", "b", "@s/x"]) == {
        "new": (),
        "a": ("^1", "^2"),
        "ab": (),
        "@s/x": ("next",),
    }
