"""Integrity: which promise counts, and whether bytes keep it."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.npm import integrity
from proxy.npm.integrity import Expected, Verifier

DATA = b"the tarball"


def digest(algorithm: str, data: bytes = DATA) -> bytes:
    """The raw digest."""
    return hashlib.new(algorithm, data).digest()


def sri(algorithm: str, data: bytes = DATA) -> str:
    """One SRI hash."""
    return f"{algorithm}-{base64.b64encode(digest(algorithm, data)).decode()}"


def verified(expected: Expected | None, data: bytes = DATA) -> Verifier:
    """A verifier that has seen the data in two pieces."""
    verifier = Verifier(expected)
    verifier.update(data[:3])
    verifier.update(data[3:])
    return verifier


@pytest.mark.parametrize("algorithm", integrity.STRONGEST_FIRST)
def test_each_algorithm_is_known(algorithm):
    """The four hashes of SRI and npm are read and verified."""
    expected = integrity.parse(sri(algorithm), None)
    assert expected == Expected(algorithm, (digest(algorithm),))
    assert verified(expected).problem() is None


def test_a_sha1_is_told_where_it_is_all():
    """The SHA-1 is told where nothing better vouches for the bytes, and only there."""
    shasum = hashlib.sha1(b"a", usedforsecurity=False).hexdigest()
    better = "sha512-" + base64.b64encode(hashlib.sha512(b"a").digest()).decode()

    alone, beside = integrity.parse(None, shasum), integrity.parse(better, shasum)

    assert alone is not None
    assert beside is not None
    assert (alone.sha1_hex, beside.sha1_hex) == (shasum, None)


def test_the_strongest_algorithm_decides():
    """Of several hashes the strongest decides; a wrong weaker one does not matter."""
    expected = integrity.parse(f"{sri('sha1', b'other')} {sri('sha512')}  {sri('sha384')}", None)
    assert expected == Expected("sha512", (digest("sha512"),))


def test_any_hash_of_the_strongest_may_match():
    """Two hashes of one algorithm allow either content."""
    expected = integrity.parse(f"{sri('sha512', b'other')} {sri('sha512')}", None)
    assert verified(expected).problem() is None
    assert verified(expected, b"other").problem() is None


def test_equal_hashes_count_once():
    """A hash that is written twice is one promise."""
    expected = integrity.parse(f"{sri('sha512')} {sri('sha512')}", None)
    assert expected is not None and expected.sri == sri("sha512")


@pytest.mark.parametrize(
    "text",
    ["", "   ", "md5-1B2M2Y8AsgTpgAmY7PhCfg==", "sha512-AAAA", "sha512-!!", "sha512", "sha1-A"],
)
def test_unusable_parts_are_passed_over(text):
    """What is not a hash of a known algorithm and its length promises nothing."""
    assert integrity.parse(text, None) is None
    assert integrity.parse(f"{text} {sri('sha256')}", None) == Expected(
        "sha256", (digest("sha256"),)
    )


def test_options_after_a_hash_are_passed_over():
    """An SRI hash may carry options after a question mark."""
    assert integrity.parse(sri("sha512") + "?foo=1", None) == integrity.parse(sri("sha512"), None)


def test_the_shasum_counts_without_integrity():
    """A package from before 2017 has only its SHA-1, in hex of either case."""
    expected = integrity.parse(None, f" {digest('sha1').hex().upper()}")
    assert expected == Expected("sha1", (digest("sha1"),))
    assert verified(expected).problem() is None


def test_the_shasum_does_not_count_beside_integrity():
    """Where the integrity is usable, it alone decides, as in npm."""
    assert integrity.parse(sri("sha512"), "0" * 40) == Expected("sha512", (digest("sha512"),))


@pytest.mark.parametrize("shasum", [None, "", "abc", "g" * 40, "0" * 41])
def test_nothing_usable_is_no_promise(shasum):
    """Neither hash nor shasum: nothing is expected."""
    assert integrity.parse(None, shasum) is None


@given(st.text(max_size=40), st.text(max_size=45))
def test_wild_text_never_fails(first, second):
    """Any two strings give a promise or none."""
    expected = integrity.parse(first, second)
    assert expected is None or expected.algorithm in integrity.STRONGEST_FIRST


@pytest.mark.parametrize("algorithm", ["sha512", "sha1"])
def test_other_bytes_are_a_problem_that_names_both(algorithm):
    """A mismatch says what was expected and what came."""
    expected = integrity.parse(sri(algorithm), None)
    problem = verified(expected, b"other bytes").problem()
    assert problem == f"expected {sri(algorithm)} got {sri(algorithm, b'other bytes')}"


def test_without_a_promise_nothing_is_wrong():
    """Bytes nobody promised anything about are hashed and accepted."""
    assert verified(None).problem() is None


@pytest.mark.parametrize("algorithm", [None, "sha1", "sha512"])
def test_the_sha512_is_always_known(algorithm):
    """Whatever was promised, the bytes' own name is their SHA-512."""
    expected = None if algorithm is None else integrity.parse(sri(algorithm), None)
    verifier = verified(expected)
    assert verifier.digest == digest("sha512").hex()
    assert verifier.sri == sri("sha512")


@pytest.mark.parametrize(
    ("promise", "known"),
    [
        (sri("sha512"), digest("sha512").hex()),
        (f"{sri('sha512')} {sri('sha512', b'other')}", None),
        (sri("sha384"), None),
        (sri("sha1"), None),
    ],
)
def test_the_name_of_the_bytes_may_be_known_before_they_come(promise, known):
    """One promised SHA-512 names the bytes to come; several, or a weaker hash, do not."""
    expected = integrity.parse(promise, None)
    assert expected is not None and expected.sha512_hex == known
