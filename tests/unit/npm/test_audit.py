"""audit: what is asked about whom, and what is left out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import audit


def public(name: str) -> bool:
    """Whether an uplink may hear of a name, in these tests."""
    return not name.startswith("@acme/")


def without(**tree: Any) -> dict[str, Any]:
    pruned = json.loads(audit.without(json.dumps(tree).encode(), public))
    assert isinstance(pruned, dict)
    return pruned


def test_a_bulk_audit_is_read() -> None:
    """Names and their versions are what a bulk audit holds."""
    assert audit.bulk(b'{"a":["1.0.0"],"@acme/b":[]}') == {"a": ["1.0.0"], "@acme/b": []}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"a":"1.0.0"}', b'{"a":null}'])
def test_what_is_no_bulk_audit_is_refused(body: bytes) -> None:
    """A body that is not an object of lists is not passed on."""
    with pytest.raises(audit.BadAudit):
        audit.bulk(body)


def test_a_bulk_audit_is_written_as_it_was() -> None:
    """What is encoded reads as what was asked."""
    assert json.loads(audit.encode({"a": ["1.0.0"]})) == {"a": ["1.0.0"]}


def test_a_body_too_deep_to_write_is_the_callers_fault() -> None:
    """Lists in lists, readable but not writable, are refused and break nothing."""
    body = b'{"a":' + b"[" * 600 + b"]" * 600 + b"}"

    with pytest.raises(audit.BadAudit, match="cannot be passed on"):
        audit.encode(audit.bulk(body))


def test_advisories_are_copied_byte_for_byte() -> None:
    """Numbers, order and spelling of an advisory reach the client as the uplink wrote them."""
    one = audit.advisories(b'{"a":[{"id": 1e2, "b":1.50}]}', asked={"a"})
    other = audit.advisories(b'{"b":[{"id":99999999999999999999}]}', asked={"b"})

    assert audit.merged([one, other]) == (
        b'{"a":[{"id": 1e2, "b":1.50}],"b":[{"id":99999999999999999999}]}'
    )


def test_an_uplink_speaks_for_its_own_names_only() -> None:
    """Advisories about a name that was not asked for are left out."""
    assert audit.merged([audit.advisories(b'{"a":[],"other":[]}', asked={"a"})]) == b'{"a":[]}'


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b"null", b'{"a":[]', b'{"a":"\xff"}'])
def test_an_answer_that_is_no_object_is_refused(answer: bytes) -> None:
    """A web page with status 200 is no audit."""
    with pytest.raises(audit.BadAudit):
        audit.advisories(answer, asked={"a"})
    with pytest.raises(audit.BadAudit):
        audit.check_report(answer)


def test_a_report_passes_as_it_is() -> None:
    """The answer to a quick audit is not touched."""
    report = b'{ "actions":[], "advisories":{}, "metadata":{"x":1.0} }'

    assert audit.check_report(report) is report


def test_private_names_are_taken_out_of_a_tree() -> None:
    """A package nobody may hear of stands neither in what is required nor in what is installed."""
    tree = without(
        name="app",
        requires={"a": "^1.0.0", "@acme/b": "^2.0.0"},
        dependencies={"a": {"version": "1.0.0"}, "@acme/b": {"version": "2.0.0"}},
    )

    assert tree == {
        "name": "app",
        "requires": {"a": "^1.0.0"},
        "dependencies": {"a": {"version": "1.0.0"}},
    }


def test_private_names_are_taken_out_of_every_depth() -> None:
    """What a public package requires below is looked at as well."""
    below = {"version": "1.0.0", "requires": {"@acme/b": "1"}, "dependencies": {"@acme/b": {}}}

    tree = without(dependencies={"a": below})

    assert tree["dependencies"]["a"] == {"version": "1.0.0", "requires": {}, "dependencies": {}}


def test_what_a_private_package_depends_on_is_audited() -> None:
    """A private package with public ones below keeps its place under a made-up name."""
    private = {"version": "9.9.9", "dependencies": {"a": {"version": "1.0.0"}}}

    tree = without(dependencies={"@acme/b": private})

    assert tree["dependencies"] == {
        "private-1": {"version": "0.0.0", "dependencies": {"a": {"version": "1.0.0"}}}
    }


@pytest.mark.parametrize("below", [None, [], ["@acme/c"], {}, {"@acme/c": {}}, "@acme/c"])
def test_a_private_package_without_public_ones_leaves_no_trace(below: object) -> None:
    """Whatever stands in the place of its dependencies, nothing of it is passed on."""
    assert without(dependencies={"@acme/b": {"dependencies": below}}) == {"dependencies": {}}


def test_an_alias_of_a_private_package_is_taken_out() -> None:
    """`npm:@acme/ui@1.0.0` names a private package under another name."""
    tree = without(
        requires={"ui": "npm:@acme/ui@^1.0.0", "a": "npm:lodash@^4.0.0"},
        dependencies={"ui": {"version": "npm:@acme/ui@1.0.0"}, "a": {"version": "npm:lodash@4"}},
    )

    assert tree["requires"] == {"a": "npm:lodash@^4.0.0"}
    assert tree["dependencies"] == {"a": {"version": "npm:lodash@4"}}


def test_the_projects_own_name_and_what_was_typed_are_looked_at() -> None:
    """The root's name goes if it is private, and so do private names that were typed to npm."""
    tree = without(
        name="@acme/app",
        version="1.0.0",
        install=["@acme/ui@^1", "a@1", "@pub/b", 7],
        remove=["@acme/x"],
    )

    assert tree == {"version": "1.0.0", "install": ["a@1", "@pub/b"], "remove": []}


@pytest.mark.parametrize("odd", [True, None, "x", 1, ["a"]])
def test_odd_values_pass_through(odd: object) -> None:
    """What is not a tree where one is expected is left to the uplink, fields unknown to us too."""
    tree = {"requires": odd, "dependencies": odd, "install": {"odd": odd}, "new": odd, "name": None}

    assert without(**tree) == tree


def test_a_dependency_that_is_no_entry_is_kept_if_public() -> None:
    """An entry of another shape goes by its name alone."""
    assert without(dependencies={"a": "1.0.0", "@acme/b": "1.0.0"}) == {
        "dependencies": {"a": "1.0.0"}
    }


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"a":'])
def test_what_is_no_audit_is_refused(body: bytes) -> None:
    """A body that is not an object is not passed on."""
    with pytest.raises(audit.BadAudit):
        audit.without(body, public)


def _nested(depth: int) -> bytes:
    return b'{"dependencies":{"a":' * depth + b"{}" + b"}}" * depth


def test_a_tree_as_deep_as_projects_are_is_taken() -> None:
    """A hundred packages inside each other pass through unchanged."""
    assert audit.without(_nested(100), public) == _nested(100)


@pytest.mark.parametrize("depth", [101, 400, 5_000])
def test_a_tree_deeper_than_any_project_is_refused(depth: int) -> None:
    """A body made to exhaust the stack is the caller's fault."""
    with pytest.raises(audit.BadAudit):
        audit.without(_nested(depth), public)


def test_an_unknown_field_too_deep_is_refused() -> None:
    """What passes through has to be writable."""
    with pytest.raises(audit.BadAudit):
        audit.without(b'{"x":' + b"[" * 600 + b"]" * 600 + b"}", public)


_NAMES = st.sampled_from(["a", "b", "@pub/c", "@acme/secret", "@acme/hidden"])
_SPECS = st.sampled_from(["1.0.0", "npm:@acme/secret@1.0.0", "npm:a@1"])
_TREES = st.recursive(
    st.fixed_dictionaries({"version": _SPECS}),
    lambda inner: st.fixed_dictionaries(
        {"version": _SPECS},
        optional={
            "requires": st.booleans() | st.dictionaries(_NAMES, _SPECS),
            "dependencies": st.dictionaries(_NAMES, inner),
        },
    ),
    max_leaves=12,
)


@given(_TREES)
def test_no_tree_lets_a_private_name_out(tree: dict[str, Any]) -> None:
    """Wherever in a tree's packages a private name stands, it is gone."""
    body = json.dumps({"dependencies": {"root": {**tree, "version": "1.0.0"}}}).encode()

    assert b"@acme/" not in audit.without(body, public)


@given(_TREES)
def test_pruning_twice_changes_nothing_more(tree: dict[str, Any]) -> None:
    """What has been pruned is as it would be pruned."""
    once = audit.without(json.dumps({"dependencies": {"root": tree}}).encode(), public)

    assert audit.without(once, public) == once
