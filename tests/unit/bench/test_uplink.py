"""The uplink that answers what was recorded."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.bench import trace
from tests.bench.corpus import keep, place
from tests.bench.trace import Form
from tests.bench.uplink import Store

FULL, SHORT = {}, {"accept": "application/vnd.npm.install-v1+json"}
ZIPPED = {"accept-encoding": "gzip"}


@pytest.fixture
def store(tmp_path) -> Store:
    """One package in both forms, one in the full form alone, one that changes, and a tarball."""
    keep(tmp_path, trace.packument("@a/b"), gzip.compress(b"full"))
    keep(tmp_path, trace.packument("@a/b", Form.ABBREVIATED), gzip.compress(b"short"))
    keep(tmp_path, trace.packument("plain"), gzip.compress(b"plain"))
    changing = trace.packument("changing")
    keep(tmp_path, changing, gzip.compress(b"one"))
    at = place(tmp_path, changing)
    at.with_name(f"{at.name}.1").write_bytes(gzip.compress(b"two"))
    keep(tmp_path, trace.tarball("/@a/b/-/b-1.tgz"), b"bytes")
    return Store([tmp_path])


def _parts(answer: bytes) -> tuple[bytes, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.decode().split(": ") for line in lines)
    return first, headers, body


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        ("/@a/b", FULL, b"full"),
        ("/@a/b", SHORT, b"short"),
        ("/plain", SHORT, b"plain"),
        ("/@a/b/-/b-1.tgz", FULL, b"bytes"),
    ],
)
def test_what_was_recorded_is_answered(store, path, headers, body) -> None:
    """By path and form; a package that is known in one form is answered in that."""
    assert _parts(store.answer(path, headers))[2] == body


def test_who_takes_gzip_gets_the_recorded_bytes(store) -> None:
    """And is told so; nobody else is."""
    _, headers, body = _parts(store.answer("/@a/b", ZIPPED))

    assert headers["Content-Encoding"] == "gzip"
    assert int(headers["Content-Length"]) == len(body)
    assert gzip.decompress(body) == b"full"


def test_who_has_it_gets_304(store) -> None:
    """An ETag that is sent back saves the body."""
    etag = _parts(store.answer("/@a/b", ZIPPED))[1]["ETag"]

    first, _, body = _parts(store.answer("/@a/b", {"if-none-match": etag}))

    assert (first, body) == (b"HTTP/1.1 304 Not Modified", b"")


def test_a_packument_with_two_editions_changes_each_time(store) -> None:
    """So that a refresh always finds something new."""
    bodies = [_parts(store.answer("/changing", FULL))[2] for _ in range(4)]

    assert bodies == [b"one", b"two", b"one", b"two"]


def test_it_counts_what_it_was_asked(store) -> None:
    """From one look at the counts to the next, and what it does not have apart."""
    for path in ("/@a/b", "/plain", "/@a/b/-/b-1.tgz", "/nothing"):
        store.answer(path, FULL)

    counts = [json.loads(_parts(store.answer("/-/counts", FULL))[2]) for _ in range(2)]
    assert counts == [{"packuments": 2, "tarballs": 1, "others": 1}, {}]


def test_it_is_told_how_far_away_it_is(store) -> None:
    """The delay of every later answer is set by a request."""
    store.answer("/-/delay/0.05", FULL)

    assert store.delay == 0.05
