"""The JSON door: taken apart and joined, nothing else changes; every failure is Undecodable."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import wire
from tests.strategies import exact, json_values, objects

DEEP = b"[" * 100_000 + b"]" * 100_000


@given(st.dictionaries(st.text(max_size=5), json_values(), max_size=5).flatmap(objects))
def test_join_undoes_envelope(text):
    """An object taken apart and put together again has the same keys, order, values and numbers."""
    body = text.encode()
    assert exact(wire.join(wire.envelope(body).items())) == exact(body)


def test_values_keep_their_bytes():
    """What stands in an envelope is the value's bytes as they were written."""
    found = wire.envelope(b'{"a": 12345678901234567890123 , "b":{"c" : 1.50e3},"d":"\\u00e9"}')
    assert [(key, bytes(raw)) for key, raw in found.items()] == [
        ("a", b"12345678901234567890123"),
        ("b", b'{"c" : 1.50e3}'),
        ("d", b'"\\u00e9"'),
    ]


def test_the_last_of_two_equal_keys_counts():
    """A key that occurs twice has its last value, as JSON.parse has it."""
    assert bytes(wire.envelope(b'{"a":1,"a":2}')["a"]) == b"2"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"<!doctype html>",
        b'{"a":1',
        b'{"a":1}x',
        b'{"a":{"b":nul}}',
        b'{"a":NaN}',
        b'{"\xff":1}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":' + DEEP + b"}",
    ],
)
def test_what_is_not_an_object_is_undecodable(body):
    """Everything but one complete object is refused, at any depth."""
    with pytest.raises(wire.Undecodable):
        wire.envelope(body)


def test_loads_and_dumps_a_value_of_ours():
    """Small values of our own go both ways."""
    assert wire.loads(wire.dumps({"a": [1, "é", None]})) == {"a": [1, "é", None]}


def test_loads_reads_a_slice():
    """A slice of a document is decoded like bytes."""
    assert wire.loads(wire.envelope(b'{"a":[1,2]}')["a"]) == [1, 2]


@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"', DEEP])
def test_loads_raises_undecodable(body):
    """Decoding what is not JSON raises our own error."""
    with pytest.raises(wire.Undecodable):
        wire.loads(body)


@pytest.mark.parametrize("value", [{1, 2}, "\ud800", object()])
def test_dumps_raises_undecodable(value):
    """Encoding what JSON cannot say raises our own error."""
    with pytest.raises(wire.Undecodable):
        wire.dumps(value)


@pytest.mark.parametrize(
    ("data", "text"),
    [(b'"a\\n"', "a\n"), (b"1", None), (b"null", None), (b'"cut', None), (b'"\xff"', None)],
)
def test_text_is_the_string_or_none(data, text):
    """A string token gives its string; anything else gives None."""
    assert wire.text(data) == text


@pytest.mark.parametrize("data", ["plain", "é", "日本" * 200_000, "😀"])
def test_utf_8_passes(data):
    """UTF-8 of any length passes, also where a piece ends inside a character."""
    wire.check_text(b"x" + data.encode())


@pytest.mark.parametrize("data", [b"\xff", b"caf\xe9", b"\xc3", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_other_bytes_do_not_pass(data):
    """Latin-1, cut characters, surrogates and overlong forms are refused."""
    with pytest.raises(wire.Undecodable, match="UTF-8"):
        wire.check_text(data)


@pytest.mark.parametrize(
    ("data", "mended"),
    [
        (rb'"\ud83d"', rb'"\ufffd"'),
        (rb'"\ude00!"', rb'"\ufffd!"'),
        (rb'"\uD83D\ude00"', rb'"\uD83D\ude00"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\ud83d\n\u0041"', rb'"\ufffd\n\u0041"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\\\\ud83d"', rb'"\\\\ud83d"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ude00\ude00"', rb'"\ud83d\ude00\ufffd"'),
        (b'"\0\\ud83d"', b'"\0\\ud83d"'),
    ],
)
def test_half_a_surrogate_pair_is_mended(data, mended):
    """Only halves of pairs are replaced, and an escaped backslash is not taken for an escape."""
    assert wire.mend(data) == mended


@given(st.text(st.characters() | st.sampled_from("\ud83d\ude00\\n"), max_size=20))
def test_mended_text_can_be_read(text):
    """Any string JavaScript can write is readable once mended, and a sound one is untouched."""
    token = json.dumps(text).encode()
    mended = wire.mend(token)
    assert wire.text(mended) == json.loads(token).encode("utf-16-le", "surrogatepass").decode(
        "utf-16-le", "replace"
    )


# --- replacing ------------------------------------------------------------------------------------

_MEMBERS = st.dictionaries(st.text(max_size=5), json_values(), max_size=5)


@given(_MEMBERS.flatmap(objects), st.dictionaries(st.text(max_size=5), json_values(), max_size=3))
def test_only_the_values_that_are_named_are_replaced(text, values):
    """An object with other values for some keys has those, and all else in its order."""
    body = text.encode()
    wanted = dict(exact(body)) | {key: exact(value.encode()) for key, value in values.items()}

    replaced = wire.replace(body, {key: value.encode() for key, value in values.items()})

    assert exact(replaced) == tuple(wanted.items())


@given(_MEMBERS.flatmap(objects), st.data())
def test_replacing_a_value_by_itself_changes_no_byte(text, data):
    """White space, the spelling of keys and everything else stays as it is."""
    body = text.encode()
    found = wire.envelope(body)
    keys = data.draw(st.sets(st.sampled_from(sorted(found))) if found else st.just(set()))

    assert wire.replace(body, {key: bytes(found[key]) for key in keys}) == body


@pytest.mark.parametrize(
    ("body", "replaced"),
    [
        (b' { "a" : 1 , "b":{} } ', b' { "a" : 9 , "b":{} } '),
        (b'{"\\u0061":1}', b'{"\\u0061":9}'),
        (b'{"x":"\\"a\\":1","a":1}', b'{"x":"\\"a\\":1","a":9}'),
        (b"{ }", b'{"a":9 }'),
        (b'{"b":1\n}', b'{"b":1,"a":9\n}'),
        (b'{"a":1,"b":2,"a":1}', b'{"a":9,"b":2}'),
        (b'{"a":12,"a":1}', b'{"a":9}'),
    ],
)
def test_a_value_is_replaced_in_its_place(body, replaced):
    """A value gives way where it stands or is added at the end; of equal keys one is left."""
    assert wire.replace(body, {"a": b"9"}) == replaced


def test_nothing_is_replaced_in_what_is_no_object():
    """Only an object has members."""
    with pytest.raises(wire.Undecodable):
        wire.replace(b"[1]", {"a": b"9"})
