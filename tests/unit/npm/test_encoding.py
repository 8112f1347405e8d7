"""gzip: what is written is read, and nothing incomplete, false or huge is."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import encoding
from proxy.npm.encoding import BadEncoding, Gunzip, Gzip, TooBig

MIB = 1024 * 1024
TEXT = b'{"name":"x","versions":{}}' * 400
BODY = encoding.gzip(TEXT)
BOMB = encoding.gzip(bytes(64 * MIB))


def read(data: bytes, step: int = MIB, **limits: int) -> list[bytes]:
    """Feed a body to a reader in steps and give its pieces."""
    reader = Gunzip(**({"limit_bytes": 256 * MIB} | limits))
    pieces = [p for i in range(0, len(data), step) for p in reader.feed(data[i : i + step])]
    reader.finish()
    return pieces


@given(st.binary(max_size=5000) | st.binary(max_size=50).map(lambda part: part * 1000))
def test_gunzip_undoes_gzip(data):
    """Any bytes come back, for us and for zlib."""
    body = encoding.gzip(data)
    assert encoding.gunzip(body, limit_bytes=len(data)) == data == zlib.decompress(body, 31)


@given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(1, 5000))
def test_a_stream_is_the_same_body(chunks, step):
    """Bytes written in pieces and read in other pieces come back."""
    writer = Gzip()
    body = b"".join([*map(writer.feed, chunks), writer.finish()])
    assert b"".join(read(body, step)) == b"".join(chunks)


def test_a_body_made_elsewhere_is_read():
    """A body with a file name and a time in its header, as gzip writes it, is read."""
    other = zlib.compressobj(9, wbits=31)
    assert b"".join(read(other.compress(TEXT) + other.flush(), step=1)) == TEXT


def test_the_same_bytes_give_the_same_body():
    """A body depends on its bytes only: it carries no time."""
    assert encoding.gzip(TEXT) == BODY
    assert BODY[4:8] == b"\0\0\0\0"


def test_pieces_are_bounded():
    """However small the input, a piece of output is at most PIECE_BYTES."""
    pieces = read(encoding.gzip(bytes(3 * MIB)))
    assert sum(map(len, pieces)) == 3 * MIB
    assert max(map(len, pieces)) <= encoding.PIECE_BYTES


@given(st.integers(0, len(BODY) - 1))
def test_a_body_cut_anywhere_is_refused(length):
    """A body that ends early, be it only in its trailer, is not taken for a whole one."""
    with pytest.raises(BadEncoding):
        encoding.gunzip(BODY[:length], limit_bytes=MIB)


@pytest.mark.parametrize("step", [1, len(BODY), MIB])
@pytest.mark.parametrize("junk", [b"\0", b"<html>", BODY])
def test_bytes_after_the_end_are_refused(junk, step):
    """Nothing may follow the trailer, in the same chunk or in a later one."""
    with pytest.raises(BadEncoding, match="follow"):
        read(BODY + junk, step)


@pytest.mark.parametrize("at", [-8, -1])
def test_a_wrong_trailer_is_refused(at):
    """A wrong checksum or length is noticed."""
    damaged = bytearray(BODY)
    damaged[at] ^= 1
    with pytest.raises(BadEncoding, match="sound"):
        encoding.gunzip(bytes(damaged), limit_bytes=MIB)


@pytest.mark.parametrize("data", [b"plain text, no gzip", b'{"a":1}', BODY[:10] + b"\xff" * 99])
def test_garbage_is_refused(data):
    """What is no gzip body is refused."""
    with pytest.raises(BadEncoding):
        encoding.gunzip(data, limit_bytes=MIB)


def test_an_empty_chunk_is_nothing():
    """A chunk without bytes yields nothing, also after the end."""
    reader = Gunzip(limit_bytes=MIB)
    assert list(reader.feed(b"")) == []
    assert b"".join(reader.feed(BODY)) == TEXT
    assert list(reader.feed(b"")) == []


def test_the_limit_is_the_last_size_that_passes():
    """A body of exactly the limit passes, one byte more does not."""
    assert encoding.gunzip(BODY, limit_bytes=len(TEXT)) == TEXT
    with pytest.raises(TooBig, match=str(len(TEXT) - 1)):
        encoding.gunzip(BODY, limit_bytes=len(TEXT) - 1)


def test_a_bomb_stops_at_the_ratio():
    """A body that grows a thousand times stops at the size below which ratios do not matter."""
    reader = Gunzip(limit_bytes=256 * MIB)
    with pytest.raises(TooBig, match="100 times"):
        for _ in reader.feed(BOMB):
            pass
    assert reader.given_bytes <= encoding.RATIO_FREE_BYTES + encoding.PIECE_BYTES


def test_a_larger_ratio_may_be_allowed():
    """The caller decides how far a body may grow."""
    assert len(encoding.gunzip(BOMB, limit_bytes=64 * MIB, max_ratio=1100)) == 64 * MIB


def test_what_was_taken_and_given_is_counted():
    """The reader knows how many bytes went in and came out."""
    reader = Gunzip(limit_bytes=MIB)
    list(reader.feed(BODY))
    assert (reader.taken_bytes, reader.given_bytes) == (len(BODY), len(TEXT))


@pytest.mark.parametrize(("start", "is_gzip"), [(BODY[:2], True), (b"{}", False), (b"", False)])
def test_gzip_is_known_by_its_start(start, is_gzip):
    """The first two bytes tell gzip from JSON."""
    assert encoding.is_gzip(start) is is_gzip


def test_a_body_announces_its_size():
    """The size of the text is read from the body's end."""
    assert encoding.identity_size(BODY) == len(TEXT)


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", TEXT])
def test_other_bytes_announce_no_size(data):
    """What cannot be a gzip body has no size to announce."""
    with pytest.raises(BadEncoding):
        encoding.identity_size(data)
