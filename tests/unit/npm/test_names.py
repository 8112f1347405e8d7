"""Names: what is served, what is refused and why, and how they are written in addresses."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import InvalidName
from proxy.npm import names
from proxy.npm.names import PackageName
from tests.strategies import package_names, versions

SERVED = [
    "lodash",
    "JSONStream",
    "socket.io",
    "fs",
    "constructor",
    "__proto__",
    "_underscore",
    "-dash",
    "what!",
    "it's(*)~",
    "org",
    "favicon",
    "a",
    "foo..bar",
    "@types/node",
    "@Scope/Name",
    "x" * 512,
]
REFUSED = {
    "": "empty",
    "@": "slash",
    "@scope": "slash",
    "@/name": "empty",
    "@scope/": "empty",
    "@s/n/x": "'/'",
    "a/b": "'/'",
    "/a": "'/'",
    "a\\b": "'\\\\'",
    "..": "dot",
    ".": "dot",
    ".hidden": "dot",
    "@.s/n": "dot",
    "@s/../x": "dot",
    "@s/..": "dot",
    " a": "' '",
    "a ": "' '",
    "a\x00b": "'\\x00'",
    "a\n": "'\\n'",
    "a\x7f": "'\\x7f'",
    "@s%2fn": "double-encoded",
    "%2e%2e": "double-encoded",
    "a?": "'?'",
    "a[b]": "'['",
    "a{b}": "'{'",
    "a:b": "':'",
    "a@1.0.0": "'@'",
    "é": "'\\xe9'",
    "a\ud800": "'\\ud800'",
    "node_modules": "reserved",
    "Favicon.ICO": "reserved",
    "@s/-": "'-'",
    "x" * 513: "longer",
}


@pytest.mark.parametrize("text", SERVED)
def test_legacy_names_are_served(text):
    """A name that npm ever allowed is read, and keeps its case."""
    assert names.parse(text).full == text


@pytest.mark.parametrize("text", ["-", *REFUSED])
def test_impossible_names_are_refused(text):
    """What cannot be a name is refused with a reason that says what is wrong with it."""
    with pytest.raises(InvalidName) as caught:
        names.parse(text)
    assert REFUSED.get(text, "'-'") in str(caught.value.facts["reason"])


def test_a_refused_name_is_not_repeated_at_length():
    """An error carries at most the first hundred characters of a name."""
    with pytest.raises(InvalidName) as caught:
        names.parse("x" * 9000)
    assert caught.value.facts["name"] == "x" * 100


@given(st.text(st.characters()) | st.text("@/.%-_\\ a\x00\ud800", max_size=8))
def test_wild_text_is_a_name_or_an_invalid_name(text):
    """Reading any text gives that very name or raises InvalidName, and nothing else."""
    try:
        name = names.parse(text)
    except InvalidName:
        return
    assert name.full == text and text.isascii() and ".." not in text.split("/")


@given(package_names())
def test_every_generated_name_is_read(name):
    """Names made by the rules are read, so that the other properties speak of real ones."""
    assert names.parse(name.full) == name


def test_the_parts_of_a_scoped_name():
    """A scoped name knows its scope, its bare name, and both ways to be written in an address."""
    name = names.parse("@acme/ui")
    assert (name.scope, name.bare) == ("acme", "ui")
    assert (name.escaped, name.path) == ("@acme%2fui", "@acme/ui")


def test_the_parts_of_a_plain_name():
    """A name without a scope is its own bare name."""
    name = names.parse("lodash.get")
    assert (name.scope, name.bare) == (None, "lodash.get")
    assert (name.escaped, name.path) == ("lodash.get", "lodash.get")


@given(package_names())
def test_decoding_an_escaped_name_gives_the_name(name):
    """One percent-decoding undoes `escaped` and `path`, and `escaped` is a single piece."""
    assert unquote(name.escaped) == name.full == unquote(name.path)
    assert "/" not in name.escaped


def test_a_name_from_elsewhere_is_escaped_as_a_client_would():
    """Characters that no address carries literally are encoded, even in a name nobody checked."""
    assert PackageName("@a b/c?d").escaped == "@a%20b%2fc%3Fd"


@given(package_names(), versions())
def test_version_of_undoes_tarball_file(name, version):
    """The version is read back from the canonical file name."""
    assert names.version_of(name, names.tarball_file(name, version)) == version


@pytest.mark.parametrize(
    ("file", "version"),
    [
        ("ui-1.0.0.tgz", "1.0.0"),
        ("ui-1.0.0.tar.gz", "1.0.0"),
        ("ui-1.0.0+b.1.tgz", "1.0.0+b.1"),
        ("ui-.tgz", None),
        ("ui-1.0.0.zip", None),
        ("UI-1.0.0.tgz", None),
        ("old-1.0.0.tgz", None),
        ("@acme/ui-1.0.0.tgz", None),
        ("", None),
    ],
)
def test_the_version_in_a_file_name(file, version):
    """A file name that follows the rule tells its version; any other tells none."""
    assert names.version_of(names.parse("@acme/ui"), file) == version
