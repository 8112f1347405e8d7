"""Lockfiles as nobody should write them: each is read, or refused by a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import InvalidRequest
from proxy.npm import lockfiles
from proxy.npm.lockfiles import Kind

HERE = Path(__file__).parent
FILES = {file.parent.name: file for file in HERE.glob("*/*") if file.parent.name != "__pycache__"}
BAD_HASH = '{"alg":"SHA-512","content":"x"}'


def refused(name: str, text: str | bytes) -> str:
    """The sentence a file is refused with."""
    with pytest.raises(InvalidRequest) as caught:
        lockfiles.read(name, text if isinstance(text, bytes) else text.encode())
    return str(caught.value)


def outcome(name: str, data: bytes) -> bool:
    """Whether it is read, or refused by a sentence that names it."""
    try:
        return lockfiles.read(name, data).kind in Kind
    except InvalidRequest as error:
        return str(error).startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("package-lock.json", b"\xff{}", "package-lock.json: byte 0: the text is not UTF-8"),
        ("package-lock.json", "", "package-lock.json: the file: it should be a JSON object"),
        ("package-lock.json", '{"a"', "package-lock.json: "),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/a":1}}',
            'packages["node_modules/a"]: it should be an object',
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/a":{}}}',
            'packages["node_modules/a"]: it has no version',
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/a":{"version":1}}}',
            'packages["node_modules/a"].version: it should be a text',
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/../a":{"version":"1.0.0"}}}',
            "is not a package name",
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","os":[1]}}}',
            'packages["node_modules/a"].os: it should be a text',
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","os":1}}}',
            "it should be a list of texts",
        ),
        (
            "package-lock.json",
            '{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1\\n2"}}}',
            "is not a version",
        ),
        ("pnpm-lock.yaml", "a: 1", "lockfileVersion: it should be a text"),
        ("pnpm-lock.yaml", "lockfileVersion: 3", "is not one of 5 to 9"),
        ("pnpm-lock.yaml", "lockfileVersion: 9.0\n\tx", "pnpm-lock.yaml: line 2: "),
        ("pnpm-lock.yaml", "- 1", "the lockfile: it should be an object"),
        ("pnpm-lock.yaml", "lockfileVersion: 9.0\na: &x 1\nb: *x", "line 2: an anchor (&x)"),
        ("pnpm-lock.yaml", "lockfileVersion: 9.0\nb: *x", "line 2: an alias (*x)"),
        ("pnpm-lock.yaml", "lockfileVersion: !!python/name:os.system ''", "line 1: a tag"),
        ("pnpm-lock.yaml", "lockfileVersion: 9.0\nlockfileVersion: 9.0", "occurs twice"),
        ("pnpm-lock.yaml", "lockfileVersion: 9.0\n? [a]\n: 1", "a key that is not a plain text"),
        ("pnpm-lock.yaml", "lockfileVersion: \x00", "pnpm-lock.yaml: "),
        ("pnpm-lock.yaml", f"lockfileVersion: 9.0\na: {'[' * 100}", "nested deeper than 64"),
        (
            "pnpm-lock.yaml",
            "lockfileVersion: 9.0\npackages:\n  a:\n    resolution: {integrity: x}",
            "packages.a: the key is not a name and a version",
        ),
        ("yarn.lock", "  version 1", "line 1: it belongs to no entry"),
        ("yarn.lock", "what", "line 1: an entry of a yarn lockfile should begin here"),
        ("yarn.lock", "a@1:\n  resolved x", "line 1"),
        ("yarn.lock", 'a@1:\n  resolved "https://registry.example/a/-/a.tgz"', "has no version"),
        ("yarn.lock", "__metadata:\n  version: 8\na@npm:1:\n  version: 1", "it has no resolution"),
        ("yarn.lock", "__metadata:\n  version: 8\n---\na: 1", "it should be one YAML mapping"),
        ("bun.lock", '{"packages":{"a":1}}', "it should be a list that begins with name@version"),
        ("bun.lockb", "x", "bun's old binary format"),
        ("sbom.json", '{"bomFormat":"CycloneDX","components":1}', "it should be a list"),
        (
            "sbom.json",
            '{"bomFormat":"CycloneDX","components":[{"purl":"pkg:npm/a","hashes":[BAD]}]}',
            "components[0].hashes[0].content: it should be hexadecimal digits",
        ),
        ("list.txt", "../../etc/passwd@1", "line 1: "),
        ("bom.xml", "<?xml?><bom/>", "it is XML; bills of materials are read as JSON"),
    ],
)
def test_a_file_that_is_not_what_it_should_be(name, text, expected):
    """The sentence names the file, the place in it, and what is wrong."""
    if expected == "line 1":  # an address that is none is a folder, which is left out
        assert lockfiles.read(name, text.encode()).left_out
        return
    said = refused(name, text.replace("BAD", BAD_HASH) if isinstance(text, str) else text)

    assert said.startswith(f"{name}: ")
    assert expected in said


def test_deep_json_is_refused():
    """A tower of brackets is refused before it is built."""
    assert "package-lock.json: " in refused("package-lock.json", '{"a":' + "[" * 100_000)


def test_a_deep_tree_is_read_without_recursion():
    """Three hundred levels of npm's first format, which Node.js would write, are read."""
    tree: dict[str, object] = {}
    for number in range(300):
        tree = {f"p{number}": {"version": "1.0.0", "dependencies": tree}}
    text = json.dumps({"lockfileVersion": 1, "dependencies": tree}).encode()

    assert len(lockfiles.read("package-lock.json", text).wanted) == 300


def test_a_file_that_is_too_large_is_not_read():
    """Nothing is decoded of what is larger than any lockfile."""
    large = b" " * (lockfiles.LARGEST_BYTES + 1)

    assert "it is larger than" in refused("package-lock.json", large)


def test_a_bomb_of_aliases_is_refused():
    """A few lines that would stand for a billion are refused at the first anchor."""
    lines = ["lockfileVersion: '9.0'", "a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]

    assert "line 2: an anchor (&a0), which is refused" in refused(
        "pnpm-lock.yaml", "\n".join(lines)
    )


@pytest.mark.parametrize("kind", sorted(FILES))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(kind, data):
    """Whatever is cut, doubled or overwritten: a sentence, or packages, and no other error."""
    whole = FILES[kind].read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 200)))
    damaged = whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:]

    assert outcome(FILES[kind].name, damaged)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    marks=st.sampled_from(
        [
            {"lockfileVersion": 1},
            {"lockfileVersion": 3},
            {"lockfileVersion": 1, "workspaces": {}},
            {"bomFormat": "CycloneDX"},
            {"spdxVersion": "SPDX-2.3"},
            {},
        ]
    ),
    body=st.dictionaries(
        st.sampled_from(["packages", "dependencies", "components", "optionalDependencies"]),
        _VALUES | st.dictionaries(st.sampled_from(["node_modules/a", "a"]), _VALUES),
    ),
)
def test_values_of_the_wrong_type_are_refused(marks, body):
    """Any JSON in the place of any other is a sentence, or passed over."""
    assert outcome("lock.json", json.dumps({**marks, **body}).encode())
