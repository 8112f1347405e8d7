"""Bytes to JSON values and back: the door to orjson and msgspec.

What passes through us is never decoded and encoded again, because that changes numbers (orjson
turns integers beyond 64 bits into floats), spelling and white space. An object is taken apart one
level deep into `Raw` values, which are slices of the bytes they came from, and is put together
again from such slices. Every error of the two libraries becomes `Undecodable`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
import orjson
from msgspec import Raw, Struct

__all__ = [
    "NULL",
    "QUOTE",
    "Pairs",
    "Raw",
    "Reader",
    "Struct",
    "Undecodable",
    "check_text",
    "dumps",
    "envelope",
    "join",
    "loads",
    "mend",
    "pieces",
    "replace",
    "text",
]

T = TypeVar("T")

Pairs: TypeAlias = "Iterable[tuple[str, bytes | Raw | Pairs]]"
"""An object's keys with the exact bytes of their values, or with pairs of their own."""

NULL = Raw(b"null")
"""The default of a `Raw` field in a Struct: what is absent reads like what is null."""

QUOTE = b'"'
"""How a JSON string starts, and no other value."""

_PIECE_BYTES = 256 * 1024
_HALVES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"  # a first half alone
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a second half alone
)
_KEY = re.compile(
    rb'[ \t\r\n]*+,?[ \t\r\n]*+"(?s:[^"\\]*+(?:\\.[^"\\]*+)*+)"[ \t\r\n]*+:[ \t\r\n]*+'
)
_WHITE = b" \t\r\n"
_BACKSLASH = rb"\\"  # as it is escaped in a string
_ASIDE = b"\0\0"  # stands for it meanwhile; JSON never holds a NUL
_FAILURES = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Undecodable(ValueError):
    """The bytes are not the JSON that was asked for; the text says what is wrong and where."""


class Reader(Generic[T]):
    """Reads JSON as one type, a `Struct` for example; unknown fields are passed over."""

    __slots__ = ("_decoder",)

    def __init__(self, shape: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(shape)

    def read(self, data: bytes | Raw) -> T:
        """Decode. Raises Undecodable if the bytes are not JSON, or not of that shape."""
        try:
            return self._decoder.decode(data)
        except _FAILURES as error:
            raise Undecodable(str(error)) from error


_OBJECTS = Reader(dict[str, Raw])


# What 16 MiB of "[]," are decoded to takes 500 MiB, and holds everybody up for seconds. The
# lockfile or the audit of a project with ten thousand packages has a quarter of this.
_MOST_VALUES = 1_000_000


def loads(data: bytes | Raw) -> Any:
    """Decode completely: only small values that are not passed on. Raises Undecodable."""
    text = bytes(data)
    # Every value but the first stands behind one of these. Those inside strings count too: it is a
    # bound, not a number.
    if sum(map(text.count, (b"[", b"{", b",", b":"))) > _MOST_VALUES:
        raise Undecodable(f"there may be more than {_MOST_VALUES} values in it")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Undecodable(str(error)) from error


def dumps(value: object) -> bytes:
    """Encode a value of our own, compactly. Raises Undecodable for what JSON cannot say."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError as error:
        raise Undecodable(str(error)) from error


def envelope(data: bytes | Raw) -> dict[str, Raw]:
    """Take an object apart one level deep: key to the exact bytes of its value, in order.

    Of a key that occurs twice the last value counts, as in every client. The whole text is checked
    to be JSON, the bytes inside strings are not (`check_text`). Raises Undecodable.
    """
    return _OBJECTS.read(data)


def text(data: bytes | Raw) -> str | None:
    """The string these bytes are; None if they are another value, or none at all."""
    token = bytes(data)
    try:
        return str(loads(token)) if token.startswith(QUOTE) else None
    except Undecodable:
        return None


def join(pairs: Pairs) -> bytes:
    """Put an object together from keys and the exact bytes of their values."""
    return b"".join(pieces(pairs))


def pieces(pairs: Pairs) -> Iterator[bytes | Raw]:
    """The same object piece by piece, so that it is never in memory as a whole.

    A value that is given as pairs is an object itself.
    """
    before = b"{"
    for key, value in pairs:
        yield b"".join((before, orjson.dumps(key), b":"))
        if isinstance(value, bytes | Raw):
            yield value
        else:
            yield from pieces(value)
        before = b","
    yield b"}" if before == b"," else b"{}"


def replace(data: bytes | Raw, values: Mapping[str, bytes]) -> bytes:
    """An object with these values, each in its key's place or at the end; no other byte changes.

    Only an object in which a key occurs twice is put together anew. Raises Undecodable.
    """
    members = envelope(data)
    return _spliced(bytes(data), members, values) or join({**members, **values}.items())


def _spliced(text: bytes, members: Mapping[str, Raw], values: Mapping[str, bytes]) -> bytes | None:
    """None if the members do not stand in the text one after the other: a key occurs twice."""
    kept_to, at = 0, text.index(b"{") + 1
    kept: list[bytes] = []
    for key, value in members.items():
        found = _KEY.match(text, at)
        old = bytes(value)
        if found is None or not text.startswith(old, found.end()):
            return None
        at = found.end() + len(old)
        if key in values:
            kept += (text[kept_to : found.end()], values[key])
            kept_to = at
    if text[at:].strip(_WHITE) != b"}":
        return None
    added = join((key, value) for key, value in values.items() if key not in members)[1:-1]
    comma = b"," if members and added else b""
    return b"".join((*kept, text[kept_to:at], comma, added, text[at:]))


def check_text(data: bytes) -> None:
    """Raise Undecodable unless the bytes are UTF-8; decodes a small piece at a time."""
    if data.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for start in range(0, len(data), _PIECE_BYTES):
            decoder.decode(data[start : start + _PIECE_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise Undecodable(f"the text is not UTF-8: {error.reason}") from error


def mend(data: bytes) -> bytes:
    r"""Replace each half of a surrogate pair (`\ud83d` alone) by U+FFFD, `\ufffd`.

    Readmes are cut at a number of UTF-16 units, sometimes through an emoji. Strict readers (ours,
    and the clients written in Rust) refuse such a document; JavaScript writes the same replacement
    when it stores the text as UTF-8.
    """
    if _ASIDE[:1] in data:
        return data
    # Escaped backslashes go aside, so that none looks like the start of an escape. No function is
    # called for a match: a document may hold millions.
    mended = _HALVES.sub(rb"\\ufffd", data.replace(_BACKSLASH, _ASIDE))
    return mended.replace(_ASIDE, _BACKSLASH)
