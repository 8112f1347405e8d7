"""Whom the lists of a rule may name, and what is said of a word that names nobody."""

from __future__ import annotations

import pytest

from proxy.npm import principals
from proxy.npm.policy import HOSTED, Flaw, Origin, Rule, Rules

NPM, MERGED = Origin("npm"), Origin("npm", is_merged=True)
LONG = "a" * 215


@pytest.mark.parametrize(
    "word", ["$all", "$authenticated", "ann", "ci-bot", "a.b_c", "@acme", "@acme:core", "@a-b:c.d"]
)
def test_users_groups_and_two_words_may_be_listed(word: str) -> None:
    """A list names users, organisations, teams, everybody, and whoever is logged in."""
    assert principals.flaw_of(word) is None


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("$al", '"$al" is nobody; did you mean $all?'),
        ("$All", "did you mean $all?"),
        ("$authenicated", "did you mean $authenticated?"),
        ("@all", '"@all" is nobody; did you mean $all?'),
        ("all", '"all" is nobody; did you mean $all?'),
        ("@authenticated", "did you mean $authenticated?"),
        ("$anonymous", '"$anonymous" is nobody; possible: $all, $authenticated'),
        ("$", "possible: $all, $authenticated"),
        ("*", '"*" is no user; did you mean $all?'),
        ("acme:core", '"acme:core" is no user; did you mean "@acme:core"?'),
        ("@acme/core", '"@acme/core" is no group; did you mean "@acme:core"?'),
        ("@acme/*", 'did you mean "@acme"?'),
        ("@Acme:Core", 'is no group; did you mean "@acme:core"?'),
        ("@@acme", 'did you mean "@acme"?'),
        ("@", '"@" is no group; a user is written "ann"'),
        ("@acme:", '"@acme:" is no group; a user is written "ann"'),
        ("@acme:core:web", "is no group; a user"),
        ("@acme\0", "is no group"),
        ("ann\0", "is no user"),
        ("", '"" is no user; a user is written "ann", an organisation "@acme"'),
        ("ann, bob", '"ann, bob" is no user'),
        ("ann@acme.example", "is no user; a user is written"),
        (LONG, f'"{LONG[:80]}..." is no user'),
    ],
)
def test_a_word_that_names_nobody_says_what_to_write(word: str, said: str) -> None:
    """What can name neither a user nor a group is refused, with the nearest that could."""
    assert said in (principals.flaw_of(word) or "")


def test_a_group_is_no_user() -> None:
    """Where only a user may stand, a group and a word for many are refused."""
    words = ("ann", "@acme", "@acme:core", "$all", "*")

    assert [principals.flaw_of_user(word) for word in words] == [
        None,
        '"@acme" is no user; name users one by one',
        '"@acme:core" is no user; name users one by one',
        '"$all" is no user; name users one by one',
        '"*" is no user; did you mean $all?',
    ]


def flaws(*rules: Rule) -> list[Flaw]:
    return principals.check(Rules(rules))


def test_sound_lists_have_no_flaw() -> None:
    """Hosted and merged names may be published, and everybody may read."""
    ours = Rule(("@acme/*",), HOSTED, ("$all",), ("@acme",), ())
    fork = Rule(("lodash",), MERGED, None, ("ann",), ("$authenticated",))
    rest = Rule(("*",), NPM, ("@acme", "$all"), (), ())

    assert flaws(ours, fork, rest) == []


def test_a_flaw_carries_its_rule_and_its_list() -> None:
    """Each word that names nobody is a flaw of its list in its rule."""
    found = flaws(Rule(("a",), HOSTED), Rule(("b",), HOSTED, ("$x", "ann", "$y"), ("@",)))

    assert [(flaw.rule, flaw.key) for flaw in found] == [(1, "read"), (1, "read"), (1, "publish")]


def test_nobody_unknown_publishes() -> None:
    """`$all` may read; who publishes or unpublishes is somebody we know."""
    found = flaws(Rule(("a",), HOSTED, ("$all",), ("$all",), ("ann", "$all")))

    assert [(flaw.key, flaw.reason) for flaw in found] == [
        ("publish", "who publishes has to be known; write $authenticated"),
        ("unpublish", "who unpublishes has to be known; write $authenticated"),
    ]


def test_nobody_publishes_what_only_an_uplink_has() -> None:
    """A list of publishers for names of an uplink would promise what cannot be."""
    found = flaws(Rule(("a",), NPM, None, ("ann",), ("@acme",)))

    assert [flaw.key for flaw in found] == ["publish", "unpublish"]
    assert found[0].reason == (
        "nobody can publish here: these names come from the uplink npm;"
        ' write merge = true to publish beside it, or from = "hosted"'
    )
