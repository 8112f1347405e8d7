"""Names of organisations and teams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidRequest, NotFound
from proxy.npm import groups, principals


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,40}", fullmatch=True))
def test_every_name_can_stand_in_a_rule(name: str) -> None:
    """What an organisation or team may be called, a rule can call it."""
    assert groups.org(name) == groups.org(f"@{name}") == groups.team(name) == name
    if name not in {"all", "authenticated"}:
        groups.check_new(name, "organisation")
        assert principals.flaw_of(f"@{name}") is None
        assert principals.flaw_of(f"@{name}:{name}") is None


@pytest.mark.parametrize("name", ["", "@", "@@a", "A", "a b", "a:b", "a/b", ".a", "é", "a" * 215])
def test_no_other_name_is_one(name: str) -> None:
    """All else is no name: an address with it leads nowhere, and nothing new is called so."""
    for look in (groups.org, groups.team):
        with pytest.raises(NotFound, match="is called so; a name is up to 214 characters"):
            look(name)
    with pytest.raises(InvalidRequest):
        groups.check_new(name, "team")


@pytest.mark.parametrize("name", ["all", "authenticated"])
def test_words_of_rules_are_no_names(name: str) -> None:
    """`@all` would be taken for `$all`."""
    with pytest.raises(InvalidRequest, match="rules have a word like it"):
        groups.check_new(name, "organisation")


def test_a_description_is_short() -> None:
    """A team is described in a thousand characters, not in as many as fit a body."""
    groups.check_description("x" * 1000)

    with pytest.raises(InvalidRequest, match="at most 1000 characters"):
        groups.check_description("x" * 1001)
