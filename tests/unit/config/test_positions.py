"""Every key of a TOML document is found on its line, whatever stands around it."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config import positions

DOCUMENT = '''\
# a comment with [brackets] and key = 1
top = 1
a.b . "c d" = 2   # trailing [x]

[server] # comment = 3
listen = "127.0.0.1:4873"
text = """
[not.a.header]
fake = "key" \\"""
"""
raw = \'\'\'
[also.not]
fake = 1\'\'\'
list = [ # opens
  "a]", 'b[',
  { x = 1, y = [2] },
]
after = true

[uplinks."npm".headers]
"x-team" = "web # no comment"
[[rules]]
match = "@acme/*"
from = "hosted"
  [[rules]]
from = "npm"
[rules.extra]
deep = 1
[[rules.parts]]
one = 1
[[rules.parts]]
one = 1
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 3),
        (("a", "b", "c d"), 3),
        (("server",), 5),
        (("server", "listen"), 6),
        (("server", "text"), 7),
        (("server", "raw"), 11),
        (("server", "list"), 14),
        (("server", "after"), 18),
        (("uplinks",), 20),
        (("uplinks", "npm", "headers", "x-team"), 21),
        (("rules",), 22),
        (("rules", 0), 22),
        (("rules", 0, "match"), 23),
        (("rules", 0, "from"), 24),
        (("rules", 1), 25),
        (("rules", 1, "from"), 26),
        (("rules", 1, "extra", "deep"), 28),
        (("rules", 1, "parts", 0, "one"), 30),
        (("rules", 1, "parts", 1, "one"), 32),
    ],
)
def test_a_key_is_found_on_its_line(path: positions.Path, line: int) -> None:
    """Headers, dotted and quoted keys and lists of tables are found; what looks like one is not."""
    assert positions.lines_of(DOCUMENT)[path] == line


def test_nothing_else_is_found() -> None:
    """Text inside strings, arrays and comments is no key."""
    words = {key for path in positions.lines_of(DOCUMENT) for key in path}

    assert not words & {"fake", "not", "also", "x", "y", "comment", "key", "brackets"}


def test_the_document_is_toml() -> None:
    """The document these tests read is one that the real parser takes."""
    assert tomllib.loads(DOCUMENT)["rules"][1]["extra"] == {"deep": 1}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("server", "list", 2, "x"), 14),
        (("rules", 0, "nothing"), 22),
        (("nothing", "at", "all"), None),
    ],
)
def test_what_has_no_line_counts_as_its_surroundings(
    path: positions.Path, line: int | None
) -> None:
    """A key inside an inline value stands where that value begins; an unknown one nowhere."""
    assert positions.line_of(positions.lines_of(DOCUMENT), path) == line


def test_windows_line_ends_count_once() -> None:
    """Carriage returns do not shift the lines."""
    lines = positions.lines_of("a = 1\r\n\r\n[b]\r\nc = 2\r\n")

    assert lines == {("a",): 1, ("b",): 3, ("b", "c"): 4}


@pytest.mark.parametrize("text", ["", "\n", "# only a comment", "a = 1", "[a]", "[[a]]"])
def test_the_end_may_come_at_once(text: str) -> None:
    """A document needs no last line break, and no content."""
    assert all(line == 1 for line in positions.lines_of(text).values())


VALUES = st.sampled_from(
    [
        "1",
        '"plain"',
        '"quote \\" and # and ["',
        "'raw \\'",
        '""""""',
        '"""a""""',
        '"""\n[x]\ny = 1\n"""',
        '"""a"" """',
        '"""\\\n  b\\"" """',
        "'''\nz = '' ' [\n'''",
        "''''quoted'''''",
        "[]",
        "[\n  1, # ] one\n  [2, '''\n]'''],\n]",
        "{ a = { b = '}' }, c = [1] }",
        "1979-05-27T07:32:00Z",
    ]
)
COMMENTS = st.sampled_from(["", "   ", " # = [", "\n# [c]\n", "\n\n"])
LINES = st.lists(st.tuples(st.booleans(), VALUES, COMMENTS), max_size=12)


@given(LINES)
def test_values_never_hide_the_keys_behind_them(lines: list[tuple[bool, str, str]]) -> None:
    """Whatever values and comments a document holds, each key is found on the line it stands on."""
    text, expected, table = "", {}, ()
    for index, (is_header, value, comment) in enumerate(lines):
        if is_header:
            table = (f"t{index}",)
            expected[table] = text.count("\n") + 1
            text += f"[t{index}]{comment}\n"
        expected[*table, f"k{index}"] = text.count("\n") + 1
        text += f"k{index} = {value}{comment}\n"
    tomllib.loads(text)

    assert positions.lines_of(text) == expected
