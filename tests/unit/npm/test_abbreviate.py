"""Abbreviating: by key, in order, values untouched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import abbreviate
from proxy.npm.names import PackageName
from tests.strategies import exact, json_values, manifests, objects

FULL_ONLY = ["_id", "description", "main", "scripts", "readme", "repository", "exports", "gitHead"]


@given(st.data())
def test_selected_fields_are_untouched_and_in_order(data):
    """What the abbreviated form keeps is what the full one had, in the same order."""
    keys = st.sampled_from(sorted(abbreviate.KEYS) + FULL_ONLY)
    fields = data.draw(st.dictionaries(keys, json_values()))
    full = data.draw(objects(fields)).encode()

    short = exact(abbreviate.manifest(full))

    kept = tuple((key, value) for key, value in exact(full) if key in abbreviate.KEYS)
    assert short[: len(kept)] == kept
    assert {key for key, _ in short[len(kept) :]} <= {"hasInstallScript", "_hasShrinkwrap"}


@given(st.data())
def test_a_whole_manifest_keeps_its_dist(data):
    """The dist passes with all it holds."""
    full = data.draw(manifests(PackageName("@s/x"), "1.0.0")).encode()
    assert dict(exact(abbreviate.manifest(full)))["dist"] == dict(exact(full))["dist"]


def test_the_documented_fields_are_kept():
    """Every field that an installer reads is there, and none that it does not."""
    kept = [
        "name",
        "version",
        "dist",
        "dependencies",
        "devDependencies",
        "optionalDependencies",
        "peerDependencies",
        "peerDependenciesMeta",
        "acceptDependencies",
        "bundleDependencies",
        "bundledDependencies",
        "bin",
        "directories",
        "engines",
        "os",
        "cpu",
        "libc",
        "hasInstallScript",
        "_hasShrinkwrap",
        "deprecated",
        "funding",
        "_npmUser",
    ]
    full = json.dumps(dict.fromkeys([*FULL_ONLY, *kept], 1)).encode()
    assert list(json.loads(abbreviate.manifest(full))) == kept


@pytest.mark.parametrize(
    "fields",
    [
        '"deprecated":false',
        '"dependencies":null',
        '"dependencies":{"a":1}',
        '"os":"linux"',
        '"cpu":"x64"',
        '"engines":["node >= 0.4"]',
        '"bin":"cli.js"',
        '"bundleDependencies":true',
        '"funding":[{"url":"u"}]',
    ],
)
def test_odd_values_pass(fields):
    """Old manifests' values pass through, whatever their type."""
    full = f'{{{fields},"_hasShrinkwrap":true}}'
    assert abbreviate.manifest(full.encode()).decode() == full


@pytest.mark.parametrize(
    ("scripts", "has"),
    [
        ('{"preinstall":"x"}', True),
        ('{"install":"node-gyp rebuild"}', True),
        ('{"test":"y","postinstall":"x"}', True),
        ('{"test":"y"}', False),
        ('{"install":""}', False),
        ('{"install":null,"postinstall":7}', False),
        ("{}", False),
        ("null", False),
        ('"install"', False),
    ],
)
def test_install_scripts_are_announced(scripts, has):
    """A script that runs at install time is announced; nothing else is."""
    short = json.loads(abbreviate.manifest(f'{{"scripts":{scripts}}}'.encode()))
    assert (
        short == {"hasInstallScript": True, "_hasShrinkwrap": False}
        if has
        else {"_hasShrinkwrap": False}
    )


@pytest.mark.parametrize("said", ["true", "false", "1"])
def test_what_the_uplink_says_of_install_scripts_stays(said):
    """An uplink's own word is kept, even against the scripts."""
    full = f'{{"hasInstallScript":{said},"scripts":{{"install":"x"}}}}'
    short = abbreviate.manifest(full.encode()).decode()
    assert short == f'{{"hasInstallScript":{said},"_hasShrinkwrap":false}}'


@pytest.mark.parametrize("value", [b"null", b"[1]", b'"text"'])
def test_what_is_no_manifest_is_passed_on(value):
    """A version that is not an object comes back as it is."""
    assert abbreviate.manifest(value) == value
