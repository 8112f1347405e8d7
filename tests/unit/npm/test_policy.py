"""Where names live: patterns, the order of rules, and what is refused before anything is served."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import policy
from proxy.npm.policy import HOSTED, Action, Origin, Rule, Rules

NPM = Origin("npm")


def rules(*pairs: tuple[str, str]) -> Rules:
    """Rules from (patterns separated by spaces, `from`) pairs."""
    return Rules(tuple(Rule(tuple(match.split()), policy.origin(word)) for match, word in pairs))


def reasons(given_rules: Rules, *uplinks: str) -> list[str]:
    return [flaw.reason for flaw in policy.check(given_rules, uplinks)]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*", "lodash"),
        ("*", "@acme/ui"),
        ("lodash", "lodash"),
        ("@acme/ui", "@acme/ui"),
        ("@acme/*", "@acme/ui"),
        ("@*/ui", "@acme/ui"),
        ("@acme-*/*", "@acme-web/ui"),
        ("acme-*", "acme-ui"),
        ("acme-*", "acme-"),
        ("*-loader", "css-loader"),
        ("a*b*c", "abc"),
        ("a*b*c", "a-b-b-c"),
        ("a*bb*b", "a-bbb"),
    ],
)
def test_matches(pattern: str, name: str) -> None:
    """A pattern covers the names its text and its wildcards spell."""
    assert policy.matches(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("lodash", "lodash.get"),
        ("lodash", "Lodash"),
        ("@acme/*", "@acme-evil/ui"),
        ("@acme/*", "acme/ui"),
        ("@acme/*", "@acme"),
        ("acme-*", "@acme-web/ui"),
        ("acme-*", "xacme-ui"),
        ("*-loader", "@acme/css-loader"),
        ("@*", "@acme/ui"),
        ("ab*ba", "aba"),
        ("a*b*c", "acb"),
        ("a*bb*b", "a-bb"),
        ("l.dash", "lodash"),
    ],
)
def test_does_not_match(pattern: str, name: str) -> None:
    """A wildcard never crosses a slash, and nothing but `*` is special."""
    assert not policy.matches(pattern, name)


GLOBS = st.text("ab*/", max_size=8).filter(lambda text: "**" not in text and text != "*")
NAMES = st.text("ab/", max_size=10)


@given(GLOBS, NAMES)
def test_matching_agrees_with_a_regular_expression(pattern: str, name: str) -> None:
    """Matching is what the regular expression with `[^/]*` for each `*` says."""
    expression = "[^/]*".join(map(re.escape, pattern.split("*")))

    assert policy.matches(pattern, name) == bool(re.fullmatch(expression, name))


@given(GLOBS, GLOBS, NAMES)
def test_what_is_covered_matches_nothing_else(general: str, special: str, name: str) -> None:
    """Where one pattern covers another, no name matches the other alone."""
    alone = policy.matches(special, name) and not policy.matches(general, name)

    assert not (policy.covers(general, special) and alone)


@given(GLOBS, GLOBS)
def test_what_is_not_covered_has_a_name_of_its_own(general: str, special: str) -> None:
    """Where a pattern is not covered, some name with a fresh letter matches it alone."""
    name = special.replace("*", "z")

    assert policy.covers(general, special) == policy.matches(general, name)


def test_everything_is_covered_by_everything_alone() -> None:
    """`*` covers all patterns, and no other pattern covers `*`, not even one of every scope."""
    assert policy.covers("*", "*")
    assert policy.covers("*", "@acme/*")
    assert not policy.covers("@*/*", "*")


def test_the_first_match_wins() -> None:
    """A name lives where the first rule that matches it says."""
    table = rules(("@acme/public", "npm"), ("@acme/* internal", "hosted"), ("*", "npm"))

    assert table.origin_of("@acme/public") == NPM
    assert table.origin_of("@acme/ui") == HOSTED
    assert table.origin_of("internal") == HOSTED
    assert table.origin_of("lodash") == NPM


def test_a_name_without_a_rule_is_asked_nowhere() -> None:
    """A name that no rule matches is hosted, so that no uplink hears of it."""
    assert rules(("lodash", "npm")).origin_of("@acme/secret").is_hosted


def test_a_parsed_name_is_understood() -> None:
    """Anything that carries a full name can be asked about."""

    @dataclass(frozen=True)
    class Parsed:
        full: str

    assert rules(("@acme/*", "npm")).origin_of(Parsed("@acme/ui")) == NPM


def test_claimed_names_are_those_that_live_here_alone() -> None:
    """The patterns of hosted names are listed once each, in order; merged names are not claimed."""
    fork = Rule(("lodash",), policy.origin("npm", is_merged=True))
    table = Rules((fork, *rules(("@acme/* acme-*", "hosted"), ("@b/*", "hosted"), ("*", "npm"))
                   .rules))  # fmt: skip

    assert table.claimed == ("@acme/*", "acme-*", "@b/*")


def test_one_uplink_takes_the_rest() -> None:
    """With one uplink, names no rule mentions live there."""
    completed = rules(("@acme/*", "hosted")).completed(["npm"])

    assert completed.origin_of("lodash") == NPM
    assert completed.origin_of("@acme/ui") == HOSTED


@pytest.mark.parametrize("uplinks", [[], ["npm", "other"]])
def test_the_rest_is_not_guessed(uplinks: list[str]) -> None:
    """With no uplink or several, no last rule is made up."""
    table = rules(("@acme/*", "hosted"))

    assert table.completed(uplinks) == table


def test_a_catch_all_is_kept() -> None:
    """A last rule for everything is not followed by another one."""
    table = rules(("*", "hosted"))

    assert table.completed(["npm"]) == table


def test_sound_rules_have_no_flaw() -> None:
    """Rules from special to general, each for a known origin, are fine."""
    table = rules(
        ("@acme/public", "npm"), ("@acme/* @acme/ui", "hosted"), ("left-*", "other"), ("*", "npm")
    )

    assert reasons(table, "npm", "other") == []


def test_no_rules_are_sound() -> None:
    """No rules with no uplinks, or with one, need no explanation."""
    assert reasons(Rules().completed([])) == []
    assert reasons(Rules().completed(["npm"]), "npm") == []


def test_an_unknown_uplink_is_a_flaw() -> None:
    """A rule may only name uplinks that exist; the flaw lists them and carries the rule's index."""
    flaws = policy.check(rules(("@acme/*", "hosted"), ("*", "elsewhere")), ["npm"])

    reason = 'there is no uplink called "elsewhere"; possible: hosted, npm'
    assert flaws == [policy.Flaw(1, reason, "from")]


def test_a_misspelt_uplink_is_named() -> None:
    """Where an uplink of nearly that name exists, the flaw says so."""
    found = reasons(rules(("*", "nmp")), "npm", "other")

    assert found == ['there is no uplink called "nmp"; did you mean npm?']


def test_a_rule_without_patterns_is_a_flaw() -> None:
    """A rule that can never apply is a mistake."""
    assert "match is empty" in reasons(rules(("", "npm"), ("*", "npm")), "npm")[0]


def test_a_pattern_below_a_wider_one_is_a_flaw() -> None:
    """A pattern that an earlier rule leaves nothing to is reported with what hides it."""
    (found,) = reasons(rules(("@acme/*", "hosted"), ("@acme/ui", "npm"), ("*", "npm")), "npm")

    assert found.startswith('"@acme/ui" never applies: "@acme/*" in rules.0 takes all of them')


def test_rules_below_everything_are_flaws() -> None:
    """Whatever follows `*` never applies."""
    assert len(reasons(rules(("*", "npm"), ("a b", "hosted")), "npm")) == 2


@pytest.mark.parametrize("second", ["hosted", "npm"])
def test_a_pattern_that_stands_twice_is_a_flaw(second: str) -> None:
    """The same pattern in two rules is ambiguous to its reader, whatever its origins."""
    found = reasons(rules(("@acme/*", "hosted"), ("@acme/*", second), ("*", "npm")), "npm")

    assert found == ['"@acme/*" stands twice; in rules.0 it goes to "hosted" already']


def test_a_pattern_that_stands_twice_in_one_rule_is_a_flaw() -> None:
    """A list names each pattern once."""
    found = reasons(rules(("a a", "hosted"), ("*", "npm")), "npm")

    assert found == ['"a" stands twice; in this rule it goes to "hosted" already']


def test_several_uplinks_need_a_rule_for_the_rest() -> None:
    """With several uplinks nobody guesses which one the other names live at."""
    flaws = policy.check(rules(("@acme/*", "other")), ["npm", "other"])

    assert [flaw.rule for flaw in flaws] == [None]
    assert 'match = "*"' in flaws[0].reason
    assert '"npm" or "other" or "hosted"' in flaws[0].reason


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("", "not empty"),
        ("left pad", "no spaces"),
        ("left\0pad", "no spaces"),
        ("**", 'one "*" is enough'),
        ("@acme/**", 'one "*" is enough'),
        ("!lodash", "rule above"),
        ("lodash?", "only wildcard"),
        ("[a-z]*", "only wildcard"),
        ("@acme", 'written "@acme/*"'),
        ("acme/*", '"@scope/*"'),
        ("@/ui", '"@scope/*"'),
        ("@acme/", '"@scope/*"'),
        ("@acme/ui/deep", '"@scope/*"'),
        ("/ui", '"@scope/*"'),
        ("a" * 513, "longer than 512"),
    ],
)
def test_impossible_patterns_say_what_to_write(pattern: str, hint: str) -> None:
    """A pattern that no name matches is refused, with the way to write it."""
    assert hint in (policy.flaw_of_pattern(pattern) or "")


@pytest.mark.parametrize("pattern", ["*", "lodash", "@acme/*", "@*/ui", "JSONStream", "a.b_c~d'()"])
def test_possible_patterns_pass(pattern: str) -> None:
    """Names npm ever allowed may stand in a pattern."""
    assert policy.flaw_of_pattern(pattern) is None


def test_an_impossible_pattern_is_a_flaw_of_its_rule() -> None:
    """The check names the pattern and carries the index of its rule."""
    flaws = policy.check(rules(("lodash", "hosted"), ("@acme", "hosted"), ("*", "npm")), ["npm"])

    assert [flaw.rule for flaw in flaws] == [1]
    assert flaws[0].reason.startswith('"@acme" matches no package')


def test_origins_print_as_they_are_written() -> None:
    """An origin's text is the word of the configuration that names it."""
    assert [str(policy.origin(word)) for word in ("hosted", "npm")] == ["hosted", "npm"]


# --- who may do what ---------------------------------------------------------------------------


READ, PUBLISH, UNPUBLISH = Action.READ, Action.PUBLISH, Action.UNPUBLISH
MERGED = Origin("npm", is_merged=True)


@pytest.mark.parametrize(
    ("rule", "listed"),
    [
        (Rule((), HOSTED), ["$authenticated", "$authenticated", "$authenticated"]),
        (Rule((), MERGED), ["$authenticated", "$authenticated", "$authenticated"]),
        (Rule((), NPM), ["$all", "", ""]),
        (Rule((), NPM, ("@acme",), ("ann",), ("ann",)), ["@acme", "", ""]),
        (Rule((), HOSTED, ("$all",)), ["$all", "$authenticated", "$authenticated"]),
        (Rule((), HOSTED, None, ("ann",)), ["$authenticated", "ann", "ann"]),
        (Rule((), HOSTED, None, ("ann",), ("bob",)), ["$authenticated", "ann", "bob"]),
        (Rule((), HOSTED, None, None, ("bob",)), ["$authenticated", "$authenticated", "bob"]),
        (Rule((), HOSTED, (), (), None), ["", "", ""]),
        (Rule((), MERGED, ("$all",), ("ann",), ()), ["$all", "ann", ""]),
    ],
)
def test_a_rule_lists_who_may_do_what(rule: Rule, listed: list[str]) -> None:
    """What a rule leaves out has a default, and what only an uplink has is published by nobody."""
    assert [" ".join(rule.listed(action)) for action in (READ, PUBLISH, UNPUBLISH)] == listed


@pytest.mark.parametrize(
    ("listed", "user", "groups"),
    [
        (("$all",), None, ()),
        (("$all",), "ann", ()),
        (("$authenticated",), "ann", ()),
        (("bob", "ann"), "ann", ()),
        (("@acme",), "ann", ("acme", "acme:core")),
        (("@acme:core",), "ann", ("acme", "acme:core")),
    ],
)
def test_a_list_covers_whom_it_names(
    listed: tuple[str, ...], user: str | None, groups: tuple[str, ...]
) -> None:
    """A list covers users by their name, by a group they are in, or all of them by a word."""
    assert policy.covers_caller(listed, user, groups)


@pytest.mark.parametrize(
    ("listed", "user", "groups"),
    [
        ((), "ann", ("acme",)),
        (("$authenticated",), None, ()),
        (("ann",), None, ()),
        (("ann",), "Ann", ()),
        (("@acme",), None, ("acme",)),
        (("@acme",), "acme", ()),
        (("acme",), "ann", ("acme",)),
        (("@acme:core",), "ann", ("acme", "acme:web")),
        (("@acme",), "ann", ("acme:core",)),
    ],
)
def test_a_list_covers_nobody_else(
    listed: tuple[str, ...], user: str | None, groups: tuple[str, ...]
) -> None:
    """A group is not a user of that name, an organisation not its team, and nobody is not ann."""
    assert not policy.covers_caller(listed, user, groups)


def test_rules_name_the_users_of_all_their_lists() -> None:
    """A user is named by any list of any rule, and not by a group or a word for many."""
    lists = [(("ann",), None, None), (None, ("bob", "@acme"), None), (None, None, ("cat", "$all"))]
    table = Rules(tuple(Rule((), HOSTED, *each) for each in lists))

    assert [table.names(user) for user in ("ann", "bob", "cat")] == [True, True, True]
    assert [table.names(user) for user in ("acme", "eve", "all")] == [False, False, False]


def test_the_rule_of_a_name_is_the_first_that_matches() -> None:
    """Who may do what is said by the rule that says where the name lives."""
    first, second = Rule(("@acme/ui",), HOSTED, ("$all",)), Rule(("@acme/*",), HOSTED, ("ann",))
    table = Rules((first, second))

    assert table.rule_of("@acme/ui") is first
    assert table.rule_of("@acme/core") is second


def test_a_name_without_a_rule_is_read_by_whoever_is_logged_in() -> None:
    """A name that no rule matches is hosted, with the defaults of what is hosted."""
    rule = Rules().rule_of("left-pad")

    assert (rule.origin, rule.listed(READ)) == (HOSTED, ("$authenticated",))


def test_an_origin_says_whether_it_takes_versions() -> None:
    """What is hosted, alone or beside an uplink's, may be published here; `hosted` merges never."""
    origins = [policy.origin(word, is_merged=merged) for word, merged in
               [("hosted", False), ("hosted", True), ("npm", True), ("npm", False)]]  # fmt: skip

    assert [each.takes_versions for each in origins] == [True, True, True, False]
    assert [each.is_hosted for each in origins] == [True, True, False, False]
    assert origins[1] == HOSTED


def test_claimed_are_the_names_that_live_here_alone() -> None:
    """Claimed are the patterns of hosted rules, each once, in order; those of a merge are not."""
    merged = policy.origin("npm", is_merged=True)
    given = Rules(
        (
            Rule(("@acme/*", "tool"), HOSTED),
            Rule(("left-pad",), merged),
            Rule(("@other/*", "tool"), HOSTED),
            Rule(("*",), NPM),
        )
    )

    assert given.claimed == ("@acme/*", "tool", "@other/*")
