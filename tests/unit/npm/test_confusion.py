"""Manifest confusion: what counts as a difference, and what tools only write otherwise."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import confusion, wire
from tests.strategies import json_values

NAMED = {"name": "@s/x", "version": "1.0.0"}
DEPS = {"dependencies": {"a": "1", "b": "2"}}

# What npm 10 to 12, pnpm 11, yarn 1, berry and bun make of a package.json: manifest, original.
ALIKE = {
    "nothing": ({}, {}),
    "white space around name and version": ({}, {"name": " @s/x", "version": " =1.0.0 "}),
    "build metadata": ({}, {"version": "1.0.0+b.1"}),
    "one file to run": ({"bin": {"x": "cli.js"}}, {"bin": "./cli.js"}),
    "commands with a scope": ({"bin": {"foo": "cli.js"}}, {"bin": {"@s/foo": "/lib/../cli.js"}}),
    "commands in a list": ({"bin": {"a.js": "l/a.js"}}, {"bin": ["./l/a.js"]}),
    "commands that lead out": (
        {"bin": {"x": "etc/passwd", "y": "y/z.js"}},
        {"bin": {"../../x": "../../etc/passwd", "C:\\y": "y\\z.js", "n": 1, "": "q"}},
    ),
    "no commands": ({}, {"bin": {}}),
    "a folder of commands": ({"bin": {"t": "bin/t"}}, {"directories": {"bin": "./bin/"}}),
    "commands beside a folder": (
        {"bin": {"a": "b"}},
        {"bin": {"a": "b"}, "directories": {"bin": "c"}},
    ),
    "the other spelling": ({"bundleDependencies": ["a"]}, {"bundledDependencies": ["a"]}),
    "everything bundled": (
        {**DEPS, "bundleDependencies": ["b", "a"]},
        {**DEPS, "bundleDependencies": True},
    ),
    "everything bundled but what is optional": (
        {**DEPS, "bundleDependencies": ["a", "b", "c"], "optionalDependencies": {"c": "1"}},
        {**DEPS, "bundleDependencies": True, "optionalDependencies": {"c": "1"}},
    ),
    "nothing bundled": ({}, {"bundledDependencies": False}),
    "a bundle nobody understands": ({}, {"bundleDependencies": "a"}),
    "a bundle as an object": ({"bundleDependencies": ["a"]}, {"bundleDependencies": {"a": "1"}}),
    "optional ones among the dependencies": (
        {"dependencies": {"a": "1", "b": "3"}, "optionalDependencies": {"b": "3"}},
        {"dependencies": {"a": "1", "b": "2"}, "optionalDependencies": {"b": "3"}},
    ),
    "dependencies in a list": (
        {"dependencies": {"a": "1", "@s/b": ">=2"}},
        {"dependencies": ["a@1", "@s/b@>=2"]},
    ),
    "dependencies in a string": ({"dependencies": {"a": "1", "c": ""}}, {"dependencies": "a@1, c"}),
    "dependencies nobody understands": ({}, {"dependencies": 7, "peerDependencies": {"a": 1}}),
    "repositories": (
        {
            "dependencies": dict.fromkeys("abcdef", "github:u/r")
            | {"g": "git+ssh://git@gitlab.com/u/r.git#v1"}
        },
        {
            "dependencies": {
                "a": "u/r",
                "b": "git@github.com:u/r.git",
                "c": "https://github.com/u/r.git",
                "d": "git+https://x@github.com/u/r",
                "e": "git://github.com/u/r",
                "f": "github:u/r.git",
                "g": "gitlab:u/r#v1",
            }
        },
    ),
    "a binding.gyp written down": (
        {"scripts": {"install": "node-gyp rebuild"}, "gypfile": True},
        {},
    ),
    "a binding.gyp not written down": ({}, {"gypfile": False}),
    "tools in their folder": (
        {"scripts": {"install": "x"}},
        {"scripts": {"install": "node_modules/.bin/x"}},
    ),
    "scripts that never run unasked": (
        {"scripts": {"start": "node server.js"}},
        {"scripts": {"test": "x"}},
    ),
    "scripts nobody understands": ({}, {"scripts": "nope"}),
    "empty scripts": ({}, {"scripts": {"install": "", "prepare": 1}}),
    "engines in a list": ({"engines": {"node": ">=1"}}, {"engines": ["node >=1"]}),
    "no engines": ({}, {"engines": {}}),
    "one system": (
        {"os": ["linux"], "cpu": ["x64"], "libc": ["musl"]},
        {"os": "linux", "cpu": "x64", "libc": "musl"},
    ),
    "no system": ({}, {"os": None, "cpu": [], "libc": {}}),
    "peers that are not optional": (
        {},
        {"peerDependenciesMeta": {"a": {}, "b": None, "c": {"optional": False}}},
    ),
    "fields nobody resolves by": ({"main": "a"}, {"main": "b", "devDependencies": {"x": "1"}}),
}
DIFFERENT = {
    "name": ({"name": "@s/y"}, {}),
    "version": ({"version": "1.0.1"}, {}),
    "dependencies": ({}, {"dependencies": {"evil": "1"}}),
    "dependencies ": ({"dependencies": {"a": "1"}}, {"dependencies": {"a": "2"}}),
    "dependencies  ": ({"dependencies": {"a": "u/r"}}, {"dependencies": {"a": "u/s"}}),
    "dependencies   ": ({"dependencies": {"a": "u/r#1"}}, {"dependencies": {"a": "u/r#2"}}),
    "optionalDependencies": ({}, {"optionalDependencies": {"evil": "1"}}),
    "peerDependencies": ({"peerDependencies": {"a": "1"}}, {}),
    "peerDependenciesMeta": ({}, {"peerDependenciesMeta": {"a": {"optional": True}}}),
    "bundleDependencies": ({}, {"bundledDependencies": ["a"]}),
    "bundleDependencies ": (DEPS, {**DEPS, "bundleDependencies": True}),
    "bin": ({}, {"bin": "evil.js"}),
    "bin ": ({"bin": {"x": "a.js"}}, {"bin": {"x": "b.js"}}),
    "bin  ": ({"bin": {"npm": "lib/x"}}, {"directories": {"bin": "bin"}}),
    "bin   ": ({"bin": {"npm": "bin/x"}}, {"directories": {"bin": "bin"}}),
    "bin    ": ({"bin": {"npm": "x"}}, {"directories": 1}),
    "scripts": ({}, {"scripts": {"preinstall": "evil"}}),
    "scripts ": ({}, {"scripts": {"install": "evil"}}),
    "scripts  ": ({"scripts": {"postinstall": "true"}}, {"scripts": {"postinstall": "evil"}}),
    "scripts   ": ({}, {"scripts": {"prepare": "evil"}}),
    "engines": ({"engines": {"node": ">=1"}}, {"engines": {"node": ">=20"}}),
    "os": ({}, {"os": ["!win32"]}),
    "cpu": ({"cpu": ["x64"]}, {"cpu": ["arm64"]}),
    "libc": ({"libc": ["musl"]}, {}),
}


@pytest.mark.parametrize(("manifest", "original"), ALIKE.values(), ids=ALIKE)
def test_what_tools_rewrite_is_no_difference(manifest, original):
    """A manifest as real tools make it of a package.json says the same, whichever side is which."""
    one, other = NAMED | manifest, NAMED | original
    assert confusion.differences(one, other, has_binding_gyp=True) == []
    assert confusion.differences(one, one) == confusion.differences(other, other) == []


@pytest.mark.parametrize("field", DIFFERENT)
def test_a_lie_is_named(field):
    """A field that says one thing here and another there is named, and no other."""
    manifest, original = ({**NAMED, **side} for side in DIFFERENT[field])
    assert confusion.differences(manifest, original, has_binding_gyp=True) == [field.strip()]


def test_a_script_for_a_binding_needs_the_binding():
    """Without a binding.gyp the script that builds one is a script like any other."""
    claimed = NAMED | {"scripts": {"install": confusion.GYP_SCRIPT}}
    assert confusion.differences(claimed, NAMED) == ["scripts"]
    assert confusion.differences(NAMED, claimed) == ["scripts"]


def test_all_lies_are_named():
    """Every field that differs is listed once."""
    other = {**NAMED, "version": "2.0.0", "bin": "a", "os": "linux", "scripts": {"install": "x"}}
    assert confusion.differences(NAMED, other) == ["version", "os", "scripts", "bin"]


def test_versions_that_are_none_are_compared_as_they_are():
    """A version no reader understands must be the same text; a missing one is another."""
    odd = {"name": "x", "version": "one"}
    assert confusion.differences(odd, odd) == []
    assert confusion.differences(odd, {"name": "x"}) == ["version"]


@pytest.mark.parametrize(
    ("package_json", "has_binding_gyp", "expected"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"gypfile": False}, True, False),
        ({"scripts": {"preinstall": "x"}}, False, True),
        ({"scripts": {"postinstall": "x"}}, False, True),
        ({"scripts": {"install": "x"}, "gypfile": False}, True, True),
        ({"scripts": {"prepare": "x", "install": ""}}, False, False),
    ],
)
def test_what_runs_at_an_install_is_known(package_json, has_binding_gyp, expected):
    """An install script is one of three scripts, or a binding.gyp that is not disowned."""
    found = confusion.has_install_script(package_json, has_binding_gyp=has_binding_gyp)
    assert found is expected


def test_package_json_is_read_as_npm_reads_it():
    """A byte order mark is passed over, and of a key that occurs twice the last counts."""
    assert confusion.read(b'\xef\xbb\xbf{"name": "x", "name": "y"}') == {"name": "y"}


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b'{"a": "\\ud800"}', b"\xff"])
def test_package_json_must_be_an_object(text):
    """Anything but a JSON object is refused."""
    with pytest.raises(wire.Undecodable):
        confusion.read(text)


FIELDS = sorted({
    "name", "version", "dependencies", "optionalDependencies", "peerDependencies", "bin", "scripts",
    "peerDependenciesMeta", "bundleDependencies", "bundledDependencies", "engines", "os",
    "directories", "gypfile",
})  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(FIELDS), json_values().map(json.loads), max_size=6),
    st.dictionaries(st.sampled_from(FIELDS), json_values().map(json.loads), max_size=6),
    st.booleans(),
)
def test_wild_values_never_fail(manifest, original, has_binding_gyp):
    """Values of any type are compared, and what is equal differs in nothing."""
    found = confusion.differences(manifest, original, has_binding_gyp=has_binding_gyp)
    assert set(found) <= set(FIELDS) and len(set(found)) == len(found)
    assert confusion.differences(manifest, manifest, has_binding_gyp=has_binding_gyp) == []


def test_a_spec_of_many_slashes_costs_no_more_than_its_length():
    """A pattern that tried every way to share the slashes out would not end within a test run."""
    spec = "github.com" + "/" * 500_000 + "?"
    side = {"dependencies": {"a": spec}}

    assert confusion.differences(side, side) == []
