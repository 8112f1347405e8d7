"""What a rule of the configuration may say besides where its names live: who may do what."""

from __future__ import annotations

import json

import pytest

from proxy.config import describe
from proxy.npm.policy import HOSTED, Origin, Rule
from tests.fakes.desk import UPLINK, Desk

HOSTED_RULE = '[[rules]]\nmatch = "@acme/*"\nfrom = "hosted"\n'
UPLINK_RULE = '[[rules]]\nmatch = "lodash"\nfrom = "npm"\n'


def test_a_rule_lists_who_may_do_what(desk: Desk) -> None:
    """Each list is a text or a list of texts; what is not written is left to the defaults."""
    text = HOSTED_RULE + 'read = "@acme"\npublish = ["@acme:core", "ci-bot"]\nunpublish = []'

    rule, rest = desk.load(UPLINK + text).rules.rules

    assert rule == Rule(("@acme/*",), HOSTED, ("@acme",), ("@acme:core", "ci-bot"), ())
    assert (rest.read, rest.publish, rest.unpublish) == (None, None, None)


@pytest.mark.parametrize(("said", "is_merged"), [("true", True), ("false", False)])
def test_merge_puts_hosted_versions_beside_an_uplinks(
    desk: Desk, said: str, is_merged: bool
) -> None:
    """A rule with merge = true takes versions and still asks its uplink."""
    rule, _ = desk.load(UPLINK + UPLINK_RULE + f"merge = {said}").rules.rules

    assert rule.origin == Origin("npm", is_merged=is_merged)


def test_merge_may_be_refused_where_it_means_nothing(desk: Desk) -> None:
    """`merge = false` is the default, and may stand in a rule of hosted names too."""
    rule, _ = desk.load(UPLINK + HOSTED_RULE + "merge = false").rules.rules

    assert rule.origin == HOSTED


def test_rules_of_the_environment_have_the_same_keys(desk: Desk) -> None:
    """PACKHOUSE_RULES says who may do what just as the file does."""
    rules = [{"match": "lodash", "from": "npm", "merge": True, "read": "$all", "publish": ["ann"]}]

    rule, _ = desk.load(UPLINK, {"PACKHOUSE_RULES": json.dumps(rules)}).rules.rules

    assert rule == Rule(("lodash",), Origin("npm", is_merged=True), ("$all",), ("ann",))


MISTAKES = [
    (HOSTED_RULE + 'read = "$al"', ':6: rules.0.read: "$al" is nobody; did you mean $all?'),
    (HOSTED_RULE + 'raed = "ann"', ":6: rules.0.raed is not a setting; did you mean rules.0.read?"),
    (HOSTED_RULE + 'publis = "ann"', "is not a setting; did you mean rules.0.publish?"),
    (HOSTED_RULE + "read = 7", ":6: rules.0.read: is not a list of users and groups; write"),
    (HOSTED_RULE + "publish = [7]", ":6: rules.0.publish: is not a list of users and groups"),
    (HOSTED_RULE + 'publish = ""', ':6: rules.0.publish: "" is no user; a user is written "ann"'),
    (HOSTED_RULE + 'publish = ["ann", "@"]', ':6: rules.0.publish: "@" is no group'),
    (HOSTED_RULE + 'publish = "$all"', "who publishes has to be known; write $authenticated"),
    (HOSTED_RULE + 'unpublish = "$all"', ":6: rules.0.unpublish: who unpublishes has to be known"),
    (HOSTED_RULE + "merge = true", ":6: rules.0.merge: nothing stands beside what is hosted"),
    (UPLINK_RULE + 'merge = "yes"', ":6: rules.0.merge: is neither true nor false"),
    (
        UPLINK_RULE + 'publish = "ann"',
        ":6: rules.0.publish: nobody can publish here: these names come from the uplink npm",
    ),
    (UPLINK_RULE + 'unpublish = "ann"', ":6: rules.0.unpublish: nobody can unpublish here"),
    ('[[rules]]\nread = "$all"', ":4: rules.0: says no match"),
    ('[[rules]]\nread = "$all"', ":4: rules.0: says no from"),
    (
        HOSTED_RULE + '[[rules]]\n[[rules]]\nmatch = "@"\nfrom = "npm"',
        ':8: rules.2.match: "@" matches no package',
    ),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_place(desk: Desk, text: str, said: str) -> None:
    """Each mistake in a rule is told with its line and what to write instead."""
    found = desk.problems(UPLINK + text)

    assert any(each.startswith("config.toml:") and said in each for each in found), found


def test_all_mistakes_of_a_rule_are_told_at_once(desk: Desk) -> None:
    """A wrong origin and wrong names in two lists are three sentences."""
    text = '[[rules]]\nmatch = "*"\nfrom = "nmp"\nread = "$any"\npublish = ["@a/b", "@c"]'

    assert [each.partition(": ")[0] for each in desk.problems(UPLINK + text)] == [
        "config.toml:5",
        "config.toml:6",
        "config.toml:7",
        "config.toml:7",
    ]


@pytest.mark.parametrize("admins", ['["@acme"]', '"$authenticated"', '["ann", "@acme:core"]'])
def test_administrators_are_users(desk: Desk, admins: str) -> None:
    """auth.admins names users one by one: a group there would be nobody."""
    (problem,) = desk.problems(f"{UPLINK}[auth]\nadmins = {admins}")

    assert problem.startswith("config.toml:4: auth.admins: ")
    assert "is no user" in problem


# --- what is in force, and what is unwise -----------------------------------------------------


def test_the_summary_says_who_may_do_what(desk: Desk) -> None:
    """Each rule's lists are shown as they are in force, with where they come from."""
    text = HOSTED_RULE + 'publish = ["@acme", "ann"]\nunpublish = []\n' + UPLINK_RULE
    config = desk.load(f'{UPLINK}{text}merge = true\nread = "$all"')

    assert [row for row in describe(config) if row[0].startswith("rules.")] == [
        ("rules.0", "@acme/* from hosted", f"{desk.file}:4"),
        ("rules.0.read", "$authenticated", "default"),
        ("rules.0.publish", "@acme, ann", f"{desk.file}:6"),
        ("rules.0.unpublish", "nobody", f"{desk.file}:7"),
        ("rules.1", "lodash from npm", f"{desk.file}:9"),
        ("rules.1.merge", "true", f"{desk.file}:11"),
        ("rules.1.read", "$all", f"{desk.file}:12"),
        ("rules.1.publish", "$authenticated", "default"),
        ("rules.1.unpublish", "$authenticated", "default"),
        ("rules.2", "* from npm", "default"),
        ("rules.2.read", "$all", "default"),
    ]


OPEN = [
    '[server]\nlisten = "0.0.0.0:4873"\n',
    '[server]\npublic_url = "https://npm.acme.example"\n',
    '[server]\ntrusted_proxies = ["10.0.0.7"]\n',
]


@pytest.mark.parametrize("server", OPEN)
def test_a_signup_that_lets_anybody_publish_is_told(desk: Desk, server: str) -> None:
    """Where others reach us, sign-up and a rule for whoever is logged in are a warning together."""
    config = desk.load(f"{UPLINK}{server}[auth]\nsignup = true\n{HOSTED_RULE}")

    (warning,) = config.warnings
    assert warning.startswith(f"{desk.file}:6: auth.signup: whoever reaches this server")
    assert "may publish by rules.0" in warning


@pytest.mark.parametrize(
    "text",
    [
        f"[auth]\nsignup = true\n{HOSTED_RULE}",
        f"{OPEN[0]}{HOSTED_RULE}",
        f'{OPEN[0]}[auth]\nsignup = true\n{HOSTED_RULE}publish = "@acme"\n',
        f"{OPEN[0]}[auth]\nsignup = true\n",
    ],
)
def test_a_signup_that_opens_nothing_is_fine(desk: Desk, text: str) -> None:
    """On loopback, without sign-up, or with names in publish, there is nothing to warn of."""
    assert desk.load(UPLINK + text).warnings == ()
